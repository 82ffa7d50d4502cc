"""GET /v1/snapshots/due: kept in the background, whoever appends and whoever saves snapshots."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.migrations import upgrade
from app.settings import Settings
from app.store.connection import Database
from app.store.due_store import DueStore
from tests.acceptance.conftest import client_of
from tests.conftest import running_service
from tests.factories import (
    Aggregate,
    append,
    new_events,
    new_name,
    problem,
    refused_places,
    segment,
)
from tests.integration.client_sql import INSERT, Connection, event_row
from tests.integration.support import until

Due = dict[str, int]


@pytest.fixture
def order_type() -> str:
    """An aggregate type that no other test knows."""
    return new_name("Order")


async def save_policy(api: httpx.AsyncClient, aggregate_type: str, **policy: Any) -> None:
    answer = await api.put(f"/v1/snapshot-policies/{segment(aggregate_type)}", json=policy)
    assert answer.status_code in {200, 201}, answer.text


async def page(api: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await api.get("/v1/snapshots/due", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def due_of(api: httpx.AsyncClient, aggregate_type: str) -> Due:
    """How many events since their snapshots, of the due aggregates of a type, by id."""
    listed = (await page(api, aggregate_type=aggregate_type))["aggregates"]
    return {each["aggregate_id"]: each["events_since_snapshot"] for each in listed}


async def until_due(api: httpx.AsyncClient, aggregate_type: str, expected: Due) -> None:
    found: Due = {}

    async def is_so() -> bool:
        nonlocal found
        found = await due_of(api, aggregate_type)
        return found == expected

    try:
        async with asyncio.timeout(10):
            await until(is_so)
    except TimeoutError:
        assert found == expected


async def append_events(api: httpx.AsyncClient, order: Aggregate, count: int) -> None:
    assert (await append(api, order, *new_events(count))).status_code == 201


async def test_due_is_what_has_as_many_events_as_the_policy_says(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await save_policy(api, order_type, every=5)
    short, exact, long = (Aggregate(order_type, name) for name in ("short", "exact", "long"))
    for order, count in ((short, 4), (exact, 5), (long, 12)):
        await append_events(api, order, count)
    await until_due(api, order_type, {"long": 12, "exact": 5})
    listed = (await page(api, aggregate_type=order_type))["aggregates"]
    assert listed[0] == {
        "aggregate_type": order_type,
        "aggregate_id": "long",
        "version": 12,
        "snapshot_version": None,
        "events_since_snapshot": 12,
        "is_managed": False,
    }
    assert [each["aggregate_id"] for each in listed] == ["long", "exact"]


async def test_due_without_a_policy_is_by_the_setting(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await append_events(api, Aggregate(order_type, "99"), 99)
    await append_events(api, Aggregate(order_type, "100"), 100)
    await until_due(api, order_type, {"100": 100})


async def test_a_saved_snapshot_counts_at_once(api: httpx.AsyncClient, order_type: str) -> None:
    await save_policy(api, order_type, every=5)
    order = Aggregate(order_type, "1")
    await append_events(api, order, 12)
    await until_due(api, order_type, {"1": 12})
    await api.put(order.snapshot_path, json={"version": 7, "state": {}})
    assert await due_of(api, order_type) == {"1": 5}
    [listed] = (await page(api, aggregate_type=order_type))["aggregates"]
    assert listed["snapshot_version"] == 7
    await api.put(order.snapshot_path, json={"version": 8, "state": {}})
    assert await due_of(api, order_type) == {}
    await append_events(api, order, 1)
    await until_due(api, order_type, {"1": 5})


async def test_a_deleted_snapshot_counts_at_once(api: httpx.AsyncClient, order_type: str) -> None:
    await save_policy(api, order_type, every=5)
    for name, count in (("short", 4), ("long", 5)):
        order = Aggregate(order_type, name)
        await append_events(api, order, count)
        await api.put(order.snapshot_path, json={"version": count, "state": {}})
        assert (await api.delete(order.snapshot_path)).status_code == 204
    assert await due_of(api, order_type) == {"long": 5}


async def test_events_and_snapshots_of_direct_writers_count(
    api: httpx.AsyncClient, shared_sql: Connection, order_type: str
) -> None:
    await save_policy(api, order_type, every=3)
    rows = [event_row("sql", version) for version in (1, 2, 3)]
    for row in rows:
        await shared_sql.execute(INSERT, row[0], order_type, *row[2:])
    await until_due(api, order_type, {"sql": 3})
    await shared_sql.execute(
        "INSERT INTO snapshots VALUES ($1, 'sql', 2, $2, now())", order_type, json.dumps({})
    )
    assert await due_of(api, order_type) == {}
    # Taken from the list itself, too.
    noted = "SELECT count(*) FROM snapshots_due WHERE aggregate_type = $1"
    await until(lambda: _is_none(shared_sql, noted, order_type))


async def _is_none(sql: Connection, query: str, *parameters: object) -> bool:
    return bool(await sql.fetchval(query, *parameters) == 0)


async def test_a_changed_policy_judges_all_aggregates_anew(
    api: httpx.AsyncClient, order_type: str
) -> None:
    for count in (2, 4, 6):
        await append_events(api, Aggregate(order_type, f"of-{count}"), count)
    await save_policy(api, order_type, every=6)
    await until_due(api, order_type, {"of-6": 6})
    await save_policy(api, order_type, every=2)
    await until_due(api, order_type, {"of-6": 6, "of-4": 4, "of-2": 2})
    await save_policy(api, order_type, every=3)
    assert await due_of(api, order_type) == {"of-6": 6, "of-4": 4}
    assert (await api.delete(f"/v1/snapshot-policies/{order_type}")).status_code == 204
    assert await due_of(api, order_type) == {}


async def test_pages_of_one_type_and_of_all(client: httpx.AsyncClient) -> None:
    expected = []
    for aggregate_type, every in (("Order", 2), ("a/b é", 3)):
        await save_policy(client, aggregate_type, every=every)
        for count in range(1, 8):
            for number in range(2):
                name = f"{count}/{number} %2F"
                await append_events(client, Aggregate(aggregate_type, name), count)
                if count >= every:
                    expected.append((count, aggregate_type, name))
    await until_due(client, "a/b é", {name: n for n, of, name in expected if of == "a/b é"})
    for params in ({}, {"aggregate_type": "Order"}, {"aggregate_type": "a/b é"}):
        found, after = [], None
        while True:
            answer = await page(client, limit=3, **params, **({"after": after} if after else {}))
            found += [
                (each["events_since_snapshot"], each["aggregate_type"], each["aggregate_id"])
                for each in answer["aggregates"]
            ]
            after = answer["next_after"]
            if after is None:
                break
            assert len(answer["aggregates"]) == 3
        wanted = params.get("aggregate_type")
        of_these = [each for each in expected if wanted in {None, each[1]}]
        assert sorted(found) == sorted(of_these)
        assert [each[0] for each in found] == sorted((each[0] for each in of_these), reverse=True)


@pytest.mark.parametrize(
    "after",
    ["7", "", "/", "x/Order/1", "-1/Order/1", "99999999999/a/b", "3000000000/a/b", "1/%00/b"],
)
async def test_an_after_that_no_page_has_told_is_refused(
    api: httpx.AsyncClient, after: str
) -> None:
    answer = await api.get("/v1/snapshots/due", params={"after": after})
    assert refused_places(answer) == ["query.after"]


@pytest.mark.parametrize(
    "params", [{"limit": "0"}, {"limit": "10001"}, {"aggregate_type": ""}, {"aggregate_type": "\0"}]
)
async def test_other_parameters_out_of_bounds_are_refused(
    api: httpx.AsyncClient, params: dict[str, str]
) -> None:
    answer = await api.get("/v1/snapshots/due", params=params)
    assert refused_places(answer) == [f"query.{name}" for name in params]


async def test_the_type_of_after_is_not_that_of_the_page(api: httpx.AsyncClient) -> None:
    """It is of a page of another query, and harmless."""
    assert await page(api, after="7/A/b", aggregate_type="no such type") == {
        "aggregates": [],
        "next_after": None,
    }
    problem(await api.get("/v1/snapshots/failing"), 404, "route-not-found")


# --- who keeps the list


@pytest.fixture
async def without_worker(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an instance that does not keep the list."""
    with running_service(settings.model_copy(update={"snapshot_worker": False})) as url:
        async with client_of(url) as client:
            yield client


async def test_without_any_worker_nothing_is_noted_until_one_comes(
    settings: Settings, without_worker: httpx.AsyncClient, sql: Connection
) -> None:
    await append_events(without_worker, Aggregate("Order", "1"), 100)
    await asyncio.sleep(1)
    assert await due_of(without_worker, "Order") == {}
    assert await sql.fetchval("SELECT leader FROM snapshot_progress") is None
    with running_service(settings):
        await until_due(without_worker, "Order", {"1": 100})
    # It lets another one lead at once.
    assert await sql.fetchval("SELECT leader FROM snapshot_progress") is None


async def test_another_default_judges_all_aggregates_anew(
    settings: Settings, without_worker: httpx.AsyncClient
) -> None:
    await append_events(without_worker, Aggregate("Order", "1"), 100)
    await append_events(without_worker, Aggregate("Order", "2"), 50)
    with running_service(settings) as url:
        async with client_of(url) as client:
            await until_due(client, "Order", {"1": 100})
    with running_service(settings.model_copy(update={"snapshot_every": 50})) as url:
        async with client_of(url) as client:
            await until_due(client, "Order", {"1": 100, "2": 50})


async def test_of_two_instances_one_leads_and_the_other_goes_on(
    settings: Settings, without_worker: httpx.AsyncClient, sql: Connection
) -> None:
    async def leader() -> object:
        return await sql.fetchval("SELECT leader FROM snapshot_progress")

    with running_service(settings):
        await until(leader)
        first = await leader()
        with running_service(settings):
            for number in range(5):
                await append_events(without_worker, Aggregate("Order", f"a{number}"), 100)
                await asyncio.sleep(0.3)
                assert await leader() == first
            await until_due(without_worker, "Order", {f"a{n}": 100 for n in range(5)})
            # As if the first one had been killed: its lease runs out, and nobody renews it.
            await sql.execute(
                "UPDATE snapshot_progress SET leader = gen_random_uuid(), "
                "leader_until = clock_timestamp() + interval '1 second'"
            )
            await append_events(without_worker, Aggregate("Order", "b"), 101)
            await until_due(without_worker, "Order", {"b": 101, **{f"a{n}": 100 for n in range(5)}})
            assert await leader() is not None


async def test_a_window_that_two_look_at_is_noted_once(sql: Connection, database: Database) -> None:
    """Who has lost the lead writes nothing any more."""
    store, first, second = DueStore(database, 2), uuid4(), uuid4()
    assert await store.lead(first, 60)
    assert not await store.lead(second, 60)
    for version in (1, 2):
        await sql.execute(INSERT, *event_row("1", version))
    assert not await store.note_due(second, after=0, up_to=2)
    assert (await store.progress()).position == 0
    assert await store.note_due(first, after=0, up_to=2)
    assert not await store.note_due(first, after=0, up_to=2)
    assert (await store.progress()).position == 2
    await store.resign(first)
    assert await store.lead(second, 60)


async def test_the_worker_waits_for_the_schema(empty_database: Settings) -> None:
    with running_service(empty_database) as url:
        async with client_of(url) as client:
            problem(await client.get("/v1/snapshots/due"), 503, "database-unreachable")
            await asyncio.to_thread(upgrade, empty_database)
            await append_events(client, Aggregate("Order", "1"), 100)
            await until_due(client, "Order", {"1": 100})

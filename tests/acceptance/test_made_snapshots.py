"""Snapshots that the store makes itself: as services see them, through changes, failures, kills."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.acceptance.conftest import client_of
from tests.acceptance.test_crash import Service
from tests.conftest import running_service
from tests.factories import (
    Aggregate,
    Event,
    append,
    new_event,
    new_name,
    problem,
    refused_places,
    segment,
)
from tests.integration.client_sql import Connection
from tests.integration.support import until

MERGE = {"kind": "merge"}
EXPRESSION = "{'count': state.count + 1, 'sum': $sum([state.sum, event.event_data.number])}"
COUNTING = {
    "kind": "jsonata",
    "initial": {"count": 0},
    "on": {
        "*": EXPRESSION,
        "Broken": "$number('no number')",
    },
}
KILLS = 2
TYPES = 4
MADE = "SELECT count(*) FROM snapshots"
# What the guide shows: how many tasks each resource has done, the last task, and its time.
TASKS = {
    "kind": "jsonata",
    "initial": {"tasks": {}},
    "on": {
        "*": """(
            $who := $string(event.metadata.resource);
            $done := $lookup(state.tasks, $who);
            {
                'tasks': $merge([state.tasks, {$who: ($exists($done) ? $done : 0) + 1}]),
                'last_task': event.event_type,
                'at': event.occurred_at
            }
        )"""
    },
}


@pytest.fixture
def order_type() -> str:
    """An aggregate type that no other test knows."""
    return new_name("Order")


async def save_policy(
    api: httpx.AsyncClient, aggregate_type: str, every: int, reducer: Any
) -> dict[str, Any]:
    answer = await api.put(
        f"/v1/snapshot-policies/{segment(aggregate_type)}",
        json={"every": every, "reducer": reducer},
    )
    assert answer.status_code in {200, 201}, answer.text
    policy: dict[str, Any] = answer.json()
    return policy


async def snapshot_of(api: httpx.AsyncClient, order: Aggregate) -> tuple[int, Any] | None:
    answer = await api.get(order.snapshot_path)
    if answer.status_code == 404:
        return None
    body = answer.json()
    return body["version"], body["state"]


async def until_snapshot(
    api: httpx.AsyncClient, order: Aggregate, version: int, state: Any
) -> None:
    found = None

    async def is_so() -> bool:
        nonlocal found
        found = await snapshot_of(api, order)
        return found == (version, state)

    try:
        async with asyncio.timeout(10):
            await until(is_so)
    except TimeoutError:
        assert found == (version, state)


async def failures_of(api: httpx.AsyncClient, aggregate_type: str) -> list[dict[str, Any]]:
    answer = await api.get("/v1/snapshots/failed", params={"aggregate_type": aggregate_type})
    assert answer.status_code == 200, answer.text
    failures: list[dict[str, Any]] = answer.json()["failures"]
    return failures


def numbered(first: int, last: int) -> list[Event]:
    """Events that have their number as data, and no ids, so that they can be appended again."""
    return [new_event(event_data={"number": number}) for number in range(first, last + 1)]


def counted(count: int) -> dict[str, int]:
    """The state of so many `numbered` events, by `COUNTING`."""
    return {"count": count, "sum": count * (count + 1) // 2}


async def test_snapshot_is_made_after_every_events_and_used_by_loads(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await save_policy(api, order_type, 5, COUNTING)
    order, short = Aggregate(order_type, "long"), Aggregate(order_type, "short")
    await append(api, short, *numbered(1, 4))
    answer = (await append(api, order, *numbered(1, 6))).json()
    # It is the store's affair, not the service's.
    assert (answer["snapshot_due"], answer["events_since_snapshot"]) == (False, 6)
    await until_snapshot(api, order, 6, counted(6))
    assert await snapshot_of(api, short) is None
    loaded = (await api.get(order.path)).json()
    assert (loaded["snapshot"]["version"], loaded["events"]) == (6, [])
    await append(api, order, *numbered(7, 10))
    await append(api, order, *numbered(11, 12))
    await until_snapshot(api, order, 12, counted(12))
    state = (await api.get(f"{order.path}/state")).json()
    assert (state["version"], state["state"], state["from_snapshot"]) == (12, counted(12), 12)


async def test_merge_keeps_the_digits_of_numbers(api: httpx.AsyncClient, order_type: str) -> None:
    await save_policy(api, order_type, 1, {"kind": "merge", "fields": {"last": "event_type"}})
    order = Aggregate(order_type, "1")
    body = '{"events":[{"event_type":"A","event_data":{"total":1.10000000000000000000001}}]}'
    assert (await api.post(order.events_path, content=body)).status_code == 201
    await until_snapshot(api, order, 1, {"total": 1.1, "last": "A"})
    assert "1.10000000000000000000001" in (await api.get(order.snapshot_path)).text


async def test_aggregates_from_before_the_policy_get_snapshots(
    api: httpx.AsyncClient, order_type: str
) -> None:
    order = Aggregate(order_type, "1")
    await append(api, order, *numbered(1, 7))
    await save_policy(api, order_type, 5, COUNTING)
    await until_snapshot(api, order, 7, counted(7))


async def test_another_reducer_makes_all_snapshots_anew(
    api: httpx.AsyncClient, shared_sql: Connection, order_type: str
) -> None:
    first = await save_policy(api, order_type, 5, MERGE)
    order = Aggregate(order_type, "1")
    await append(api, order, *numbered(1, 7))
    await until_snapshot(api, order, 7, {"number": 7})
    second = await save_policy(api, order_type, 5, COUNTING)
    assert first["reducer_hash"] != second["reducer_hash"]
    await until_snapshot(api, order, 7, counted(7))
    hashes = "SELECT reducer_hash FROM snapshots WHERE aggregate_type = $1"
    assert await shared_sql.fetchval(hashes, order_type) == second["reducer_hash"]


async def test_a_clients_snapshot_of_before_is_replaced_and_none_is_taken_any_more(
    api: httpx.AsyncClient, order_type: str
) -> None:
    order = Aggregate(order_type, "1")
    await append(api, order, *numbered(1, 5))
    await api.put(order.snapshot_path, json={"version": 5, "state": "mine"})
    await save_policy(api, order_type, 5, COUNTING)
    await until_snapshot(api, order, 5, counted(5))
    answer = await api.put(order.snapshot_path, json={"version": 5, "state": "mine"})
    assert problem(answer, 409, "snapshot-managed")["aggregate_type"] == order_type
    assert await snapshot_of(api, order) == (5, counted(5))
    # It may be deleted, and is made again.
    assert (await api.delete(order.snapshot_path)).status_code == 204
    await until_snapshot(api, order, 5, counted(5))
    # The services', once more.
    assert (await api.delete(f"/v1/snapshot-policies/{order_type}")).status_code == 204
    answer = await api.put(order.snapshot_path, json={"version": 5, "state": "mine"})
    assert answer.status_code == 200


async def test_a_state_that_is_written_with_sql_does_not_pass_for_the_stores(
    api: httpx.AsyncClient, shared_sql: Connection, order_type: str
) -> None:
    await save_policy(api, order_type, 5, COUNTING)
    order = Aggregate(order_type, "1")
    await append(api, order, *numbered(1, 5))
    await until_snapshot(api, order, 5, counted(5))
    await shared_sql.execute(
        "UPDATE snapshots SET state = $1 WHERE aggregate_type = $2", '{"count": 700}', order_type
    )
    state = (await api.get(f"{order.path}/state")).json()
    assert (state["state"], state["from_snapshot"]) == (counted(5), None)


async def test_a_reducer_that_this_release_evaluates_otherwise_makes_all_anew(
    settings: Settings, sql: Connection
) -> None:
    order = Aggregate("Order", "1")
    with running_service(settings) as url:
        async with client_of(url) as client:
            policy = await save_policy(client, "Order", 5, COUNTING)
            await append(client, order, *numbered(1, 5))
            await until_snapshot(client, order, 5, counted(5))
    # As an earlier release would have left it.
    await sql.execute("UPDATE snapshot_policies SET reducer_hash = 'earlier'")
    await sql.execute("UPDATE snapshots SET state = '0'")
    with running_service(settings) as url:
        async with client_of(url) as client:
            await until_snapshot(client, order, 5, counted(5))
            stored = (await client.get("/v1/snapshot-policies/Order")).json()
    assert stored["reducer_hash"] == policy["reducer_hash"]
    assert await sql.fetchval("SELECT reducer_hash FROM snapshots") == policy["reducer_hash"]


async def test_with_one_connection_appends_go_on_and_snapshots_are_made(settings: Settings) -> None:
    one_connection = settings.model_copy(update={"database_pool_max_size": 1})
    with running_service(one_connection) as url:
        async with client_of(url) as client:
            await save_policy(client, "Order", 10, COUNTING)
            orders = [Aggregate("Order", str(number)) for number in range(20)]

            async def append_all(order: Aggregate) -> None:
                for number in range(1, 11):
                    answer = await append(client, order, *numbered(number, number))
                    assert answer.status_code == 201, answer.text

            await asyncio.gather(*map(append_all, orders))
            for order in orders:
                await until_snapshot(client, order, 10, counted(10))


# --- failures


async def test_a_failing_expression_is_told_and_stops_no_other(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await save_policy(api, order_type, 5, COUNTING)
    broken, sound = Aggregate(order_type, "broken"), Aggregate(order_type, "sound")
    await append(api, broken, *numbered(1, 6))
    await until_snapshot(api, broken, 6, counted(6))
    answer = await append(api, broken, new_event("Broken"), *numbered(7, 11))
    event_id = answer.json()["events"][0]["event_id"]
    await append(api, sound, *numbered(1, 6))
    await until_snapshot(api, sound, 6, counted(6))
    await until(lambda: failures_of(api, order_type))
    [failure] = await failures_of(api, order_type)
    assert failure.pop("failed_at").endswith("Z")
    assert failure.pop("message")
    assert failure == {
        "aggregate_type": order_type,
        "aggregate_id": "broken",
        "version": 7,
        "event_id": event_id,
        "event_type": "Broken",
    }
    # It keeps the snapshot that it had, can be appended to and loaded, and is not tried each time.
    assert (await append(api, broken, *numbered(12, 16))).status_code == 201
    assert await snapshot_of(api, broken) == (6, counted(6))
    assert len((await api.get(broken.path)).json()["events"]) == 11
    due = await api.get("/v1/snapshots/due", params={"aggregate_type": order_type})
    await asyncio.sleep(1)
    assert due.json()["aggregates"] == []
    assert len(await failures_of(api, order_type)) == 1
    # A reducer that can do it mends it.
    mended = {**COUNTING, "on": {"Broken": "state", "*": EXPRESSION}}
    await save_policy(api, order_type, 5, mended)
    await until_snapshot(api, broken, 17, counted(16))
    assert await failures_of(api, order_type) == []


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("($f := function($n) { $f($n + 1) }; $f(1))", ""),
        ("{'big': $join([1..1000000].('xxxxxxxxxxxxxxxxxxxxxxxx'))}", ""),
        ("{'text': '\\u0000'}", "NUL"),
    ],
    ids=["loops", "grows", "unstorable"],
)
async def test_an_expression_beyond_its_bounds_fails_and_stops_no_other(
    api: httpx.AsyncClient, order_type: str, expression: str, word: str
) -> None:
    reducer = {"kind": "jsonata", "on": {"Bad": expression, "*": "{'is': 'good'}"}}
    await save_policy(api, order_type, 1, reducer)
    await append(api, Aggregate(order_type, "bad"), new_event("Bad"))
    good = Aggregate(order_type, "good")
    await append(api, good)
    await until_snapshot(api, good, 1, {"is": "good"})
    await until(lambda: failures_of(api, order_type))
    [failure] = await failures_of(api, order_type)
    assert (failure["aggregate_id"], failure["version"]) == ("bad", 1)
    assert word in failure["message"]


async def test_pages_of_failures(client: httpx.AsyncClient) -> None:
    expected = []
    for aggregate_type in ("a/b", "c"):
        await save_policy(client, aggregate_type, 1, {"kind": "jsonata", "on": {"*": "1 + 'a'"}})
        for number in range(4):
            name = f"é/{number}"
            await append(client, Aggregate(aggregate_type, name))
            expected.append((aggregate_type, name))

    async def listed(**params: Any) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        while True:
            answer = (await client.get("/v1/snapshots/failed", params=params)).json()
            found += [(each["aggregate_type"], each["aggregate_id"]) for each in answer["failures"]]
            if answer["next_after"] is None:
                return found
            params["after"] = answer["next_after"]

    async def are_all() -> bool:
        return await listed() == expected

    await until(are_all)
    assert await listed(limit=3) == expected
    assert await listed(limit=3, aggregate_type="a/b") == expected[:4]
    assert await listed(limit=4, aggregate_type="c") == expected[4:]


@pytest.mark.parametrize("after", ["", "a", "a/b/c", "a/%00"])
async def test_an_after_that_no_page_of_failures_has_told_is_refused(
    api: httpx.AsyncClient, after: str
) -> None:
    answer = await api.get("/v1/snapshots/failed", params={"after": after})
    assert refused_places(answer) == ["query.after"]


# --- several processes, and kills


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """The real service in a process of its own, to be started and killed."""
    service = Service(settings)
    yield service
    with suppress(AssertionError, ProcessLookupError):
        service.kill()


def permit_states(lines: list[bytes]) -> dict[str, tuple[int, Any]]:
    """Version and state of each case, folded here, by `TASKS`."""
    found: dict[str, tuple[int, Any]] = {}
    tasks: dict[str, Counter[str]] = {}
    for event in map(json.loads, lines):
        case = event["aggregate_id"]
        tasks.setdefault(case, Counter())[event["metadata"]["resource"]] += 1
        version = found[case][0] + 1 if case in found else 1
        at = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
        found[case] = (
            version,
            {
                "tasks": dict(tasks[case]),
                "last_task": event["event_type"],
                "at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        )
    return found


async def stored_states(sql: Connection) -> dict[tuple[str, str], tuple[int, Any]]:
    """The same of the stored snapshots of all types."""
    rows = await sql.fetch(
        "SELECT aggregate_type, aggregate_id, version, state::text FROM snapshots"
    )
    return {(of_type, case): (version, json.loads(state)) for of_type, case, version, state in rows}


@pytest.mark.slow
async def test_kills_in_the_middle_end_in_the_same_snapshots(
    service: Service, settings: Settings, sql: Connection, permit_lines: list[bytes]
) -> None:
    with running_service(settings.model_copy(update={"snapshot_worker": False})) as url:
        async with client_of(url) as client:
            for number in range(TYPES):
                await save_policy(client, f"Type{number}", 1, TASKS)
                lines = [
                    line.replace(b"PermitApplication", b"Type%d" % number) for line in permit_lines
                ]
                answer = await client.post("/v1/import", content=b"".join(lines))
                assert json.loads(answer.content.splitlines()[-1])["done"], answer.text
    expected = {
        (f"Type{number}", case): state
        for case, state in permit_states(permit_lines).items()
        for number in range(TYPES)
    }
    in_the_middle = 0
    for _ in range(KILLS):
        before = await sql.fetchval(MADE)
        service.start()

        async def has_gone_on(before: int = before) -> bool:
            return bool(await sql.fetchval(MADE) > before)

        await until(has_gone_on)
        service.kill()
        in_the_middle += await sql.fetchval(MADE) < len(expected)
        # Nobody waits here for the lease of the dead to run out.
        await sql.execute("UPDATE snapshot_progress SET leader_until = '-infinity'")
    assert in_the_middle
    service.start()

    async def are_all() -> bool:
        return bool(await sql.fetchval(MADE) == len(expected))

    await until(are_all)
    assert await stored_states(sql) == expected


async def test_of_two_instances_one_folds_and_each_snapshot_is_made_once(
    settings: Settings, sql: Connection
) -> None:
    orders = [Aggregate("Order", f"ord-{number}") for number in range(30)]
    with running_service(settings) as one_url, running_service(settings) as other_url:
        async with client_of(one_url) as one, client_of(other_url) as other:
            await save_policy(one, "Order", 10, COUNTING)
            for number, order in enumerate(orders):
                client = (one, other)[number % 2]
                assert (await append(client, order, *numbered(1, 10))).status_code == 201
            for order in orders:
                await until_snapshot(other, order, 10, counted(10))
            await asyncio.sleep(1)
    await sql.execute("SELECT pg_stat_force_next_flush()")
    made = "SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'snapshots'"

    async def is_once() -> bool:
        return bool(await sql.fetchval(made) == len(orders))

    await until(is_once)

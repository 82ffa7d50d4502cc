"""GET /metrics: from a symptom, brought about over HTTP or SQL, to the series that tells of it."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app.api import aggregates
from app.queries import observe_database
from app.settings import Settings
from tests.acceptance.conftest import client_of, lasting_database
from tests.acceptance.event_stream import subscribed
from tests.acceptance.exposition import Scrape, scrape
from tests.acceptance.test_snapshot_coverage import FAILING, MERGE, save_policy
from tests.acceptance.test_trouble import until_waiting_for_a_lock, version_held
from tests.conftest import connect, running_service
from tests.factories import (
    Aggregate,
    append,
    new_aggregate,
    new_append,
    new_event,
    new_events,
    new_name,
    position_path,
    transact,
)
from tests.integration.support import until
from tests.operations_files import Documented, documented, expressions, names_in

Client = httpx.AsyncClient
Sql = Any
"""A connection of asyncpg."""


@pytest.fixture(scope="module")
def metrics_settings(postgres_host: str, template_database: str) -> Iterator[Settings]:
    with lasting_database(postgres_host, template_database, "metrics") as settings:
        yield settings


@pytest.fixture(scope="module")
def metrics_url(metrics_settings: Settings) -> Iterator[str]:
    """One service for all tests here; it reads the database whenever it is asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe_database, "FEED_FRESH_S", 0)
        patch.setattr(observe_database, "TABLES_FRESH_S", 0)
        with running_service(metrics_settings) as url:
            yield url


@pytest.fixture
async def client(metrics_url: str) -> AsyncIterator[Client]:
    async with client_of(metrics_url) as client:
        yield client


@pytest.fixture
async def sql(metrics_settings: Settings) -> AsyncIterator[Sql]:
    connection = await connect(metrics_settings)
    yield connection
    await connection.close()


@pytest.fixture
def order() -> Aggregate:
    """An aggregate of a type that no other test knows."""
    return new_aggregate(new_name("Order"))


async def test_appended_events_by_type_and_the_time_that_they_took(
    client: Client, order: Aggregate
) -> None:
    before = await scrape(client)
    events = new_events(3)
    await append(client, order, *events)
    # A repetition stores nothing.
    assert (await append(client, order, *events)).status_code == 200
    other = Aggregate(order.type, "2")
    await transact(client, new_append(order, *new_events(2)), new_append(other))
    line = {"aggregate_type": order.type, "aggregate_id": "3", **new_event()}
    assert (await client.post("/v1/import", json=line)).status_code == 200
    after = await scrape(client)
    assert after("eventstore_events_appended_total", aggregate_type=order.type) == 3 + 3 + 1
    for name, count in (("append_seconds_count", 3), ("batch_appends_count", 1)):
        assert after(f"eventstore_{name}") - before(f"eventstore_{name}") == count
    spent_s = after("eventstore_append_seconds_sum") - before("eventstore_append_seconds_sum")
    assert 0 < spent_s < 30
    cpu = "eventstore_process_cpu_seconds_total"
    assert after(cpu) > before(cpu)
    assert after("eventstore_process_resident_memory_bytes") > 10_000_000


async def test_conflicts_by_kind_and_type(client: Client, order: Aggregate) -> None:
    event = new_event(event_id="018f0000-0000-7000-8000-000000000001")
    await append(client, order, event)
    await append(client, order)
    refused = [
        await append(client, order, expected_version=1),
        await append(client, order, headers={"If-Match": '"1"'}),
        await append(client, order, expected_version=1, params={"include": "conflicting_events"}),
        await transact(client, new_append(order, expected_version=1)),
        await append(client, order, {**event, "event_type": "Other"}),
    ]
    path = position_path(new_name("p"))
    for number in (2, 1):
        snapshot = {"version": number, "state": 0}
        refused += [
            await client.put(order.snapshot_path, json=snapshot),
            await client.put(path, json={"last_processed_position": number}),
        ]
    assert sorted(answer.status_code for answer in refused) == [201, 201, *[409] * 6, 412]
    told = await scrape(client)

    def conflicts(kind: str, aggregate_type: str = order.type) -> float:
        return told("eventstore_conflicts_total", kind=kind, aggregate_type=aggregate_type)

    assert conflicts("version-conflict") == 4
    assert conflicts("event-id-conflict") == 1
    assert conflicts("snapshot-conflict") == 1
    assert conflicts("position-conflict", "") == 1
    assert told("eventstore_problems_total", kind="version-conflict") >= 4
    # None of them is stored.
    assert told("eventstore_events_appended_total", aggregate_type=order.type) == 2


async def test_a_transaction_that_stays_open_holds_the_feed_back(
    client: Client, sql: Sql, order: Aggregate
) -> None:
    await append(client, order)
    async with version_held(sql, Aggregate(order.type, "held"), 1):
        await append(client, order, *new_events(4))
        status = (await client.get("/v1/feed/status")).json()
        told, later = await scrape(client), await scrape(client)
    assert told("eventstore_feed_lag_positions") == 5
    assert told("eventstore_feed_last_position") == status["last_position"]
    assert told("eventstore_feed_safe_position") == status["safe_position"]
    mark = told("eventstore_feed_oldest_in_flight_mark")
    assert mark == status["oldest_in_flight"]["mark"] == status["safe_position"]
    held_s = told("eventstore_feed_lag_seconds")
    assert 0 < held_s < later("eventstore_feed_lag_seconds")
    freed = await scrape(client)
    assert freed.get("eventstore_feed_lag_seconds") == 0
    assert freed.get("eventstore_feed_lag_positions") == 0
    assert freed.get("eventstore_feed_oldest_in_flight_mark") is None


async def test_a_projection_that_lags(client: Client, order: Aggregate) -> None:
    answer = await append(client, order, *new_events(5))
    first = answer.json()["events"][0]["global_position"]
    name = new_name("totals")
    await client.put(position_path(name), json={"last_processed_position": first})
    told = await scrape(client)
    assert told("eventstore_projection_lag_positions", projection=name) == 4
    assert told("eventstore_projection_lag_seconds", projection=name) > 0
    projections = told("eventstore_projections")
    await client.put(position_path(name), json={"last_processed_position": first + 4})
    told = await scrape(client)
    assert told.get("eventstore_projection_lag_positions", projection=name) == 0
    assert told.get("eventstore_projection_lag_seconds", projection=name) == 0
    await client.delete(position_path(name))
    told = await scrape(client)
    assert told.get("eventstore_projection_lag_positions", projection=name) is None
    assert told("eventstore_projections") == projections - 1


async def test_of_many_projections_the_furthest_behind_are_told(client: Client, sql: Sql) -> None:
    await append(client, new_aggregate(), *new_events(3))
    safe_position = (await client.get("/v1/events?limit=1")).json()["safe_position"]
    name = new_name("many")
    await sql.execute(
        "INSERT INTO projection_positions SELECT $1 || n, CASE n WHEN 120 THEN 0 ELSE $2 END, now()"
        " FROM generate_series(1, 120) AS n",
        name,
        safe_position,
    )
    told = await scrape(client)
    await sql.execute("DELETE FROM projection_positions WHERE projection_name ^@ $1", name)
    assert told("eventstore_projections") >= 120
    lags = [
        sample
        for family in told.families
        for sample in family.samples
        if sample.name == "eventstore_projection_lag_positions"
    ]
    assert len(lags) == 100
    assert told("eventstore_projection_lag_positions", projection=f"{name}120") == safe_position


async def test_loads_of_a_long_aggregate_are_slow_and_miss_until_it_has_a_snapshot(
    client: Client, order: Aggregate
) -> None:
    events, loads = 2_000, 3
    await append(client, order, *new_events(events))
    before = await scrape(client)
    for _ in range(loads):
        assert len((await client.get(order.path)).json()["events"]) == events
    missed = await scrape(client)
    await client.put(order.snapshot_path, json={"version": events, "state": {}})
    for _ in range(loads):
        assert (await client.get(order.path)).json()["events"] == []
    hit = await scrape(client)
    for told, hits in ((missed, 0), (hit, loads)):
        for result, count in (("miss", loads), ("hit", hits)):
            labels = {"aggregate_type": order.type, "result": result}
            # That of the hits is there from the start: the rate of hits is 0 then, and not absent.
            assert told.get("eventstore_snapshot_loads_total", **labels) == count

    def spent(what: str, snapshot: str) -> float:
        name = f"eventstore_load_seconds_{what}"
        return hit(name, snapshot=snapshot) - before(name, snapshot=snapshot)

    assert spent("count", "none") == spent("count", "used") == loads
    assert spent("sum", "none") > spent("sum", "used") > 0


async def test_a_reducer_that_fails(client: Client, order: Aggregate) -> None:
    failing = "eventstore_snapshots_failing"

    async def is_told(count: float) -> bool:
        return (await scrape(client)).get(failing) == count

    await save_policy(client, order.type, every=2, reducer=FAILING)
    await append(client, order, new_event("Bad"), new_event())
    await until(lambda: is_told(1))
    assert (await scrape(client))("eventstore_snapshots_failed_total") == 1
    # What the alert's advice says: see what it is, and mend the reducer.
    [failed] = (await client.get("/v1/snapshots/failed")).json()["failures"]
    assert (failed["aggregate_id"], failed["version"]) == (order.id, 1)
    await save_policy(client, order.type, every=2, reducer=MERGE)
    await until(lambda: is_told(0))
    await until(lambda: is_made(client, order))
    told = await scrape(client)
    assert told("eventstore_snapshots_made_total") == 1
    assert told("eventstore_folded_events_total") >= 2


async def is_made(client: Client, order: Aggregate) -> bool:
    return (await client.get(order.snapshot_path)).status_code == 200


async def test_a_lost_race_is_repeated(client: Client, sql: Sql, order: Aggregate) -> None:
    before = await scrape(client)

    def retries(told: Scrape, reason: str) -> float:
        name = "eventstore_retries_total"
        return told(name, reason=reason) - before(name, reason=reason)

    async def is_patient() -> bool:
        return retries(await scrape(client), "lock") == 1

    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) VALUES (gen_random_uuid(), $1, $2, 1, 'Held', '{}', now())",
        *order,
    )
    appending = asyncio.create_task(append(client, order))
    await until(is_patient)
    await until_waiting_for_a_lock(sql)
    assert (await scrape(client))("eventstore_appends_waiting") == 1
    await transaction.commit()
    assert (await appending).json()["version"] == 2
    told = await scrape(client)
    assert told("eventstore_appends_waiting") == 0
    assert [retries(told, reason) for reason in ("apart", "lock", "race", "deadlock")] == [
        *(1, 1, 1, 0)
    ]


def slow_reader(url: str) -> Client:
    """A client of which the system reads no more ahead than it must."""
    option = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    transport = httpx.AsyncHTTPTransport(verify=False, socket_options=[option])
    return httpx.AsyncClient(base_url=url, timeout=60, transport=transport)


async def test_subscribers_by_kind(client: Client, metrics_url: str, order: Aggregate) -> None:
    name = new_name("p")
    large = new_event(event_data={"text": "x" * 2_000_000})
    for _ in range(6):
        assert (await append(client, order, large)).status_code == 201
    after = (await client.get("/v1/events?limit=1")).json()["safe_position"]
    path = f"{position_path(name)}?wait_for={after}&timeout=60"
    lines = {"Accept": "application/x-ndjson"}

    async def are_told(*expected: float) -> bool:
        told = await scrape(client)
        kinds = ("sse", "wait", "position", "ndjson")
        return [told("eventstore_subscribers", kind=kind) for kind in kinds] == list(expected)

    async with client_of(metrics_url) as other:
        waiting = [
            asyncio.create_task(other.get(f"/v1/events?after={after}&wait=60")),
            asyncio.create_task(other.get(path)),
        ]
        async with (
            subscribed(other, "/v1/events", after=after),
            slow_reader(metrics_url) as reader,
            reader.stream("GET", order.events_path, headers=lines),
        ):
            await until(lambda: are_told(1, 1, 1, 1))
        await append(client, new_aggregate())
        await client.put(position_path(name), json={"last_processed_position": after})
        for answer in await asyncio.gather(*waiting):
            assert answer.status_code == 200
    await until(lambda: are_told(0, 0, 0, 0))


async def test_answers_by_operation_and_status_class(client: Client, order: Aggregate) -> None:
    before = await scrape(client)
    await append(client, order)
    await append(client, order, expected_version=7)
    # As it comes to the framework.
    await append(client, order, params={"include": "conflicting_events"}, expected_version=7)
    await client.get(order.path)
    await client.get(f"{order.path}?snapshot=false")
    await client.get(f"{order.path}x")
    await client.get(order.path, headers={"If-None-Match": '"1"'})
    await client.get("/v1/events?limit=no")
    await client.get("/v1/events?event_type=%ff")
    await client.patch(order.path)
    await client.get(f"/nowhere/{order.id}")
    told = await scrape(client)

    def answers(operation: str, status_class: str) -> float:
        labels = {"operation": operation, "status_class": status_class}
        name = "eventstore_http_answers_total"
        return told(name, **labels) - before(name, **labels)

    assert (answers("append_events", "2xx"), answers("append_events", "4xx")) == (1, 2)
    loads = [answers("load_aggregate", status_class) for status_class in ("2xx", "3xx", "4xx")]
    assert loads == [2, 1, 1]
    assert answers("read_feed", "4xx") == 1
    assert answers("other", "4xx") == 3
    # The scrape before this one.
    assert answers("metrics", "2xx") == 1


async def test_a_defect_counts_as_the_services_error(
    client: Client, metrics_url: str, order: Aggregate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def defective(*_: object, **__: object) -> int:
        raise ValueError("the cause")

    monkeypatch.setattr(aggregates, "loaded_version", defective)
    # The server closes the connection afterwards.
    async with client_of(metrics_url) as other:
        assert (await other.head(order.path)).status_code == 500
    told = await scrape(client)
    answers = "eventstore_http_answers_total"
    assert told(answers, operation="head_aggregate", status_class="5xx") == 1
    assert told("eventstore_problems_total", kind="unexpected-error") == 1


async def test_tables_grow(client: Client, order: Aggregate) -> None:
    def bytes_of(told: Scrape, part: str) -> float:
        return told("eventstore_table_bytes", table="events", part=part)

    before = await scrape(client)
    assert (await append(client, order, *new_events(1_000))).status_code == 201
    after = await scrape(client)
    for part in ("rows", "indexes"):
        assert bytes_of(after, part) >= bytes_of(before, part) + 50_000
    assert after("eventstore_table_xid_age", table="events") > 0
    assert after.get("eventstore_table_dead_rows", table="snapshots") is not None
    assert after.get("eventstore_table_rows", table="events") is not None


async def test_version_of_the_service(client: Client) -> None:
    version = (await client.get("/openapi.json")).json()["info"]["version"]
    assert (await scrape(client))("eventstore_build_info", version=version) == 1


@asynccontextmanager
async def scraped_within_a_second(client: Client) -> AsyncIterator[Scrape]:
    begun_at = time.monotonic()
    told = await scrape(client)
    # As elsewhere, the machine may be busy with other things.
    assert time.monotonic() - begun_at < 2
    yield told


async def test_the_pool_is_exhausted(metrics_settings: Settings, sql: Sql) -> None:
    """The scrape has the connection that is kept for what is short."""
    settings = metrics_settings.model_copy(
        update={"database_pool_max_size": 4, "snapshot_worker": False}
    )
    path = Aggregate("Order", "1").snapshot_path
    with running_service(settings) as url:
        async with client_of(url) as client:

            async def are_waiting() -> bool:
                told = await scrape(client)
                return (told("eventstore_pool_in_use"), told("eventstore_pool_waiting")) == (3, 2)

            async with sql.transaction():
                await sql.execute("LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE")
                waiting = [asyncio.create_task(client.get(path)) for _ in range(5)]
                await until(are_waiting)
                async with scraped_within_a_second(client) as told:
                    assert told("eventstore_database_up") == 1
                    assert told("eventstore_pool_limit") == 4
                    # One of them is locked.
                    assert told.get("eventstore_table_rows", table="events") is None
            answers = await asyncio.gather(*waiting)
            assert {answer.status_code for answer in answers} == {404}
            told = await scrape(client)
            assert told("eventstore_pool_waiting") == 0
            assert told.get("eventstore_table_rows", table="events") is not None


async def test_the_only_connection_is_in_use(metrics_settings: Settings, sql: Sql) -> None:
    settings = metrics_settings.model_copy(
        update={"database_pool_max_size": 1, "snapshot_worker": False}
    )
    with running_service(settings) as url:
        async with client_of(url) as client:
            async with sql.transaction():
                await sql.execute("LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE")
                path = Aggregate("Order", "1").snapshot_path
                waiting = asyncio.create_task(client.get(path))
                await until_waiting_for_a_lock(sql)
                async with scraped_within_a_second(client) as told:
                    assert told.get("eventstore_database_up") == 0
                    assert told("eventstore_pool_in_use") == 1
                    assert not [name for name in told.names if re.search("_(feed|table)_", name)]
            assert (await waiting).status_code == 404

            async def is_up() -> bool:
                return (await scrape(client))("eventstore_database_up") == 1

            await until(is_up)


async def test_what_is_told_is_documented_and_what_rules_and_panels_use_is_told(
    client: Client, sql: Sql, order: Aggregate
) -> None:
    """After some of everything that there is to tell."""
    await append(client, order, *new_events(100))
    await append(client, order, expected_version=1)
    await client.get(order.path)
    await client.put(position_path("documented"), json={"last_processed_position": 0})
    async with version_held(sql, new_aggregate(order.type), 1):
        told = await scrape(client)
    families = {
        Documented(
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            frozenset(*{frozenset(sample.labels) - {"le"} for sample in family.samples}),
        )
        for family in told.families
    }
    assert families == set(documented())
    for place, expression in expressions().items():
        assert names_in(expression) <= told.names, place

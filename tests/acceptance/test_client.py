"""The Python client against a real service: operations, races, cut connections."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, repeat
from uuid import uuid4

import asyncpg
import pytest

from app.client import (
    Aggregate,
    Append,
    AsyncEventStoreClient,
    Event,
    EventStoreClient,
    NewEvent,
    errors,
)
from app.client.backoff import Backoff
from tests.acceptance.client_caller import Caller, open_caller
from tests.acceptance.numbered import numbered, numbers
from tests.acceptance.service_proxy import BEFORE_THE_REQUEST, NEVER, ServiceProxy, service_proxy

AGGREGATE = ("Order", "ord/1 ö?%2F..")


@pytest.fixture(params=["sync", "async"])
async def caller(request: pytest.FixtureRequest, service_url: str) -> AsyncIterator[Caller]:
    async with open_caller(request.param, service_url) as caller:
        yield caller


@pytest.fixture
def client(service_url: str) -> Iterator[EventStoreClient]:
    with EventStoreClient(service_url) as client:
        yield client


@pytest.fixture
def proxy(service_url: str) -> Iterator[ServiceProxy]:
    with service_proxy(service_url) as proxy:
        yield proxy


@pytest.fixture
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "longest_delay_s", 0.05)


async def test_append_load_read_and_get(caller: Caller) -> None:
    correlation_id, causation_id = uuid4(), uuid4()
    occurred_at = datetime(2026, 11, 24, 2, 3, 4, 5, tzinfo=UTC)
    new = [
        NewEvent("Placed", {"total": 45.48}, metadata={"by": "me"}, occurred_at=occurred_at),
        NewEvent("Paid", correlation_id=uuid4()),
    ]
    appended = await caller.append(
        *AGGREGATE,
        new,
        expected_version=0,
        correlation_id=correlation_id,
        causation_id=causation_id,
    )
    assert (appended.aggregate_type, appended.aggregate_id, appended.version) == (*AGGREGATE, 2)
    assert [event.event_id for event in appended.events] == [event.event_id for event in new]
    assert (appended.snapshot_due, appended.events_since_snapshot) == (False, 2)
    assert await caller.append(*AGGREGATE, new, expected_version=0) == appended

    aggregate = await caller.load(*AGGREGATE)
    assert (aggregate.version, aggregate.snapshot) == (2, None)
    assert aggregate.events[0] == Event(
        new[0].event_id,
        *AGGREGATE,
        1,
        "Placed",
        {"total": 45.48},
        {"by": "me"},
        occurred_at,
        correlation_id,
        causation_id,
        appended.events[0].global_position,
    )
    assert aggregate.events[1].correlation_id == new[1].correlation_id
    assert aggregate.events[1].metadata is None
    assert (await caller.load(*AGGREGATE, at_version=1)).version == 1
    with pytest.raises(errors.VersionNotFound) as no_version:
        await caller.load(*AGGREGATE, as_of=datetime(2001, 1, 1, tzinfo=UTC))
    assert no_version.value.version == 2

    page = await caller.read_events(*AGGREGATE, direction="backward", limit=1)
    assert (page.events, page.next_from_version) == ([aggregate.events[1]], 1)
    assert await caller.get_event(new[0].event_id) == aggregate.events[0]
    with pytest.raises(errors.EventNotFound) as no_event:
        await caller.get_event(causation_id)
    assert no_event.value.event_id == causation_id
    with pytest.raises(errors.AggregateNotFound) as not_found:
        await caller.read_events("Order", "none")
    assert not_found.value.aggregate_id == "none"


async def test_conflicts_tell_what_is_there(caller: Caller) -> None:
    first = NewEvent("Placed")
    await caller.append(*AGGREGATE, [first, NewEvent("Paid")])
    with pytest.raises(errors.VersionConflict) as conflict:
        await caller.append(
            *AGGREGATE, [NewEvent("x")], expected_version=1, include_conflicting_events=True
        )
    assert (conflict.value.expected_version, conflict.value.actual_version) == (1, 2)
    assert [event.event_type for event in conflict.value.conflicting_events or ()] == ["Paid"]
    with pytest.raises(errors.EventIdConflict) as taken:
        await caller.append("Order", "other", [first])
    assert taken.value.event_ids == [first.event_id]
    with pytest.raises(errors.InvalidInput) as invalid:
        await caller.append(*AGGREGATE, [NewEvent("")])
    assert invalid.value.errors[0].place == "$.events[0].event_type"


async def test_transactions_are_all_or_nothing(caller: Caller) -> None:
    appends = [Append("Order", "1", numbered(2), 0), Append("Invoice", "1", numbered(1))]
    appended = await caller.append_transaction(appends)
    assert [each.version for each in appended] == [2, 1]
    assert await caller.append_transaction(appends) == appended
    with pytest.raises(errors.VersionConflict) as conflict:
        await caller.append_transaction(
            [Append("Order", "1", numbered(1)), Append("Invoice", "1", numbered(1), 0)],
            include_conflicting_events=True,
        )
    assert conflict.value.append_index == 1
    assert numbers(conflict.value.conflicting_events or ()) == [0]
    assert (await caller.load("Order", "1")).version == 2


async def test_snapshots(caller: Caller) -> None:
    await caller.append(*AGGREGATE, numbered(3))
    await caller.save_snapshot(*AGGREGATE, 2, {"sum": Decimal("1.10")})
    snapshot = await caller.get_snapshot(*AGGREGATE)
    assert (snapshot.version, snapshot.state) == (2, {"sum": 1.1})
    loaded = await caller.load(*AGGREGATE)
    assert loaded.snapshot == snapshot
    assert numbers(loaded.events) == [2]
    assert numbers((await caller.load(*AGGREGATE, snapshot=False)).events) == [0, 1, 2]
    with pytest.raises(errors.SnapshotConflict) as conflict:
        await caller.save_snapshot(*AGGREGATE, 1, {})
    assert conflict.value.stored_version == 2
    with pytest.raises(errors.SnapshotBeyondAggregate) as beyond:
        await caller.save_snapshot(*AGGREGATE, 4, {})
    assert beyond.value.aggregate_version == 3
    await caller.delete_snapshot(*AGGREGATE)
    for operation in (caller.delete_snapshot, caller.get_snapshot):
        with pytest.raises(errors.SnapshotNotFound):
            await operation(*AGGREGATE)


async def test_positions(caller: Caller) -> None:
    await caller.append(*AGGREGATE, numbered(3))
    end = (await caller.feed_status()).safe_position
    with pytest.raises(errors.ProjectionNotFound) as unknown:
        await caller.get_position("totals")
    assert unknown.value.projection_name == "totals"
    await caller.save_position("totals", end - 1, expected_position=0)
    position = await caller.get_position("totals")
    assert (position.last_processed_position, position.lag_positions) == (end - 1, 1)
    with pytest.raises(errors.PositionNotReached) as not_reached:
        await caller.get_position("totals", wait_for=end, wait_s=0.05)
    assert not_reached.value.last_processed_position == end - 1
    waiting = asyncio.ensure_future(caller.get_position("totals", wait_for=end))
    await asyncio.sleep(0.05)
    await caller.save_position("totals", end, expected_position=end - 1)
    assert (await waiting).last_processed_position == end
    with pytest.raises(errors.PositionConflict) as conflict:
        await caller.save_position("totals", end - 1)
    assert conflict.value.last_processed_position == end
    await caller.save_position("totals", end - 1, reset=True)
    with pytest.raises(errors.PositionBeyondSafePosition) as beyond:
        await caller.save_position("totals", end + 9)
    assert beyond.value.safe_position == end
    await caller.delete_position("totals")
    with pytest.raises(errors.ProjectionNotFound):
        await caller.delete_position("totals")


async def test_the_status_of_the_feed_names_what_holds_it_back(
    caller: Caller, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await caller.append(*AGGREGATE, numbered(1))
    status = await caller.feed_status()
    assert (status.lag_positions, status.oldest_in_flight) == (0, None)
    async with sql.transaction():
        await sql.execute(
            "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
            " event_data, occurred_at) VALUES (gen_random_uuid(), 'T', '1', 1, 'e', '{}', now())"
        )
        await caller.append(*AGGREGATE, numbered(1))
        held = await caller.feed_status()
    assert held.store_id == status.store_id
    assert held.safe_position == status.safe_position < held.last_position
    assert held.oldest_in_flight.pid == sql.get_server_pid()
    assert held.oldest_in_flight.age_seconds >= 0
    assert held.oldest_in_flight.transaction_started_at.tzinfo is not None


async def test_pages_of_the_feed(caller: Caller) -> None:
    await caller.append("A", "1", numbered(3))
    await caller.append("B", "1", numbered(2, first=3))
    page = await caller.read_feed(limit=2)
    assert (numbers(page.events), page.up_to_date) == ([0, 1], False)
    last = await caller.read_feed(direction="backward", limit=1)
    assert numbers(last.events) == [4]
    waiting = asyncio.ensure_future(caller.read_feed(last.safe_position, wait_s=10))
    await asyncio.sleep(0.05)
    await caller.append("B", "1", numbered(1, first=5))
    assert numbers((await waiting).events) == [5]
    found: list[Event] = []
    if isinstance(caller.client, EventStoreClient):
        for page in caller.client.read_feed_pages(limit=2, aggregate_type=["A", "C"]):
            found += page.events
    else:
        async for page in caller.client.read_feed_pages(limit=2, aggregate_type=["A", "C"]):
            found += page.events
    assert numbers(found) == [0, 1, 2]


async def test_positions_of_another_store_are_refused(caller: Caller) -> None:
    other = uuid4()
    store_id = (await caller.read_feed()).store_id
    for call in (
        caller.read_feed(store_id=other),
        caller.save_position("totals", 0, store_id=other),
    ):
        with pytest.raises(errors.StoreChanged) as changed:
            await call
        assert (changed.value.store_id, changed.value.expected_store_id) == (store_id, other)


# --- load, decide, append


def increment(aggregate: Aggregate) -> list[NewEvent]:
    return [NewEvent("Incremented", {"to": len(aggregate.events) + 1})]


async def test_deciding_in_20_threads_and_20_tasks_loses_no_update(service_url: str) -> None:
    decisions = 0

    def increment_and_count(aggregate: Aggregate) -> list[NewEvent]:
        nonlocal decisions
        decisions += 1
        return increment(aggregate)

    with EventStoreClient(service_url) as client, ThreadPoolExecutor(20) as threads:
        decided = [
            threads.submit(client.load_decide_append, "Counter", "threads", increment_and_count)
            for _ in range(40)
        ]
    versions = [appended.version for each in decided if (appended := each.result())]
    assert sorted(versions) == list(range(1, 41))
    async with AsyncEventStoreClient(service_url) as async_client:

        async def increment_twice() -> None:
            for _ in range(2):
                await async_client.load_decide_append("Counter", "tasks", increment_and_count)

        await asyncio.gather(*[increment_twice() for _ in range(20)])
        for name in ("threads", "tasks"):
            counter = await async_client.load("Counter", name)
            assert [event.event_data["to"] for event in counter.events] == list(range(1, 41))
    assert decisions > 80, "nobody was refused: the test has shown nothing"


async def test_deciding_gives_up_after_its_attempts(caller: Caller, service_url: str) -> None:
    seen = []
    with EventStoreClient(service_url) as other:

        def decide(aggregate: Aggregate) -> list[NewEvent]:
            seen.append(aggregate.version)
            other.append(*AGGREGATE, [NewEvent("Faster")])
            return increment(aggregate)

        with pytest.raises(errors.VersionConflict) as conflict:
            await caller.load_decide_append(*AGGREGATE, decide, attempts=3)
    assert seen == [0, 1, 2]
    assert conflict.value.actual_version == 3


async def test_deciding_on_nothing_appends_nothing(caller: Caller) -> None:
    assert await caller.load_decide_append(*AGGREGATE, lambda _: None) is None
    assert await caller.load_decide_append(*AGGREGATE, lambda _: []) is None
    with pytest.raises(errors.AggregateNotFound):
        await caller.load(*AGGREGATE)


async def test_deciding_may_take_its_time(service_url: str) -> None:
    async def decide(aggregate: Aggregate) -> Iterator[NewEvent]:
        await asyncio.sleep(0)
        return iter(increment(aggregate))

    async with AsyncEventStoreClient(service_url) as client:
        appended = await client.load_decide_append(*AGGREGATE, decide)
    assert appended is not None
    assert appended.version == 1


# --- trouble


@pytest.mark.usefixtures("_quick_retries")
async def test_whatever_breaks_nothing_is_lost_or_doubled(
    proxy: ServiceProxy, client: EventStoreClient
) -> None:
    chance = random.Random(7)
    breaks = [chance.choice([BEFORE_THE_REQUEST, 0, 1, 100, 300, 1000]) for _ in range(200)]
    proxy.breaks = chain(breaks, repeat(NEVER))
    with EventStoreClient(proxy.url) as cut_off:
        for number in range(60):
            appended = cut_off.append("Order", "sync", numbered(1, number), expected_version=number)
            assert appended.version == number + 1
    async with AsyncEventStoreClient(proxy.url) as async_cut_off:
        await asyncio.gather(
            *[async_cut_off.append("Order", "async", numbered(1, number)) for number in range(60)]
        )
    assert proxy.connections > 60
    assert numbers(client.load("Order", "sync").events) == list(range(60))
    assert sorted(numbers(client.load("Order", "async").events)) == list(range(60))


def test_a_service_that_is_gone_is_given_up() -> None:
    with (
        EventStoreClient("http://127.0.0.1:1", retry_for_s=0.2) as nobody,
        pytest.raises(errors.Unreachable, match=r"gave up after 0 s: .* refused"),
    ):
        nobody.feed_status()

"""Many clients at once: nothing is lost, doubled or half stored, and nobody is told otherwise."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import cycle, islice
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from app.settings import Settings
from tests.acceptance.bare_client import BareClient, bare_client
from tests.conftest import connect, run_as_superuser
from tests.factories import (
    Aggregate,
    append,
    new_aggregate,
    new_append,
    new_event,
    new_events,
    problem,
    stored_events,
    stored_versions,
    transact,
)


@pytest.fixture
async def crowd(shared_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with as many connections as a test has tasks."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=shared_url, limits=limits, timeout=60, verify=False
    ) as client:
        yield client


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def positions_rise_with_versions(client: httpx.AsyncClient, order: Aggregate) -> bool:
    stored = await stored_events(client, order)
    positions = [event["global_position"] for event in stored]
    versions = [event["version"] for event in stored]
    return positions == sorted(positions) and versions == list(range(1, len(stored) + 1))


async def test_race_of_200_clients_incrementing_5_aggregates_loses_no_update(
    api: httpx.AsyncClient, shared_url: str
) -> None:
    counters = [new_aggregate("Counter") for _ in range(5)]
    refusals: Counter[int] = Counter()

    async def increment(client: BareClient, number: int) -> None:
        counter = counters[number % len(counters)]
        while True:
            status, loaded = await client.request("GET", counter.path)
            events = loaded["events"] if status == 200 else []
            to = sum(event["event_data"]["by"] for event in events) + 1
            event = new_event("Incremented", event_data={"by": 1, "to": to, "client": number})
            body = {"expected_version": len(events), "events": [event]}
            status, answer = await client.request("POST", counter.events_path, body)
            if status == 201:
                return
            refusals[status] += 1
            assert answer["type"].endswith("/version-conflict")
            assert answer["actual_version"] > answer["expected_version"] == len(events)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(bare_client(shared_url)) for _ in range(200)]
        await asyncio.gather(*[increment(client, n) for n, client in enumerate(clients)])
    numbers = []
    for counter in counters:
        stored = await stored_events(api, counter)
        assert [event["version"] for event in stored] == list(range(1, 41))
        assert [event["event_data"]["to"] for event in stored] == list(range(1, 41))
        assert await positions_rise_with_versions(api, counter)
        numbers += [event["event_data"]["client"] for event in stored]
    assert sorted(numbers) == list(range(200))
    assert set(refusals) == {409}, "nobody was refused: the test has shown nothing"


async def test_race_of_50_appends_without_expected_version_all_succeed(
    crowd: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    sent = [new_events(size) for size in islice(cycle((1, 2, 5)), 50)]
    answers = await asyncio.gather(*[append(crowd, order, *events) for events in sent])
    assert statuses(answers) == {201: 50}
    stored = await stored_events(crowd, order)
    assert len(stored) == sum(map(len, sent))
    assert await positions_rise_with_versions(crowd, order)
    # Each append is in one piece, and where its answer says.
    by_version = {event["version"]: event["event_id"] for event in stored}
    for events, answer in zip(sent, answers, strict=True):
        told = [event["version"] for event in answer.json()["events"]]
        assert told == list(range(told[0], told[0] + len(events)))
        assert [by_version[version] for version in told] == [event["event_id"] for event in events]


async def test_race_for_the_first_event_of_an_aggregate_has_one_winner(
    crowd: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    requests = [
        append(crowd, order, expected_version=0)
        if number % 2
        else append(crowd, order, headers={"If-None-Match": "*"})
        for number in range(30)
    ]
    answers = await asyncio.gather(*requests)
    counted = statuses(answers)
    assert counted[201] == 1
    assert counted[409] + counted[412] == 29
    assert await stored_versions(crowd, order) == [1]


@pytest.mark.parametrize("expected_version", [None, 0, 7])
async def test_race_of_the_same_append_20_times_stores_it_once(
    crowd: httpx.AsyncClient, expected_version: int | None
) -> None:
    for _ in range(5):
        order = new_aggregate()
        if expected_version:
            await append(crowd, order, *new_events(expected_version))
        events = new_events(3)
        answers = await asyncio.gather(
            *[append(crowd, order, *events, expected_version=expected_version) for _ in range(20)]
        )
        assert statuses(answers) == {201: 1, 200: 19}
        assert len({answer.text for answer in answers}) == 1
        assert len(await stored_events(crowd, order)) == (expected_version or 0) + 3


async def test_race_of_the_same_idempotency_key_20_times_stores_it_once(
    crowd: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    headers = {"Idempotency-Key": "pay-1"}
    answers = await asyncio.gather(
        *[append(crowd, order, new_event(), new_event(), headers=headers) for _ in range(20)]
    )
    assert statuses(answers) == {201: 1, 200: 19}
    assert len({answer.text for answer in answers}) == 1
    assert await stored_versions(crowd, order) == [1, 2]


async def test_race_of_the_same_transaction_20_times_stores_it_once(
    crowd: httpx.AsyncClient,
) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    appends = [
        new_append(order, *new_events(2), expected_version=0),
        new_append(invoice, *new_events(1)),
        new_append(order, *new_events(1), expected_version=2),
    ]
    answers = await asyncio.gather(*[transact(crowd, *appends) for _ in range(20)])
    assert statuses(answers) == {201: 1, 200: 19}
    assert len({answer.text for answer in answers}) == 1
    assert await stored_versions(crowd, order) == [1, 2, 3]
    assert await stored_versions(crowd, invoice) == [1]


async def test_race_of_the_same_ids_with_other_content_has_one_winner(
    crowd: httpx.AsyncClient,
) -> None:
    event_id = str(uuid4())
    orders = [new_aggregate() for _ in range(10)]
    answers = await asyncio.gather(
        *[append(crowd, order, new_event(event_id=event_id)) for order in orders]
    )
    assert statuses(answers) == {201: 1, 409: 9}
    stored = [await stored_versions(crowd, order) for order in orders]
    assert sorted(stored) == [[]] * 9 + [[1]]


async def test_race_of_overlapping_transactions_in_opposite_order_ends_without_deadlock(
    crowd: httpx.AsyncClient,
) -> None:
    orders = [new_aggregate() for _ in range(6)]
    sent: list[list[Any]] = []
    for number in range(60):
        first = number % len(orders)
        named = [orders[first], orders[(first + 1 + number % 5) % len(orders)]]
        if number % 2:
            named.reverse()
        sent.append([new_append(order, *new_events(3)) for order in named])
    # Single appends do not take the lock that transactions take.
    singles = [append(crowd, order) for order in orders for _ in range(5)]
    answers = await asyncio.gather(*[transact(crowd, *appends) for appends in sent], *singles)
    assert statuses(answers) == {201: len(sent) + len(singles)}
    for order in orders:
        assert await positions_rise_with_versions(crowd, order)
        own = [each for appends in sent for each in appends if each["aggregate_id"] == order.id]
        assert len(await stored_events(crowd, order)) == 3 * len(own) + 5


async def test_race_of_transactions_at_an_expected_version_has_one_winner(
    crowd: httpx.AsyncClient,
) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")

    async def both(*, is_reversed: bool) -> httpx.Response:
        named = [invoice, order] if is_reversed else [order, invoice]
        return await transact(
            crowd, *[new_append(each, *new_events(2), expected_version=0) for each in named]
        )

    answers = await asyncio.gather(*[both(is_reversed=bool(n % 2)) for n in range(20)])
    assert statuses(answers) == {201: 1, 409: 19}
    assert await stored_versions(crowd, order) == await stored_versions(crowd, invoice) == [1, 2]


@pytest.mark.parametrize("kind", ["appends", "transactions"])
async def test_race_for_the_same_ids_in_opposite_order_ends_without_deadlock(
    client: httpx.AsyncClient, settings: Settings, kind: str
) -> None:
    # Each waits for an id that the other has: PostgreSQL ends one of them after this time.
    await asyncio.to_thread(
        run_as_superuser,
        str(settings.database_host),
        f"ALTER DATABASE {settings.database_name} SET deadlock_timeout = '20ms'",
    )

    async def send(order: Aggregate, events: list[Any]) -> httpx.Response:
        if kind == "appends":
            return await append(client, order, *events)
        return await transact(client, new_append(order, *events))

    for _ in range(10):
        events = new_events(200)
        one, other = new_aggregate(), new_aggregate()
        answers = await asyncio.gather(send(one, events), send(other, events[::-1]))
        assert statuses(answers) == {201: 1, 409: 1}
        lengths = [len(await stored_events(client, order)) for order in (one, other)]
        assert sorted(lengths) == [0, 200]


async def insert_next(sql: "asyncpg.Connection[asyncpg.Record]", order: Aggregate) -> None:
    """Insert an event as another service does, which repeats when it loses a race."""
    while True:
        try:
            await sql.execute(
                "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
                " event_data, metadata, occurred_at, correlation_id, causation_id)"
                " SELECT gen_random_uuid(), $1::text, $2::text, coalesce(max(version), 0) + 1,"
                " 'Imported', '{}', NULL, now(), NULL, NULL FROM events"
                " WHERE aggregate_type = $1 AND aggregate_id = $2",
                order.type,
                order.id,
            )
        except asyncpg.UniqueViolationError:
            continue
        return


async def test_race_of_appends_with_direct_inserts_of_another_service(
    crowd: httpx.AsyncClient, shared_settings: Settings
) -> None:
    order = new_aggregate()
    others = [await connect(shared_settings) for _ in range(3)]

    async def insert_20(sql: "asyncpg.Connection[asyncpg.Record]") -> None:
        for _ in range(20):
            await insert_next(sql, order)

    async def append_10_exactly() -> None:
        for _ in range(10):
            while True:
                version = await crowd.head(order.path)
                expected = int(version.headers.get("etag", '"0"').strip('"'))
                answer = await append(crowd, order, expected_version=expected)
                if answer.status_code == 201:
                    break
                problem(answer, 409, "version-conflict")

    async def append_10_of_any_version() -> None:
        for _ in range(10):
            assert (await append(crowd, order, new_event(), new_event())).status_code == 201

    try:
        await asyncio.gather(
            *[insert_20(sql) for sql in others],
            *[append_10_exactly() for _ in range(3)],
            *[append_10_of_any_version() for _ in range(3)],
        )
    finally:
        for sql in others:
            await sql.close()
    stored = await stored_events(crowd, order)
    assert len(stored) == 3 * 20 + 3 * 10 + 3 * 10 * 2
    assert [event["version"] for event in stored] == list(range(1, len(stored) + 1))
    assert Counter(event["event_type"] for event in stored) == {"Imported": 60, "OrderPaid": 90}


async def test_race_of_writers_and_a_tailing_reader_skips_and_repeats_nothing(
    client: httpx.AsyncClient,
) -> None:
    orders = [new_aggregate() for _ in range(5)]

    async def write(order: Aggregate) -> None:
        for number in range(20):
            answer = (
                await append(client, order, *new_events(1 + number % 3))
                if number % 2
                else await transact(client, new_append(order), new_append(orders[0]))
            )
            assert answer.status_code == 201

    writing = asyncio.gather(*[write(order) for order in orders])
    read: list[Any] = []
    after = 0
    while True:
        is_last = writing.done()
        page = (await client.get("/v1/events", params={"after": after, "limit": 7})).json()
        assert page["next_after"] <= page["safe_position"]
        read += page["events"]
        after = page["next_after"]
        if is_last and page["up_to_date"]:
            break
    await writing
    expected = [event for order in orders for event in await stored_events(client, order)]
    expected.sort(key=lambda event: int(event["global_position"]))
    assert read == expected


async def test_race_of_reads_with_appends_shows_whole_appends_only(
    crowd: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    await append(crowd, order, *new_events(10))

    async def write() -> None:
        for _ in range(30):
            assert (await append(crowd, order, *new_events(10))).status_code == 201

    writing = asyncio.create_task(write())
    lengths = []
    readers: list[Callable[[], Awaitable[httpx.Response]]] = [
        lambda: crowd.get(order.path),
        lambda: crowd.get(order.events_path),
        lambda: crowd.get(order.events_path, params={"direction": "backward"}),
    ]
    while not writing.done():
        for answer in await asyncio.gather(*[read() for read in readers]):
            body = answer.json()
            assert len(body["events"]) == body["version"]
            lengths.append(body["version"])
    await writing
    assert {length % 10 for length in lengths} == {0}
    assert len(set(lengths)) > 1, "no append came in between: the test has shown nothing"

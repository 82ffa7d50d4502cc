"""GET /v1/events as server-sent events: what is stored, then what comes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.api import event_stream as app_event_stream
from app.queries import feed_tail, follow_feed
from app.settings import Settings
from app.store.connection import Connection, Database
from tests.acceptance.conftest import client_of
from tests.acceptance.event_stream import subscribed
from tests.conftest import running_service
from tests.factories import (
    Event,
    append,
    new_aggregate,
    new_event,
    new_events,
    problem,
    refused_places,
)

Sql = Any
INSERT = (
    "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,"
    " occurred_at) VALUES (gen_random_uuid(), $1, $2, $3, 'Direct', '{}', now())"
    " RETURNING global_position"
)


def positions(events: list[Event]) -> list[int]:
    return [event["global_position"] for event in events]


@pytest.fixture
async def other(service_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Another client, for requests beside an open stream."""
    async with client_of(service_url) as client:
        yield client


async def test_a_subscriber_gets_what_is_stored_and_then_what_comes(
    client: httpx.AsyncClient, other: httpx.AsyncClient, sql: Sql
) -> None:
    order = new_aggregate()
    await append(other, order, *new_events(600))
    async with subscribed(client) as stream:
        store_id = stream.response.headers["store-id"]
        stored = await stream.events(600)
        checkpoint = await stream.checkpoint()
        assert positions(stored) == list(range(1, 601))
        assert (checkpoint.id, checkpoint.data["safe_position"]) == (600, 600)
        for number in range(3):
            await append(other, order, new_event(event_data={"number": number}))
            item = await stream.next()
            assert (item.kind, item.id) == ("message", 601 + number)
            assert item.data["event_data"] == {"number": number}
        await sql.execute(INSERT, "Direct", "d", 1)
        [direct] = await stream.events(1)
        assert (direct["aggregate_type"], direct["global_position"]) == ("Direct", 604)
    # An event is the same in each form.
    page = (await other.get("/v1/events", params={"after": 600})).json()
    assert page["events"][3] == direct
    assert page["store_id"] == checkpoint.data["store_id"] == store_id


@pytest.mark.parametrize("kept", ["in memory", "in the database"])
async def test_a_subscriber_resumes_behind_the_last_id(
    client: httpx.AsyncClient,
    other: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    kept: str,
) -> None:
    if kept == "in the database":
        monkeypatch.setattr(feed_tail, "KEPT_EVENTS", 1)
    order = new_aggregate()
    async with subscribed(other) as waiting:
        await waiting.checkpoint()
        await append(client, order, *new_events(5))
        assert positions(await waiting.events(5)) == [1, 2, 3, 4, 5]
        resumed: tuple[tuple[dict[str, str], dict[str, Any], list[int]], ...] = (
            ({"Last-Event-ID": "2"}, {}, [3, 4, 5]),
            ({}, {"after": 3}, [4, 5]),
            ({"Last-Event-ID": "4"}, {"after": 0}, [5]),
        )
        for headers, params, expected in resumed:
            async with subscribed(client, headers=headers, **params) as stream:
                assert positions(await stream.events(len(expected))) == expected
                assert (await stream.checkpoint()).id == 5


async def test_filters_let_through_the_same_live_as_from_the_store(
    client: httpx.AsyncClient,
    other: httpx.AsyncClient,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app_event_stream, "SILENCE_S", 0.3)
    correlation_id, causation_id = str(uuid4()), str(uuid4())
    orders = [new_aggregate("Order"), new_aggregate("Customer")]
    events = [
        new_event("Placed", occurred_at="2026-01-01T00:00:00Z"),
        new_event("Paid", occurred_at="2026-01-02T00:00:00.000001Z", causation_id=causation_id),
        new_event("Shipped", occurred_at="2026-01-03T12:00:00+12:00"),
        new_event("Paid", correlation_id=correlation_id, occurred_at="0005-01-01T00:00:00Z"),
    ]
    filters: list[dict[str, Any]] = [
        {"aggregate_type": "Order"},
        {"aggregate_type": ["Order", "Customer"], "event_type": ["Paid", "Shipped"]},
        {"aggregate_id": orders[1].id},
        {"event_type": "Paid"},
        {"correlation_id": correlation_id.upper()},
        {"causation_id": causation_id},
        {"occurred_from": "2026-01-02T00:00:00.000001Z"},
        {"occurred_to": "2026-01-02T00:00:00.000001Z"},
        {"occurred_from": "2026-01-02T00:00:00Z", "occurred_to": "2026-01-03T00:00:01Z"},
    ]
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(subscribed(client, **params)) for params in filters
        ]
        for stream in streams:
            await stream.checkpoint()
        for order in orders:
            for event in events:
                await append(other, order, event)
        # Times that cannot be compared as text: the filter is then the database's.
        for time in ("infinity", "-infinity", "20000-01-01"):
            insert = INSERT.replace("now()", f"'{time}'")
            await sql.execute(insert, "Order", orders[0].id, 5 + len(time))
        last = (await other.get("/v1/events")).json()["safe_position"]
        for params, stream in zip(filters, streams, strict=True):
            found, reached = [], 0
            while reached < last:
                item = await stream.next()
                reached = item.id
                if item.kind == "message":
                    found.append(item.id)
            page = (await other.get("/v1/events", params=params)).json()
            assert found == positions(page["events"]), params
            assert found, params


async def test_filtered_out_events_move_a_subscriber_on(
    client: httpx.AsyncClient, other: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_event_stream, "LONG_RUN", 50)
    order = new_aggregate()
    async with subscribed(client, event_type="Rare") as stream:
        assert (await stream.checkpoint()).id == 0
        await append(other, order, *new_events(60))
        passed = await stream.checkpoint()
        assert passed.id == passed.data["safe_position"] == 60


async def test_silence_is_broken_by_checkpoints(
    client: httpx.AsyncClient, other: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_event_stream, "SILENCE_S", 0.2)
    async with subscribed(client, event_type="Rare") as stream:
        assert [(await stream.checkpoint()).id for _ in range(3)] == [0, 0, 0]
        await append(other, new_aggregate())
        while (item := await stream.checkpoint()).id == 0:
            pass
        assert item.id == 1


async def test_a_transaction_that_is_in_flight_holds_back_what_came_after_its_mark(
    client: httpx.AsyncClient, other: httpx.AsyncClient, sql: Sql
) -> None:
    order = new_aggregate()
    async with subscribed(client) as stream:
        await stream.checkpoint()
        transaction = sql.transaction()
        await transaction.start()
        # One that has inserted nothing holds nothing back.
        await sql.fetch("SELECT * FROM events")
        await append(other, order)
        assert positions(await stream.events(1)) == [1]
        held = await sql.fetchval(INSERT, "Direct", "d", 1)
        for _ in range(3):
            assert (await append(other, order)).status_code == 201
        assert (await other.get("/v1/events")).json()["safe_position"] == 1
        await transaction.commit()
        assert positions(await stream.events(4)) == [held, 3, 4, 5]


async def test_a_subscription_is_refused_what_has_no_meaning_there(api: httpx.AsyncClient) -> None:
    stream = {"Accept": "text/event-stream"}
    for params, place in (
        ({"limit": "5"}, "query.limit"),
        ({"direction": "backward"}, "query.direction"),
        ({"wait": "5"}, "query.wait"),
    ):
        answer = await api.get("/v1/events", params=params, headers=stream)
        assert refused_places(answer) == [place]
    for last_event_id in ("x", "-1", "1.5", str(2**63), "9" * 30):
        answer = await api.get("/v1/events", headers={**stream, "Last-Event-ID": last_event_id})
        assert refused_places(answer) == ["header.Last-Event-ID"], last_event_id


async def subscribers(client: httpx.AsyncClient) -> int:
    """How many there are, once that stays the same for a while."""
    seen: list[int] = []
    async with asyncio.timeout(20):
        while len(seen) < 20 or len(set(seen[-20:])) > 1:
            seen.append((await client.get("/v1/feed/status")).json()["subscribers"])
            await asyncio.sleep(0.01)
    return seen[-1]


class TestLimits:
    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"max_subscribers": 2}

    async def test_more_subscribers_than_may_be_are_refused_and_places_become_free(
        self, client: httpx.AsyncClient
    ) -> None:
        async with subscribed(client), subscribed(client):
            for params, headers in (({}, {"Accept": "text/event-stream"}), ({"wait": "1"}, {})):
                answer = await client.get("/v1/events", params=params, headers=headers)
                details = problem(answer, 503, "too-many-subscribers")
                assert details["max_subscribers"] == 2
                assert int(answer.headers["retry-after"]) >= 1
            assert (await client.get("/v1/events")).status_code == 200
        async with asyncio.timeout(10):
            # It waits as long as it is told to, so this does not spin.
            while (await client.get("/v1/events", params={"wait": "0.01"})).status_code == 503:
                pass

    async def test_a_waiting_reader_that_has_gone_frees_its_place(
        self, client: httpx.AsyncClient
    ) -> None:
        waiting = [
            asyncio.create_task(client.get("/v1/events", params={"wait": "60"})) for _ in range(2)
        ]
        assert await subscribers(client) == 2
        for task in waiting:
            task.cancel()
        assert await subscribers(client) == 0


async def test_streams_end_when_the_service_stops(settings: Settings) -> None:
    with running_service(settings) as url:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(client_of(url))
            stream = await stack.enter_async_context(subscribed(client))
            await stream.checkpoint()
            ending = asyncio.create_task(stream.ended())
            stack.pop_all()
    assert await ending
    await stream.response.aclose()
    await client.aclose()


async def test_a_slow_reader_gets_everything_by_pages_of_its_own(
    client: httpx.AsyncClient, other: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads nothing until the tail has long dropped what it lacks."""
    monkeypatch.setattr(feed_tail, "KEPT_EVENTS", 100)
    order = new_aggregate()
    async with subscribed(client) as stream:
        await stream.checkpoint()
        for _ in range(20):
            events = [new_event(event_data={"x": "y" * 1_000}) for _ in range(500)]
            assert (await append(other, order, *events)).status_code == 201
        assert positions(await stream.events(10_000)) == list(range(1, 10_001))


async def test_large_events_come_one_by_one(
    client: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    order = new_aggregate()
    large = {"x": "y" * 2_000_000}
    async with subscribed(client) as stream:
        await stream.checkpoint()
        for _ in range(3):
            await append(other, order, *(new_event(event_data=large) for _ in range(3)))
        events = await stream.events(9)
        assert positions(events) == list(range(1, 10))
        assert all(event["event_data"] == large for event in events)


async def test_a_store_that_becomes_another_one_breaks_streams_off(
    client: httpx.AsyncClient, other: httpx.AsyncClient, sql: Sql
) -> None:
    await append(other, new_aggregate())
    async with subscribed(client) as stream:
        [_] = await stream.events(1)
        checkpoint = await stream.checkpoint()
        # What comes behind it only the service's tail can have told: it has begun.
        await append(other, new_aggregate())
        [_] = await stream.events(1)
        await sql.execute("UPDATE store_identity SET store_id = gen_random_uuid()")
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await stream.next()
    answer = await other.get(
        "/v1/events",
        params={"store_id": checkpoint.data["store_id"]},
        headers={"Accept": "text/event-stream", "Last-Event-ID": "1"},
    )
    problem(answer, 409, "store-changed")


async def test_the_tail_outlives_trouble_with_the_database(
    client: httpx.AsyncClient, other: httpx.AsyncClient, sql: Sql
) -> None:
    order = new_aggregate()
    async with subscribed(client) as stream:
        await stream.checkpoint()
        await sql.execute("ALTER FUNCTION events_safe_position() RENAME TO elsewhere")
        await asyncio.sleep(2 * feed_tail.LONGEST_POLL_S)
        assert (await append(other, order)).status_code == 201
        await sql.execute("ALTER FUNCTION elsewhere() RENAME TO events_safe_position")
        assert positions(await stream.events(1)) == [1]


async def test_the_database_is_asked_the_same_whatever_the_number_of_subscribers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once they are live; counted is each time that the service takes a connection to ask."""
    asked = 0
    connection = Database.connection

    def counted(database: Database, **wanted: bool) -> AbstractAsyncContextManager[Connection]:
        nonlocal asked
        asked += 1
        return connection(database, **wanted)

    monkeypatch.setattr(Database, "connection", counted)
    counts = []
    took_s = 0.0
    # What keeps the list of due snapshots looks at the feed, too.
    without_worker = settings.model_copy(update={"snapshot_worker": False})
    with running_service(without_worker) as url:
        for number in (1, 40):
            async with client_of(url) as client, AsyncExitStack() as stack:
                streams = [
                    await stack.enter_async_context(subscribed(client)) for _ in range(number)
                ]
                for stream in streams:
                    while (await stream.next()).kind != "checkpoint":
                        pass
                before, begin = asked, time.monotonic()
                for _ in range(10):
                    await append(client, new_aggregate())
                for stream in streams:
                    await stream.events(10)
                took_s = time.monotonic() - begin
                counts.append(asked - before)
    assert counts[0] > 0
    # Forty would be forty times as many. The longer it takes, the more often the one looks.
    assert counts[1] < 3 * counts[0] + 40 + took_s / feed_tail.SHORTEST_POLL_S


async def test_a_browser_may_read_it_where_its_origin_is_allowed(settings: Settings) -> None:
    allowed = settings.model_copy(update={"cors_origins": ("https://app.example",)})
    with running_service(allowed) as url:
        async with client_of(url) as client:
            for origin, header in (
                ("https://app.example", "https://app.example"),
                ("https://other.example", None),
            ):
                async with subscribed(client, headers={"Origin": origin}) as stream:
                    assert stream.response.headers.get("access-control-allow-origin") == header
                    await stream.checkpoint()


async def test_without_origins_no_browser_of_another_site_may_read_it(
    api: httpx.AsyncClient,
) -> None:
    answer = await api.get("/v1/events", headers={"Origin": "https://app.example"})
    assert "access-control-allow-origin" not in answer.headers


# --- one aggregate


async def test_an_aggregate_is_followed_by_version(
    client: httpx.AsyncClient, other: httpx.AsyncClient, sql: Sql
) -> None:
    order, stranger = new_aggregate(), new_aggregate()
    await append(other, order, *new_events(300))
    async with subscribed(client, order.events_path) as stream:
        assert [event["version"] for event in await stream.events(300)] == list(range(1, 301))
        for version in range(301, 304):
            await append(other, stranger)
            await append(other, order)
            item = await stream.next()
            assert (item.id, item.data["version"]) == (version, version)
            assert item.data["aggregate_id"] == order.id
        # Versions in another order than positions, by direct SQL.
        async with sql.transaction():
            for version in (305, 304, 306):
                await sql.execute(INSERT, order.type, order.id, version)
        assert [event["version"] for event in await stream.events(3)] == [304, 305, 306]
    resumed: tuple[tuple[dict[str, str], dict[str, Any]], ...] = (
        ({"Last-Event-ID": "304"}, {}),
        ({}, {"from_version": 305}),
    )
    for headers, params in resumed:
        async with subscribed(client, order.events_path, headers, **params) as stream:
            assert [event["version"] for event in await stream.events(2)] == [305, 306]


async def test_an_unknown_aggregate_cannot_be_followed(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    stream = {"Accept": "text/event-stream"}
    problem(await api.get(order.events_path, headers=stream), 404, "aggregate-not-found")
    await append(api, order)
    for name, value in (("limit", "5"), ("direction", "backward"), ("to_version", "5")):
        answer = await api.get(order.events_path, params={name: value}, headers=stream)
        assert refused_places(answer) == [f"query.{name}"]


async def test_aggregates_are_followed_however_much_comes_in_between(
    client: httpx.AsyncClient, other: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_tail, "KEPT_EVENTS", 1)
    monkeypatch.setattr(feed_tail, "CHUNK_EVENTS", 3)
    monkeypatch.setattr(follow_feed, "PAGE_EVENTS", 7)
    order, stranger = new_aggregate(), new_aggregate()
    await append(other, order)
    async with subscribed(client, order.events_path) as stream:
        await stream.events(1)
        for version in range(2, 30):
            await asyncio.gather(append(other, stranger, *new_events(9)), append(other, order))
            assert version
        assert [event["version"] for event in await stream.events(28)] == list(range(2, 30))


def test_frames_hold_one_line_of_json(permit_lines: list[bytes]) -> None:
    """A line break inside of a string is escaped in JSON, so a frame has no stray line."""
    assert "\n" not in json.dumps("a\nb\rc")
    assert all(b"\r" not in line for line in permit_lines)

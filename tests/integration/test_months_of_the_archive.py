"""Months of the archive in the database: detached, dropped, attached as a whole or not at all."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime
from functools import partial
from uuid import uuid4

import pytest
from msgspec.structs import replace

from app.errors import DatabaseBusy, EventsDetached, MonthRefused
from app.events import MAX_VERSION, RecordedEvent
from app.queries.feed_tail import FeedTail
from app.queries.load_aggregate import load_aggregate
from app.queries.read_events import EventRange, stream_events
from app.queries.stream_feed import stream_feed
from app.settings import Settings
from app.store import month_store
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter
from app.store.month_store import MonthStore, StoredMonth, open_months
from app.store.statements import of_month
from tests.archiving import archive
from tests.conftest import connect
from tests.integration.client_sql import INSERT, Connection

MARCH = date(2024, 3, 1)
TABLE = "events_archive_2024_03"
END_OF_MARCH = datetime(2024, 4, 1, tzinfo=UTC)


@pytest.fixture
async def months(settings: Settings) -> AsyncIterator[MonthStore]:
    async with open_months(settings) as store:
        yield store


async def insert(
    sql: Connection, aggregate_id: str, version: int, month: int, data: object = 1
) -> None:
    occurred_at = datetime(2024, month, 7, 12, 30, 0, version, tzinfo=UTC)
    row = (uuid4(), "Order", aggregate_id, version, "Moved", json.dumps({"data": data}))
    await sql.execute(INSERT, *row, None, occurred_at, None, None)


@pytest.fixture
async def three(sql: Connection) -> None:
    """Three events of March in the archive, between others; a fourth is live."""
    await insert(sql, "a", 1, 2)
    await insert(sql, "a", 2, 3, "x" * 10_000)
    await insert(sql, "b", 1, 2)
    await insert(sql, "b", 2, 3)
    await insert(sql, "a", 3, 3)
    await insert(sql, "a", 4, 5)
    assert await archive(sql, END_OF_MARCH) == 5


async def read(months: MonthStore, month: date = MARCH) -> list[RecordedEvent]:
    return [event async for events in months.read_month(month) for event in events]


async def is_attached(sql: Connection) -> bool:
    return bool(
        await sql.fetchval("SELECT count(*) FROM pg_inherits WHERE inhrelid = $1::regclass", TABLE)
    )


def confirmed(_: StoredMonth) -> None:
    """Nothing speaks against it."""


@pytest.mark.usefixtures("three")
async def test_detached_and_attached_as_often_as_it_is_said(
    months: MonthStore, sql: Connection
) -> None:
    everything = await sql.fetch("TABLE events")
    before = await read(months)
    assert [event.global_position for event in before] == [2, 4, 5]
    for _ in range(2):
        await months.detach_month(MARCH)
    detached = await months.get_month(MARCH)
    assert (detached.events, detached.min_position, detached.max_position) == (3, 2, 5)
    assert detached.detached_at is not None
    assert detached.has_table
    assert detached.size_bytes > 0
    assert len(await sql.fetch("TABLE events")) == 3
    # A reader who asks for the table itself, and its export, have it all the same.
    assert await read(months) == before
    for _ in range(2):
        await months.attach_month(MARCH)
    assert await sql.fetch("TABLE events") == everything
    february, march = await months.list_months()
    assert (february.month, march.month) == (date(2024, 2, 1), MARCH)
    assert march.detached_at is None


@pytest.mark.usefixtures("three")
async def test_nothing_moves_to_a_month_that_is_detached(
    months: MonthStore, sql: Connection
) -> None:
    await months.detach_month(MARCH)
    await insert(sql, "c", 1, 3)
    await insert(sql, "d", 1, 2)
    assert await archive(sql, END_OF_MARCH) == 1
    assert await sql.fetchval("SELECT aggregate_id FROM ONLY events WHERE version = 1") == "c"
    await months.attach_month(MARCH)
    assert await archive(sql, END_OF_MARCH) == 1


@pytest.mark.usefixtures("three")
async def test_who_reads_for_long_is_waited_for_and_not_blocked(
    months: MonthStore, sql: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(month_store, "LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(month_store, "LOCK_PAUSE_S", 0.01)
    reader = await connect(settings)
    short = Database(settings.model_copy(update={"database_lock_timeout_s": 0.05}))
    await short.open()
    async with reader.transaction():
        await reader.fetch("SELECT FROM events")
        with pytest.raises(DatabaseBusy):
            await MonthStore(short).detach_month(MARCH)
        assert await is_attached(sql)
    await MonthStore(short).detach_month(MARCH)
    assert not await is_attached(sql)
    await short.close(timeout_s=5)
    await reader.close()


async def test_a_month_that_never_was_is_refused(months: MonthStore) -> None:
    for refused in (
        months.get_month(MARCH),
        read(months),
        months.detach_month(MARCH),
        months.drop_month(MARCH, events=0, content_sha256=""),
        months.attach_month(MARCH),
        months.attach_copy(MARCH, list, confirmed),
    ):
        with pytest.raises(MonthRefused, match="2024-03 is not in the archive"):
            await refused


@pytest.mark.usefixtures("three")
async def test_dropped_and_attached_from_what_was_read(months: MonthStore, sql: Connection) -> None:
    everything = await sql.fetch("TABLE events")
    events = await read(months)
    with pytest.raises(MonthRefused, match="has more events than the file"):
        await months.drop_month(MARCH, events=2, content_sha256="of two")
    assert await is_attached(sql)
    with pytest.raises(MonthRefused, match="is attached"):
        await months.attach_copy(MARCH, lambda: [events], confirmed)
    await months.drop_month(MARCH, events=3, content_sha256="of three")
    dropped = await months.get_month(MARCH)
    assert dropped.detached_at is not None
    assert (dropped.has_table, dropped.size_bytes, dropped.content_sha256) == (False, 0, "of three")
    with pytest.raises(MonthRefused, match="is dropped already"):
        await months.drop_month(MARCH, events=3, content_sha256="of three")
    with pytest.raises(MonthRefused, match="was dropped"):
        await months.attach_month(MARCH)
    with pytest.raises(MonthRefused, match="was dropped"):
        await read(months)

    async def refused(copied: list[RecordedEvent], reason: str) -> None:
        with pytest.raises(MonthRefused, match=reason):
            await months.attach_copy(MARCH, lambda: [copied], confirmed)
        assert await months.get_month(MARCH) == dropped

    first, second, third = events
    await refused(events[:2], "has had 3 events at positions 2 to 5, not 2 at 2 to 4")
    await refused([*events, third], "duplicate key")
    await refused([first, second, replaced(third, event_id=str(uuid4()))], "1 have another id")
    await refused([first, replaced(second, global_position=3), third], "1 have another id")
    await refused([first, second, replaced(third, version=9)], "1 another version")
    await refused([first, second, replaced(third, aggregate_id="z")], "1 another version")
    april = "2024-04-01T00:00:00.000000Z"
    await refused([first, second, replaced(third, occurred_at=april)], "violates check constraint")
    await refused([first, second, replaced(third, event_id="no")], "invalid UUID")
    await refused([first, second, replaced(third, occurred_at="no")], "Invalid isoformat")
    await months.attach_copy(MARCH, lambda: [events[:1], events[1:]], confirmed)
    assert await sql.fetch("TABLE events") == everything
    # As it was made at first: what had moved stays, what changes is refused.
    assert await read(months) == events
    with pytest.raises(Exception, match="events are immutable"):
        await sql.execute(f"DELETE FROM {TABLE}")


def replaced(event: RecordedEvent, **members: object) -> RecordedEvent:
    return replace(event, **members)


@pytest.mark.usefixtures("three")
async def test_a_table_that_is_not_what_was_detached_stays_detached(
    months: MonthStore, sql: Connection
) -> None:
    await months.detach_month(MARCH)
    detached = await months.get_month(MARCH)
    await sql.execute(f"CREATE TABLE kept AS TABLE {TABLE}")
    await sql.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER USER")
    columns = (
        "event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata, "
        "occurred_at, correlation_id, causation_id, global_position"
    )
    for change, reason in (
        ("version = 7 WHERE global_position = 4", "1 another version"),
        ("event_id = gen_random_uuid() WHERE global_position = 4", "1 have another id"),
        ("global_position = 3 WHERE global_position = 4", "1 have another id"),
    ):
        await sql.execute(f"UPDATE {TABLE} SET {change}")
        with pytest.raises(MonthRefused, match=reason):
            await months.attach_month(MARCH)
        await sql.execute(f"TRUNCATE {TABLE}")
        await sql.execute(f"INSERT INTO {TABLE} ({columns}) SELECT {columns} FROM kept")
    await sql.execute(f"DELETE FROM {TABLE} WHERE global_position = 5")
    with pytest.raises(MonthRefused, match="not 2 at 2 to 4"):
        await months.attach_month(MARCH)
    with pytest.raises(MonthRefused, match="has 2 events, and 3 have moved there"):
        await read(months)
    assert await months.get_month(MARCH) == detached
    assert not await is_attached(sql)


@pytest.mark.usefixtures("three")
async def test_a_page_of_a_month_is_read_by_position(sql: Connection) -> None:
    await sql.execute("SET enable_seqscan = off")
    text = of_month("read_month", MARCH)
    async with sql.transaction():
        await sql.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await sql.execute(f"PREPARE page (bigint, bigint) AS {text}")
        plan = "\n".join(row[0] for row in await sql.fetch("EXPLAIN EXECUTE page (3, 10)"))
    assert f"{TABLE}_global_position" in plan
    assert "Sort" not in plan


@pytest.fixture
def tail(event_reader: EventReader) -> Iterator[FeedTail]:
    tail = FeedTail(event_reader, max_listeners=10)
    yield tail
    tail.close()


@pytest.mark.timeout(60)
async def test_a_tail_that_comes_to_a_detached_month_ends_for_its_listeners(
    months: MonthStore, sql: Connection, settings: Settings, tail: FeedTail
) -> None:
    """It would try for ever."""
    await insert(sql, "before", 1, 2)
    await archive(sql, END_OF_MARCH)
    slow = await connect(settings)
    transaction = slow.transaction()
    await transaction.start()
    await insert(slow, "slow", 1, 5)
    await insert(sql, "a", 1, 3)
    await archive(sql, END_OF_MARCH)
    await months.detach_month(MARCH)
    with tail.listening("sse"):
        # Held back by the one in flight, behind which an event has moved and is detached.
        assert await tail.begun() == 1
        await transaction.commit()
        await tail.wait(1, timeout_s=30)
        assert tail.chunk_behind(1) is not None
        with pytest.raises(EventsDetached) as caught:
            await tail.wait(2, timeout_s=30)
        assert caught.value.resume_after == 3
    with tail.listening("sse"):
        assert await tail.begun() == 3
    await tail.stop()
    await slow.close()


async def first_page(pages: AsyncGenerator[list[RecordedEvent], None]) -> list[int]:
    async with aclosing(pages):
        return [event.version for event in await anext(pages)]


@pytest.mark.usefixtures("three")
async def test_a_stream_that_would_come_to_a_detached_month_does_not_begin(
    months: MonthStore, event_reader: EventReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the aggregate, the second and third of four events."""
    monkeypatch.setattr("app.queries.read_events.STREAM_PAGE_SIZE", 1)
    monkeypatch.setattr("app.queries.load_aggregate.STREAM_PAGE_SIZE", 1)
    monkeypatch.setattr("app.queries.stream_feed.PAGE_EVENTS", 1)
    await months.detach_month(MARCH)
    for wanted, limit, versions in (
        (EventRange(1, MAX_VERSION), 2, None),
        (EventRange(1, MAX_VERSION), 1, [1]),
        (EventRange(1, 1), MAX_VERSION, [1]),
        (EventRange(4, MAX_VERSION), MAX_VERSION, [4]),
        (EventRange(MAX_VERSION, 1, backward=True), MAX_VERSION, None),
        (EventRange(MAX_VERSION, 1, backward=True), 2, None),
        (EventRange(MAX_VERSION, 1, backward=True), 1, [4]),
        (EventRange(MAX_VERSION, 4, backward=True), MAX_VERSION, [4]),
    ):
        pages = stream_events(event_reader, "Order", "a", wanted, limit)
        if versions is not None:
            assert await first_page(pages) == versions, (wanted, limit)
            continue
        with pytest.raises(EventsDetached):
            await first_page(pages)
    with pytest.raises(EventsDetached):
        await load_aggregate(event_reader, "Order", "a")
    head = await event_reader.feed_head()
    stream = partial(stream_feed, event_reader, FeedFilter(), store_id=None, head=head)
    with pytest.raises(EventsDetached) as caught:
        await first_page(stream(after=0, limit=None))
    assert caught.value.resume_after == 5
    assert await first_page(stream(after=0, limit=2)) == [1]
    assert await first_page(stream(after=5, limit=None)) == [4]


@pytest.mark.usefixtures("three")
async def test_a_stream_breaks_off_where_a_month_was_detached_on_the_way(
    months: MonthStore, event_reader: EventReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.queries.read_events.STREAM_PAGE_SIZE", 1)
    monkeypatch.setattr("app.queries.stream_feed.PAGE_EVENTS", 1)
    head = await event_reader.feed_head()
    feed = stream_feed(event_reader, FeedFilter(), after=0, limit=None, store_id=None, head=head)
    events = stream_events(event_reader, "Order", "a", EventRange(1, MAX_VERSION), MAX_VERSION)
    async with aclosing(feed), aclosing(events):
        assert [event.version for event in [*await anext(feed), *await anext(events)]] == [1, 1]
        await months.detach_month(MARCH)
        for pages in (feed, events):
            with pytest.raises(EventsDetached):
                await anext(pages)

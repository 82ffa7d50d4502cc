"""Pages of large events end early, so that a page takes little memory whatever is stored."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from app.events import MAX_POSITION, MAX_VERSION, RecordedEvent
from app.queries.load_aggregate import load_aggregate
from app.queries.read_events import EventRange, next_range, read_events, stream_events
from app.queries.read_feed import read_feed
from app.settings import Settings
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.event_store import EventStore
from app.store.feed_statement import FeedFilter
from app.store.rows import LARGE_JSON_BYTES
from tests.conftest import copied_database
from tests.integration.client_sql import Connection
from tests.integration.support import new_append, new_event

MIB = 1024 * 1024
# Compresses to almost nothing, so that what is stored does not tell what it takes.
LARGE = 3 * MIB
STORED = 12
FITTING = LARGE_JSON_BYTES // LARGE


def data(number: int, size: int) -> bytes:
    return json.dumps({"n": number, "x": "y" * size}).encode()


def numbers(events: list[RecordedEvent]) -> list[int]:
    return [json.loads(bytes(event.event_data))["n"] for event in events]


def json_bytes(events: list[RecordedEvent]) -> int:
    return sum(len(bytes(event.event_data)) + len(bytes(event.metadata)) for event in events)


@pytest.fixture(scope="module")
def stored(postgres_host: str, template_database: str) -> Iterator[Settings]:
    """A database that is only read: an aggregate of large events, but every third is small."""

    async def store(settings: Settings) -> None:
        database = Database(settings)
        await database.open()
        for number in range(1, STORED + 1):
            size = 10 if number % 3 == 0 else LARGE
            await EventStore(database).append_events(new_append("o", new_event(data(number, size))))
        await database.close(timeout_s=5)

    with copied_database(postgres_host, template_database) as settings:
        asyncio.run(store(settings))
        yield settings


@pytest.fixture
async def stored_reader(stored: Settings) -> AsyncIterator[EventReader]:
    """The store's side of reading it."""
    database = Database(stored)
    await database.open()
    yield EventReader(database)
    await database.close(timeout_s=5)


async def by_pages(
    reader: EventReader, wanted: EventRange, limit: int = 1_000
) -> AsyncIterator[list[RecordedEvent]]:
    remaining: EventRange | None = wanted
    while remaining is not None:
        page = await read_events(reader, "Order", "o", remaining, limit)
        yield page.events
        remaining = next_range(remaining, page)


@pytest.mark.parametrize("backward", [False, True])
async def test_pages_of_an_aggregate_are_cut_and_miss_nothing(
    stored_reader: EventReader, backward: bool
) -> None:
    wanted = EventRange(MAX_VERSION, 1, True) if backward else EventRange(1, MAX_VERSION)
    pages = [events async for events in by_pages(stored_reader, wanted)]
    read = [number for events in pages for number in numbers(events)]
    expected = list(range(1, STORED + 1))
    assert read == (expected[::-1] if backward else expected)
    # Eight large events, two of them to a page.
    assert len(pages) == 8 // FITTING
    assert max(map(json_bytes, pages)) <= LARGE_JSON_BYTES + 100


async def test_stream_and_load_are_cut_into_pages_and_miss_nothing(
    stored_reader: EventReader,
) -> None:
    streamed = [
        events
        async for events in stream_events(
            stored_reader, "Order", "o", EventRange(1, MAX_VERSION), MAX_VERSION
        )
    ]
    loaded = await load_aggregate(stored_reader, "Order", "o")
    assert loaded.further_pages is not None
    pages = [loaded.events, *[events async for events in loaded.further_pages]]
    for found in (streamed, pages):
        assert [n for events in found for n in numbers(events)] == list(range(1, STORED + 1))
        assert max(map(json_bytes, found)) <= LARGE_JSON_BYTES + 100


@pytest.mark.parametrize("feed_filter", [FeedFilter(), FeedFilter(event_types=["OrderPlaced"])])
@pytest.mark.parametrize("backward", [False, True])
async def test_pages_of_the_feed_are_cut_and_miss_nothing(
    stored_reader: EventReader, feed_filter: FeedFilter, backward: bool
) -> None:
    after, read = (MAX_POSITION if backward else 0), []
    while True:
        feed = await read_feed(
            stored_reader, feed_filter, after=after, limit=1_000, backward=backward
        )
        assert json_bytes(feed.events) <= LARGE_JSON_BYTES + 100
        read += numbers(feed.events)
        if feed.up_to_date:
            break
        assert feed.next_after < after if backward else feed.next_after > after
        after = feed.next_after
    expected = list(range(1, STORED + 1))
    assert read == (expected[::-1] if backward else expected)


async def test_event_that_is_larger_than_a_page_is_a_page_of_its_own(
    event_store: EventStore, event_reader: EventReader
) -> None:
    for number, size in enumerate((LARGE_JSON_BYTES + MIB, 10, LARGE_JSON_BYTES + MIB)):
        await event_store.append_events(new_append("o", new_event(data(number, size))))
    pages = [numbers(events) async for events in by_pages(event_reader, EventRange(1, MAX_VERSION))]
    assert pages == [[0, 1], [2]]


async def test_large_metadata_counts_as_well(
    event_store: EventStore, event_reader: EventReader
) -> None:
    for number in range(4):
        event = new_event(data(number, 1), metadata=new_event(data(0, LARGE)).event_data)
        await event_store.append_events(new_append("o", event))
    pages = [events async for events in by_pages(event_reader, EventRange(1, MAX_VERSION))]
    assert [numbers(events) for events in pages] == [[0, 1], [2, 3]]
    assert json_bytes(pages[0]) > 2 * LARGE


async def test_numbers_that_are_written_out_long_count_as_they_are_written(
    event_store: EventStore, event_reader: EventReader
) -> None:
    """Each of them takes a few bytes as stored, and a megabyte as text."""
    digits = b'{"n": 1, "x": [' + b",".join([b"1e131071"] * 7) + b"]}"
    await event_store.append_events(new_append("o", *(new_event(digits) for _ in range(20))))
    pages = [events async for events in by_pages(event_reader, EventRange(1, MAX_VERSION))]
    assert sum(map(len, pages)) == 20
    assert 1 < len(pages) < 20
    assert max(map(json_bytes, pages)) <= LARGE_JSON_BYTES


@pytest.mark.parametrize("size", [1_900, 1_990, 2_000, 2_100, 4_050, 4_096, 4_200, 20_000])
async def test_events_around_the_bound_of_small_ones_are_read_as_they_are(
    event_store: EventStore, event_reader: EventReader, size: int
) -> None:
    small = new_event(b'{"n": 0}').event_data
    raw = data(7, size)
    await event_store.append_events(
        new_append(
            "o",
            new_event(raw),
            new_event(b'{"n": 8}', metadata=new_event(raw).event_data),
            new_event(raw, metadata=small),
        )
    )
    page = await event_reader.read_events(
        "Order", "o", from_version=1, to_version=MAX_VERSION, limit=10
    )
    read = [
        (json.loads(bytes(event.event_data)), json.loads(bytes(event.metadata)))
        for event in page.events
    ]
    large, tiny = json.loads(raw), {"n": 8}
    assert read == [(large, None), (tiny, large), (large, {"n": 0})]


async def test_versions_with_holes_are_read_page_by_page(
    event_reader: EventReader, sql: Connection
) -> None:
    """A direct SQL writer may leave holes; a page may then be short or empty, the next goes on."""
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) SELECT gen_random_uuid(), 'Order', 'o', n, 'Held',"
        " jsonb_build_object('n', n), now() FROM unnest(ARRAY[1, 2, 30, 31, 59]) AS n"
    )
    for wanted in (EventRange(1, MAX_VERSION), EventRange(MAX_VERSION, 1, True)):
        found = [n async for events in by_pages(event_reader, wanted, 10) for n in numbers(events)]
        assert sorted(found) == [1, 2, 30, 31, 59]
        assert found in (sorted(found), sorted(found, reverse=True))
    loaded = await event_reader.load_aggregate(
        "Order", "o", use_snapshot=True, at_version=None, as_of=None, limit=10
    )
    assert (numbers(loaded.events), loaded.reached, loaded.loaded_version) == ([1, 2], 10, 59)


async def test_loads_at_once_of_a_large_aggregate_hold_a_page_each(
    event_store: EventStore, event_reader: EventReader
) -> None:
    """Thirty mebibytes are stored."""
    for _ in range(3):
        await event_store.append_events(
            new_append("o", *(new_event(data(n, MIB)) for n in range(10)))
        )

    async def load() -> tuple[int, int]:
        most = count = 0
        loaded = await load_aggregate(event_reader, "Order", "o")
        assert loaded.further_pages is not None
        pages = [loaded.events]
        async for events in loaded.further_pages:
            pages[:] = [events]
            most = max(most, json_bytes(events))
            count += len(events)
        return most, count

    for most, count in await asyncio.gather(*(load() for _ in range(4))):
        assert most <= LARGE_JSON_BYTES
        assert count == 30 - LARGE_JSON_BYTES // MIB + 1

"""Reading what is stored: bounds, order, filters, and consistency with what others write."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.events import RecordedEvent
from app.store.event_reader import EventReader
from app.store.event_store import EventStore
from app.store.feed_scan import FeedPage
from app.store.feed_statement import FeedFilter
from app.store.position_store import PositionStore
from app.store.snapshot_store import SnapshotStore
from tests.integration.client_sql import COLUMNS, INSERT, OCCURRED_AT, Connection, event_row
from tests.integration.support import insert_event, new_append, new_event, new_state, set_sequence

MAX_VERSION = 2**31 - 1


def versions(events: list[RecordedEvent]) -> list[int]:
    return [event.version for event in events]


def positions(page: FeedPage) -> list[int]:
    return [event.global_position for event in page.events]


async def append_at(event_store: EventStore, aggregate_id: str, *minutes: int, **more: Any) -> None:
    """Append one event for each of these minutes after `OCCURRED_AT`."""
    events = [new_event(occurred_at=OCCURRED_AT + timedelta(minutes=m), **more) for m in minutes]
    assert await event_store.append_events(new_append(aggregate_id, *events)) is not None


# --- one aggregate


@pytest.mark.parametrize(
    ("backward", "first", "last", "limit", "expected"),
    [
        (False, 1, MAX_VERSION, 100, [1, 2, 3, 4, 5]),
        (False, 2, 4, 100, [2, 3, 4]),
        (False, 4, 4, 100, [4]),
        (False, 2, MAX_VERSION, 2, [2, 3]),
        (False, 6, MAX_VERSION, 100, []),
        (False, 4, 3, 100, []),
        (True, MAX_VERSION, 1, 100, [5, 4, 3, 2, 1]),
        (True, 4, 2, 100, [4, 3, 2]),
        (True, MAX_VERSION, 1, 2, [5, 4]),
        (True, 3, 3, 100, [3]),
        (True, 0, 1, 100, []),
    ],
)
async def test_events_between_two_versions(
    event_store: EventStore,
    event_reader: EventReader,
    backward: bool,
    first: int,
    last: int,
    limit: int,
    expected: list[int],
) -> None:
    await event_store.append_events(new_append("o", *(new_event() for _ in range(5))))
    # Neighbours in the index.
    await event_store.append_events(new_append("n"))
    await event_store.append_events(new_append("o "))
    page = await event_reader.read_events(
        "Order", "o", from_version=first, to_version=last, limit=limit, backward=backward
    )
    assert (page.version, versions(page.events)) == (5, expected)


async def test_unknown_aggregate_has_version_0_and_no_events(event_reader: EventReader) -> None:
    for backward in (False, True):
        page = await event_reader.read_events(
            "Order", "o", from_version=1, to_version=1, limit=10, backward=backward
        )
        assert (page.version, page.events) == (0, [])
    loaded = await event_reader.load_aggregate(
        "Order", "o", use_snapshot=True, at_version=None, as_of=None, limit=10
    )
    assert (loaded.version, loaded.loaded_version) == (0, 0)
    assert (loaded.snapshot, loaded.events) == (None, [])


async def test_version_and_events_are_of_one_moment(
    event_reader: EventReader, sql: Connection
) -> None:
    """What another transaction holds is in neither."""
    await insert_event(sql, "o", 1)
    async with sql.transaction():
        await insert_event(sql, "o", 2)
        page = await event_reader.read_events(
            "Order", "o", from_version=1, to_version=MAX_VERSION, limit=10
        )
        assert (page.version, versions(page.events)) == (1, [1])


async def test_every_column_of_an_event_is_read(event_reader: EventReader, sql: Connection) -> None:
    ids = [uuid4() for _ in range(3)]
    data = '{"ü": 1.10, "big": 12345678901234567890.123}'
    occurred_at = datetime.fromisoformat("2024-05-17T23:30:00.000001-02:00")
    row = (ids[0], "Ørder/x", "a b\n%2F", 1, "Täg", data, '{"k": []}', occurred_at, *ids[1:])
    await sql.execute(INSERT, *row)
    event = await event_reader.get_event(ids[0])
    assert event is not None
    read = {name: getattr(event, name) for name in COLUMNS}
    assert bytes(read.pop("event_data")).decode() == '{"ü": 1.10, "big": 12345678901234567890.123}'
    assert bytes(read.pop("metadata")) == b'{"k": []}'
    assert read == {
        "event_id": str(ids[0]),
        "aggregate_type": "Ørder/x",
        "aggregate_id": "a b\n%2F",
        "version": 1,
        "event_type": "Täg",
        "occurred_at": "2024-05-18T01:30:00.000001Z",
        "correlation_id": str(ids[1]),
        "causation_id": str(ids[2]),
    }
    page = await event_reader.read_events(
        "Ørder/x", "a b\n%2F", from_version=1, to_version=1, limit=1
    )
    feed = await event_reader.read_feed(FeedFilter(), after=0, limit=1)
    assert page.events == feed.events == [event]


async def test_event_with_an_unknown_id_is_none(event_reader: EventReader) -> None:
    assert await event_reader.get_event(uuid4()) is None


# --- loading


@pytest.mark.parametrize(
    ("use_snapshot", "at_version", "as_of_minute", "expected"),
    [
        # loaded version, snapshot's version, versions of the events
        (True, None, None, (6, 3, [4, 5, 6])),
        (False, None, None, (6, None, [1, 2, 3, 4, 5, 6])),
        (True, 3, None, (3, 3, [])),
        (True, 2, None, (2, None, [1, 2])),
        (True, 5, None, (5, 3, [4, 5])),
        (True, 99, None, (6, 3, [4, 5, 6])),
        (True, None, 4, (4, 3, [4])),
        (True, None, 2, (2, None, [1, 2])),
        (True, None, 0, (0, None, [])),
        (True, None, 99, (6, 3, [4, 5, 6])),
        (True, 4, 99, (4, 3, [4])),
        (True, 99, 4, (4, 3, [4])),
    ],
)
async def test_aggregate_at_a_version_or_a_time(
    event_store: EventStore,
    event_reader: EventReader,
    sql: Connection,
    use_snapshot: bool,
    at_version: int | None,
    as_of_minute: int | None,
    expected: tuple[int, int | None, list[int]],
) -> None:
    await append_at(event_store, "o", 1, 2, 3, 4, 5, 6)
    await sql.execute("INSERT INTO snapshots VALUES ('Order', 'o', 3, '{\"s\": 3}', now())")
    loaded = await event_reader.load_aggregate(
        "Order",
        "o",
        use_snapshot=use_snapshot,
        at_version=at_version,
        as_of=None if as_of_minute is None else OCCURRED_AT + timedelta(minutes=as_of_minute),
        limit=100,
    )
    snapshot_version = loaded.snapshot.version if loaded.snapshot else None
    assert loaded.version == 6
    assert (loaded.loaded_version, snapshot_version, versions(loaded.events)) == expected


async def test_time_that_goes_back_ends_the_past_at_the_first_later_event(
    event_store: EventStore, event_reader: EventReader
) -> None:
    """Version 3 occurred early, but on top of a version that had not occurred yet."""
    await append_at(event_store, "o", 1, 9, 2)
    loaded = await event_reader.load_aggregate(
        "Order",
        "o",
        use_snapshot=True,
        at_version=None,
        as_of=OCCURRED_AT + timedelta(minutes=5),
        limit=100,
    )
    assert (loaded.loaded_version, versions(loaded.events)) == (1, [1])


async def test_load_gives_the_first_events_up_to_the_limit(
    event_store: EventStore, event_reader: EventReader
) -> None:
    await append_at(event_store, "o", *range(10))
    loaded = await event_reader.load_aggregate(
        "Order", "o", use_snapshot=True, at_version=None, as_of=None, limit=4
    )
    assert (loaded.loaded_version, versions(loaded.events)) == (10, [1, 2, 3, 4])


async def test_snapshot_of_the_clients_beyond_its_aggregate_is_not_used(
    event_reader: EventReader, sql: Connection
) -> None:
    await insert_event(sql, "o", 1)
    await sql.execute("INSERT INTO snapshots VALUES ('Order', 'o', 2, '{}', now())")
    loaded = await event_reader.load_aggregate(
        "Order", "o", use_snapshot=True, at_version=None, as_of=None, limit=4
    )
    assert (loaded.snapshot, versions(loaded.events)) == (None, [1])


# --- lists


async def test_pages_of_aggregates_name_each_once_with_its_version(
    event_store: EventStore, event_reader: EventReader
) -> None:
    names = ["a", "a b", "a/b", "A", "ä", "b%", "😀", "z" * 255, " ", "10", "9"]
    for number, name in enumerate(names, start=1):
        await event_store.append_events(new_append(name, *(new_event() for _ in range(number))))
    expected = sorted((name.encode(), number) for number, name in enumerate(names, start=1))
    for limit in (1, 2, 5, 100):
        listed: list[tuple[str, int]] = []
        while page := await event_reader.list_aggregates(
            "Order", after=listed[-1][0] if listed else "", limit=limit
        ):
            assert len(page) <= limit
            listed += page
        # The test server sorts by code points.
        assert [(name.encode(), version) for name, version in listed] == expected
    assert await event_reader.list_aggregates("Orde", after="", limit=10) == []


async def test_aggregate_types_are_listed_once(event_reader: EventReader, sql: Connection) -> None:
    assert await event_reader.list_aggregate_types() == []
    for aggregate_type in ("Order", "Customer", "Ä", "Order", "order"):
        row = event_row(uuid4().hex)
        await sql.execute(INSERT, row[0], aggregate_type, *row[2:])
    assert await event_reader.list_aggregate_types() == ["Customer", "Order", "order", "Ä"]


# --- the feed


async def test_pages_of_the_feed(event_store: EventStore, event_reader: EventReader) -> None:
    await event_store.append_events(new_append("o", *(new_event() for _ in range(5))))
    everything = FeedFilter()
    for after, limit, expected in (
        (0, 10, [1, 2, 3, 4, 5]),
        (2, 2, [3, 4]),
        (5, 10, []),
    ):
        page = await event_reader.read_feed(everything, after=after, limit=limit)
        assert (page.head.safe_position, positions(page)) == (5, expected)
    for before, limit, expected in ((6, 2, [5, 4]), (3, 10, [2, 1]), (1, 10, []), (99, 1, [5])):
        page = await event_reader.read_feed(everything, after=before, limit=limit, backward=True)
        assert positions(page) == expected


async def test_feed_ends_at_the_safe_position_in_both_directions(
    event_reader: EventReader, sql: Connection, event_store: EventStore
) -> None:
    await event_store.append_events(new_append("a"))
    async with sql.transaction():
        await insert_event(sql)
        await event_store.append_events(new_append("b"))
        for backward, after in ((False, 0), (True, 99)):
            page = await event_reader.read_feed(
                FeedFilter(), after=after, limit=10, backward=backward
            )
            assert (page.head.safe_position, positions(page)) == (1, [1])
    page = await event_reader.read_feed(FeedFilter(), after=1, limit=10)
    assert (page.head.safe_position, positions(page)) == (3, [2, 3])


async def test_positions_beyond_32_bits(event_reader: EventReader, sql: Connection) -> None:
    await set_sequence(sql, 2**40)
    first = await insert_event(sql)
    assert first == 2**40 + 1
    for feed_filter in (FeedFilter(), FeedFilter(event_types=["OrderPlaced"])):
        page = await event_reader.read_feed(feed_filter, after=2**40, limit=10)
        assert positions(page) == [first]


async def test_filters_of_the_feed(event_reader: EventReader, sql: Connection) -> None:
    """Eight events: two types of each kind in turn, a minute apart, two with correlation."""
    correlation_id, causation_id = uuid4(), uuid4()
    for n in range(8):
        occurred_at = OCCURRED_AT + timedelta(minutes=n)
        await sql.execute(
            INSERT,
            *(uuid4(), "Order" if n % 2 == 0 else "Customer", f"id-{n // 4}", n // 2 % 2 + 1),
            *("Placed" if n < 4 else "Paid" if n < 7 else "Shipped", "{}", None, occurred_at),
            *(correlation_id if n in (2, 5) else None, causation_id if n in (2, 6) else None),
        )

    def minute(n: int) -> datetime:
        return OCCURRED_AT + timedelta(minutes=n)

    cases = [
        (FeedFilter(), [1, 2, 3, 4, 5, 6, 7, 8]),
        (FeedFilter(aggregate_types=["Order"]), [1, 3, 5, 7]),
        (FeedFilter(aggregate_types=["Order", "Customer"]), [1, 2, 3, 4, 5, 6, 7, 8]),
        (FeedFilter(aggregate_types=["Order", "Nothing"]), [1, 3, 5, 7]),
        (FeedFilter(aggregate_id="id-1"), [5, 6, 7, 8]),
        (FeedFilter(aggregate_types=["Order"], aggregate_id="id-1"), [5, 7]),
        (FeedFilter(event_types=["Paid"]), [5, 6, 7]),
        (FeedFilter(event_types=["Paid", "Shipped"]), [5, 6, 7, 8]),
        (FeedFilter(event_types=["Nothing"]), []),
        (FeedFilter(correlation_id=correlation_id), [3, 6]),
        (FeedFilter(causation_id=causation_id), [3, 7]),
        (FeedFilter(correlation_id=correlation_id, causation_id=causation_id), [3]),
        # From is inclusive, to is exclusive.
        (FeedFilter(occurred_from=minute(6)), [7, 8]),
        (FeedFilter(occurred_to=minute(2)), [1, 2]),
        (FeedFilter(occurred_from=minute(2), occurred_to=minute(4)), [3, 4]),
        (FeedFilter(occurred_from=minute(4), occurred_to=minute(2)), []),
        (FeedFilter(event_types=["Placed"], aggregate_types=["Customer"]), [2, 4]),
    ]
    for feed_filter, expected in cases:
        page = await event_reader.read_feed(feed_filter, after=0, limit=100)
        assert positions(page) == expected, feed_filter
        assert page.head.safe_position == 8
        page = await event_reader.read_feed(feed_filter, after=99, limit=100, backward=True)
        assert positions(page) == expected[::-1], feed_filter
        assert feed_filter.is_empty == (feed_filter == FeedFilter())


# --- snapshots and positions


async def test_of_snapshots_saved_in_any_order_the_newest_remains(
    event_store: EventStore, event_reader: EventReader
) -> None:
    store = SnapshotStore(event_reader._database)
    await event_store.append_events(new_append("o", *(new_event() for _ in range(5))))
    outcomes = []
    for version, state in ((3, b"[3]"), (2, b"[2]"), (3, b'"again"'), (5, b"5"), (6, b"6")):
        saved = await store.save_snapshot("Order", "o", version, new_state(state), OCCURRED_AT)
        outcomes.append((saved.is_saved, saved.is_new, saved.stored_version))
        assert saved.aggregate_version == 5
    # The last of each: the version that was stored before.
    assert outcomes == [
        (True, True, 0),
        (False, False, 3),
        (True, False, 3),
        (True, False, 3),
        (False, False, 5),
    ]
    snapshot = await store.get_snapshot("Order", "o")
    assert snapshot is not None
    assert (snapshot.version, bytes(snapshot.state)) == (5, b"5")
    assert await store.delete_snapshot("Order", "o")
    assert not await store.delete_snapshot("Order", "o")
    assert await store.get_snapshot("Order", "o") is None


async def test_position_is_saved_only_where_it_is_expected(
    event_store: EventStore, event_reader: EventReader
) -> None:
    await append_at(event_store, "o", *range(9))
    store = PositionStore(event_reader._database)

    async def save(position: int, expected: int | None, may_go_back: bool = False) -> bool | None:
        """Whether it is the first one; None: it is refused."""
        saved = await store.save_position(
            "p",
            position,
            expected_position=expected,
            may_go_back=may_go_back,
            processed_at=OCCURRED_AT,
        )
        assert saved.safe_position == 9
        return saved.is_new if saved.is_saved else None

    assert await save(5, expected=3) is None
    assert await save(5, expected=0) is True
    assert await save(7, expected=0) is None
    assert await save(7, expected=5) is False
    assert await save(7, expected=None) is False
    assert await save(6, expected=None) is None
    assert await save(6, expected=7) is None
    assert await save(6, expected=6, may_go_back=True) is None
    assert await save(6, expected=7, may_go_back=True) is False
    stored = await store.get_position("p", safe_position=0, now=OCCURRED_AT)
    assert stored is not None
    assert (stored.last_processed_position, stored.lag_seconds) == (6, None)
    assert await store.delete_position("p")
    assert await save(9, expected=6) is None
    assert await save(10, expected=None) is None
    assert await save(9, expected=None) is True
    assert await save(10, expected=None) is None
    assert await save(10, expected=9, may_go_back=True) is None


async def test_lag_is_the_age_of_the_oldest_event_that_is_not_processed(
    event_store: EventStore, event_reader: EventReader
) -> None:
    await append_at(event_store, "o", 0, 10, 20)
    store = PositionStore(event_reader._database)
    now = OCCURRED_AT + timedelta(minutes=60)
    for name, position in (("a", 0), ("b", 1), ("c", 3)):
        await store.save_position(
            name, position, expected_position=None, may_go_back=False, processed_at=now
        )
    listed = await store.list_positions(safe_position=2, now=now)
    # What is beyond the safe position cannot be processed, so nobody is late with it.
    assert [(position.projection_name, position.lag_seconds) for position in listed] == [
        ("a", 3600.0),
        ("b", 3000.0),
        ("c", None),
    ]
    assert [await store.get_position(n, safe_position=2, now=now) for n in "abc"] == listed

"""A filter that lets little through moves on window by window, whatever lies in between."""

import pytest

from app.events import MAX_POSITION
from app.queries.read_feed import read_feed
from app.settings import Settings
from app.store import feed_scan
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter, feed_statement
from app.store.identity import new_identity
from tests.integration.client_sql import Connection

RARE = FeedFilter(event_types=["Rare"])
SIX_OF_WHICH_TWO_ARE_RARE = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    occurred_at)
SELECT gen_random_uuid(), 'Order', gen_random_uuid(), 1,
       CASE WHEN n % 3 = 0 THEN 'Rare' ELSE 'Usual' END, '{}', now()
FROM generate_series(1, 6) AS n
"""


@pytest.fixture
async def thousand(sql: Connection) -> None:
    """A thousand events, of which those at 5, 405, 410 and 999 are rare."""
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) SELECT gen_random_uuid(), 'Order', 'o' || n, 1,"
        " CASE WHEN n IN (5, 405, 410, 999) THEN 'Rare' ELSE 'Usual' END, '{}', now()"
        " FROM generate_series(1, 1000) AS n"
    )


async def pages(
    reader: EventReader, feed_filter: FeedFilter, *, limit: int, backward: bool
) -> list[tuple[list[int], int]]:
    """The positions of each page until the end, and where it continues."""
    after = MAX_POSITION if backward else 0
    found = []
    while True:
        feed = await read_feed(reader, feed_filter, after=after, limit=limit, backward=backward)
        after = feed.next_after
        found.append(([event.global_position for event in feed.events], after))
        if feed.up_to_date:
            return found


async def test_page_is_filled_from_several_windows(
    event_reader: EventReader, thousand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_scan, "WINDOW", 7)
    monkeypatch.setattr(feed_scan, "SCAN_FOR_S", 60)
    assert await pages(event_reader, RARE, limit=3, backward=False) == [
        ([5, 405, 410], 410),
        ([999], 1000),
    ]
    assert await pages(event_reader, RARE, limit=3, backward=True) == [
        ([999, 410, 405], 405),
        ([5], 0),
    ]


async def test_scan_whose_time_is_up_tells_how_far_it_has_come(
    event_reader: EventReader, thousand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with millions of events that the filter keeps back, and no index for it."""
    monkeypatch.setattr(feed_scan, "WINDOW", 200)
    monkeypatch.setattr(feed_scan, "SCAN_FOR_S", -1)
    assert await pages(event_reader, RARE, limit=100, backward=False) == [
        ([5], 200),
        ([], 400),
        ([405, 410], 600),
        ([], 800),
        ([999], 1000),
    ]
    assert await pages(event_reader, RARE, limit=100, backward=True) == [
        ([999], 801),
        ([], 601),
        ([410, 405], 401),
        ([], 201),
        ([5], 0),
    ]


@pytest.mark.parametrize("window", [1, 7, 100])
async def test_no_page_ends_among_positions_that_a_restore_has_lost(
    event_reader: EventReader,
    sql: Connection,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    window: int,
) -> None:
    """A reader who came back from there would be refused; and there are 10^15 of them."""
    monkeypatch.setattr(feed_scan, "WINDOW", window)
    monkeypatch.setattr(feed_scan, "SCAN_FOR_S", -1)
    await sql.execute(SIX_OF_WHICH_TWO_ARE_RARE)
    await new_identity(settings, 10**15)
    await sql.execute(SIX_OF_WHICH_TWO_ARE_RARE)
    rare = [3, 6, 10**15 + 3, 10**15 + 6]
    for backward in (False, True):
        found = await pages(event_reader, RARE, limit=10, backward=backward)
        assert [at for page, _ in found for at in page] == (rare[::-1] if backward else rare)
        assert not [after for _, after in found if 6 < after <= 10**15]
        assert len(found) <= 13


@pytest.mark.parametrize("window", [1, 2, 3, 10, 999, 1000, 1001])
@pytest.mark.parametrize("limit", [1, 2, 10])
async def test_no_event_is_missed_or_told_twice_between_windows(
    event_reader: EventReader,
    sql: Connection,
    monkeypatch: pytest.MonkeyPatch,
    window: int,
    limit: int,
) -> None:
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) SELECT gen_random_uuid(), 'Order', 'o' || n, 1,"
        " CASE WHEN n % 3 = 0 THEN 'Rare' ELSE 'Usual' END, '{}', now()"
        " FROM generate_series(1, 30) AS n"
    )
    monkeypatch.setattr(feed_scan, "WINDOW", window)
    monkeypatch.setattr(feed_scan, "SCAN_FOR_S", -1)
    expected = list(range(3, 31, 3))
    for backward in (False, True):
        found = await pages(event_reader, RARE, limit=limit, backward=backward)
        told = [position for page, _ in found for position in page]
        assert told == (expected[::-1] if backward else expected)


async def test_window_grows_while_statements_are_quick(
    event_reader: EventReader, thousand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = []

    def spied(feed_filter: FeedFilter, **bounds: object) -> object:
        statements.append((bounds["start"], bounds["stop"]))
        return feed_statement(feed_filter, **bounds)  # type: ignore[arg-type]

    monkeypatch.setattr(feed_scan, "feed_statement", spied)
    monkeypatch.setattr(feed_scan, "WINDOW", 100)
    monkeypatch.setattr(feed_scan, "QUICK_S", 60)
    await pages(event_reader, RARE, limit=100, backward=False)
    assert statements == [(0, 100), (100, 300), (300, 700), (700, 1000)]
    statements.clear()
    # Without a filter there is nothing to look through: one statement.
    await pages(event_reader, FeedFilter(), limit=1_001, backward=False)
    assert statements == [(0, 1000)]

"""Scans the feed for a page: the safe position first, then the events up to it."""

import time
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from asyncpg import Record

from app.errors import EventsDetached, StoreChanged
from app.events import LostPositions, RecordedEvent
from app.store.archived_months import (
    ArchivedMonth,
    archived_months,
    attached,
    between,
    feed_gap,
)
from app.store.connection import Connection
from app.store.feed_statement import FeedFilter, feed_statement
from app.store.rows import LARGE_JSON_BYTES, complete_page
from app.store.statements import statement

# Positions that one statement with a filter looks at. A filter that lets nothing through would
# otherwise read all that is left of the feed in one statement, and never get beyond its timeout.
WINDOW = 100_000
SCAN_FOR_S = 1.0
# A window that took no longer is followed by one of twice its size: an index serves the filter.
QUICK_S = 0.05


@dataclass(frozen=True, slots=True)
class FeedHead:
    """The safe position, the store whose position it is, and what that one has lost.

    ``archived_position``: the highest that has moved to the archive, as of about then.
    """

    safe_position: int
    store_id: str
    lost: LostPositions
    archived_position: int


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events of the feed, and the head up to which it was read at most.

    ``reached`` is the last position that the page covers, in its direction: all events that the
    filter lets through up to there are in it. The page may be shorter than asked for, also empty,
    with more behind it.
    """

    head: FeedHead
    events: list[RecordedEvent]
    reached: int


async def feed_head(connection: Connection) -> FeedHead:
    """The head of the feed as of now."""
    [row] = await connection.fetch(statement("safe_position"))
    lost = LostPositions(row["lost_after"], row["lost_up_to"])
    return FeedHead(row["safe_position"], row["store_id"], lost, row["archived_position"])


async def scan_feed(
    connection: Connection,
    feed_filter: FeedFilter,
    *,
    after: int,
    limit: int,
    backward: bool = False,
    store_id: str | None = None,
    head: FeedHead | None = None,
    large_json_bytes: int = LARGE_JSON_BYTES,
) -> FeedPage:
    """At most ``limit`` events behind the position ``after`` (exclusive), by position.

    The safe position first, then, in a later statement and so in a later database snapshot,
    the rows up to it: in one snapshot the reader would miss a transaction that commits between
    its snapshot and its look at the marks. ``head``: one that was read earlier, to end there.

    With a filter, or through the archive, window by window, for about a second if nothing is found.
    Large events take ``large_json_bytes`` at most together, or one.

    Raises:
        EventsDetached: The next events are in a month that is detached from the archive.
        StoreChanged: The store is not ``store_id``; or has never handed out so high a position, or
            has lost it with a restore.
    """
    if head is None:
        head = await feed_head(connection)
    await _refuse_other_store(connection, head, after, backward=backward, store_id=store_id)
    if backward:
        # Positions begin at 1.
        reached, end = min(after, head.safe_position + 1), 1
    else:
        reached, end = after, head.safe_position
    events: list[RecordedEvent] = []
    windows = _Windows(connection, feed_filter, head.lost, backward=backward)
    if head.archived_position >= (1 if backward else after + 1):
        await windows.look_at_archive()
    width = WINDOW
    deadline = time.monotonic() + SCAN_FOR_S
    while reached > end if backward else reached < end:
        started_at = time.monotonic()
        stop = end
        if windows.is_archive_near or not feed_filter.is_empty:
            stop = _end_of_window(head.lost, reached, end, width)
        try:
            window = await windows.read(reached, stop, limit - len(events))
        except EventsDetached:
            if not events:
                raise
            break
        page = await complete_page(
            connection, window.rows, months=window.months, budget=large_json_bytes
        )
        events += page.events
        if page.ends_early or len(events) == limit:
            return FeedPage(head, events, events[-1].global_position)
        reached = window.stop
        large_json_bytes -= page.large_json_bytes
        now = time.monotonic()
        if now > deadline or large_json_bytes <= 0:
            break
        if now - started_at < QUICK_S:
            width *= 2
    return FeedPage(head, events, reached)


def _end_of_window(lost: LostPositions, reached: int, end: int, width: int) -> int:
    """Where a window ends that begins at ``reached`` and goes towards ``end``."""
    is_backward = end < reached
    stop = max(end, reached - width) if is_backward else min(end, reached + width)
    if not lost.has(stop):
        return stop
    # Across the hole: nothing is in it, and no reader may come back from within.
    return max(end, lost.after - width) if is_backward else min(end, lost.up_to + width)


class _Window(NamedTuple):
    """Rows up to ``stop``, or the first ones, of live events and of these months of the archive."""

    rows: list[Record]
    stop: int
    months: list[date]


class _Windows:
    """Reads the feed's rows between two positions, wherever they are."""

    def __init__(
        self,
        connection: Connection,
        feed_filter: FeedFilter,
        lost: LostPositions,
        *,
        backward: bool,
    ) -> None:
        self._connection = connection
        self._filter = feed_filter
        self._lost = lost
        self._backward = backward
        self._months: list[ArchivedMonth] = []

    @property
    def is_archive_near(self) -> bool:
        """Whether some of the events to come may be archived."""
        return bool(self._months)

    async def look_at_archive(self) -> None:
        """Find out which months there are."""
        self._months = await archived_months(self._connection)

    async def read(self, reached: int, stop: int, limit: int) -> _Window:
        """From ``reached`` (exclusive) to ``stop`` (inclusive), or to where a month is detached.

        Raises:
            EventsDetached: The very next events may be of a month that is detached.
        """
        while True:
            stop = self._before_detached(reached, stop)
            low, high = self._bounds(reached, stop)
            months = attached(between(self._months, low, high))
            rows = await self._fetch(reached, stop, limit, months)
            if rows:
                wanted = set(rows[0]["archived_months"] or ())
            else:
                there = await archived_months(self._connection)
                wanted = {each.month for each in between(there, low, high)}
            if wanted <= set(months):
                return _Window(rows, stop, months)
            # Events have moved since the months were looked at: perhaps from under this statement.
            await self.look_at_archive()

    async def _fetch(self, reached: int, stop: int, limit: int, months: list[date]) -> list[Record]:
        sql, parameters = feed_statement(
            self._filter,
            start=reached,
            stop=stop,
            limit=limit,
            backward=self._backward,
            months=months,
        )
        if self._filter.is_empty and not months:
            return await self._connection.fetch(sql, *parameters)
        # Unnamed: with months as in `fetch_with_months`, with a filter to be planned for these very
        # values. After five runs of a named one, PostgreSQL
        # takes a plan for any values, which walks the whole feed for a rare event type: 24 ms
        # instead of 0.4 in 200,000 events, and more with each event.
        planned = await self._connection.prepare(sql, name="")
        return await planned.fetch(*parameters)

    def _bounds(self, reached: int, stop: int) -> tuple[int, int]:
        """The lowest and the highest position of a window, both inclusive."""
        return (stop, reached - 1) if self._backward else (reached + 1, stop)

    def _before_detached(self, reached: int, stop: int) -> int:
        there = between(self._months, *self._bounds(reached, stop))
        detached = [each for each in there if each.is_detached]
        if not detached:
            return stop
        if self._backward:
            stop = max(each.max_position for each in detached) + 1
            is_next, error = stop >= reached, EventsDetached([each.month for each in detached])
        else:
            stop = min(each.min_position for each in detached) - 1
            if self._lost.has(stop):
                stop = self._lost.after
            is_next, error = stop <= reached, feed_gap(detached)
        if is_next:
            raise error
        return stop


async def _refuse_other_store(
    connection: Connection, head: FeedHead, after: int, *, backward: bool, store_id: str | None
) -> None:
    if store_id is not None and store_id != head.store_id:
        raise StoreChanged(
            head.store_id, store_id, f"this is the store {head.store_id}, not {store_id}"
        )
    if not backward and head.lost.has(after):
        raise StoreChanged(
            head.store_id,
            store_id,
            f"position {after} was lost when the store was restored to position {head.lost.after}",
        )
    if backward or after <= head.safe_position:
        return
    last_position = await connection.fetchval(statement("last_position"))
    if after > last_position:
        raise StoreChanged(
            head.store_id,
            store_id,
            f"position {after} is beyond all that this store has handed out ({last_position})",
        )

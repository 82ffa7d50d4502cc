"""Scans the feed for a page: the safe position first, then the events up to it."""

import time
from dataclasses import dataclass

from app.errors import StoreChanged
from app.events import LostPositions, RecordedEvent
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
    """The safe position, the store whose position it is, and what that one has lost."""

    safe_position: int
    store_id: str
    lost: LostPositions


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
    return FeedHead(row["safe_position"], row["store_id"], lost)


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

    With a filter, window by window, for about a second if nothing is found. Large events take
    ``large_json_bytes`` at most together, or one.

    Raises:
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
    window = WINDOW
    deadline = time.monotonic() + SCAN_FOR_S
    while reached > end if backward else reached < end:
        started_at = time.monotonic()
        stop = end
        if not feed_filter.is_empty:
            stop = max(end, reached - window) if backward else min(end, reached + window)
            if head.lost.has(stop):
                # Across the hole: nothing is in it, and no reader may come back from within.
                stop = (
                    max(end, head.lost.after - window)
                    if backward
                    else min(end, head.lost.up_to + window)
                )
        sql, parameters = feed_statement(
            feed_filter, start=reached, stop=stop, limit=limit - len(events), backward=backward
        )
        if feed_filter.is_empty:
            rows = await connection.fetch(sql, *parameters)
        else:
            # Unnamed, so planned for these very values. After five runs of a named one, PostgreSQL
            # takes a plan for any values, which walks the whole feed for a rare event type: 24 ms
            # instead of 0.4 in 200,000 events, and more with each event.
            planned = await connection.prepare(sql, name="")
            rows = await planned.fetch(*parameters)
        page = await complete_page(connection, rows, budget=large_json_bytes)
        events += page.events
        if page.ends_early or len(events) == limit:
            return FeedPage(head, events, events[-1].global_position)
        reached = stop
        large_json_bytes -= page.large_json_bytes
        now = time.monotonic()
        if now > deadline or large_json_bytes <= 0:
            break
        if now - started_at < QUICK_S:
            window *= 2
    return FeedPage(head, events, reached)


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

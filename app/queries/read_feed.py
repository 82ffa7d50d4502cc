"""Reads the feed: all events in global order, by pages."""

from dataclasses import dataclass

from app.events import RecordedEvent
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of the feed.

    ``next_after`` is what a consumer stores and continues from; ``up_to_date``: nothing more was
    there to read.
    """

    events: list[RecordedEvent]
    next_after: int
    safe_position: int
    up_to_date: bool


async def read_feed(
    reader: EventReader, feed_filter: FeedFilter, *, after: int, limit: int, backward: bool = False
) -> Feed:
    """At most ``limit`` events behind the position ``after`` (exclusive), up to the safe position.

    The next page continues where this one ends: behind its last event where that was all there was
    room for, else behind the positions that were looked at, so that a consumer with a filter moves
    on too. Backward, 0 is the end. A position that was reached is never given up: ``next_after`` is
    at least ``after``.
    """
    page = await reader.read_feed(feed_filter, after=after, limit=limit, backward=backward)
    if backward:
        # Positions begin at 1.
        next_after = 0 if page.reached <= 1 else page.reached
        return Feed(page.events, next_after, page.safe_position, up_to_date=next_after == 0)
    next_after = max(after, page.reached)
    up_to_date = next_after >= page.safe_position
    return Feed(page.events, next_after, page.safe_position, up_to_date)

"""Reads the feed: all events in global order, by pages."""

from dataclasses import dataclass

from app.events import RecordedEvent
from app.queries.feed_tail import FeedTail
from app.queries.follow_feed import FeedFollower, wait_for_events
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
    store_id: str


async def read_feed(
    reader: EventReader,
    feed_filter: FeedFilter,
    *,
    after: int,
    limit: int,
    backward: bool = False,
    store_id: str | None = None,
) -> Feed:
    """At most ``limit`` events behind the position ``after`` (exclusive), up to the safe position.

    The next page continues where this one ends: behind its last event where that was all there was
    room for, else behind the positions that were looked at, so that a consumer with a filter moves
    on too. Backward, 0 is the end. A position that was reached is never given up: ``next_after`` is
    at least ``after``.

    Raises:
        EventsDetached: The next events are of a month that is detached from the archive.
        StoreChanged: The store is not ``store_id``, or ``after`` is no position of it.
    """
    page = await reader.read_feed(
        feed_filter, after=after, limit=limit, backward=backward, store_id=store_id
    )
    safe_position = page.head.safe_position
    if backward:
        # Positions begin at 1.
        next_after = 0 if page.reached <= 1 else page.reached
        up_to_date = next_after == 0
    else:
        next_after = max(after, page.reached)
        up_to_date = next_after >= safe_position
    return Feed(page.events, next_after, safe_position, up_to_date, page.head.store_id)


async def wait_for_feed(
    reader: EventReader,
    tail: FeedTail,
    feed_filter: FeedFilter,
    *,
    after: int,
    limit: int,
    store_id: str | None,
    wait_s: float,
) -> Feed:
    """The same, forward; an empty page only after ``wait_s`` seconds without an event.

    Raises:
        EventsDetached: The next events are of a month that is detached from the archive.
        StoreChanged: The store is not ``store_id``, or ``after`` is no position of it.
        TooManySubscribers: As many as may be wait or follow already.
    """
    feed = await read_feed(reader, feed_filter, after=after, limit=limit, store_id=store_id)
    if feed.events or wait_s == 0:
        return feed
    with tail.listening("wait"):
        follower = FeedFollower(
            reader, tail, feed_filter, after=feed.next_after, store_id=feed.store_id
        )
        news = await wait_for_events(follower, wait_s=wait_s)
    events = news.events[:limit]
    reached = events[-1].global_position if len(events) == limit else news.reached
    up_to_date = reached >= news.safe_position
    return Feed(events, reached, news.safe_position, up_to_date, news.store_id)

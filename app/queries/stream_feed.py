"""Streams the feed up to where it is safe now."""

from collections.abc import AsyncGenerator

from app.events import RecordedEvent
from app.store.event_reader import EventReader
from app.store.feed_scan import FeedHead
from app.store.feed_statement import FeedFilter

# Two pages are in memory: one is sent while the next is read.
PAGE_EVENTS = 2_000


async def stream_feed(
    reader: EventReader,
    feed_filter: FeedFilter,
    *,
    after: int,
    limit: int | None,
    store_id: str | None,
    head: FeedHead,
) -> AsyncGenerator[list[RecordedEvent], None]:
    """All events behind the position ``after`` up to ``head``, at most ``limit``, by pages.

    No connection is held between pages, so a slow reader costs the database nothing.

    Raises:
        EventsDetached: Events are of a month that is detached from the archive. Before the first
            page, unless there is a limit, or the month is detached meanwhile.
        StoreChanged: The store is not ``store_id``, or ``after`` is no position of it.
    """
    remaining = limit
    has_begun = False
    while True:
        page = await reader.read_feed(
            feed_filter,
            after=after,
            limit=PAGE_EVENTS if remaining is None else min(remaining, PAGE_EVENTS),
            store_id=store_id,
            head=head,
        )
        if not has_begun and limit is None:
            await reader.refuse_detached_positions(page.reached, head)
        has_begun = True
        yield page.events
        after = page.reached
        if remaining is not None:
            remaining -= len(page.events)
        if after >= head.safe_position or remaining == 0:
            return

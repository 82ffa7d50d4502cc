"""Pages of the feed."""

from collections.abc import Iterator, Sequence

import msgspec

from app.client import EventStoreClient, FeedFilter
from app.client.codec import Codec
from app.client.operation import Params
from app.client.operations import feed_params

FIRST_LIMIT = 500
MAX_LIMIT = 10_000
# Large enough that requests do not count, small enough that a few pages fit anywhere.
PAGE_BYTES = 4 * 1024 * 1024


class Page(msgspec.Struct, frozen=True):
    """A page of the feed; its events stay the text that they are."""

    events: list[msgspec.Raw]
    next_after: int
    safe_position: int
    up_to_date: bool


def feed_filter(aggregate_types: Sequence[str], event_types: Sequence[str] = ()) -> FeedFilter:
    """Make what narrows the feed; nothing given means all of it."""
    return {"aggregate_type": aggregate_types, "event_type": event_types}


def read_page(client: EventStoreClient, params: Params) -> Page:
    """Read one page."""
    return Codec().decode(client.request("GET", "v1", "events", params=params).body, Page)


def read_feed(client: EventStoreClient, after: int, narrowed: FeedFilter) -> Iterator[Page]:
    """Read on from ``after`` (exclusive) without end; a page may be empty.

    The number of events asked for follows their size: memory stays the same for small and large.
    """
    limit = FIRST_LIMIT
    while True:
        page = read_page(client, feed_params(narrowed, after=after, limit=limit))
        yield page
        after = page.next_after
        size_bytes = sum(memoryview(event).nbytes for event in page.events)
        if size_bytes > PAGE_BYTES:
            limit = max(limit // 2, 1)
        elif len(page.events) == limit and size_bytes < PAGE_BYTES / 2:
            limit = min(limit * 2, MAX_LIMIT)

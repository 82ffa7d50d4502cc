"""Pages of the feed."""

from collections.abc import Iterator, Sequence

import msgspec

from app.cli.json_text import read_answer
from app.cli.service import Params, Session

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


def feed_filter(aggregate_types: Sequence[str], event_types: Sequence[str] = ()) -> Params:
    """Make the query parameters that narrow the feed; nothing given means all of it."""
    given = {"aggregate_type": aggregate_types, "event_type": event_types}
    return {name: list(values) for name, values in given.items() if values}


def read_page(session: Session, params: Params) -> Page:
    """Read one page."""
    return read_answer(session.request("GET", "v1", "events", params=params).body, Page)


def read_feed(session: Session, after: int, narrowed: Params) -> Iterator[Page]:
    """Read on from ``after`` (exclusive) without end; a page may be empty.

    The number of events asked for follows their size: memory stays the same for small and large.
    """
    limit = FIRST_LIMIT
    while True:
        page = read_page(session, {**narrowed, "after": after, "limit": limit})
        yield page
        after = page.next_after
        size_bytes = sum(memoryview(event).nbytes for event in page.events)
        if size_bytes > PAGE_BYTES:
            limit = max(limit // 2, 1)
        elif len(page.events) == limit and size_bytes < PAGE_BYTES / 2:
            limit = min(limit * 2, MAX_LIMIT)

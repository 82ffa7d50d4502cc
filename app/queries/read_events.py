"""Reads the events of one aggregate, by pages or as a stream."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from app.errors import AggregateNotFound
from app.events import RecordedEvent
from app.store.event_reader import EventReader, EventsPage

STREAM_PAGE_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class EventRange:
    """Versions ``first`` … ``last`` of an aggregate, both inclusive; falling with ``backward``."""

    first: int
    last: int
    backward: bool = False

    def after(self, version: int) -> "EventRange":
        """What remains of the range behind ``version``."""
        return EventRange(version + (-1 if self.backward else 1), self.last, self.backward)

    @property
    def is_empty(self) -> bool:
        """Whether no version is in the range."""
        return self.first < self.last if self.backward else self.first > self.last


async def read_events(
    reader: EventReader, aggregate_type: str, aggregate_id: str, wanted: EventRange, limit: int
) -> EventsPage:
    """A page of at most ``limit`` events of the range, and the aggregate's version.

    A page may be shorter and still have others behind it: `next_range` tells.

    Raises:
        AggregateNotFound: The aggregate has no events.
        EventsDetached: Some of the page are in months that are detached from the archive.
    """
    page = await reader.read_events(
        aggregate_type,
        aggregate_id,
        from_version=wanted.first,
        to_version=wanted.last,
        limit=limit,
        backward=wanted.backward,
    )
    if page.version == 0:
        raise AggregateNotFound(aggregate_type, aggregate_id)
    return page


def next_range(wanted: EventRange, page: EventsPage) -> EventRange | None:
    """What remains of the range behind a page, or None: nothing does."""
    remaining = wanted.after(page.reached)
    if not remaining.backward:
        remaining = EventRange(remaining.first, min(remaining.last, page.version))
    return None if remaining.is_empty or remaining.first < 1 else remaining


async def stream_events(
    reader: EventReader, aggregate_type: str, aggregate_id: str, wanted: EventRange, limit: int
) -> AsyncGenerator[list[RecordedEvent], None]:
    """All events of the range, at most ``limit``, by pages; as of the first page.

    No connection is held between pages, so a slow reader costs the database nothing.

    Raises:
        AggregateNotFound: Before the first page; the aggregate has no events.
        EventsDetached: Some are in months that are detached from the archive; before the first
            page, unless that happens meanwhile.
    """
    remaining: EventRange | None = wanted
    while remaining is not None and limit > 0:
        page = await read_events(
            reader, aggregate_type, aggregate_id, remaining, min(limit, STREAM_PAGE_SIZE)
        )
        following = next_range(remaining, page)
        if page.has_detached and following is not None and remaining is wanted:
            await _refuse_detached(
                reader, aggregate_type, aggregate_id, following, limit - len(page.events)
            )
        yield page.events
        limit -= len(page.events)
        remaining = following


async def _refuse_detached(
    reader: EventReader, aggregate_type: str, aggregate_id: str, wanted: EventRange, limit: int
) -> None:
    if wanted.backward:
        bounds = max(wanted.last, wanted.first - limit + 1), wanted.first
    else:
        bounds = wanted.first, min(wanted.last, wanted.first + limit - 1)
    await reader.refuse_detached_versions(aggregate_type, aggregate_id, *bounds)

"""Follows one aggregate: the events that it has, and then those that come."""

from app.events import MAX_VERSION, RecordedEvent
from app.queries.feed_tail import FeedTail
from app.queries.follow_feed import PAGE_EVENTS
from app.queries.read_events import EventRange, read_events
from app.store.event_reader import EventReader


class AggregateFollower:
    """All events of an aggregate from a version on, by version, each once.

    Whoever has one must be `FeedTail.listening`.
    """

    def __init__(
        self,
        reader: EventReader,
        tail: FeedTail,
        aggregate_type: str,
        aggregate_id: str,
        *,
        from_version: int,
    ) -> None:
        self._reader = reader
        self._tail = tail
        self._aggregate_type = aggregate_type
        self._aggregate_id = aggregate_id
        self._version = from_version
        self._position: int | None = None
        self._has_more = True

    async def next(self, patience_s: float) -> list[RecordedEvent]:
        """The next events; none when patience ends, or the tail was closed.

        Raises:
            AggregateNotFound: The aggregate has no events.
            EventsDetached: The next events are of a month that is detached from the archive.
            StoreChanged: The store became another one.
        """
        if self._position is None:
            # Before the first page is read: what comes after it lies behind this position.
            self._position = await self._tail.begun()
        while not self._tail.is_closed:
            if self._has_more:
                events = await self._read_page()
            elif (chunk := self._tail.chunk_behind(self._position)) is not None:
                self._position = chunk.end
                events = self._following(chunk.events)
            elif self._tail.is_behind(self._position):
                # More has come meanwhile than is kept.
                self._position, self._has_more = await self._tail.begun(), True
                continue
            else:
                try:
                    await self._tail.wait(self._position, patience_s)
                except TimeoutError:
                    return []
                continue
            if events:
                return events
        return []

    async def _read_page(self) -> list[RecordedEvent]:
        async with self._tail.catching_up:
            page = await read_events(
                self._reader,
                self._aggregate_type,
                self._aggregate_id,
                EventRange(self._version, MAX_VERSION),
                PAGE_EVENTS,
            )
        self._has_more = page.reached < page.version
        if self._has_more:
            self._version = page.reached + 1
        else:
            self._version = max(self._version, page.version + 1)
        return page.events

    def _following(self, events: list[RecordedEvent]) -> list[RecordedEvent]:
        """Those of the aggregate, where they follow on what was told; else it is read again."""
        found = [
            event
            for event in events
            if event.aggregate_id == self._aggregate_id
            and event.aggregate_type == self._aggregate_type
            and event.version >= self._version
        ]
        expected = range(self._version, self._version + len(found))
        if [event.version for event in found] != list(expected):
            # Stored in another order, or with holes, by direct SQL.
            self._has_more = True
            return []
        self._version = expected.stop
        return found

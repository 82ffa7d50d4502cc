"""Follows the feed: what is stored, page by page, and then what comes, without a seam."""

import asyncio
from dataclasses import dataclass
from itertools import accumulate

from app.errors import StoreChanged
from app.events import RecordedEvent
from app.queries.feed_tail import Chunk, FeedTail
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter

# Small, since the connection of a client that does not read holds one.
PAGE_EVENTS = 250
PAGE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class News:
    """What a follower is told: events, and ``reached``, the position up to which these are all.

    ``safe_position`` is the one up to which there was anything to read. ``chunk``: the one that the
    events are of.
    """

    store_id: str
    events: list[RecordedEvent]
    reached: int
    safe_position: int
    chunk: Chunk | None = None

    @property
    def is_live(self) -> bool:
        """Whether there was no more to read."""
        return self.reached >= self.safe_position


class FeedFollower:
    """All events behind the position ``after``, by position, each once.

    Between two news it holds a position and no events, so that a slow one takes no memory. Whoever
    has one must be `FeedTail.listening`.
    """

    def __init__(
        self,
        reader: EventReader,
        tail: FeedTail,
        feed_filter: FeedFilter,
        *,
        after: int,
        store_id: str | None,
    ) -> None:
        self._reader = reader
        self._tail = tail
        self._filter = feed_filter
        self._after = after
        self._store_id = store_id
        self._has_read = False

    @property
    def store_id(self) -> str | None:
        """The store whose feed it is, once something was read."""
        return self._store_id

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._tail.is_closed

    async def next(self, patience_s: float) -> News:
        """The next events; none after a page that the filter has emptied, or when patience ends.

        Raises:
            StoreChanged: ``after`` is a position of another store, or the store became another one.
            EventsDetached: The next events are of a month that is detached from the archive.
        """
        news = None if self._has_read else await self._read_page()
        while news is None:
            news = self._of_chunk()
            if news is None and self._tail.is_behind(self._after):
                news = await self._read_page()
            if news is None:
                try:
                    await self._tail.wait(self._after, patience_s)
                except TimeoutError:
                    news = self._nothing()
                if self._tail.is_closed:
                    news = self._nothing()
        if self._tail.store_id not in {None, news.store_id}:
            raise StoreChanged(
                str(self._tail.store_id), news.store_id, "the store has become another one"
            )
        self._after = news.reached
        return news

    async def _read_page(self) -> News:
        async with self._tail.catching_up:
            page = await self._reader.read_feed(
                self._filter,
                after=self._after,
                limit=PAGE_EVENTS,
                store_id=self._store_id,
                large_json_bytes=PAGE_BYTES,
            )
        self._has_read, self._store_id = True, page.head.store_id
        return News(page.head.store_id, page.events, page.reached, page.head.safe_position)

    def _nothing(self) -> News:
        return News(str(self._store_id), [], self._after, self._after)

    def _of_chunk(self) -> News | None:
        """What is wanted of the next chunk; None: there is none, or only the database can tell."""
        chunk = self._tail.chunk_behind(self._after)
        if chunk is None:
            return None
        events, reached = _first_of(chunk, self._after)
        if not self._filter.is_empty:
            try:
                events = [event for event in events if self._filter.lets_through(event)]
            except ValueError:
                return None
        return News(str(self._store_id), events, reached, chunk.end, chunk)


def _first_of(chunk: Chunk, after: int) -> tuple[list[RecordedEvent], int]:
    """The first events of a chunk behind a position, and up to where these are all."""
    events = chunk.events
    if after == chunk.start and len(events) <= PAGE_EVENTS and chunk.json_bytes <= PAGE_BYTES:
        return events, chunk.end
    if after > chunk.start:
        events = [event for event in events if event.global_position > after]
    sizes = accumulate(len(memoryview(event.event_data)) for event in events)
    count = max(1, sum(size <= PAGE_BYTES for size in sizes))
    count = min(count, PAGE_EVENTS)
    if count >= len(events):
        return events, chunk.end
    return events[:count], events[count - 1].global_position


async def wait_for_events(follower: FeedFollower, *, wait_s: float) -> News:
    """The next events, or none if none has come after ``wait_s``.

    Raises: the same as `FeedFollower.next`.
    """
    time = asyncio.get_running_loop().time
    deadline = time() + wait_s
    while True:
        news = await follower.next(max(deadline - time(), 0))
        if news.events or time() >= deadline or follower.is_closed:
            return news

"""The end of the feed, followed by one task for all who listen in this process."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from app.errors import EventsDetached, EventStoreError, StoreChanged, TooManySubscribers
from app.events import RecordedEvent
from app.logs.context import component_context
from app.store.event_reader import EventReader
from app.store.feed_scan import FeedHead
from app.store.feed_statement import FeedFilter

EVERYTHING = FeedFilter()
CHUNK_EVENTS = 1_000
CHUNK_LARGE_JSON_BYTES = 1024 * 1024
# What listeners who are a little behind find here, instead of asking the database.
KEPT_EVENTS = 5_000
KEPT_BYTES = 8 * 1024 * 1024
# Appends of this process wake the tail. Those of other instances and of direct SQL writers are
# found by looking: soon while there are some, and at the latest after the second of these.
SHORTEST_POLL_S = 0.01
LONGEST_POLL_S = 0.05
# Each chunk costs every listener a task switch and a write to its socket, so the more there are,
# the more events go into one: at most about a third of the process is spent on telling them.
PAUSE_S = 0.001
PAUSE_PER_LISTENER_S = 0.0001
RETRY_S = 0.5
# After the last listener has gone, for the next one: who polls comes back soon.
LINGER_S = 5.0
MAX_CATCHING_UP = 2
STOP_TIMEOUT_S = 2.0

Listening: TypeAlias = Literal["sse", "wait"]
"""To be told of all that comes, as server-sent events; or of the first that comes."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Chunk:
    """All events of the feed behind the position ``start``, up to ``end`` (inclusive).

    ``frames`` and ``frame`` are for whoever sends them: what was made of an event once, by its
    position, and of all of them together, for all listeners.
    """

    start: int
    end: int
    events: list[RecordedEvent]
    frames: dict[int, bytes] = field(default_factory=dict)
    frame: bytes | None = None
    json_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.json_bytes = sum(
            memoryview(event.event_data).nbytes + memoryview(event.metadata).nbytes
            for event in self.events
        )


class FeedTail:
    """Follows the safe position as long as somebody listens, whatever their number.

    It keeps the newest events. There are no queues: a listener is no more than the position up to
    which it has come, and takes the next chunk when it is ready for it. Who is further behind than
    what is kept reads pages of its own. So no listener, however slow, takes memory here, and none
    can be given an event twice or miss one.
    """

    def __init__(self, reader: EventReader, max_listeners: int) -> None:
        # For listeners that catch up by pages of their own: they take turns, or many of them would
        # take the connections that appends need.
        self.catching_up = asyncio.Semaphore(MAX_CATCHING_UP)
        self._reader = reader
        self._max_listeners = max_listeners
        self._listeners: Counter[Listening] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._news = asyncio.Event()
        self._chunks: deque[Chunk] = deque()
        self._kept_events = 0
        self._kept_bytes = 0
        self._head: FeedHead | None = None
        self._reached = 0
        self._is_closed = False
        self._left_at = 0.0
        self._failure: Exception | None = None

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return self._listeners.total()

    def listeners_by(self, way: Listening) -> int:
        """How many of them listen in this way."""
        return self._listeners[way]

    @property
    def is_closed(self) -> bool:
        """Whether listeners are to end: the service stops."""
        return self._is_closed

    @property
    def store_id(self) -> str | None:
        """The store whose feed the tail follows; None: it does not know yet."""
        return None if self._head is None else self._head.store_id

    def wake(self) -> None:
        """Look at once: events have been appended."""
        self._woken.set()

    def close(self) -> None:
        """Let all listeners end, and the tail with them."""
        self._is_closed = True
        self.wake()
        self._tell()

    async def stop(self) -> None:
        """Close, and wait until nothing more is read; a database that hangs is not waited for."""
        self.close()
        if self._task is not None:
            _, hanging = await asyncio.wait({self._task}, timeout=STOP_TIMEOUT_S)
            for task in hanging:
                task.cancel()

    @contextmanager
    def listening(self, way: Listening) -> Iterator[None]:
        """Listen for the body.

        Raises:
            TooManySubscribers: ``max_listeners`` do already.
        """
        if self.listeners >= self._max_listeners:
            raise TooManySubscribers(self._max_listeners)
        self._listeners[way] += 1
        if self._task is None and not self._is_closed:
            # Here, not in the task: who listens may look before that has begun.
            self._failure = None
            self._task = asyncio.create_task(self._follow(), context=component_context("feed tail"))
        try:
            yield
        finally:
            self._listeners[way] -= 1
            self._left_at = asyncio.get_running_loop().time()

    async def begun(self) -> int:
        """The position up to which the tail has come; waits until it has begun.

        Raises:
            StoreChanged: The tail has met another store.
            EventsDetached: It has met a month that is detached from the archive.
        """
        while self._head is None and not self._is_closed:
            await self._wait(None)
        return self._reached

    def chunk_behind(self, position: int) -> Chunk | None:
        """The chunk with the first event behind a position; None: it is not kept, or not there."""
        if not self._chunks or position < self._chunks[0].start or position >= self._reached:
            return None
        # Who is not the last one is mostly at the last but one.
        for chunk in reversed(self._chunks):
            if chunk.start <= position:
                return chunk
        return None

    def is_behind(self, position: int) -> bool:
        """Whether events may lie behind a position that the tail has passed."""
        return self._head is not None and position < self._reached

    async def wait(self, position: int, timeout_s: float | None) -> None:
        """Wait until the tail has passed a position, or is closed.

        Raises:
            TimeoutError: It has not after ``timeout_s``.
            StoreChanged: The tail has met another store.
            EventsDetached: It has met a month that is detached from the archive.
        """
        while not self._is_closed and not self.is_behind(position):
            await self._wait(timeout_s)

    async def _wait(self, timeout_s: float | None) -> None:
        if self._failure:
            raise self._failure
        async with asyncio.timeout(timeout_s):
            await self._news.wait()
        if self._failure:
            raise self._failure

    def _tell(self) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()

    async def _follow(self) -> None:
        try:
            await self._follow_while_wanted()
        except Exception as error:
            if not isinstance(error, StoreChanged | EventsDetached):
                logger.exception("the tail of the feed has ended by a defect")
            # It ends for all listeners: each would wait for ever.
            self._failure = error
            self._tell()
        finally:
            self._task = self._head = None
            self._chunks.clear()
            self._kept_events = self._kept_bytes = 0

    async def _follow_while_wanted(self) -> None:
        poll_s = SHORTEST_POLL_S
        while self._is_wanted():
            self._woken.clear()
            pause_s = PAUSE_S + self.listeners * PAUSE_PER_LISTENER_S
            try:
                if await self._advance():
                    poll_s = SHORTEST_POLL_S
                    await asyncio.sleep(pause_s)
                    continue
            except (StoreChanged, EventsDetached):
                raise
            except EventStoreError:
                # Listeners wait on; each reading of their own would meet the same.
                logger.warning("the tail of the feed cannot be read now", exc_info=True)
                await asyncio.sleep(RETRY_S)
                continue
            poll_s = min(poll_s * 1.5, LONGEST_POLL_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(poll_s):
                    await self._woken.wait()
            await asyncio.sleep(min(pause_s, poll_s))

    def _is_wanted(self) -> bool:
        if self._is_closed:
            return False
        return self.listeners > 0 or (asyncio.get_running_loop().time() < self._left_at + LINGER_S)

    async def _advance(self) -> bool:
        """Take in what is new; whether there was anything."""
        if self._head is None:
            self._head = await self._reader.feed_head()
            self._reached = self._head.safe_position
            self._tell()
            return False
        page = await self._reader.read_feed(
            EVERYTHING,
            after=self._reached,
            limit=CHUNK_EVENTS,
            store_id=self._head.store_id,
            large_json_bytes=CHUNK_LARGE_JSON_BYTES,
        )
        if page.reached == self._reached:
            return False
        chunk = Chunk(self._reached, page.reached, page.events)
        self._keep(chunk)
        self._reached = page.reached
        self._tell()
        return True

    def _keep(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._kept_events += len(chunk.events)
        self._kept_bytes += chunk.json_bytes
        while len(self._chunks) > 1 and (
            self._kept_events > KEPT_EVENTS or self._kept_bytes > KEPT_BYTES
        ):
            dropped = self._chunks.popleft()
            self._kept_events -= len(dropped.events)
            self._kept_bytes -= dropped.json_bytes

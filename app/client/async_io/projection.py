"""Runs a projection: follows the feed and hands its events to a handler, batch by batch."""

import asyncio
import math
from asyncio import Queue
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from inspect import isawaitable
from typing import NamedTuple, TypeVar, Unpack
from uuid import UUID

from app.client.answers import Checkpoint
from app.client.async_io.client import AsyncEventStoreClient
from app.client.async_io.subscription import AsyncSubscription
from app.client.batch import BATCH_SIZE, Bookmark, make_batch
from app.client.errors import ProjectionNotFound
from app.client.events import Event
from app.client.operation import Operation
from app.client.operations import FeedFilter, feed_status, get_position

T = TypeVar("T")

Item = Event | Checkpoint


class _End(NamedTuple):
    """The last thing that the reader tells: why there is nothing more to read, if that is why."""

    error: Exception | None


class _Stopped(Exception):
    """It is to stop."""


class AsyncProjection:
    """Keeps a read model up to date with the feed, exactly as `Projection` does.

    ``handle`` and ``load_position`` may be asynchronous.
    """

    def __init__(
        self,
        client: AsyncEventStoreClient,
        name: str,
        handle: Callable[[Sequence[Event]], object],
        *,
        load_position: Callable[[], int | Awaitable[int]] | None = None,
        store_id: UUID | None = None,
        batch_size: int = BATCH_SIZE,
        max_delay_s: float = 0.0,
        **feed_filter: Unpack[FeedFilter],
    ) -> None:
        """See `Projection`."""
        self.store_id = store_id
        self._client = client
        self._name = name
        self._handle = handle
        self._load_position = load_position
        self._batch_size = batch_size
        self._max_delay_s = max_delay_s
        self._filter = feed_filter
        self._stop = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run until `stop`; see `Projection.run`. To cancel it may cut the handler off."""
        with suppress(_Stopped):
            # Before anything is read: all that follows is of this store, or refused.
            self.store_id = self.store_id or (await self._call(feed_status())).store_id
            bookmark = Bookmark(self._name, await self._saved_position())
            after = bookmark.position
            if self._load_position is not None:
                loaded = self._load_position()
                after = await loaded if isawaitable(loaded) else loaded
            async with self._client.subscribe(
                after, checkpoints=True, store_id=self.store_id, **self._filter
            ) as subscription:
                await self._follow(subscription, bookmark)

    def stop(self) -> None:
        """Make `run` return after the batch at hand; from its event loop."""
        self._stop.set()
        if self._reader is not None:
            self._reader.cancel()

    async def _saved_position(self) -> int:
        try:
            return (await self._call(get_position(self._name))).last_processed_position
        except ProjectionNotFound:
            return 0

    async def _follow(self, subscription: AsyncSubscription[Item], bookmark: Bookmark) -> None:
        # A task reads, so that events come in while others are handled, and so that a batch is
        # complete when its time is up, though nothing comes. Bounded: the service then waits.
        queue: Queue[Item | _End] = Queue(self._batch_size)
        self._reader = asyncio.create_task(_read(subscription, queue))
        try:
            while not self._stop.is_set():
                events, position = make_batch(await self._next_items(queue))
                if events:
                    handled = self._handle(events)
                    if isawaitable(handled):
                        await handled
                move = bookmark.move(position, self.store_id)
                if move is not None:
                    await self._call(move)
        finally:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def _next_items(self, queue: "Queue[Item | _End]") -> list[Item]:
        items: list[Item] = []
        item = await queue.get()
        # Events wait for others; a checkpoint waits for nothing.
        deadline = 0.0
        while not isinstance(item, _End):
            items.append(item)
            if not deadline and isinstance(item, Event):
                deadline = asyncio.get_running_loop().time() + self._max_delay_s
            if len(items) == self._batch_size:
                return items
            try:
                async with asyncio.timeout_at(deadline):
                    item = await queue.get()
            except TimeoutError:
                return items
        if items:
            queue.put_nowait(item)  # to be met again behind them
            return items
        raise item.error or _Stopped

    async def _call(self, operation: Operation[T]) -> T:
        return await self._client.call(operation, retry_for_s=math.inf, pause=self._pause)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
            raise _Stopped


async def _read(subscription: AsyncSubscription[Item], queue: "Queue[Item | _End]") -> None:
    error: Exception | None = None
    try:
        async for item in subscription:
            await queue.put(item)
    except asyncio.CancelledError:
        # It is to stop: what has been read is not wanted any more.
        while not queue.empty():
            queue.get_nowait()
    except Exception as caught:  # noqa: BLE001 - raised again by whoever takes it
        error = caught
    await queue.put(_End(error))

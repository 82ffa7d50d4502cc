"""Runs a projection: follows the feed and hands its events to a handler, batch by batch."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, Queue
from typing import NamedTuple, TypeVar, Unpack
from uuid import UUID

from app.client.answers import Checkpoint
from app.client.batch import BATCH_SIZE, Bookmark, make_batch
from app.client.errors import ProjectionNotFound
from app.client.events import Event
from app.client.operation import Operation
from app.client.operations import FeedFilter, feed_status, get_position
from app.client.sync_io.client import EventStoreClient
from app.client.sync_io.stop import Stop
from app.client.sync_io.subscription import Subscription

T = TypeVar("T")

Item = Event | Checkpoint


class _End(NamedTuple):
    """The last thing that the reader tells: why there is nothing more to read, if that is why."""

    error: Exception | None


class _Stopped(Exception):
    """It is to stop."""


class Projection:
    """Keeps a read model up to date with the feed.

    The position is saved with the service after each batch, and read from there at the start: so
    each event is handled at least once, and once more if the process dies in between. A handler
    must bear that; or keep the position itself, in the transaction that updates the read model
    (``events[-1].global_position``), and give ``load_position``, which reads it at the start: then
    each event is handled exactly once. The service is told of the position in both cases, for the
    projection's lag and for those who wait for it.

    ``store_id`` is the store whose events these are, known from the first of them on. Kept with the
    read model and given again, it finds out that the store was restored while nothing ran.
    """

    def __init__(
        self,
        client: EventStoreClient,
        name: str,
        handle: Callable[[Sequence[Event]], object],
        *,
        load_position: Callable[[], int] | None = None,
        store_id: UUID | None = None,
        batch_size: int = BATCH_SIZE,
        max_delay_s: float = 0.0,
        **feed_filter: Unpack[FeedFilter],
    ) -> None:
        """Make a projection; `run` runs it.

        Args:
            client: The event store.
            name: Under which its position is saved: one runner at a time.
            handle: Called with the next events, at least one, in the thread of `run`.
            load_position: Reads the position that the handler keeps, 0: none.
            store_id: The store that the read model was made from, as `store_id` has told it; None:
                it is empty, or that is not known.
            batch_size: The most events of one call.
            max_delay_s: How long an event may wait for others to be handled with it. Without, a
                call gets what has come in during the one before.
            **feed_filter: What narrows the feed.
        """
        self.store_id = store_id
        self._client = client
        self._name = name
        self._handle = handle
        self._load_position = load_position
        self._batch_size = batch_size
        self._max_delay_s = max_delay_s
        self._filter = feed_filter
        self._stop = Stop()
        self._subscription: Subscription[Item] | None = None

    def run(self) -> None:
        """Run until `stop`. Trouble that may pass is waited out, however long it takes.

        Raises:
            PositionConflict: Another runner saves positions under this name.
            StoreChanged: The positions are those of another store: build the read model anew.
            Exception: What the handler raises; the batch comes again when it is run again.
        """
        with suppress(_Stopped):
            # Before anything is read: all that follows is of this store, or refused.
            self.store_id = self.store_id or self._call(feed_status()).store_id
            bookmark = Bookmark(self._name, self._saved_position())
            load = self._load_position
            after = bookmark.position if load is None else load()
            with self._client.subscribe(
                after, checkpoints=True, store_id=self.store_id, **self._filter
            ) as subscription:
                self._subscription = subscription
                self._follow(subscription, bookmark)

    def stop(self) -> None:
        """Make `run` return after the batch at hand; from another thread or a signal handler."""
        self._stop.set()
        if self._subscription is not None:
            self._subscription.close()

    def _saved_position(self) -> int:
        try:
            return self._call(get_position(self._name)).last_processed_position
        except ProjectionNotFound:
            return 0

    def _follow(self, subscription: Subscription[Item], bookmark: Bookmark) -> None:
        # A thread reads, so that events come in while others are handled, and so that a batch is
        # complete when its time is up, though nothing comes. Bounded: the service then waits.
        queue: Queue[Item | _End] = Queue(self._batch_size)
        reader = threading.Thread(target=_read, args=(subscription, queue), daemon=True)
        reader.start()
        try:
            while not self._stop.is_set:
                events, position = make_batch(self._next_items(queue))
                if events:
                    self._handle(events)
                move = bookmark.move(position, self.store_id)
                if move is not None:
                    self._call(move)
        finally:
            subscription.close()
            while reader.is_alive():
                # It may be waiting for a place in the queue.
                with suppress(Empty):
                    queue.get(timeout=0.01)

    def _next_items(self, queue: "Queue[Item | _End]") -> list[Item]:
        items: list[Item] = []
        item = queue.get()
        # Events wait for others; a checkpoint waits for nothing.
        deadline = 0.0
        while not isinstance(item, _End):
            items.append(item)
            if not deadline and isinstance(item, Event):
                deadline = time.monotonic() + self._max_delay_s
            if len(items) == self._batch_size:
                return items
            try:
                item = queue.get(timeout=max(deadline - time.monotonic(), 0))
            except Empty:
                return items
        if items:
            queue.put(item)  # to be met again behind them
            return items
        raise item.error or _Stopped

    def _call(self, operation: Operation[T]) -> T:
        return self._client.call(operation, retry_for_s=math.inf, pause=self._pause)

    def _pause(self, seconds: float) -> None:
        self._stop.wait(seconds)
        if self._stop.is_set:
            raise _Stopped


def _read(subscription: Subscription[Item], queue: "Queue[Item | _End]") -> None:
    error: Exception | None = None
    try:
        for item in subscription:
            queue.put(item)
    except Exception as caught:  # noqa: BLE001 - raised again by whoever takes it
        error = caught
    queue.put(_End(error))

"""Waits until projections have come to a position: one watcher for all who wait in a process."""

import asyncio
import logging
from contextlib import suppress

from app.errors import ServiceBusy
from app.logs.context import component_context
from app.store.position_store import PositionStore

MAX_WAITERS = 1_000
# Saves of this process are told at once. Those of other instances, and of direct SQL writers, are
# found by looking: at the latest after the second of these.
SHORTEST_POLL_S = 0.02
LONGEST_POLL_S = 0.1

logger = logging.getLogger(__name__)


class PositionWatch:
    """Wakes those who wait for positions; who waits holds no connection.

    As long as somebody waits, one task asks for all awaited projections in one statement, every
    20 ms, and while nothing changes, less and less often, down to every 100 ms. It outlasts trouble
    with the database: who waits learns of that by a reading of his own.
    """

    def __init__(self, store: PositionStore) -> None:
        self._store = store
        # By projection: what tells each waiter, and the position that it waits for.
        self._waiters: dict[str, dict[asyncio.Future[bool], int]] = {}
        self._polling: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    @property
    def waiters(self) -> int:
        """How many wait now."""
        return sum(map(len, self._waiters.values()))

    @property
    def is_closed(self) -> bool:
        """Whether nobody is to wait any longer: the service stops."""
        return self._closed.is_set()

    def tell(self, projection_name: str, position: int) -> None:
        """Wake those who wait for the projection to come to ``position``, or less far."""
        for waiter, awaited in self._waiters.get(projection_name, {}).items():
            if awaited <= position and not waiter.done():
                waiter.set_result(True)

    async def wait(self, projection_name: str, position: int, *, timeout_s: float) -> bool:
        """Wait until a projection has come to ``position``; whether it has.

        False: it has not after ``timeout_s``, or the watch was closed. The projection may be
        unknown yet. Whoever is cancelled is forgotten.

        Raises:
            ServiceBusy: As many wait already as may.
        """
        if self.is_closed:
            return False
        if self.waiters >= MAX_WAITERS:
            raise ServiceBusy("too many requests wait for positions of projections")
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        of_projection = self._waiters.setdefault(projection_name, {})
        of_projection[waiter] = position
        if self._polling is None:
            self._polling = asyncio.create_task(
                self._poll(), context=component_context("position watch")
            )
        try:
            await asyncio.wait({waiter}, timeout=timeout_s)
        finally:
            del of_projection[waiter]
            if not of_projection:
                del self._waiters[projection_name]
        return waiter.done() and waiter.result()

    def close(self) -> None:
        """Let all who wait end."""
        self._closed.set()
        for of_projection in self._waiters.values():
            for waiter in of_projection:
                if not waiter.done():
                    waiter.set_result(False)

    async def stop(self) -> None:
        """Close, and wait until nothing more is read."""
        self.close()
        if self._polling is not None:
            await self._polling

    async def _poll(self) -> None:
        poll_s = SHORTEST_POLL_S
        seen: dict[str, int | None] = {}
        is_in_trouble = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(poll_s):
                    await self._closed.wait()
            if self.is_closed or not self._waiters:
                break
            awaited = list(self._waiters)
            try:
                positions = await self._store.awaited_positions(awaited)
            except Exception:
                if not is_in_trouble:
                    logger.warning("awaited positions cannot be read now", exc_info=True)
                is_in_trouble, poll_s = True, LONGEST_POLL_S
                continue
            for projection_name, position in positions.items():
                self.tell(projection_name, position)
            # Other names are a change too: what has just begun is looked at soon again.
            found = {**dict.fromkeys(awaited), **positions}
            poll_s = min(2 * poll_s, LONGEST_POLL_S) if found == seen else SHORTEST_POLL_S
            seen, is_in_trouble = found, False
        self._polling = None

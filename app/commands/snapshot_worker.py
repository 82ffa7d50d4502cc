"""Does in the background, in one process of all, what keeps snapshots in order, and figures."""

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

from app.commands.leadership import Leadership
from app.logs.context import component_context

IDLE_S = 0.5
RETRY_S = 2.0
STOP_TIMEOUT_S = 2.0
SHORTEST_REST_S = 0.005
# A step that takes longer than a second or so has been folding, which others need no rest from.
LONGEST_REST_S = 2.0
# So long a step of others keeps the list of what is due from going on.
PATIENCE_S = 1.0

logger = logging.getLogger(__name__)


class Work(Protocol):
    """Something to do in short steps."""

    async def step(self) -> bool:
        """Do the next one; whether there is more to do at once."""


class PacedWork(Work, Protocol):
    """Work that tells how long to rest for each second of it."""

    @property
    def rest(self) -> float:
        """By what others have to do at the moment."""


class SnapshotWorker:
    """Takes steps as long as this process leads. Trouble with the database is waited out."""

    def __init__(self, leadership: Leadership, follower: PacedWork, *others: Work) -> None:
        """``follower`` tells how long to rest in between."""
        self._leadership = leadership
        self._follower = follower
        self._others: tuple[Work, ...] = others
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin."""
        context = component_context("snapshot worker")
        self._tasks = {
            asyncio.create_task(self._leadership.keep(self._stopped), context=context),
            asyncio.create_task(self._work(), context=context),
        }

    async def stop(self) -> None:
        """End after the step that is under way; a database that hangs is not waited for."""
        self._stopped.set()
        if self._tasks:
            _, hanging = await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT_S)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)

    async def _work(self) -> None:
        is_in_trouble = False
        while not self._stopped.is_set():
            pause_s = IDLE_S
            if self._leadership.is_leader:
                try:
                    pause_s = await self._step()
                    is_in_trouble = False
                except Exception:
                    if not is_in_trouble:
                        logger.warning("snapshots cannot be kept in order now", exc_info=True)
                    is_in_trouble, pause_s = True, RETRY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopped.wait()

    async def _step(self) -> float:
        """Take a step of each work; how long to rest afterwards."""
        clock = asyncio.get_running_loop().time
        begin = clock()
        # All of them, whether or not one has more to do.
        is_more = [await self._follower.step()]
        is_more += [await self._step_of(work) for work in self._others]
        if not any(is_more):
            return IDLE_S
        rest_s = (clock() - begin) * self._follower.rest
        return min(max(rest_s, SHORTEST_REST_S), LONGEST_REST_S)

    async def _step_of(self, work: Work) -> bool:
        """Take a step, and where it takes long, go on to follow meanwhile."""
        stepping = asyncio.create_task(work.step())
        try:
            while not (await asyncio.wait({stepping}, timeout=PATIENCE_S))[0]:
                await self._follower.step()
            return stepping.result()
        finally:
            stepping.cancel()
            await asyncio.gather(stepping, return_exceptions=True)

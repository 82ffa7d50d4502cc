"""Lets those who want the same thing at the same time take turns, within this process."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol


class Waiter(Protocol):
    """Who wants a turn."""

    def begin(self) -> bool:
        """It is its turn; false if it does not want it any more, and has not taken it."""


class Turns:
    """One at a time for each key, first come, first served; who waits holds nothing else.

    Keys that nobody uses take no memory.
    """

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[Waiter]] = {}

    def take(self, key: Hashable, waiter: Waiter) -> None:
        """Let ``waiter`` begin, at once or when it is its turn; `finish` must follow."""
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(waiter)
            return
        self._queues[key] = deque()
        if not waiter.begin():
            self.finish(key)

    def finish(self, key: Hashable) -> None:
        """End the turn at ``key``, and let the next one begin."""
        queue = self._queues[key]
        while queue:
            if queue.popleft().begin():
                return
        del self._queues[key]

    def queue(self, key: Hashable) -> deque[Waiter]:
        """Who waits behind the one whose turn it is, first come first; who is taken out is out."""
        return self._queues[key]

    @asynccontextmanager
    async def of(self, keys: Iterable[Hashable], *, timeout_s: float) -> AsyncIterator[None]:
        """Wait until it is one's turn for all ``keys``, in their order, and keep it for the body.

        Those who want several must name them in one and the same order, or they wait for each
        other.

        Raises:
            TimeoutError: It was not one's turn after ``timeout_s``; not raised for the body.
        """
        taken: list[Hashable] = []
        try:
            async with asyncio.timeout(timeout_s):
                for key in keys:
                    waiter = _Waiter()
                    self.take(key, waiter)
                    try:
                        await waiter.turn
                    except asyncio.CancelledError:
                        if waiter.has_begun:
                            taken.append(key)
                        raise
                    taken.append(key)
            yield
        finally:
            for key in taken:
                self.finish(key)


class _Waiter:
    """Waits in a coroutine."""

    def __init__(self) -> None:
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_begun = False

    def begin(self) -> bool:
        if self.turn.done():
            return False
        self.has_begun = True
        self.turn.set_result(None)
        return True

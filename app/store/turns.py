"""Lets those who want the same thing at the same time take turns, within this process."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager


class Turns:
    """One at a time for each key, first come, first served; who waits holds nothing else.

    Keys that nobody uses take no memory.
    """

    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}

    @asynccontextmanager
    async def of(self, keys: Iterable[Hashable], *, timeout_s: float) -> AsyncIterator[None]:
        """Wait until it is one's turn for all ``keys``, in their order, and keep it for the body.

        Those who want several must name them in one and the same order, or they wait for each
        other.

        Raises:
            TimeoutError: It was not one's turn after ``timeout_s``; not raised for the body.
        """
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(timeout_s):
                for key in keys:
                    await stack.enter_async_context(self._turn(key))
            yield

    @asynccontextmanager
    async def _turn(self, key: Hashable) -> AsyncIterator[None]:
        queue = self._queues.setdefault(key, _Queue())
        queue.length += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.length -= 1
            if queue.length == 0:
                del self._queues[key]


class _Queue:
    """Who has the turn and who waits for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.length = 0

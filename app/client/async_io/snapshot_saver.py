"""Saves snapshots in tasks of their own."""

import asyncio
from collections.abc import Awaitable, Callable

from app.client.snapshot_saves import CLOSE_WITHIN_S, AggregateKey, SnapshotSaves


class AsyncSnapshotSaver:
    """A task for each save, one after the other; they end with the client."""

    def __init__(self) -> None:
        self._saves = SnapshotSaves()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, key: AggregateKey, save: Callable[[], Awaitable[None]], rest_s: float = 0.0
    ) -> None:
        """Have a snapshot saved, if none of this aggregate is; ``rest_s``: no other so soon."""
        if not self._saves.begin(key):
            return
        task = asyncio.create_task(self._run(key, save, rest_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Wait for what has been begun, for a bounded time."""
        self._saves.close()
        tasks = tuple(self._tasks)
        if not tasks:
            return
        try:
            await asyncio.wait(tasks, timeout=CLOSE_WITHIN_S)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self, key: AggregateKey, save: Callable[[], Awaitable[None]], rest_s: float
    ) -> None:
        error: Exception | None = None
        try:
            async with self._turn:
                if self._saves.may_go_on():
                    await save()
        except Exception as caught:  # noqa: BLE001 - logged: whoever has appended is gone
            error = caught
        finally:
            self._saves.end(key, error, rest_s)

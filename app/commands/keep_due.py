"""Keeps the list of aggregates that are due for a snapshot, by following the feed."""

import time
from uuid import UUID

from app.commands.window import Window
from app.store.due_store import DueStore

# Of aggregates: each costs two or three probes of an index.
PAGE = 500
SWEEP_EVERY_S = 5.0
# Of positions a second, of all instances: from here on appends go before.
BUSY_RATE = 200.0
# For each second of work.
BUSY_REST = 3.0
QUIET_REST = 0.25


class DueFollower:
    """Looks at what is new, step by step, each a short statement by itself.

    Off the way of the appends: they write nothing for it. How far it has come is in the database,
    with what it has noted, so that whoever leads next goes on from there.

    ``rest``: how long to rest for each second of work, by how fast the feed grows.
    """

    def __init__(self, store: DueStore, process: UUID) -> None:
        self._store = store
        self._process = process
        self._window = Window()
        self._swept_up_to = ("", "")
        self._swept_at = 0.0
        self._seen_at = time.monotonic()
        self._seen_position: int | None = None
        self.rest = BUSY_REST

    async def step(self) -> bool:
        """Look at the next window or page; whether more is to be looked at."""
        progress = await self._store.progress()
        self._heed_rate(progress.safe_position)
        if progress.scan is not None:
            await self._store.scan_due(progress.scan, PAGE)
            return True
        if progress.position < progress.safe_position:
            up_to = self._window.end(progress.position, progress.safe_position, progress.lost)
            begin = time.monotonic()
            await self._store.note_due(self._process, after=progress.position, up_to=up_to)
            self._window.adapt(time.monotonic() - begin)
            return up_to < progress.safe_position
        await self._sweep()
        return False

    def _heed_rate(self, safe_position: int) -> None:
        now = time.monotonic()
        if self._seen_position is not None:
            rate = (safe_position - self._seen_position) / max(now - self._seen_at, 0.01)
            self.rest = BUSY_REST if rate > BUSY_RATE else QUIET_REST
        self._seen_at, self._seen_position = now, safe_position

    async def _sweep(self) -> None:
        """Pass over a page of the list itself; over all of it, every few seconds at most."""
        is_under_way = self._swept_up_to != ("", "")
        if is_under_way or time.monotonic() > self._swept_at + SWEEP_EVERY_S:
            self._swept_up_to = await self._store.sweep_due(self._swept_up_to, PAGE)
            self._swept_at = time.monotonic()

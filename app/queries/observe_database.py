"""Observes the database for whoever watches the service: seldom, and without waiting for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

from app.store.connection import Database
from app.store.feed_figures import FeedFigures, feed_figures
from app.store.feed_status import InFlight
from app.store.table_figures import TableFigures, table_figures

FEED_FRESH_S = 2.0
# Sizes change slowly, and there is a file or more to look at for each table and index.
TABLES_FRESH_S = 15.0
STATEMENT_TIMEOUT_S = 1.0
# Prometheus waits 10 s for all of the answer by default; what is not there by then is left out.
PATIENCE_S = 0.5
STOP_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)

Figures = TypeVar("Figures")


@dataclass(frozen=True, slots=True)
class Observed:
    """What the database has told; None: it has not, in time.

    ``held_seconds``: how long the feed is held back already; 0: it is not.
    """

    feed: FeedFigures | None
    held_seconds: float
    tables: list[TableFigures] | None


class DatabaseObserver:
    """Reads figures when somebody asks, and tells the same ones for a few seconds."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        async def read_feed() -> FeedFigures:
            return await feed_figures(database, clock(), STATEMENT_TIMEOUT_S)

        self._feed = _Reading(read_feed, FEED_FRESH_S)
        self._tables = _Reading(
            partial(table_figures, database, STATEMENT_TIMEOUT_S), TABLES_FRESH_S
        )
        self._held = _Held()

    async def observe(self) -> Observed:
        """The figures, in half a second, whatever the database does."""
        feed, tables = await asyncio.gather(self._feed.get(), self._tables.get())
        if feed is None:
            return Observed(None, 0.0, tables)
        return Observed(feed, self._held.seconds(feed.status.oldest_in_flight), tables)

    async def stop(self) -> None:
        """Wait until nothing more is read; a database that hangs is not waited for."""
        await self._feed.stop()
        await self._tables.stop()


class _Held:
    """How long a transaction holds the feed back.

    By its age; where the service's role may not see that, by how long it has been seen here.
    """

    def __init__(self) -> None:
        self._mark: int | None = None
        self._seen_at = 0.0

    def seconds(self, oldest: InFlight | None) -> float:
        now = asyncio.get_running_loop().time()
        mark = None if oldest is None else oldest.mark
        if mark != self._mark:
            self._mark, self._seen_at = mark, now
        if oldest is None:
            return 0.0
        return now - self._seen_at if oldest.age_seconds is None else oldest.age_seconds


class _Reading(Generic[Figures]):
    """One reading at a time, in a task that nobody cancels because it takes long.

    A statement that was cancelled would hold whoever waits for its connection to be given back.
    """

    def __init__(self, read: Callable[[], Awaitable[Figures]], fresh_s: float) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._figures: Figures | None = None
        self._fresh_until = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._is_in_trouble = False

    async def get(self) -> Figures | None:
        """What was read a moment ago, or now; None: it cannot be read, or not in time."""
        if asyncio.get_running_loop().time() >= self._fresh_until:
            self._figures = None
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._refresh())
            await asyncio.wait({self._reading}, timeout=PATIENCE_S)
        return self._figures

    async def _refresh(self) -> None:
        try:
            self._figures = await self._read()
        except Exception:
            if not self._is_in_trouble:
                logger.warning("the database cannot be observed now", exc_info=True)
            self._is_in_trouble = True
        else:
            self._is_in_trouble = False
            self._fresh_until = asyncio.get_running_loop().time() + self._fresh_s

    async def stop(self) -> None:
        if self._reading is None:
            return
        _, hanging = await asyncio.wait({self._reading}, timeout=STOP_TIMEOUT_S)
        for task in hanging:
            task.cancel()

"""Keeps the figures of events and aggregates, by following the feed."""

import logging
import time

from app.commands.window import Window
from app.errors import Unavailable
from app.store.statistics_store import StatisticsStore

# After trouble: somebody has locked a table of the figures, say. Snapshots do not wait for that.
RETRY_S = 10.0

logger = logging.getLogger(__name__)


class StatisticsFollower:
    """Counts what is new, window by window, each by a short statement.

    Off the way of the appends: they write nothing for it. How far it has come is in the database,
    with what it has counted, so that whoever leads next goes on from there. A store that is full
    when it begins is counted in the same way. That the figures cannot be kept for a while is told
    in the log, and keeps nothing else from going on.
    """

    def __init__(self, store: StatisticsStore) -> None:
        self._store = store
        self._window = Window()
        self._is_in_trouble = False
        self._rests_until = 0.0

    async def step(self) -> bool:
        """Count the next window; whether there is more to count."""
        if time.monotonic() < self._rests_until:
            return False
        try:
            is_more = await self._count()
        except Unavailable:
            if not self._is_in_trouble:
                logger.warning("the figures cannot be kept now", exc_info=True)
            self._is_in_trouble = True
            self._rests_until = time.monotonic() + RETRY_S
            return False
        self._is_in_trouble = False
        return is_more

    async def _count(self) -> bool:
        progress = await self._store.progress()
        if progress.position >= progress.safe_position:
            return False
        up_to = self._window.end(progress.position, progress.safe_position, progress.lost)
        begin = time.monotonic()
        await self._store.keep(after=progress.position, up_to=up_to)
        self._window.adapt(time.monotonic() - begin)
        return up_to < progress.safe_position

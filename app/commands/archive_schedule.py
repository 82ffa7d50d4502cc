"""Archives old events again and again, in one process of all."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from app.commands.archive_events import archive_events
from app.logs.context import component_context
from app.store.archive_store import Archivable, ArchiveStore

RUN_EVERY_S = 3_600.0
# How often each process asks whether it is its turn.
ASK_EVERY_S = 60.0

logger = logging.getLogger(__name__)


class ArchiveSchedule:
    """A run an hour. One that is killed in the midst of it is followed by the next hour's."""

    def __init__(
        self,
        store: ArchiveStore,
        *,
        after: timedelta,
        only_snapshotted: bool,
        max_events_per_s: float,
    ) -> None:
        self._store = store
        self._after = after
        self._only_snapshotted = only_snapshotted
        self._max_events_per_s = max_events_per_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._keep(), context=component_context("archive"))

    async def stop(self) -> None:
        """End at once: a batch that is under way is rolled back, or has committed."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        is_in_trouble = False
        while True:
            try:
                if await self._store.claim_run(RUN_EVERY_S):
                    await self._run()
                is_in_trouble = False
            except Exception:
                # A standby, a database out of reach, a schema that is not migrated yet.
                if not is_in_trouble:
                    logger.warning("old events cannot be archived now", exc_info=True)
                is_in_trouble = True
            await asyncio.sleep(ASK_EVERY_S)

    async def _run(self) -> None:
        older_than = datetime.now(UTC) - self._after
        moved = 0
        async for progress in archive_events(
            self._store,
            Archivable(older_than, only_snapshotted=self._only_snapshotted),
            max_events_per_s=self._max_events_per_s,
        ):
            moved = progress.moved
        if moved:
            logger.info("archived %d events of before %s", moved, older_than.isoformat())

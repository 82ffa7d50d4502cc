"""Finds out which process, of all instances and workers, does what only one should do."""

import asyncio
import logging
from contextlib import suppress
from uuid import uuid4

from app.store.due_store import DueStore

# A process that was killed is followed by another one after this, and one that stops at once.
LEASE_S = 6.0
RENEW_S = 2.0

logger = logging.getLogger(__name__)


class Leadership:
    """A lease in the database, renewed as long as this process runs.

    No connection is kept for it, so that it works with a pool of one, and through a pooler. What
    the leader writes is safe also where two believe to lead, as they may for a moment: it is
    written only by who holds the lease, or is the same whoever writes it.
    """

    def __init__(self, store: DueStore) -> None:
        self.process = uuid4()
        self._store = store
        self._leads_until = 0.0
        self._is_in_trouble = False

    @property
    def is_leader(self) -> bool:
        """Whether this process leads."""
        return asyncio.get_running_loop().time() < self._leads_until

    async def keep(self, stopped: asyncio.Event) -> None:
        """Lead whenever no other process does, until ``stopped``; then let another one."""
        while not stopped.is_set():
            await self._ask()
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await stopped.wait()
        if self.is_leader:
            self._leads_until = 0.0
            # That it could not be told: another process leads a little later.
            with suppress(Exception):
                await self._store.resign(self.process)

    async def _ask(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        try:
            leads = await self._store.lead(self.process, LEASE_S)
        except Exception:
            # A standby, a database out of reach, a schema that is not migrated yet.
            if not self._is_in_trouble:
                logger.warning("who keeps snapshots cannot be settled now", exc_info=True)
            self._is_in_trouble = True
            return
        self._is_in_trouble = False
        if leads and not self._leads_until:
            logger.info("this process keeps the snapshots of all instances now")
        self._leads_until = asked_at + LEASE_S if leads else 0.0

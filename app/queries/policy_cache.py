"""Knows the snapshot policies of all types, for every append, without asking the database."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from app.events import MAX_VERSION
from app.logs.context import component_context
from app.store.policy_store import PolicyInterval, PolicyStore

# How long a policy that another process has saved may stay unknown here.
REFRESH_S = 2.0
NEVER = MAX_VERSION + 1

logger = logging.getLogger(__name__)


class PolicyCache:
    """All policies as of two seconds ago at most; what this process saves is known at once.

    It outlasts trouble with the database: what was known last goes on to apply.
    """

    def __init__(self, store: PolicyStore, default_every: int) -> None:
        self.default_every = default_every
        self._store = store
        self._policies: Mapping[str, PolicyInterval] = {}
        self._due_after: Mapping[str, int] = {}
        self._reducer_hashes: Mapping[str, str] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()

    def due_after(self, aggregate_type: str) -> int:
        """How many events without a snapshot make one due that the service has to make.

        More than there can be, where the store makes them itself.
        """
        return self._due_after.get(aggregate_type, self.default_every)

    def every(self, aggregate_type: str) -> int:
        """After how many events a snapshot is due, whoever makes it."""
        policy = self._policies.get(aggregate_type)
        return self.default_every if policy is None else policy.every

    @property
    def reducer_hashes(self) -> Mapping[str, str]:
        """The types whose snapshots the store makes, and the hashes of their reducers."""
        return self._reducer_hashes

    def start(self) -> None:
        """Begin to follow the policies."""
        self._refreshing = asyncio.create_task(
            self._follow(), context=component_context("policy cache")
        )

    async def stop(self) -> None:
        """Wait until nothing more is read."""
        self._stopped.set()
        if self._refreshing is not None:
            await self._refreshing

    async def refresh(self) -> None:
        """Take over the policies as they are stored now."""
        policies = await self._store.policy_intervals()
        self._policies = policies
        self._due_after = {
            aggregate_type: policy.every if policy.reducer_hash is None else NEVER
            for aggregate_type, policy in policies.items()
        }
        self._reducer_hashes = {
            aggregate_type: policy.reducer_hash
            for aggregate_type, policy in policies.items()
            if policy.reducer_hash is not None
        }

    async def _follow(self) -> None:
        is_in_trouble = False
        while not self._stopped.is_set():
            try:
                await self.refresh()
                is_in_trouble = False
            except Exception:
                if not is_in_trouble:
                    logger.warning("snapshot policies cannot be read now", exc_info=True)
                is_in_trouble = True
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._stopped.wait()

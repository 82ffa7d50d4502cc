"""Decisions: load an aggregate, decide, append; and keep its snapshots meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from copy import copy
from functools import partial
from inspect import isawaitable
from typing import Any, Self, TypeAlias, TypeVar, overload
from uuid import UUID

from app.client.answers import Aggregate, Appended, FoldedAggregate
from app.client.async_io.aggregates import AsyncAggregates
from app.client.backoff import ConflictBackoff
from app.client.errors import AggregateNotFound, VersionConflict
from app.client.events import NewEvent
from app.client.folding import Fold, Folding, ReadState, UnusableSnapshot
from app.client.snapshot_saves import REST_S, patient_for_a_moment

S = TypeVar("S")

Decided: TypeAlias = Iterable[NewEvent] | None


class AsyncDecisions(AsyncAggregates):
    """What is appended because of what is there."""

    @overload
    async def load_decide_append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        decide: Callable[[Aggregate], Decided | Awaitable[Decided]],
        *,
        attempts: int = 10,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
    ) -> Appended | None: ...

    @overload
    async def load_decide_append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        decide: Callable[[FoldedAggregate[S]], Decided | Awaitable[Decided]],
        *,
        fold: Fold[S],
        initial: S,
        read_state: ReadState[S] | None = None,
        attempts: int = 10,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
    ) -> Appended | None: ...

    async def load_decide_append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        decide: Callable[[Any], Decided | Awaitable[Decided]],
        *,
        fold: Fold[Any] | None = None,
        initial: Any = None,
        read_state: ReadState[Any] | None = None,
        attempts: int = 10,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
    ) -> Appended | None:
        """See `EventStoreClient.load_decide_append`; ``decide`` may be asynchronous.

        Snapshots are made in a task: ``fold`` and ``read_state`` hold up the event loop.
        """
        folding = None if fold is None else Folding(fold, initial, read_state)
        backoff = ConflictBackoff()
        while True:
            began = time.monotonic()
            aggregate = await (
                self._load_or_new(aggregate_type, aggregate_id)
                if folding is None
                else self._load_and_fold(aggregate_type, aggregate_id, folding)
            )
            decided = decide(aggregate)
            events = list((await decided if isawaitable(decided) else decided) or ())
            if not events:
                return None
            try:
                appended = await self.append(
                    aggregate_type,
                    aggregate_id,
                    events,
                    expected_version=aggregate.version,
                    correlation_id=correlation_id,
                    causation_id=causation_id,
                )
            except VersionConflict:
                attempts -= 1
                if attempts <= 0:
                    raise
            else:
                if folding is not None and appended.snapshot_due:
                    self._start_saving(aggregate_type, aggregate_id, folding)
                return appended
            await asyncio.sleep(backoff.after_attempt(time.monotonic() - began))

    async def _load_or_new(
        self, aggregate_type: str, aggregate_id: str, *, snapshot: bool = True
    ) -> Aggregate:
        try:
            return await self.load(aggregate_type, aggregate_id, snapshot=snapshot)
        except AggregateNotFound:
            return Aggregate(aggregate_type, aggregate_id, 0, None, [])

    async def _load_and_fold(
        self, aggregate_type: str, aggregate_id: str, folding: Folding[S]
    ) -> FoldedAggregate[S]:
        try:
            return folding.of(await self._load_or_new(aggregate_type, aggregate_id))
        except UnusableSnapshot:
            pass
        folded = folding.of(await self._load_or_new(aggregate_type, aggregate_id, snapshot=False))
        # Not again and again, where two who do not understand each other take turns.
        self._start_saving(aggregate_type, aggregate_id, folding, rest_s=REST_S)
        return folded

    def _start_saving(
        self, aggregate_type: str, aggregate_id: str, folding: Folding[Any], rest_s: float = 0.0
    ) -> None:
        save = partial(self._in_background()._save, aggregate_type, aggregate_id, folding)
        self._snapshot_saver.start((aggregate_type, aggregate_id), save, rest_s)

    def _in_background(self) -> Self:
        """This client, but one that gives up soon."""
        client = copy(self)
        client._service = patient_for_a_moment(self._service)
        return client

    async def _save(self, aggregate_type: str, aggregate_id: str, folding: Folding[Any]) -> None:
        # Loaded anew: the state that was decided on is in use, and lacks what has been appended;
        # and of that, the store alone has times, numbers and ids as the fold will see them.
        folded = await self._load_and_fold(aggregate_type, aggregate_id, folding)
        if folded.events:  # otherwise somebody else was faster
            await self.save_snapshot(aggregate_type, aggregate_id, folded.version, folded.state)

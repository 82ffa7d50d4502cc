"""Decisions: load an aggregate, decide, append; and keep its snapshots meanwhile."""

import time
from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from typing import Any, Self, TypeVar, overload
from uuid import UUID

from app.client.answers import Aggregate, Appended, FoldedAggregate
from app.client.backoff import ConflictBackoff
from app.client.errors import AggregateNotFound, VersionConflict
from app.client.events import NewEvent
from app.client.folding import Fold, Folding, ReadState, UnusableSnapshot
from app.client.snapshot_saves import REST_S, patient_for_a_moment
from app.client.sync_io.aggregates import Aggregates

S = TypeVar("S")


class Decisions(Aggregates):
    """What is appended because of what is there."""

    @overload
    def load_decide_append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        decide: Callable[[Aggregate], Iterable[NewEvent] | None],
        *,
        attempts: int = 10,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
    ) -> Appended | None: ...

    @overload
    def load_decide_append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        decide: Callable[[FoldedAggregate[S]], Iterable[NewEvent] | None],
        *,
        fold: Fold[S],
        initial: S,
        read_state: ReadState[S] | None = None,
        attempts: int = 10,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
    ) -> Appended | None: ...

    def load_decide_append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        decide: Callable[[Any], Iterable[NewEvent] | None],
        *,
        fold: Fold[Any] | None = None,
        initial: Any = None,
        read_state: ReadState[Any] | None = None,
        attempts: int = 10,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
    ) -> Appended | None:
        """Load an aggregate and append what ``decide`` makes of it; None: that was nothing.

        When somebody else was faster, all of it is done again after a random pause that grows: so
        ``decide`` may be called several times. What is new comes with version 0 and no events.

        With ``fold``, the aggregate has a ``state``: that of its snapshot or ``initial``, and the
        events after it folded into it. When the service says that a snapshot is due, one is made
        and saved in the background, in a thread of the client's: the aggregate is loaded and
        folded once more. What goes wrong there is logged, no more (docs/guides/snapshots.md).

        Args:
            aggregate_type: The kind of aggregate.
            aggregate_id: The aggregate.
            decide: Makes the events to append of the aggregate.
            fold: Makes the next state of a state, which it may change, and an event.
            initial: The state before the first event.
            read_state: Makes a state of that of a snapshot, which is made of JSON's values; raises
                whatever it likes if it is none of this fold's. Default: it is one as it is.
            attempts: How often it is done at most.
            correlation_id: For events that carry none.
            causation_id: For events that carry none.

        Raises:
            VersionConflict: Somebody else was faster ``attempts`` times.
            Unavailable: As of `append`; but to call this again decides anew, on other events.
            Exception: What ``decide`` raises, or ``fold`` of events from the first one on.
        """
        folding = None if fold is None else Folding(fold, initial, read_state)
        backoff = ConflictBackoff()
        while True:
            began = time.monotonic()
            aggregate = (
                self._load_or_new(aggregate_type, aggregate_id)
                if folding is None
                else self._load_and_fold(aggregate_type, aggregate_id, folding)
            )
            events = list(decide(aggregate) or ())
            if not events:
                return None
            try:
                appended = self.append(
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
            time.sleep(backoff.after_attempt(time.monotonic() - began))

    def _load_or_new(
        self, aggregate_type: str, aggregate_id: str, *, snapshot: bool = True
    ) -> Aggregate:
        try:
            return self.load(aggregate_type, aggregate_id, snapshot=snapshot)
        except AggregateNotFound:
            return Aggregate(aggregate_type, aggregate_id, 0, None, [])

    def _load_and_fold(
        self, aggregate_type: str, aggregate_id: str, folding: Folding[S]
    ) -> FoldedAggregate[S]:
        try:
            return folding.of(self._load_or_new(aggregate_type, aggregate_id))
        except UnusableSnapshot:
            pass
        folded = folding.of(self._load_or_new(aggregate_type, aggregate_id, snapshot=False))
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

    def _save(self, aggregate_type: str, aggregate_id: str, folding: Folding[Any]) -> None:
        # Loaded anew: the state that was decided on is in use, and lacks what has been appended;
        # and of that, the store alone has times, numbers and ids as the fold will see them.
        folded = self._load_and_fold(aggregate_type, aggregate_id, folding)
        if folded.events:  # otherwise somebody else was faster
            self.save_snapshot(aggregate_type, aggregate_id, folded.version, folded.state)

"""How an aggregate becomes a state: by a function of whoever calls, from a snapshot on."""

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from app.client.answers import Aggregate, FoldedAggregate
from app.client.events import Event

S = TypeVar("S")

Fold: TypeAlias = Callable[[S, Event], S]
ReadState: TypeAlias = Callable[[Any], S]

logger = logging.getLogger(__name__)


class UnusableSnapshot(Exception):
    """A snapshot that this fold cannot go on from: another fold has made it, it seems."""


@dataclass(frozen=True, slots=True)
class Folding(Generic[S]):
    """A fold, the state that it begins with, and how it takes up the state of a snapshot."""

    fold: Fold[S]
    initial: S
    read_state: ReadState[S] | None = None

    def of(self, aggregate: Aggregate) -> FoldedAggregate[S]:
        """Fold the events of an aggregate, from its snapshot on.

        Raises:
            UnusableSnapshot: It has one, and that cannot be read, or not be folded on from.
            Exception: It has none, and the fold has raised this.
        """
        if aggregate.snapshot is None:
            return self._folded(aggregate)
        try:
            return self._folded(aggregate)
        except Exception as error:
            logger.warning(
                "the snapshot of %s/%s at version %d is not used: %r",
                aggregate.aggregate_type,
                aggregate.aggregate_id,
                aggregate.snapshot.version,
                error,
            )
            raise UnusableSnapshot from error

    def _folded(self, aggregate: Aggregate) -> FoldedAggregate[S]:
        if aggregate.snapshot is None:
            # A copy: the fold may change it in place, and this may not be the only use.
            state = deepcopy(self.initial)
        elif self.read_state is None:
            state = aggregate.snapshot.state
        else:
            state = self.read_state(aggregate.snapshot.state)
        for event in aggregate.events:
            state = self.fold(state, event)
        return FoldedAggregate(
            aggregate.aggregate_type,
            aggregate.aggregate_id,
            aggregate.version,
            aggregate.snapshot,
            aggregate.events,
            state,
        )

"""Remembers which aggregates are fought over: the version conflicts of one process.

In bounded memory, by the space-saving algorithm (Metwally, Agrawal, El Abbadi: Efficient
Computation of Frequent and Top-k Elements in Data Streams, 2005): whoever has more conflicts than
one in `MAX_AGGREGATES` is remembered.
"""

from dataclasses import dataclass
from datetime import datetime

MAX_AGGREGATES = 1_000
# What there is beyond counts together, under no name; so it is in app.metrics.
MAX_TYPES = 200


@dataclass(slots=True)
class TypeConflicts:
    """Conflicts of the aggregates of a type; "": of the types that were met late."""

    aggregate_type: str
    conflicts: int
    last_at: datetime


@dataclass(slots=True)
class AggregateConflicts:
    """Conflicts of one aggregate; ``creations``: of appends that expected that it did not exist.

    ``missed``: how many it may have had before, while others were remembered in its place.
    """

    aggregate_type: str
    aggregate_id: str
    conflicts: int
    creations: int
    missed: int
    last_at: datetime


class Conflicts:
    """The conflicts since a time, by type, and the aggregates that had the most."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        self._types: dict[str, TypeConflicts] = {}
        self._aggregates: dict[tuple[str, str], AggregateConflicts] = {}

    def note(
        self, aggregate_type: str, aggregate_id: str, at: datetime, *, is_creation: bool
    ) -> None:
        """Remember a conflict."""
        name = aggregate_type
        if name not in self._types and len(self._types) >= MAX_TYPES:
            name = ""
        of_type = self._types.setdefault(name, TypeConflicts(name, 0, at))
        of_type.conflicts += 1
        of_type.last_at = at
        aggregate = self._aggregates.get((aggregate_type, aggregate_id))
        if aggregate is None:
            aggregate = self._enter(aggregate_type, aggregate_id, at)
        aggregate.conflicts += 1
        aggregate.creations += is_creation
        aggregate.last_at = at

    def types(self) -> list[TypeConflicts]:
        """By conflicts, falling."""
        return sorted(self._types.values(), key=lambda each: (-each.conflicts, each.aggregate_type))

    def hottest(self, limit: int) -> list[AggregateConflicts]:
        """By the conflicts that are known, falling, then by the last one."""
        return sorted(
            self._aggregates.values(),
            key=lambda each: (each.conflicts, each.last_at),
            reverse=True,
        )[:limit]

    def _enter(self, aggregate_type: str, aggregate_id: str, at: datetime) -> AggregateConflicts:
        missed = 0
        if len(self._aggregates) >= MAX_AGGREGATES:
            coldest = min(self._aggregates.values(), key=lambda each: each.conflicts + each.missed)
            del self._aggregates[coldest.aggregate_type, coldest.aggregate_id]
            missed = coldest.conflicts + coldest.missed
        entered = AggregateConflicts(aggregate_type, aggregate_id, 0, 0, missed, at)
        self._aggregates[aggregate_type, aggregate_id] = entered
        return entered

"""Counts events and aggregates by type: by the figures that are kept, or really."""

from collections import Counter
from dataclasses import dataclass

from app.queries.windows import windows_up_to
from app.store.statistics_store import EventCount, EventCounts, StatisticsStore


@dataclass(frozen=True, slots=True)
class TypeCount:
    """How many events a type has, and how many aggregates began with one of these."""

    name: str
    events: int
    aggregates: int


@dataclass(frozen=True, slots=True)
class TypeCounts:
    """All types, those with the most events first, as of ``position``.

    They are exact unless that is lower than the safe position was: then the kept figures are
    behind.
    """

    types: list[TypeCount]
    position: int
    safe_position: int

    @property
    def is_exact(self) -> bool:
        """Whether every event is counted that was safe when it was asked."""
        return self.position >= self.safe_position


async def count_aggregate_types(store: StatisticsStore, *, exact: bool) -> TypeCounts:
    """Events and aggregates of each aggregate type; ``exact``: read all events for it."""
    found = await _event_counts(store, exact)
    return _by_name([(count.aggregate_type, count) for count in found.counts], found)


async def count_event_types(
    store: StatisticsStore, aggregate_type: str | None, *, exact: bool
) -> TypeCounts:
    """Events of each event type, of one aggregate type or of all; ``exact``: read all events."""
    found = await _event_counts(store, exact)
    return _by_name(
        [
            (count.event_type, count)
            for count in found.counts
            if aggregate_type is None or count.aggregate_type == aggregate_type
        ],
        found,
    )


async def _event_counts(store: StatisticsStore, exact: bool) -> EventCounts:
    if not exact:
        return await store.event_counts()
    progress = await store.progress()
    end = progress.safe_position
    events: Counter[tuple[str, str]] = Counter()
    aggregates: Counter[tuple[str, str]] = Counter()
    for after, up_to in windows_up_to(end, progress.lost):
        for count in await store.count_events(after=after, up_to=up_to):
            pair = (count.aggregate_type, count.event_type)
            events[pair] += count.events
            aggregates[pair] += count.aggregates
    return EventCounts([EventCount(*p, events[p], aggregates[p]) for p in events], end, end)


def _by_name(named: list[tuple[str, EventCount]], found: EventCounts) -> TypeCounts:
    events: Counter[str] = Counter()
    aggregates: Counter[str] = Counter()
    for name, count in named:
        events[name] += count.events
        aggregates[name] += count.aggregates
    types = [TypeCount(name, events[name], aggregates[name]) for name in events]
    types.sort(key=lambda each: (-each.events, each.name))
    return TypeCounts(types, found.position, found.safe_position)

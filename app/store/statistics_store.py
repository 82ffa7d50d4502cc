"""Keeps figures of the events up to a position, and tells them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.events import LostPositions
from app.store.connection import Database
from app.store.statements import statement

LARGEST_KEPT = 1_000
# Of positions: behind the kept figures, they are counted when somebody asks. 20,000 take 25 ms.
COUNTED_WHEN_ASKED = 20_000


@dataclass(frozen=True, slots=True)
class StatisticsProgress:
    """Up to which ``position`` events are counted."""

    position: int
    safe_position: int
    lost: LostPositions


@dataclass(frozen=True, slots=True)
class EventCount:
    """Events of an aggregate type and an event type; ``aggregates``: those that began with one."""

    aggregate_type: str
    event_type: str
    events: int
    aggregates: int


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Counts of all events up to ``position``; a pair of types may be in them more than once."""

    counts: list[EventCount]
    position: int
    safe_position: int


@dataclass(frozen=True, slots=True)
class SizedAggregate:
    """An aggregate and its version, which is the number of its events."""

    aggregate_type: str
    aggregate_id: str
    version: int


@dataclass(frozen=True, slots=True)
class LargestAggregates:
    """The aggregates with the most events up to ``position``, largest first."""

    aggregates: list[SizedAggregate]
    position: int
    safe_position: int


class StatisticsStore:
    """Keeps figures, in one statement a window; whoever calls `keep` need not be the only one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def progress(self) -> StatisticsProgress:
        """Up to where is counted, and could be."""
        async with self._database.connection() as connection:
            [row] = await connection.fetch(statement("statistics_progress"))
        position, safe_position, lost_after, lost_up_to = row
        return StatisticsProgress(position, safe_position, LostPositions(lost_after, lost_up_to))

    async def keep(self, *, after: int, up_to: int) -> bool:
        """Count a window of the feed, once for all; False: somebody else has.

        ``after``: up to where is counted; ``up_to``: at most the safe position that `progress` has
        told. One statement, so that a crash loses nothing and counts nothing twice.
        """
        async with self._database.connection() as connection:
            [row] = await connection.fetch(statement("keep_statistics"), after, up_to, LARGEST_KEPT)
        return bool(row["is_counted"])

    async def event_counts(self) -> EventCounts:
        """The kept counts, made up to the safe position where little is missing."""
        safe_position, rows = await self._fetch_reached("event_counts")
        return EventCounts(
            [EventCount(*more) for _, *more in rows if more[0] is not None],
            rows[0]["position"],
            safe_position,
        )

    async def largest_aggregates(self, limit: int) -> LargestAggregates:
        """The largest, at most `LARGEST_KEPT`; up to the safe position where little is missing."""
        safe_position, rows = await self._fetch_reached("largest_aggregates", limit)
        return LargestAggregates(
            _sized(more for _, *more in rows if more[0] is not None),
            rows[0]["position"],
            safe_position,
        )

    async def count_events(self, *, after: int, up_to: int) -> list[EventCount]:
        """The counts of a window of the feed, each pair of types once."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("count_events"), after, up_to)
        return [EventCount(*row) for row in rows]

    async def largest_in_window(
        self, *, after: int, up_to: int, limit: int, least_version: int
    ) -> list[SizedAggregate]:
        """The aggregates with the highest versions in a window, at least ``least_version``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                statement("largest_in_window"), after, up_to, limit, least_version
            )
        return _sized(rows)

    async def _fetch_reached(self, name: str, *more: object) -> tuple[int, list[Any]]:
        async with self._database.connection() as connection:
            [progress] = await connection.fetch(statement("statistics_progress"))
            safe_position: int = progress["safe_position"]
            rows = await connection.fetch(statement(name), safe_position, COUNTED_WHEN_ASKED, *more)
        return safe_position, rows


def _sized(rows: Iterable[Any]) -> list[SizedAggregate]:
    return [SizedAggregate(*row) for row in rows]

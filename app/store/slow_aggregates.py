"""Finds the aggregates whose loads are long: many events, and no usable snapshot near their end."""

from dataclasses import dataclass

from app.store.connection import Database
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class SlowAggregate:
    """An aggregate, and what is known of its snapshots.

    ``snapshot_version`` is that of its usable snapshot (0: none): one that its type's reducer has
    made, if there is a reducer (``is_managed``). ``failed_version`` and ``failure`` are of the
    event on which that fails, or None.
    """

    aggregate_type: str
    aggregate_id: str
    version: int
    snapshot_version: int
    every: int
    is_managed: bool
    failed_version: int | None
    failure: str | None

    @property
    def events_since_snapshot(self) -> int:
        """What a load has to read."""
        return self.version - self.snapshot_version


@dataclass(frozen=True, slots=True)
class SlowAggregates:
    """Slow aggregates, and up to which ``position`` the feed has been looked at for them."""

    aggregates: list[SlowAggregate]
    position: int
    safe_position: int


async def slow_aggregates(
    database: Database, default_every: int, *, from_events: int, limit: int
) -> SlowAggregates:
    """Those with the most events since their snapshot: as many as their policy says makes one due.

    Or at least ``from_events`` of them, whatever it says; these only of the thousand largest. Of
    those on which a reducer fails, ``limit`` are looked at, by type and id.
    """
    async with database.connection() as connection:
        [progress] = await connection.fetch(statement("statistics_progress"))
        rows = await connection.fetch(
            statement("slow_aggregates"), default_every, from_events, limit
        )
    return SlowAggregates(
        [SlowAggregate(*more) for _, *more in rows if more[0] is not None],
        rows[0]["position"],
        progress["safe_position"],
    )

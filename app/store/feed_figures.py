"""Reads how the feed is, and who is behind it, for whoever watches the service."""

from dataclasses import dataclass
from datetime import datetime

from app.store.connection import Database
from app.store.feed_status import FeedStatus, read_feed_status
from app.store.snapshot_statistics import DueSummary, read_due_summary
from app.store.statements import statement

MAX_PROJECTIONS = 100


@dataclass(frozen=True, slots=True)
class ProjectionLag:
    """How far a projection is behind: ``seconds`` is the age of the oldest event not processed."""

    projection_name: str
    positions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FeedFigures:
    """The feed, its projections (the `MAX_PROJECTIONS` furthest behind), the snapshots due."""

    status: FeedStatus
    projections: int
    furthest_behind: list[ProjectionLag]
    due: DueSummary


async def feed_figures(database: Database, now: datetime, timeout_s: float) -> FeedFigures:
    """The figures at about this moment, by three statements on the reserved connection.

    ``timeout_s``: the longest that each statement may take.

    Raises:
        DatabaseUnreachable: Also on a standby, or where a statement takes longer.
        DatabaseBusy: No connection was free.
    """
    async with database.connection(reserved=True) as connection:
        status = await read_feed_status(connection, timeout_s)
        rows = await connection.fetch(
            statement("projection_lags"),
            status.safe_position,
            now,
            MAX_PROJECTIONS,
            timeout=timeout_s,
        )
        due = await read_due_summary(connection, timeout_s)
    return FeedFigures(
        status,
        rows[0]["projections"] if rows else 0,
        [ProjectionLag(name, positions, seconds) for name, positions, seconds, _ in rows],
        due,
    )

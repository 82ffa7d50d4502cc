"""Tells where the feed is, and which transaction holds it back."""

from dataclasses import dataclass
from typing import Any

from app.events import LostPositions
from app.store.connection import Connection, Database
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class InFlight:
    """A transaction that has inserted events and has not ended.

    All its positions are greater than ``mark``, and the safe position stays below them. ``pid``
    None: it is prepared for a two-phase commit, and belongs to no backend. Times are RFC 3339 text
    in UTC, ``age_seconds`` is since the transaction began or was prepared. All but mark, pid,
    application and user are None where the service's role may not see them
    (https://www.postgresql.org/docs/16/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW).
    """

    mark: int
    pid: int | None
    application_name: str | None
    user_name: str | None
    client_address: str | None
    state: str | None
    transaction_started_at: str | None
    state_changed_at: str | None
    age_seconds: float | None


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """``last_position`` is the highest that was given out, also to what is not committed.

    ``oldest_in_flight`` None: no transaction holds the feed back. Positions that the safe position
    is behind are then holes, of transactions that were rolled back.
    """

    store_id: str
    last_position: int
    safe_position: int
    lost: LostPositions
    oldest_in_flight: InFlight | None

    @property
    def lag_positions(self) -> int:
        """How many positions the safe one is behind; holes count, what a restore lost does not."""
        return (
            self.last_position
            - self.safe_position
            - self.lost.count_between(self.safe_position, self.last_position)
        )


async def feed_status(database: Database) -> FeedStatus:
    """The status of the feed at about this moment, by one statement.

    Raises:
        DatabaseUnreachable: Also on a standby, which has no marks, and where the service's user may
            not read the sequence of the positions.
    """
    async with database.connection() as connection:
        return await read_feed_status(connection)


async def read_feed_status(connection: Connection, timeout_s: float | None = None) -> FeedStatus:
    """`feed_status` over this connection; ``timeout_s``: the longest that it may take."""
    [row] = await connection.fetch(statement("feed_status"), timeout=timeout_s)
    store_id, last_position, safe_position, lost_after, lost_up_to, *in_flight = row
    lost = LostPositions(lost_after, lost_up_to)
    return FeedStatus(store_id, last_position, safe_position, lost, _in_flight(*in_flight))


def _in_flight(mark: int | None, *more: Any) -> InFlight | None:
    return None if mark is None else InFlight(mark, *more)

"""Keeps the list of aggregates that are due for a snapshot, and who keeps it."""

from dataclasses import dataclass
from uuid import UUID

from app.events import MAX_VERSION, LostPositions
from app.store.connection import Database
from app.store.statements import statement


@dataclass(frozen=True, slots=True)
class Scan:
    """A type whose aggregates are looked at once more, from those behind ``after_id`` on."""

    aggregate_type: str
    after_id: str
    request: UUID


@dataclass(frozen=True, slots=True)
class DueProgress:
    """Up to which ``position`` the feed has been looked at, and what else is to be looked at."""

    position: int
    safe_position: int
    lost: LostPositions
    scan: Scan | None


@dataclass(frozen=True, slots=True)
class DuePlace:
    """A place in the list of due aggregates; ``events`` as they are noted in it."""

    events: int = MAX_VERSION
    aggregate_type: str = ""
    aggregate_id: str = ""


@dataclass(frozen=True, slots=True)
class DueAggregate:
    """An aggregate that is due; ``is_managed``: the store makes the snapshot.

    ``snapshot_version`` is that of its usable snapshot (0: none).
    """

    aggregate_type: str
    aggregate_id: str
    version: int
    snapshot_version: int
    is_managed: bool
    place: DuePlace


@dataclass(frozen=True, slots=True)
class DuePage:
    """Due aggregates, and the place to go on behind; None: there are no more."""

    aggregates: list[DueAggregate]
    next_place: DuePlace | None


class DueStore:
    """Each method is one statement. Only the process that leads writes to the list at length.

    What clients do is no more than a touch of single rows: ``save_snapshot``, ``delete_snapshot``.
    """

    def __init__(self, database: Database, default_every: int) -> None:
        self._database = database
        self.default_every = default_every

    async def lead(self, process: UUID, seconds: float) -> bool:
        """Become, or stay, the process that leads, for ``seconds``; whether it does.

        A list that was kept with another default is looked at once more.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement("lead_snapshots"), process, seconds)
            if row is not None and row["default_every"] != self.default_every:
                await connection.fetch(statement("scan_default"), self.default_every, process)
        return row is not None

    async def resign(self, process: UUID) -> None:
        """Let another process lead at once."""
        async with self._database.connection() as connection:
            await connection.fetch(statement("resign_snapshots"), process)

    async def progress(self) -> DueProgress:
        """What there is to look at."""
        async with self._database.connection() as connection:
            [row] = await connection.fetch(statement("due_progress"))
        position, safe_position, lost_after, lost_up_to, scan_type, after_id, request = row
        scan = None if scan_type is None else Scan(scan_type, after_id, request)
        return DueProgress(position, safe_position, LostPositions(lost_after, lost_up_to), scan)

    async def note_due(self, process: UUID, *, after: int, up_to: int) -> bool:
        """Look at a window of the feed, once for all; False: it is for another process to do.

        ``up_to``: at most the safe position that ``progress`` has told.
        """
        async with self._database.connection() as connection:
            [row] = await connection.fetch(
                statement("note_due"), self.default_every, after, up_to, process
            )
        return bool(row["is_leader"])

    async def scan_due(self, scan: Scan, limit: int) -> None:
        """Look at a page of a type's aggregates, and remember that."""
        async with self._database.connection() as connection:
            [row] = await connection.fetch(
                statement("scan_due"),
                self.default_every,
                scan.aggregate_type,
                scan.after_id,
                limit,
            )
            # Not in one transaction: a page that is looked at twice does no harm.
            await connection.fetch(
                statement("advance_scan"), scan.aggregate_type, scan.request, row["last_id"]
            )

    async def sweep_due(self, after: tuple[str, str], limit: int) -> tuple[str, str]:
        """Bring a page of the list up to date; the key to go on behind: at its end the first."""
        async with self._database.connection() as connection:
            [row] = await connection.fetch(
                statement("sweep_due"), self.default_every, *after, limit
            )
        return (row["last_type"] or "", row["last_id"] or "")

    async def list_due(self, aggregate_type: str | None, *, after: DuePlace, limit: int) -> DuePage:
        """Due aggregates of one type, or of all, behind a place of the list, largest first.

        At most ``limit``; fewer where some are noted that are due no longer.
        """
        async with self._database.connection() as connection:
            if aggregate_type is None:
                rows = await connection.fetch(
                    statement("list_due"),
                    self.default_every,
                    after.events,
                    after.aggregate_type,
                    after.aggregate_id,
                    limit,
                )
            else:
                rows = await connection.fetch(
                    statement("list_due_of_type"),
                    self.default_every,
                    aggregate_type,
                    after.events,
                    after.aggregate_id,
                    limit,
                )
        places = [
            DuePlace(row["noted_events"], row["aggregate_type"], row["aggregate_id"])
            for row in rows
        ]
        return DuePage(
            [
                DueAggregate(
                    row["aggregate_type"],
                    row["aggregate_id"],
                    row["version"],
                    row["snapshot_version"],
                    row["is_managed"],
                    place,
                )
                for row, place in zip(rows, places, strict=True)
                if row["is_due"]
            ],
            places[-1] if len(rows) == limit else None,
        )

"""Moves old events to the archive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from app.errors import ArchiveRefused, DatabaseBusy
from app.settings import Settings
from app.store.connection import Connection, Database
from app.store.driver_errors import is_deadlock, is_lock_timeout
from app.store.statements import statement

# While it is waited for, every insert, or every read with direct SQL, waits behind it.
TURN_LOCK_TIMEOUT = "200ms"
TURN_PAUSE_S = 0.3
TURNS = 100
BATCH_ATTEMPTS = 20
BATCH_PAUSE_S = 0.1
CLOSE_TIMEOUT_S = 5.0
# For what reads all that is old. None would be the pool's own command_timeout.
UNLIMITED_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Archivable:
    """Which events may move: those of before ``older_than``, and of each aggregate the first ones.

    ``aggregate_types``: of these only; none: of all. ``only_snapshotted``: only those that a
    snapshot covers.
    """

    older_than: datetime
    aggregate_types: Sequence[str] = ()
    only_snapshotted: bool = False

    @property
    def parameters(self) -> tuple[datetime, list[str] | None, bool]:
        """As statements take them."""
        return self.older_than, list(self.aggregate_types) or None, self.only_snapshotted


@dataclass(frozen=True, slots=True)
class MovedBatch:
    """A batch: up to which position it has looked, at how many events, and how many have moved."""

    reached: int
    looked_at: int
    moved: int


@dataclass(frozen=True, slots=True)
class ArchivableMonth:
    """Events of a month that may move, and of how many aggregates they are."""

    month: date
    events: int
    aggregates: int


@asynccontextmanager
async def opened_archive(settings: Settings) -> AsyncIterator["ArchiveStore"]:
    """An archive store on connections of its own, for one who runs no service."""
    database = Database(settings)
    await database.open()
    try:
        yield ArchiveStore(database)
    finally:
        await database.close(timeout_s=CLOSE_TIMEOUT_S)


class ArchiveStore:
    """Each method is one statement, and one transaction, unless it says otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_position(self, archivable: Archivable) -> int:
        """The last position at which something old may be live; 0: there is none.

        Two statements, and where something is to move for the first time, or to a month that has no
        table yet, some more (`docs/decisions/0021-archive.md`). Those wait until no transaction
        inserts, or until nobody reads `events` with direct SQL: in short turns, so that others do
        not wait long.

        Raises:
            ArchiveRefused: Foreign keys refer to events.
            DatabaseBusy: Transactions that do so are under way all the time.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")
            [row] = await connection.fetch(statement("safe_position"))
            [row] = await connection.fetch(
                statement("archive_bounds"),
                archivable.older_than,
                row["safe_position"],
                timeout=UNLIMITED_S,
            )
        if row["up_to"] is None:
            return 0
        if row["foreign_keys"]:
            raise ArchiveRefused(row["foreign_keys"])
        if not row["is_guarded"]:
            await self._in_turns(_guard)
        async with self._database.connection() as connection:
            months = await connection.fetch(statement("months_to_make"), archivable.older_than)
        for [month] in months:
            await self._in_turns(partial(_make_month, month))
        up_to: int = row["up_to"]
        return up_to

    async def _in_turns(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """In a transaction that waits for locks a moment only, again and again."""
        for attempt in range(TURNS):
            try:
                async with self._database.connection() as connection, connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = '{TURN_LOCK_TIMEOUT}'")
                    return await work(connection)
            except DatabaseBusy as error:
                is_passing = is_lock_timeout(error) or is_deadlock(error)
                if not is_passing or attempt == TURNS - 1:
                    raise
            await asyncio.sleep(TURN_PAUSE_S)
        raise AssertionError("the last turn returns or raises")

    async def move_batch(
        self, archivable: Archivable, *, after: int, up_to: int, limit: int
    ) -> MovedBatch:
        """Move what may move of the first ``limit`` live events behind ``after``.

        By position, up to ``up_to``. In one transaction: each event is in one of the two places, at
        any moment, for anybody. A batch that meets a lock is tried again.
        """
        older_than, aggregate_types, only_snapshotted = archivable.parameters
        for attempt in range(BATCH_ATTEMPTS):
            try:
                async with self._database.connection() as connection:
                    [row] = await connection.fetch(
                        statement("archive_batch"),
                        after,
                        up_to,
                        older_than,
                        aggregate_types,
                        only_snapshotted,
                        limit,
                    )
                return MovedBatch(*row)
            except DatabaseBusy as error:
                is_passing = is_lock_timeout(error) or is_deadlock(error)
                if not is_passing or attempt == BATCH_ATTEMPTS - 1:
                    raise
            await asyncio.sleep(BATCH_PAUSE_S)
        raise AssertionError("the last attempt returns or raises")

    async def archivable(self, archivable: Archivable) -> list[ArchivableMonth]:
        """What would move, by month. Reads all that is old: not a matter of milliseconds."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")
            [row] = await connection.fetch(statement("safe_position"))
            rows = await connection.fetch(
                statement("archivable"),
                *archivable.parameters,
                row["safe_position"],
                timeout=UNLIMITED_S,
            )
        return [ArchivableMonth(*row) for row in rows]

    async def claim_run(self, every_s: float) -> bool:
        """Whether it is this process's turn to archive; once in ``every_s`` for one of all."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement("claim_archive_run"), every_s)
        return row is not None


async def _guard(connection: Connection) -> None:
    await connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER events_refuse_archived")


async def _make_month(month: date, connection: Connection) -> None:
    await connection.execute(statement("lock_out_readers"))
    await connection.fetch(statement("make_month"), month)

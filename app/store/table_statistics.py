"""Tells how large the store's tables are, how well they are vacuumed, and who keeps that back."""

from dataclasses import dataclass

from sqlalchemy import Dialect, func, select
from sqlalchemy import table as any_table
from sqlalchemy.dialects import postgresql

from app.errors import DatabaseUnreachable
from app.store.connection import Database
from app.store.statements import statement
from app.store.tables import events, metadata

_DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """A table, or several that belong together, as PostgreSQL's statistics have it.

    Times are RFC 3339 text in UTC; None: never, of one of them. See table_statistics.sql.
    """

    table_name: str
    tables: int
    rows: int
    dead_rows: int
    table_bytes: int
    index_bytes: int
    toast_bytes: int
    last_vacuum: str | None
    last_analyze: str | None
    vacuum_age_seconds: float | None
    inserts_since_vacuum: int
    dead_rows_trigger: int
    inserts_trigger: int | None
    is_autovacuum_on: bool
    xid_age: int
    multixact_age: int
    freeze_max_age: int
    multixact_freeze_max_age: int
    failsafe_age: int


@dataclass(frozen=True, slots=True)
class OldestSnapshot:
    """Who needs the oldest rows that are dead, so that no vacuum may remove them.

    See oldest_snapshot.sql.
    """

    kind: str
    name: str | None
    pid: int | None
    application_name: str | None
    user_name: str | None
    client_address: str | None
    state: str | None
    started_at: str | None
    age_seconds: float | None
    xid_age: int


async def table_statistics(database: Database) -> list[TableStatistics]:
    """The store's tables, by name; what inherits from `events` is added up.

    Raises:
        DatabaseUnreachable: Also where the database is not migrated.
    """
    async with database.connection() as connection:
        rows = await connection.fetch(statement("table_statistics"), [*metadata.tables])
    if not rows:
        raise DatabaseUnreachable("the schema is missing: run `eventstore migrate`")
    return [TableStatistics(*row) for row in rows]


async def oldest_snapshot(database: Database) -> OldestSnapshot | None:
    """Who keeps vacuum back the furthest, at this moment."""
    async with database.connection() as connection:
        row = await connection.fetchrow(statement("oldest_snapshot"))
    return None if row is None else OldestSnapshot(*row)


async def count_rows(database: Database, table_name: str) -> int:
    """How many rows a table of `table_statistics` has, by reading all of it.

    Raises:
        DatabaseBusy: It took longer than a statement may.
    """
    counted = any_table(table_name)
    query = select(func.count()).select_from(counted)
    if table_name == events.name:
        # What inherits from it is told by itself.
        query = query.with_hint(counted, "ONLY", "postgresql")
    async with database.connection() as connection:
        count: int = await connection.fetchval(str(query.compile(dialect=_DIALECT)))
    return count

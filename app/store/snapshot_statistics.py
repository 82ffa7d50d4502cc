"""Tells how well aggregates are covered by snapshots."""

from dataclasses import dataclass

from app.store.connection import Connection, Database
from app.store.statements import statement

MAX_COUNTED = 100_000


@dataclass(frozen=True, slots=True)
class TypeCoverage:
    """Of a type, how many aggregates are beyond ``every`` events, and which of these have what."""

    aggregate_type: str
    every: int
    is_managed: bool
    beyond_every: int
    with_snapshot: int
    due: int
    failed: int


@dataclass(frozen=True, slots=True)
class DueSummary:
    """How many are noted as due and as failed (`MAX_COUNTED` at most), and up to which position."""

    noted: int
    failed: int
    position: int
    safe_position: int


async def snapshot_coverage(database: Database, default_every: int) -> list[TypeCoverage]:
    """The coverage of each type that has aggregates beyond ``every``, by type."""
    async with database.connection() as connection:
        rows = await connection.fetch(statement("snapshot_coverage"), default_every)
    return [TypeCoverage(*row) for row in rows]


async def due_summary(database: Database) -> DueSummary:
    """How much is due, and how far behind that is known, by the reserved connection."""
    async with database.connection(reserved=True) as connection:
        return await read_due_summary(connection)


async def read_due_summary(connection: Connection, timeout_s: float | None = None) -> DueSummary:
    """`due_summary` over this connection; ``timeout_s``: the longest that it may take."""
    [row] = await connection.fetch(statement("due_summary"), MAX_COUNTED, timeout=timeout_s)
    return DueSummary(*row)

"""Tells how well aggregates are covered by snapshots."""

from dataclasses import dataclass

from app.store.connection import Connection, Database
from app.store.statements import statement

MAX_COUNTED = 100_000
# Of snapshots, and of what is due: of more, so many are looked at, by chance.
SAMPLED = 5_000


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


@dataclass(frozen=True, slots=True)
class Coverage:
    """The coverage of each type that has aggregates beyond ``every``, by type.

    ``is_sampled``: by a part of the snapshots, or of the list of what is due.
    """

    types: list[TypeCoverage]
    is_sampled: bool


async def snapshot_coverage(database: Database, default_every: int, *, exact: bool) -> Coverage:
    """How well aggregates are covered; ``exact``: look at all, however many there are."""
    async with database.connection() as connection:
        [sizes] = await connection.fetch(statement("coverage_sizes"), SAMPLED + 1)
        percentages = [100.0 if exact else min(100 * SAMPLED / max(size, 1), 100) for size in sizes]
        rows = await connection.fetch(statement("snapshot_coverage"), default_every, *percentages)
    return Coverage([TypeCoverage(*row) for row in rows], min(percentages) < 100)


async def due_summary(database: Database) -> DueSummary:
    """How much is due, and how far behind that is known, by the reserved connection."""
    async with database.connection(reserved=True) as connection:
        return await read_due_summary(connection)


async def read_due_summary(connection: Connection, timeout_s: float | None = None) -> DueSummary:
    """`due_summary` over this connection; ``timeout_s``: the longest that it may take."""
    [row] = await connection.fetch(statement("due_summary"), MAX_COUNTED, timeout=timeout_s)
    return DueSummary(*row)

"""Which months are archived, and statements that read them beside the live events."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from asyncpg import Record

from app.errors import EventsDetached
from app.store.connection import Connection
from app.store.statements import statement, with_months


@dataclass(frozen=True, slots=True)
class ArchivedMonth:
    """A month (by its first day), and between which positions its events are, both inclusive.

    Not every event between them is one of the month's.
    """

    month: date
    min_position: int
    max_position: int
    is_detached: bool


async def archived_months(connection: Connection) -> list[ArchivedMonth]:
    """All months that are archived, by month."""
    rows = await connection.fetch(statement("archive_months"))
    return [ArchivedMonth(*row) for row in rows]


def between(months: Sequence[ArchivedMonth], low: int, high: int) -> list[ArchivedMonth]:
    """Those that may have events at the positions ``low`` … ``high``, both inclusive."""
    return [each for each in months if each.max_position >= low and each.min_position <= high]


def attached(months: Sequence[ArchivedMonth]) -> list[date]:
    """Those that are there to be read."""
    return [each.month for each in months if not each.is_detached]


def detached_months(months: Sequence[ArchivedMonth]) -> list[date]:
    """Those that are not."""
    return [each.month for each in months if each.is_detached]


def feed_gap(detached: Sequence[ArchivedMonth]) -> EventsDetached:
    """The error for whoever comes to these months, which are detached, in the feed, forward.

    It names the first ones, up to where one ends behind which none of them goes on: between two
    gaps there are events to be read.
    """
    first, *others = sorted(detached, key=lambda each: each.min_position)
    gap, end = [first.month], first.max_position
    for each in others:
        if each.min_position > end + 1:
            break
        gap.append(each.month)
        end = max(end, each.max_position)
    return EventsDetached(sorted(gap), end)


@dataclass(frozen=True, slots=True)
class FoundOfAggregate:
    """Rows of a statement about one aggregate, and the months that it has looked at.

    ``detached``: months that it would have had to look at, too.
    """

    rows: list[Record]
    months: list[date]
    detached: list[date]


async def fetch_with_months(
    connection: Connection, sql: str, months: Sequence[date], *parameters: Any
) -> list[Record]:
    """Rows of a statement over live events, from those of some months as well (`with_months`).

    With months, the statement is unnamed. Which months are together differs with each aggregate,
    and a named one stays in PostgreSQL's memory: with 120 months, a connection that has read 60
    aggregates took 235 MB.
    """
    if not months:
        return await connection.fetch(sql, *parameters)
    planned = await connection.prepare(with_months(sql, months), name="")
    return await planned.fetch(*parameters)


async def fetch_of_aggregate(
    connection: Connection, sql: str, *parameters: Any
) -> FoundOfAggregate:
    """Run a statement whose first row tells, as ``archived_months``, where else events may be.

    Over live events first, which is all for most; then over those months as well. What it tells is
    of the snapshot that the rows are of, so an event that moves meanwhile is in one of the two.
    """
    rows = await connection.fetch(sql, *parameters)
    looked_at: Collection[date] = ()
    months: list[date] = []
    detached: list[date] = []
    while not set(rows[0]["archived_months"] or ()) <= set(looked_at):
        looked_at = rows[0]["archived_months"]
        of_aggregate = [
            each for each in await archived_months(connection) if each.month in looked_at
        ]
        months = attached(of_aggregate)
        detached = detached_months(of_aggregate)
        rows = await fetch_with_months(connection, sql, months, *parameters)
    return FoundOfAggregate(rows, months, detached)


async def months_of(connection: Connection, positions: Sequence[int]) -> list[ArchivedMonth]:
    """The months in which events of these positions may be."""
    return [
        each
        for each in await archived_months(connection)
        if any(each.min_position <= position <= each.max_position for position in positions)
    ]

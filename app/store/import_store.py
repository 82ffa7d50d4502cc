"""Stores chunks of an import: one look at what is there, and a COPY of what is not."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from app.errors import DatabaseBusy, DatabaseUnreachable, EventsDetached, OutcomeUnknown
from app.events import NULL, ImportedEvent
from app.store.append_statement import is_refusal
from app.store.archived_months import (
    ArchivedMonth,
    archived_months,
    attached,
    detached_months,
    fetch_with_months,
)
from app.store.connection import Connection, Database
from app.store.driver_errors import is_deadlock
from app.store.statements import statement

COLUMNS = (
    "event_id",
    "aggregate_type",
    "aggregate_id",
    "version",
    "event_type",
    "event_data",
    "metadata",
    "occurred_at",
    "correlation_id",
    "causation_id",
)

Aggregate: TypeAlias = tuple[str, str]
"""aggregate_type, aggregate_id"""


class ImportLine(msgspec.Struct, frozen=True, gc=False):
    """A line that is ready to be stored: its number in the file, its event, and what that lacks.

    The id, the time and the ids of correlation are those under which it is stored; what the event
    states itself is what it is compared by. ``has_new_id``: the id was made just now, so that no
    event of it can be stored.
    """

    number: int
    aggregate: Aggregate
    event: ImportedEvent
    event_id: UUID
    occurred_at: datetime
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    has_new_id: bool = False


class FoundEvent(NamedTuple):
    """The event that stands in a line's place; ``is_same``: with the line's content.

    ``by_id``: it has the line's id; otherwise it is the same version of the aggregate.
    """

    global_position: int
    is_same: bool
    by_id: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of a chunk: versions of its aggregates, and events by the line's ordinal."""

    versions: Mapping[Aggregate, int]
    found: Mapping[int, FoundEvent]


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A line, and the version with which it is to be stored."""

    line: ImportLine
    version: int


Decide: TypeAlias = Callable[[Sequence[ImportLine], Stored], Sequence[Placed]]


class ImportStore:
    """Writes events in bulk; which of them, and with which versions, is for the command to say."""

    def __init__(self, database: Database, on_appended: Callable[[], None]) -> None:
        """``on_appended`` is called after each commit of events."""
        self._database = database
        self.metrics = database.metrics
        self._on_appended = on_appended

    async def import_events(self, lines: Sequence[ImportLine], decide: Decide) -> int | None:
        """Store what ``decide`` says of the lines, all of it or nothing, durably.

        One transaction, in which nothing is locked before the events are written: what others have
        written since the look is noticed by its unique constraints. Positions rise with the lines.
        ``decide`` may be called more than once; the last time counts.

        Returns:
            The position of the last event that was written, 0 where none was; None where a race was
            lost, or a deadlock: nothing is stored then.

        Raises:
            UnstorableValue: PostgreSQL cannot hold a value; which one is not known here.
            DatabaseUnreachable: Nothing was stored.
            DatabaseBusy: Nothing was stored.
            EventsDetached: Lines may stand for events of detached months; nothing was stored.
            OutcomeUnknown: The connection was lost during the commit.
        """
        try:
            position = await self._database.patiently(partial(self._import, lines, decide))
        except DatabaseBusy as error:
            if is_deadlock(error):
                return None
            raise
        if position:
            self._on_appended()
        return position

    async def _import(
        self, lines: Sequence[ImportLine], decide: Decide, lock_timeout: str
    ) -> int | None:
        placed: Sequence[Placed] = ()
        position = 0
        is_committing = False
        try:
            async with (
                self._database.connection(storing=True) as connection,
                connection.transaction(),
            ):
                placed = decide(lines, await _look_up(connection, lines, lock_timeout))
                if placed:
                    await connection.copy_records_to_table(
                        "events", records=_records(placed), columns=COLUMNS
                    )
                    position = await connection.fetchval(
                        statement("imported_position"), placed[-1].line.event_id
                    )
                is_committing = bool(placed)
        except asyncpg.UniqueViolationError as error:
            if is_refusal(error):
                return None
            raise
        except DatabaseUnreachable as error:
            if not is_committing:
                raise
            raise OutcomeUnknown from error
        types = Counter(each.line.event.aggregate_type for each in placed)
        for aggregate_type, events in types.items():
            self.metrics.count_append(aggregate_type, events)
        return position


async def _look_up(
    connection: Connection, lines: Sequence[ImportLine], lock_timeout: str
) -> Stored:
    aggregates = list(dict.fromkeys(line.aggregate for line in lines))
    row = await connection.fetchrow(
        statement("look_up_import"),
        [line.event_id for line in lines if not line.has_new_id],
        [aggregate_type for aggregate_type, _ in aggregates],
        [aggregate_id for _, aggregate_id in aggregates],
        lock_timeout,
    )
    assert row is not None
    versions = dict(zip(aggregates, row["versions"], strict=True))
    # By their integers: a UUID is hashed by Python code.
    there = {event_id.int for event_id in row["event_ids"]}
    compared = [
        (ordinal, line, line.event_id.int in there)
        for ordinal, line in enumerate(lines)
        if line.event_id.int in there
        or (
            line.event.event_id is None
            and line.event.version is not None
            and line.event.version <= versions[line.aggregate]
        )
    ]
    if not compared:
        return Stored(versions, {})
    of_chunk: list[ArchivedMonth] = []
    if row["archived_months"]:
        of_chunk = [
            each
            for each in await archived_months(connection)
            if each.month in row["archived_months"]
        ]
    found = await _compare(connection, compared, attached(of_chunk))
    detached = detached_months(of_chunk)
    if detached and len(found) < len(compared):
        raise EventsDetached(detached)
    return Stored(versions, found)


async def _compare(
    connection: Connection,
    compared: Sequence[tuple[int, ImportLine, bool]],
    months: Sequence[date],
) -> dict[int, FoundEvent]:
    events = [line.event for _, line, _ in compared]
    rows = await fetch_with_months(
        connection,
        statement("compare_import"),
        months,
        [ordinal for ordinal, _, _ in compared],
        [line.event_id if is_there else None for _, line, is_there in compared],
        [event.aggregate_type for event in events],
        [event.aggregate_id for event in events],
        [event.version for event in events],
        [event.event_type for event in events],
        [str(event.event_data, "utf-8") for event in events],
        [_text_or_none(event.metadata) for event in events],
        [event.occurred_at for event in events],
        [event.correlation_id for event in events],
        [event.causation_id for event in events],
    )
    by_id = {ordinal for ordinal, _, is_there in compared if is_there}
    return {
        ordinal: FoundEvent(position, is_same, ordinal in by_id)
        for ordinal, position, is_same in rows
    }


def _records(placed: Sequence[Placed]) -> Iterator[tuple[Any, ...]]:
    for each in placed:
        line, event = each.line, each.line.event
        yield (
            line.event_id,
            event.aggregate_type,
            event.aggregate_id,
            each.version,
            event.event_type,
            str(event.event_data, "utf-8"),
            _text_or_none(event.metadata),
            line.occurred_at,
            line.correlation_id,
            line.causation_id,
        )


def _text_or_none(raw: msgspec.Raw) -> str | None:
    return None if raw == NULL else str(raw, "utf-8")

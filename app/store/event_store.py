"""Writes events, and finds out why it could not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from app.errors import DatabaseBusy, DatabaseUnreachable, OutcomeUnknown
from app.events import NULL, Append, Appended, AppendedEvent, NewEvent
from app.store.connection import Connection, Database
from app.store.statements import statement

# Taken by somebody else at the same moment: an event's id, or the aggregate's next version.
REFUSING_CONSTRAINTS = frozenset({"events_pkey", "idx_events_aggregate"})
DEADLOCK_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event of an append (by its 0-based ``ordinal``) whose id is stored already.

    ``is_same``: in the same aggregate, with the same content.
    """

    ordinal: int
    version: int
    global_position: int
    is_same: bool


class EventStore:
    """Appends events; what a refusal means is for the commands to say."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append_events(self, append: Append) -> Appended | None:
        """Store an append's events, durably before it returns; None where it is refused.

        One statement in a transaction of its own. Refused means: the aggregate is not as expected,
        or another transaction took its next version, or an event id, at the same time, or the two
        waited for each other's ids. Nothing is stored then.

        Raises:
            UnstorableValue: PostgreSQL cannot hold a value; which one is not known here.
            DatabaseUnreachable: Nothing was stored.
            DatabaseBusy: Nothing was stored.
            OutcomeUnknown: The connection was lost before PostgreSQL had answered.
        """
        try:
            async with self._database.connection(writing=True) as connection:
                return await _insert(connection, append)
        except OutcomeUnknown as error:
            raise OutcomeUnknown(append.event_ids) from error
        except DatabaseBusy as error:
            if _is_deadlock(error):
                return None
            raise

    async def append_transaction(self, appends: Sequence[Append]) -> list[Appended] | None:
        """Store the events of all appends in one transaction; None where one of them is refused.

        Positions rise in the order of ``appends``. Transactions that name the same aggregates take
        turns, so that they do not deadlock; one that does so all the same (over event ids, or with
        a direct SQL writer) is repeated.

        Raises: the same as `append_events`.
        """
        attempt = 1
        while True:
            try:
                return await self._append_transaction(appends)
            except DatabaseBusy as error:
                if not _is_deadlock(error) or attempt == DEADLOCK_ATTEMPTS:
                    raise
            attempt += 1

    async def _append_transaction(self, appends: Sequence[Append]) -> list[Appended] | None:
        outcomes: list[Appended] = []
        is_committing = False
        try:
            async with self._database.connection() as connection, connection.transaction():
                await connection.execute(
                    statement("lock_aggregates"),
                    [append.aggregate_type for append in appends],
                    [append.aggregate_id for append in appends],
                )
                for append in appends:
                    outcome = await _insert(connection, append)
                    if outcome is None:
                        raise _Refused
                    outcomes.append(outcome)
                is_committing = True
        except _Refused:
            return None
        except DatabaseUnreachable as error:
            if not is_committing:
                raise
            event_ids = [event_id for append in appends for event_id in append.event_ids]
            raise OutcomeUnknown(event_ids) from error
        return outcomes

    async def find_appended(self, append: Append) -> list[FoundEvent]:
        """Those events of an append whose ids are stored already, in the append's order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                statement("find_appended_events"),
                append.aggregate_type,
                append.aggregate_id,
                append.event_ids,
                *_content(append.events),
                [event.occurred_at for event in append.events],
                [event.correlation_id for event in append.events],
                [event.causation_id for event in append.events],
            )
        return [FoundEvent(*row) for row in rows]

    async def has_event(self, event_id: UUID) -> bool:
        """Whether an event with this id is stored, in whichever aggregate."""
        async with self._database.connection() as connection:
            return bool(await connection.fetch(statement("get_event"), event_id))

    async def aggregate_version(self, aggregate_type: str, aggregate_id: str) -> tuple[int, int]:
        """The versions of an aggregate (0: no events) and of its snapshot (0: none)."""
        async with self._database.connection() as connection:
            [row] = await connection.fetch(
                statement("aggregate_version"), aggregate_type, aggregate_id
            )
        return row["version"], row["snapshot_version"]


def _is_deadlock(error: DatabaseBusy) -> bool:
    return isinstance(error.__cause__, asyncpg.DeadlockDetectedError)


class _Refused(Exception):
    """Rolls a transaction back."""


def _content(events: Sequence[NewEvent]) -> tuple[list[Any], list[Any], list[Any]]:
    return (
        [event.event_type for event in events],
        [str(event.event_data, "utf-8") for event in events],
        [None if event.metadata == NULL else str(event.metadata, "utf-8") for event in events],
    )


async def _insert(connection: Connection, append: Append) -> Appended | None:
    try:
        rows = await connection.fetch(
            statement("append_events"),
            append.aggregate_type,
            append.aggregate_id,
            append.expectation.version,
            append.expectation.must_exist,
            append.event_ids,
            *_content(append.events),
            [event.occurred_at or append.occurred_at for event in append.events],
            [event.correlation_id or append.correlation_id for event in append.events],
            [event.causation_id or append.causation_id for event in append.events],
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name in REFUSING_CONSTRAINTS:
            return None
        raise
    if not rows:
        return None
    return Appended(
        [
            AppendedEvent(event_id, row["version"], row["global_position"])
            for event_id, row in zip(append.event_ids, rows, strict=True)
        ],
        snapshot_version=rows[0]["snapshot_version"] or 0,
    )

"""Writes events, and finds out why it could not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg

from app.errors import DatabaseBusy, DatabaseUnreachable, OutcomeUnknown
from app.events import NULL, Append, Appended, AppendedEvent, NewEvent
from app.store.connection import Connection, Database
from app.store.statements import statement
from app.store.turns import Turns

# Taken by somebody else at the same moment: an event's id, the aggregate's next version, or (by
# an INSERT with OVERRIDING SYSTEM VALUE) the next position.
REFUSING_CONSTRAINTS = frozenset(
    {"events_pkey", "idx_events_aggregate", "idx_events_global_position"}
)
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


@dataclass(frozen=True, slots=True)
class LookedUpAppend:
    """What is stored of an append, and where its aggregate is, all at one moment.

    ``version`` and ``snapshot_version`` are 0 where there is none; ``found`` has those events whose
    ids are stored, in the append's order; ``following_is_stored``: so is the one after them
    (`Append.following_event_id`).
    """

    version: int
    snapshot_version: int
    following_is_stored: bool
    found: list[FoundEvent] = field(default_factory=list)


class EventStore:
    """Appends events; what a refusal means is for the commands to say.

    Appends of this process to one aggregate take turns, so that one which has to wait for a
    stranger's transaction keeps the others from waiting on connections of their own.
    """

    def __init__(self, database: Database, on_appended: Callable[[], None] | None = None) -> None:
        """``on_appended`` is called after each commit of events."""
        self._database = database
        self._turns = Turns()
        self._on_appended = on_appended or _do_nothing

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
            async with self._turns.of(_keys([append]), timeout_s=self._database.lock_timeout_s):
                appended = await self._database.patiently(partial(self._append_events, append))
        except TimeoutError:
            raise _too_many_turns() from None
        except OutcomeUnknown as error:
            raise OutcomeUnknown(append.event_ids) from error
        except DatabaseBusy as error:
            if _is_deadlock(error):
                return None
            raise
        if appended is not None:
            self._on_appended()
        return appended

    async def _append_events(self, append: Append, lock_timeout: str) -> Appended | None:
        async with self._database.connection(writing=True) as connection:
            return await _insert(connection, append, lock_timeout)

    async def append_transaction(self, appends: Sequence[Append]) -> list[Appended] | None:
        """Store the events of all appends in one transaction; None where one of them is refused.

        Positions rise in the order of ``appends``. Transactions that name the same aggregates take
        turns, so that they do not deadlock; one that does so all the same (over event ids, or with
        a direct SQL writer) is repeated.

        Raises: the same as `append_events`.
        """
        try:
            async with self._turns.of(_keys(appends), timeout_s=self._database.lock_timeout_s):
                for _ in range(DEADLOCK_ATTEMPTS - 1):
                    try:
                        return await self._database.patiently(
                            partial(self._append_transaction, appends)
                        )
                    except DatabaseBusy as error:
                        if not _is_deadlock(error):
                            raise
                return await self._database.patiently(partial(self._append_transaction, appends))
        except TimeoutError:
            raise _too_many_turns() from None

    async def _append_transaction(
        self, appends: Sequence[Append], lock_timeout: str
    ) -> list[Appended] | None:
        outcomes: list[Appended] = []
        is_committing = False
        try:
            async with (
                self._database.connection(storing=True) as connection,
                connection.transaction(),
            ):
                await connection.execute(
                    statement("lock_aggregates"),
                    [append.aggregate_type for append in appends],
                    [append.aggregate_id for append in appends],
                    lock_timeout,
                )
                for append in appends:
                    outcome = await _insert(connection, append, lock_timeout)
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
        self._on_appended()
        return outcomes

    async def look_up_appends(self, appends: Sequence[Append]) -> list[LookedUpAppend]:
        """What is stored of each append, and its aggregate's version, in one database snapshot.

        Raises:
            UnstorableValue: PostgreSQL cannot hold a value; which one is not known here.
        """
        events = [
            (index, ordinal, append.aggregate_type, append.aggregate_id)
            for index, append in enumerate(appends)
            for ordinal in range(len(append.events))
        ]
        new_events = [event for append in appends for event in append.events]
        async with self._database.connection(storing=True) as connection:
            rows = await connection.fetch(
                statement("look_up_appends"),
                [append.aggregate_type for append in appends],
                [append.aggregate_id for append in appends],
                [append.following_event_id for append in appends],
                *map(list, zip(*events, strict=True)),
                [event_id for append in appends for event_id in append.event_ids],
                *_content(new_events),
                [event.occurred_at for event in new_events],
                [event.correlation_id for event in new_events],
                [event.causation_id for event in new_events],
            )
        looked_up: list[LookedUpAppend] = []
        for index, ordinal, version, position, is_same, snapshot_version, following in rows:
            if ordinal is None:
                looked_up.append(LookedUpAppend(version, snapshot_version, following))
            else:
                looked_up[index].found.append(FoundEvent(ordinal, version, position, is_same))
        return looked_up


def _do_nothing() -> None:
    pass


def _keys(appends: Sequence[Append]) -> list[tuple[str, str]]:
    return sorted({(append.aggregate_type, append.aggregate_id) for append in appends})


def _too_many_turns() -> DatabaseBusy:
    return DatabaseBusy("other appends to the aggregate take too long")


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


async def _insert(connection: Connection, append: Append, lock_timeout: str) -> Appended | None:
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
            lock_timeout,
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

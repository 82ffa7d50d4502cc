"""Writes events, and finds out why it could not."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
from asyncpg import Record

from app.errors import (
    DatabaseBusy,
    DatabaseUnreachable,
    EventsDetached,
    EventStoreError,
    OutcomeUnknown,
)
from app.events import NULL, Append, Appended
from app.store.append_statement import insert_append, insert_batch, is_refusal
from app.store.archived_months import (
    ArchivedMonth,
    attached,
    detached_months,
    fetch_with_months,
    months_of,
)
from app.store.connection import Connection, Database, give_up, is_lost, translating
from app.store.driver_errors import CONNECTION_FAILURES, is_deadlock, is_lock_timeout
from app.store.group_commit import BatchWriter, GroupCommit, NotTogether
from app.store.statements import statement
from app.store.turns import Turns

DEADLOCK_ATTEMPTS = 5
# Each but the first means that events have moved meanwhile, or that their month is detached.
LOOK_UP_ATTEMPTS = 5
# An append that meets a stranger's lock holds up those that share its statement no longer than
# this; longer than the commit of another process takes that appends to the same aggregate.
SHARED_LOCK_TIMEOUT_S = 0.05


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

    Appends that arrive together share a transaction (`GroupCommit`). Appends of this process to one
    aggregate take turns, so that one which has to wait for a stranger's transaction keeps the
    others from waiting on connections of their own.
    """

    def __init__(
        self,
        database: Database,
        on_appended: Callable[[], None] | None = None,
        *,
        max_waiting_appends: int = 1_000,
    ) -> None:
        """``on_appended`` is called after each commit of events."""
        self._database = database
        self.metrics = database.metrics
        self._turns = Turns()
        self._on_appended = on_appended or _do_nothing
        self._group_commit = GroupCommit(
            self._batch_writer,
            self._append_alone,
            self._turns,
            max_waiting=max_waiting_appends,
            wait_s=database.lock_timeout_s,
        )
        database.on_contention(self._group_commit.release_idle)

    def submit_append(
        self, append: Append, tell: Callable[[Appended | None, Exception | None], None]
    ) -> None:
        """Begin with `append_events`; ``tell`` is called once, with its outcome or its error.

        It is called in the midst of other work, so it must be short and not raise.

        Raises:
            ServiceBusy: Too many appends wait already; nothing was stored.
        """
        self._group_commit.submit(append, tell)

    async def append_events(self, append: Append) -> Appended | None:
        """Store an append's events, durably before it returns; None where it is refused.

        Refused means: the aggregate is not as expected, or another transaction took its next
        version, or event ids are stored already, or the two waited for each other's ids. Nothing is
        stored then.

        Raises:
            UnstorableValue: PostgreSQL cannot hold a value; which one is not known here.
            DatabaseUnreachable: Nothing was stored.
            DatabaseBusy: Nothing was stored.
            ServiceBusy: Too many appends wait already; nothing was stored.
            OutcomeUnknown: The connection was lost before PostgreSQL had answered.
        """
        return await self._group_commit.append(append)

    @property
    def waiting_appends(self) -> int:
        """How many appends are at hand now: those that wait, and those that are being written."""
        return self._group_commit.at_hand

    async def drain(self) -> None:
        """Wait for the writes that have begun, also those whose callers are gone."""
        await self._group_commit.drain()

    @asynccontextmanager
    async def _batch_writer(self) -> AsyncIterator[BatchWriter]:
        async with self._database.connection() as connection:
            yield _BatchWriter(self._database, connection, self._on_appended)

    async def _append_alone(self, append: Append) -> Appended | None:
        try:
            outcome = await self._database.patiently(partial(self._append, append))
        except asyncpg.UniqueViolationError as error:
            if is_refusal(error):
                return None
            raise
        except DatabaseBusy as error:
            if is_deadlock(error):
                return None
            raise
        if outcome is not None:
            self._on_appended()
        return outcome

    async def _append(self, append: Append, lock_timeout: str) -> Appended | None:
        async with self._database.connection(writing=True) as connection:
            return await insert_append(connection, append, lock_timeout)

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
                        if not is_deadlock(error):
                            raise
                        self.metrics.retries.inc("deadlock")
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
                    outcome = await insert_append(connection, append, lock_timeout)
                    if outcome is None:
                        raise _Refused
                    outcomes.append(outcome)
                is_committing = True
        except _Refused:
            return None
        except asyncpg.UniqueViolationError as error:
            if is_refusal(error):
                return None
            raise
        except DatabaseUnreachable as error:
            if not is_committing:
                raise
            event_ids = [event_id for append in appends for event_id in append.event_ids]
            raise OutcomeUnknown(event_ids) from error
        self._on_appended()
        return outcomes

    async def look_up_appends(self, appends: Sequence[Append]) -> list[LookedUpAppend]:
        """What is stored of each append, and its aggregate's version, in one database snapshot.

        Where events are archived, looked up once more in their months.

        Raises:
            UnstorableValue: PostgreSQL cannot hold a value; which one is not known here.
            EventsDetached: An event is in a month that is detached from the archive.
        """
        events = [
            (index, ordinal, append.aggregate_type, append.aggregate_id)
            for index, append in enumerate(appends)
            for ordinal in range(len(append.events))
        ]
        new_events = [event for append in appends for event in append.events]
        async with self._database.connection(storing=True) as connection:
            rows = await _look_up(
                connection,
                [append.aggregate_type for append in appends],
                [append.aggregate_id for append in appends],
                [append.following_event_id for append in appends],
                *map(list, zip(*events, strict=True)),
                [event_id for append in appends for event_id in append.event_ids],
                [event.event_type for event in new_events],
                [str(event.event_data, "utf-8") for event in new_events],
                [
                    None if event.metadata == NULL else str(event.metadata, "utf-8")
                    for event in new_events
                ],
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


async def _look_up(connection: Connection, *parameters: Any) -> list[Record]:
    """Rows of ``look_up_appends.sql``, also of events that are archived."""
    sql = statement("look_up_appends")
    rows = await connection.fetch(sql, *parameters)
    months: list[ArchivedMonth] = []
    for _ in range(LOOK_UP_ATTEMPTS):
        archived = [
            row["global_position"]
            for row in rows
            if row["ordinal"] is not None and row["is_same"] is None
        ]
        if not archived:
            return rows
        months = await months_of(connection, archived)
        rows = await fetch_with_months(connection, sql, attached(months), *parameters)
    raise EventsDetached(detached_months(months))


def _do_nothing() -> None:
    pass


def _keys(appends: Sequence[Append]) -> list[tuple[str, str]]:
    return sorted({append.aggregate for append in appends})


def _too_many_turns() -> DatabaseBusy:
    return DatabaseBusy("other appends to the aggregate take too long")


class _BatchWriter:
    """Writes batches over one connection."""

    def __init__(
        self, database: Database, connection: Connection, on_appended: Callable[[], None]
    ) -> None:
        self._database = database
        self._connection = connection
        self._on_appended = on_appended
        self._lock_timeout = database.lock_timeout(SHARED_LOCK_TIMEOUT_S)

    @property
    def is_to_be_released(self) -> bool:
        return self._database.is_contended() or is_lost(self._connection)

    async def write(self, appends: Sequence[Append]) -> list[Appended | None]:
        try:
            with translating(writing=True):
                if len(appends) == 1:
                    outcomes = [
                        await insert_append(self._connection, appends[0], self._lock_timeout)
                    ]
                else:
                    outcomes = await insert_batch(self._connection, appends, self._lock_timeout)
        except asyncpg.UniqueViolationError as error:
            if len(appends) > 1 or not is_refusal(error):
                self._database.metrics.retries.inc("apart")
                raise NotTogether from error
            return [None]
        except EventStoreError as error:
            if isinstance(error.__cause__, CONNECTION_FAILURES):
                # Whatever is left of it: the next batch shall not wait on it as long as this one.
                give_up(self._connection)
                raise
            if len(appends) > 1 or is_lock_timeout(error):
                self._database.metrics.retries.inc("apart")
                raise NotTogether from error
            if is_deadlock(error):
                return [None]
            raise
        self._database.metrics.batch_appends.observe(len(appends))
        if any(outcomes):
            self._on_appended()
        return outcomes


class _Refused(Exception):
    """Rolls a transaction back."""

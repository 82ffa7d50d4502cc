"""Detaches months of the archive and attaches them again; tells what is there of them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

import asyncpg

from app.errors import DatabaseBusy, MonthRefused
from app.events import NULL, RecordedEvent
from app.settings import Settings
from app.store.connection import Connection, Database
from app.store.driver_errors import is_lock_timeout
from app.store.rows import complete_page
from app.store.statements import month_table, of_month, statement

COLUMNS = RecordedEvent.__struct_fields__
PAGE_EVENTS = 2_000
PAGE_BYTES = 4 * 1024 * 1024
# Who waits for a month's table holds up all who come behind: shortly, then, and again later.
LOCK_TIMEOUT_S = 1.0
LOCK_ATTEMPTS = 20
LOCK_PAUSE_S = 1.0
# A whole month may be compared in one statement; whoever runs the command sees that it goes on.
STATEMENT_TIMEOUT_S = 24 * 3600.0
CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class StoredMonth:
    """A month (by its first day): its events, and between which positions (inclusive) they are.

    ``detached_at`` None: it is attached. ``content_sha256``: of the events as NDJSON, where the
    table was dropped. ``size_bytes``: of the table with its indexes.
    """

    month: date
    events: int
    min_position: int
    max_position: int
    detached_at: datetime | None
    content_sha256: str | None
    has_table: bool
    size_bytes: int


@asynccontextmanager
async def open_months(settings: Settings) -> AsyncIterator["MonthStore"]:
    """The months of the configured store, over a pool of their own."""
    database = Database(
        settings.model_copy(
            update={
                "database_statement_timeout_s": STATEMENT_TIMEOUT_S,
                "database_lock_timeout_s": min(LOCK_TIMEOUT_S, settings.database_lock_timeout_s),
            }
        )
    )
    await database.open()
    try:
        yield MonthStore(database)
    finally:
        await database.close(timeout_s=CLOSE_TIMEOUT_S)


class MonthStore:
    """Each method is one transaction: a month is as before, or as the method says.

    Who waits for locks longer than ``database_lock_timeout_s`` tries again, some twenty times.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_months(self) -> list[StoredMonth]:
        """All months that were ever archived, by month."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("list_archive_months"), None)
        return [StoredMonth(*row) for row in rows]

    async def get_month(self, month: date) -> StoredMonth:
        """One of them, by its first day.

        Raises:
            MonthRefused: Nothing of it was ever archived.
        """
        async with self._database.connection() as connection:
            return await _stored(connection, month)

    async def read_month(self, month: date) -> AsyncGenerator[list[RecordedEvent], None]:
        """All events of a month, by position, as of the beginning; in pages that fit in memory.

        Whether or not it is attached. In one database snapshot, which is held until the end.

        Raises:
            MonthRefused: Nothing of it was ever archived, its table was dropped, or it does not
                have as many events as have moved there.
        """
        async with (
            self._database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            stored = await _stored(connection, month)
            if not stored.has_table:
                raise MonthRefused(month, "was dropped: its events are in the file of its export")
            found = after = 0
            while True:
                rows = await connection.fetch(of_month("read_month", month), after, PAGE_EVENTS)
                if not rows:
                    break
                page = await complete_page(connection, rows, months=[month], budget=PAGE_BYTES)
                yield page.events
                found += len(page.events)
                after = page.events[-1].global_position
        if found != stored.events:
            raise MonthRefused(month, f"has {found} events, and {stored.events} have moved there")

    async def detach_month(self, month: date) -> None:
        """Take a month out of the archive; its table stays, apart. Detached already: nothing.

        Raises:
            MonthRefused: Nothing of it was ever archived.
            DatabaseBusy: Its table was in use all the time.
        """
        await _patiently(partial(self._detach, month))

    async def _detach(self, month: date) -> None:
        async with self._database.connection(writing=True) as connection, connection.transaction():
            stored = await _locked(connection, month, moving=True)
            if stored.detached_at is not None:
                return
            await connection.execute(of_month("detach_month", month))
            await connection.fetch(statement("note_detached"), month, None)

    async def drop_month(self, month: date, *, events: int, content_sha256: str) -> None:
        """Drop the table of a month, which is detached with that, if it has so many ``events``.

        ``content_sha256`` is kept: what is attached again must have it.

        Raises:
            MonthRefused: Nothing of it was ever archived, its table is dropped already, or more
                events have moved to it.
            DatabaseBusy: Its table was in use all the time.
        """
        await _patiently(partial(self._drop, month, events, content_sha256))

    async def _drop(self, month: date, events: int, content_sha256: str) -> None:
        async with self._database.connection(writing=True) as connection, connection.transaction():
            stored = await _locked(connection, month, moving=True)
            if not stored.has_table:
                raise MonthRefused(month, "is dropped already")
            if stored.events != events:
                raise MonthRefused(month, "has more events than the file: export it again")
            await connection.execute(of_month("drop_month", month))
            await connection.fetch(statement("note_detached"), month, content_sha256)

    async def attach_month(self, month: date) -> None:
        """Make a month's table, which was kept, part of the archive again.

        Attached already: nothing.

        Raises:
            MonthRefused: Nothing of it was ever archived, its table was dropped, or it is not what
                was detached.
            DatabaseBusy: Its table was in use all the time.
        """
        await _patiently(partial(self._attach, month))

    async def _attach(self, month: date) -> None:
        async with self._database.connection(writing=True) as connection, connection.transaction():
            stored = await _locked(connection, month)
            if stored.detached_at is None:
                return
            if not stored.has_table:
                raise MonthRefused(month, "was dropped: attach it from the file of its export")
            # First, so that nothing is written to the table between the look and the end.
            await connection.execute(of_month("attach_month", month))
            await _check(connection, stored)
            await connection.fetch(statement("note_attached"), month)

    async def attach_copy(
        self,
        month: date,
        read: Callable[[], Iterable[list[RecordedEvent]]],
        confirm: Callable[[StoredMonth], None],
    ) -> None:
        """Make the table of a dropped month anew, of the events that ``read`` gives, and attach it.

        ``confirm`` is called when all are copied, and raises if they are not to be attached.

        Raises:
            MonthRefused: Nothing of it was ever archived, it is not dropped, or the events are not
                what was dropped.
            DatabaseBusy: The archiver makes another month's table.
        """
        await _patiently(partial(self._attach_copy, month, read, confirm))

    async def _attach_copy(
        self,
        month: date,
        read: Callable[[], Iterable[list[RecordedEvent]]],
        confirm: Callable[[StoredMonth], None],
    ) -> None:
        async with self._database.connection(writing=True) as connection, connection.transaction():
            stored = await _locked(connection, month)
            if stored.detached_at is None:
                raise MonthRefused(month, "is attached")
            if stored.has_table:
                raise MonthRefused(month, "still has its table: attach it without a file")
            await connection.fetch(statement("make_month"), month)
            for events in read():
                try:
                    await connection.copy_records_to_table(
                        month_table(month), records=_records(events), columns=COLUMNS
                    )
                except (asyncpg.IntegrityConstraintViolationError, ValueError) as error:
                    reason = str(error).splitlines()[0]
                    raise MonthRefused(
                        month, f"does not have the events of the file: {reason}"
                    ) from error
            confirm(stored)
            await _check(connection, stored)
            await connection.execute(of_month("analyze_month", month))
            await connection.fetch(statement("note_attached"), month)


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    for _ in range(LOCK_ATTEMPTS - 1):
        try:
            return await work()
        except DatabaseBusy as error:
            if not is_lock_timeout(error):
                raise
        await asyncio.sleep(LOCK_PAUSE_S)
    return await work()


async def _stored(connection: Connection, month: date) -> StoredMonth:
    row = await connection.fetchrow(statement("list_archive_months"), month)
    if row is None:
        raise MonthRefused(month, "is not in the archive")
    return StoredMonth(*row)


async def _locked(connection: Connection, month: date, *, moving: bool = False) -> StoredMonth:
    """The month, which nobody else changes now; ``moving``: nor does the archiver move events."""
    if moving:
        await connection.fetch(statement("lock_archive"))
    await connection.fetch(statement("lock_archive_month"), month)
    return await _stored(connection, month)


async def _check(connection: Connection, stored: StoredMonth) -> None:
    row = await connection.fetchrow(of_month("check_month", stored.month), stored.month)
    assert row is not None
    events, min_position, max_position, *wrong = row
    if (events, min_position, max_position) != (
        stored.events,
        stored.min_position,
        stored.max_position,
    ):
        raise MonthRefused(
            stored.month,
            f"has had {stored.events} events at positions {stored.min_position} to "
            f"{stored.max_position}, not {events} at {min_position} to {max_position}",
        )
    if any(wrong):
        of_other_months, unknown_ids, unknown_versions = wrong
        raise MonthRefused(
            stored.month,
            f"is not what was detached: {of_other_months} events are of another month, "
            f"{unknown_ids} have another id or position, {unknown_versions} another version",
        )


def _records(events: list[RecordedEvent]) -> Iterator[tuple[Any, ...]]:
    for event in events:
        yield (
            event.event_id,
            event.aggregate_type,
            event.aggregate_id,
            event.version,
            event.event_type,
            str(event.event_data, "utf-8"),
            None if event.metadata == NULL else str(event.metadata, "utf-8"),
            datetime.fromisoformat(event.occurred_at),
            event.correlation_id,
            event.causation_id,
            event.global_position,
        )

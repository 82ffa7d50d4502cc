"""The status of the feed: which mark is the oldest, and what a role may see of its transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from app.errors import DatabaseUnreachable
from app.events import LostPositions
from app.settings import Settings
from app.store.connection import Database
from app.store.feed_status import FeedStatus, InFlight, feed_status
from tests.conftest import connect
from tests.integration.client_sql import Connection
from tests.integration.support import (
    MARK_CLASS,
    OwnServer,
    as_superuser,
    insert_event,
    set_sequence,
    until,
)

WRAP = 2**32


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings)
    await database.open()
    yield database
    await database.close(timeout_s=5)


async def oldest_of(database: Database) -> InFlight:
    oldest = (await feed_status(database)).oldest_in_flight
    assert oldest is not None
    return oldest


async def test_of_transactions_with_the_same_mark_the_one_that_began_first_is_named(
    database: Database, settings: Settings
) -> None:
    """The other ones are marked before the first has taken a position."""
    writers = [await connect(settings) for _ in range(5)]
    for writer in writers[::-1]:
        await writer.execute("BEGIN")
        await writer.execute("SELECT count(*) FROM events")
    for writer in writers:
        await writer.execute(
            "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
            " event_data, occurred_at) SELECT gen_random_uuid(), 'A', 'a', 1, 'T', '{}', now()"
            " WHERE false"
        )
    for writer in writers[::-1]:
        oldest = await oldest_of(database)
        assert (oldest.mark, oldest.pid) == (0, writer.get_server_pid())
        await writer.close()
        await until(lambda writer=writer: _has_ended(database, writer))  # type: ignore[misc]
    status = await feed_status(database)
    assert status == FeedStatus(status.store_id, 0, 0, LostPositions(0, 0), None)


async def _has_ended(database: Database, writer: Connection) -> bool:
    oldest = (await feed_status(database)).oldest_in_flight
    return oldest is None or oldest.pid != writer.get_server_pid()


@pytest.mark.parametrize("last_value", [2**31 - 1, WRAP - 1, WRAP, 1000 * WRAP - 1])
async def test_marks_are_widened_across_the_wrap(
    database: Database, sql: Connection, settings: Settings, last_value: int
) -> None:
    other = await connect(settings)
    await set_sequence(sql, last_value - 1)
    assert await insert_event(other) == last_value
    async with sql.transaction():
        await insert_event(sql)
        for _ in range(3):
            await insert_event(other)
        status = await feed_status(database)
        assert (status.last_position, status.safe_position) == (last_value + 4, last_value)
        assert (await oldest_of(database)).mark == last_value
    await other.close()


async def test_locks_that_are_no_marks_are_not_named(
    database: Database, sql: Connection, settings: Settings
) -> None:
    elsewhere = await connect(settings.model_copy(update={"database_name": "postgres"}))
    async with sql.transaction(), elsewhere.transaction():
        await sql.execute(f"SELECT pg_advisory_xact_lock_shared({MARK_CLASS + 1}, 0)")
        await sql.execute(f"SELECT pg_advisory_xact_lock_shared({MARK_CLASS << 32})")
        await elsewhere.execute(f"SELECT pg_advisory_xact_lock_shared({MARK_CLASS}, 0)")
        assert (await feed_status(database)).oldest_in_flight is None
    await elsewhere.close()


# Each insert by a statement and in a transaction of its own, as fast as the server can; some are
# rolled back.
WRITE_WITHOUT_END = """
DO $$ BEGIN
  LOOP
    INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                        occurred_at)
    VALUES (gen_random_uuid(), 'Order', gen_random_uuid()::text, 1, 'OrderPlaced', '{}', now());
    IF random() < 0.2 THEN ROLLBACK; ELSE COMMIT; END IF;
  END LOOP;
END $$
"""


async def test_mark_is_never_beyond_the_last_position_whatever_goes_on(
    database: Database, sql: Connection, settings: Settings
) -> None:
    """Read in another order, one would be now and then, and be widened to 2^32 too little."""
    writers = [await connect(settings) for _ in range(3)]
    for writer in writers:
        await writer.execute("SET synchronous_commit = off")
    writing = [asyncio.create_task(writer.execute(WRITE_WITHOUT_END)) for writer in writers]
    with_a_mark = 0
    try:
        async with asyncio.timeout(60):
            while with_a_mark < 500:
                status = await feed_status(database)
                assert 0 <= status.safe_position <= status.last_position
                oldest = status.oldest_in_flight
                if oldest is not None:
                    with_a_mark += 1
                    assert 0 <= oldest.mark <= status.last_position
                    # The next one of that backend, if the one with the mark has ended meanwhile.
                    assert oldest.age_seconds is not None
                    assert oldest.age_seconds >= 0
    finally:
        for writer in writers:
            await sql.execute("SELECT pg_cancel_backend($1)", writer.get_server_pid())
        await asyncio.gather(*writing, return_exceptions=True)
        for writer in writers:
            await writer.close()


# --- what a role may see


@pytest.fixture
async def modest(settings: Settings) -> AsyncIterator[Settings]:
    """Settings of a role that owns nothing, and has no more rights than it needs."""
    role = f"modest_{uuid4().hex}"
    superuser = await connect(as_superuser(settings))
    await superuser.execute(
        f"CREATE ROLE {role} LOGIN;"
        f" GRANT SELECT ON events TO {role};"
        f" GRANT SELECT ON SEQUENCE events_global_position_seq TO {role}"
    )
    yield settings.model_copy(update={"database_user": role})
    await superuser.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await superuser.close()


async def test_role_without_rights_sees_who_it_is_but_not_since_when(
    modest: Settings, sql: Connection, settings: Settings
) -> None:
    async with opened(modest) as database, sql.transaction():
        await sql.execute("SET application_name = 'billing'")
        await insert_event(sql)
        pid = sql.get_server_pid()
        who = (0, pid, "billing", settings.database_user)
        unseen = (None,) * 5
        assert (await feed_status(database)).oldest_in_flight == InFlight(*who, *unseen)
        superuser = await connect(as_superuser(settings))
        await superuser.execute(f"GRANT pg_read_all_stats TO {modest.database_user}")
        await superuser.close()
        oldest = await oldest_of(database)
        assert (oldest.mark, oldest.pid, oldest.application_name, oldest.user_name) == who
        assert oldest.state == "idle in transaction"
        assert oldest.transaction_started_at is not None
        assert oldest.state_changed_at is not None
        assert oldest.age_seconds is not None


async def test_role_that_may_not_read_the_sequence_is_refused(
    modest: Settings, settings: Settings
) -> None:
    superuser = await connect(as_superuser(settings))
    await superuser.execute(
        f"REVOKE ALL ON SEQUENCE events_global_position_seq FROM {modest.database_user}"
    )
    await superuser.close()
    async with opened(modest) as database:
        with pytest.raises(DatabaseUnreachable, match="right"):
            await feed_status(database)


async def test_user_of_the_embedded_server_may_see_all_also_in_older_data(
    own_server: OwnServer,
) -> None:
    may_see_all = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
    user = own_server.settings.database_user
    connection = await connect(own_server.settings)
    assert await connection.fetchval(may_see_all)
    superuser = await connect(as_superuser(own_server.settings))
    await superuser.execute(f"REVOKE pg_read_all_stats FROM {user}")
    assert not await connection.fetchval(may_see_all)
    await connection.close()
    await superuser.close()
    await asyncio.to_thread(own_server.restart)
    connection = await connect(own_server.settings)
    assert await connection.fetchval(may_see_all)
    await connection.close()


# --- prepared transactions


@pytest.mark.parametrize("restarted", [False, True])
async def test_prepared_transaction_has_no_pid(own_server: OwnServer, restarted: bool) -> None:
    connection = await connect(own_server.settings)
    before = await insert_event(connection)
    await connection.execute("BEGIN; SAVEPOINT a")
    await insert_event(connection)
    await connection.execute("PREPARE TRANSACTION 'in flight'")
    await insert_event(connection)
    if restarted:
        await connection.close()
        await asyncio.to_thread(own_server.restart)
        connection = await connect(own_server.settings)
    async with opened(own_server.settings) as database:
        try:
            oldest = await oldest_of(database)
            assert (oldest.mark, oldest.pid, oldest.state) == (before, None, "prepared")
            assert oldest.user_name == own_server.settings.database_user
            assert (oldest.application_name, oldest.client_address) == (None, None)
            assert oldest.transaction_started_at is None
            prepared_at = await connection.fetchval(
                "SELECT to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
                " FROM pg_prepared_xacts"
            )
            assert oldest.state_changed_at == prepared_at
            assert oldest.age_seconds is not None
            assert oldest.age_seconds >= 0
        finally:
            await connection.execute("ROLLBACK PREPARED 'in flight'")
        assert (await feed_status(database)).oldest_in_flight is None
    await connection.close()

"""The mark that a transaction with events carries, and the safe position that follows from it."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg
import pytest

from app.settings import Settings
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter
from app.store.statements import statement
from tests.conftest import OWNER, connect
from tests.integration.client_sql import COLUMNS, INSERT, OCCURRED_AT, Connection, event_row
from tests.integration.support import (
    MARK_CLASS,
    SEQUENCE,
    OwnServer,
    as_superuser,
    insert_event,
    marks,
    safe_position,
    set_sequence,
    until,
)

T = TypeVar("T")

WRAP = 2**32
COPY_OF_ALL_EVENTS = (
    f"INSERT INTO events ({', '.join(COLUMNS)}) SELECT {', '.join(COLUMNS)} FROM events"
)


@pytest.fixture
async def observer(settings: Settings) -> AsyncIterator[Connection]:
    """A connection that sees only what has been committed."""
    connection = await connect(settings)
    yield connection
    await connection.close()


# --- when a transaction is marked


async def test_transaction_is_marked_from_its_first_insert_to_its_commit(
    sql: Connection, observer: Connection
) -> None:
    await insert_event(sql)
    async with sql.transaction():
        await sql.fetchval("SELECT count(*) FROM events")
        assert await marks(observer) == []
        position = await insert_event(sql)
        assert await marks(observer) == [position - 1]
        await insert_event(sql)
        assert await marks(observer) == [position - 1]
    assert await marks(observer) == []


async def test_mark_goes_with_a_rollback(sql: Connection, observer: Connection) -> None:
    transaction = sql.transaction()
    await transaction.start()
    await insert_event(sql)
    assert await marks(observer) == [0]
    await transaction.rollback()
    assert await marks(observer) == []


async def test_mark_goes_with_its_connection(
    sql: Connection, observer: Connection, settings: Settings
) -> None:
    await insert_event(sql)
    killed = await connect(settings)
    await killed.execute("BEGIN")
    await insert_event(killed)
    assert await marks(observer) == [1]
    assert await observer.fetchval("SELECT pg_terminate_backend($1)", killed.get_server_pid())
    await until(lambda: _has_no_marks(observer))
    await insert_event(sql)
    assert await safe_position(observer) == 3


async def test_twenty_thousand_single_inserts_hold_one_mark(
    sql: Connection, observer: Connection
) -> None:
    async with sql.transaction():
        await sql.execute(
            """
            DO $$ BEGIN
              FOR version IN 1 .. 20000 LOOP
                INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,
                                    event_data, occurred_at)
                VALUES (gen_random_uuid(), 'Order', 'long', version, 'OrderPlaced', '{}', now());
              END LOOP;
            END $$
            """
        )
        assert await marks(observer) == [0]
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert await observer.fetchval(locks) == 1
    assert await safe_position(observer) == 20_000


async def test_each_insert_of_an_autocommitting_connection_takes_its_own_mark(
    sql: Connection, observer: Connection
) -> None:
    first = await insert_event(sql)
    async with sql.transaction():
        await insert_event(sql)
        assert await marks(observer) == [first]


async def test_statement_that_inserts_nothing_is_marked_too(
    sql: Connection, observer: Connection
) -> None:
    # The trigger cannot know; a mark without events costs nothing but its time.
    async with sql.transaction():
        await sql.execute(f"{COPY_OF_ALL_EVENTS} WHERE false")
        assert await marks(observer) == [0]


# --- savepoints


async def test_rollback_to_savepoint_releases_the_mark_and_the_next_insert_takes_one(
    sql: Connection, observer: Connection
) -> None:
    await sql.execute("BEGIN; SAVEPOINT a")
    first = await insert_event(sql)
    assert await marks(observer) == [first - 1]
    await sql.execute("ROLLBACK TO SAVEPOINT a")
    assert await marks(observer) == []
    second = await insert_event(sql)
    assert await marks(observer) == [second - 1]
    await sql.execute("COMMIT")
    assert await safe_position(observer) == second


async def test_mark_from_before_a_savepoint_outlives_its_rollback(
    sql: Connection, observer: Connection
) -> None:
    await sql.execute("BEGIN")
    first = await insert_event(sql)
    await sql.execute("SAVEPOINT a")
    await insert_event(sql)
    await sql.execute("ROLLBACK TO SAVEPOINT a")
    assert await marks(observer) == [first - 1]
    await insert_event(sql)
    assert await marks(observer) == [first - 1]
    await sql.execute("ROLLBACK")


async def test_released_savepoint_hands_its_mark_to_the_transaction(
    sql: Connection, observer: Connection
) -> None:
    await sql.execute("BEGIN; SAVEPOINT a")
    first = await insert_event(sql)
    await sql.execute("RELEASE SAVEPOINT a")
    await insert_event(sql)
    assert await marks(observer) == [first - 1]
    await sql.execute("COMMIT")
    assert await marks(observer) == []


async def test_nested_savepoints_keep_the_mark_that_is_still_needed(
    sql: Connection, observer: Connection
) -> None:
    await sql.execute("BEGIN; SAVEPOINT a; SAVEPOINT b")
    first = await insert_event(sql)
    await sql.execute("RELEASE SAVEPOINT b; SAVEPOINT c")
    await insert_event(sql)
    await sql.execute("ROLLBACK TO SAVEPOINT c")
    assert await marks(observer) == [first - 1]
    # Rolls back the released b with its mark.
    await sql.execute("ROLLBACK TO SAVEPOINT a")
    assert await marks(observer) == []
    await sql.execute("SAVEPOINT d")
    last = await insert_event(sql)
    assert await marks(observer) == [last - 1]
    await sql.execute("RELEASE SAVEPOINT d; COMMIT")
    assert await safe_position(observer) == last


async def test_exception_block_of_a_function_releases_the_mark_and_the_next_insert_takes_one(
    sql: Connection, observer: Connection
) -> None:
    row = event_row("o")
    await sql.execute(INSERT, *row)
    async with sql.transaction():
        await sql.execute(
            f"""
            DO $$ BEGIN
              {COPY_OF_ALL_EVENTS};
            EXCEPTION WHEN unique_violation THEN NULL;
            END $$
            """
        )
        assert await marks(observer) == []
        position = await insert_event(sql)
        assert await marks(observer) == [position - 1]


# --- what cannot disable a mark, and what is none


@pytest.mark.parametrize("value", ["on", "", "0", "the last transaction's"])
async def test_setting_left_in_a_session_cannot_disable_the_mark(
    sql: Connection, observer: Connection, value: str
) -> None:
    await insert_event(sql)
    if value == "the last transaction's":
        value = await sql.fetchval("SELECT pg_current_xact_id()::text")
    await sql.execute(f"SET eventstore.in_flight_mark = '{value}'")
    async with sql.transaction():
        await insert_event(sql)
        assert await marks(observer) == [1]


async def test_reset_all_within_a_transaction_does_not_lose_the_mark(
    sql: Connection, observer: Connection
) -> None:
    async with sql.transaction():
        first = await insert_event(sql)
        await sql.execute("RESET ALL")
        second = await insert_event(sql)
        assert await marks(observer) == [first - 1, second - 1]
        assert await safe_position(observer) == first - 1


async def test_marks_of_another_database_do_not_count(
    sql: Connection, postgres_host: str, template_database: str
) -> None:
    await insert_event(sql)
    elsewhere = await asyncpg.connect(host=postgres_host, user=OWNER, database="postgres")
    try:
        async with elsewhere.transaction():
            await elsewhere.execute(f"SELECT pg_advisory_xact_lock_shared({MARK_CLASS}, 0)")
            assert await safe_position(sql) == 1
    finally:
        await elsewhere.close()


@pytest.mark.parametrize(
    "lock",
    [
        f"pg_advisory_xact_lock_shared({MARK_CLASS + 1}, 0)",
        # One key of 64 bits is told by objsubid alone from two of 32.
        f"pg_advisory_xact_lock_shared({MARK_CLASS << 32})",
        "pg_advisory_xact_lock(0)",
    ],
    ids=["another class", "64 bits that look like a mark", "64 bits"],
)
async def test_other_advisory_locks_do_not_count(
    sql: Connection, observer: Connection, lock: str
) -> None:
    await insert_event(sql)
    async with sql.transaction():
        await sql.execute(f"SELECT {lock}")
        assert await safe_position(observer) == 1


# --- the safe position


async def test_safe_position_of_an_empty_store_is_0(sql: Connection) -> None:
    assert await safe_position(sql) == 0


async def test_first_event_ever_is_unsafe_until_its_commit(
    sql: Connection, observer: Connection
) -> None:
    async with sql.transaction():
        assert await insert_event(sql) == 1
        assert await marks(observer) == [0]
        assert await safe_position(observer) == 0
    assert await safe_position(observer) == 1


async def test_safe_position_within_the_writing_transaction_is_before_its_own_events(
    sql: Connection,
) -> None:
    await insert_event(sql)
    async with sql.transaction():
        await insert_event(sql)
        assert await safe_position(sql) == 1
    assert await safe_position(sql) == 2


async def test_late_commit_of_an_early_position_is_not_passed(
    sql: Connection, observer: Connection
) -> None:
    await insert_event(observer)
    async with sql.transaction():
        assert await insert_event(sql) == 2
        assert await insert_event(observer) == 3
        assert await safe_position(observer) == 1
    assert await safe_position(observer) == 3


async def test_rolled_back_positions_leave_a_hole_and_no_stall(
    sql: Connection, observer: Connection
) -> None:
    transaction = sql.transaction()
    await transaction.start()
    await insert_event(sql)
    await transaction.rollback()
    assert await safe_position(observer) == 0
    assert await insert_event(observer) == 2
    assert await safe_position(observer) == 2


async def test_transaction_of_a_stranger_delays_nothing(
    sql: Connection, observer: Connection, settings: Settings
) -> None:
    # It has an id, an old snapshot, reads events and writes elsewhere: all but an insert of events.
    stranger = await connect(settings)
    try:
        async with stranger.transaction(isolation="repeatable_read"):
            await stranger.execute("SELECT pg_current_xact_id(), count(*) FROM events")
            await stranger.execute(
                "INSERT INTO projection_positions VALUES ('stranger', 0, current_timestamp)"
            )
            for expected in range(1, 6):
                assert await insert_event(sql) == expected
                assert await safe_position(observer) == expected
    finally:
        await stranger.close()


async def test_held_transaction_holds_back_what_came_after_its_mark_and_blocks_no_append(
    sql: Connection, observer: Connection, settings: Settings
) -> None:
    for _ in range(3):
        await insert_event(sql)
    holder = await connect(settings)
    try:
        async with holder.transaction():
            assert await insert_event(holder) == 4
            # Whoever had to wait for it would be cancelled.
            await sql.execute("SET lock_timeout = '1ms'")
            for expected in range(5, 10):
                assert await insert_event(sql) == expected
                assert await safe_position(observer) == 3
        assert await safe_position(observer) == 9
    finally:
        await holder.close()


async def test_transactions_with_the_same_mark_do_not_wait_for_each_other(
    sql: Connection, observer: Connection
) -> None:
    """The second one is marked before the first has taken a position."""
    async with sql.transaction():
        await sql.execute(f"{COPY_OF_ALL_EVENTS} WHERE false")
        async with observer.transaction():
            await observer.execute("SET LOCAL lock_timeout = '1ms'")
            position = await insert_event(observer)
            assert await marks(observer) == [0, 0]
        assert await safe_position(observer) == 0
        await insert_event(sql)
    assert await safe_position(observer) == position + 1


async def test_head_is_read_before_the_marks(
    sql: Connection, observer: Connection, settings: Settings
) -> None:
    """A transaction that begins in between has positions beyond the head, and ends as it likes."""
    assert await insert_event(sql) == 1
    async with _paused_between_head_and_marks(settings, safe_position(observer)) as reading:
        async with sql.transaction():
            assert await insert_event(sql) == 2
        await sql.execute("BEGIN")
        assert await insert_event(sql) == 3
    assert await reading == 1
    await sql.execute("COMMIT")
    assert await safe_position(observer) == 3


async def test_transaction_that_commits_before_the_marks_are_read_is_in_the_page(
    sql: Connection, observer: Connection, settings: Settings, event_reader: EventReader
) -> None:
    """Its mark is gone, so its event must be in the rows that are read up to the safe position."""
    # Now, for to connect needs what will be locked.
    await event_reader.read_feed(FeedFilter(), after=0, limit=10)
    first_page = event_reader.read_feed(FeedFilter(), after=0, limit=10)
    await sql.execute("BEGIN")
    assert await insert_event(sql) == 1
    assert await insert_event(observer) == 2
    async with _paused_between_head_and_marks(settings, first_page) as reading:
        await sql.execute("COMMIT")
    page = await reading
    assert page.head.safe_position == 2
    assert [event.global_position for event in page.events] == [1, 2]


async def test_rows_in_the_statement_of_the_safe_position_would_miss_that_transaction(
    sql: Connection, observer: Connection, settings: Settings
) -> None:
    """Why the rows are read by a later statement: what must not be done, and what it would miss."""
    one_statement = observer.fetch(
        "WITH safe AS MATERIALIZED (SELECT events_safe_position() AS position) "
        "SELECT global_position, position FROM events, safe WHERE global_position <= position"
    )
    await sql.execute("BEGIN")
    assert await insert_event(sql) == 1
    assert await insert_event(observer) == 2
    async with _paused_between_head_and_marks(settings, one_statement) as reading:
        await sql.execute("COMMIT")
    assert [tuple(row) for row in await reading] == [(2, 2)]


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_safe_position_refuses_a_fixed_snapshot(sql: Connection, isolation: str) -> None:
    refused = pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="READ COMMITTED")
    with refused as caught:
        async with sql.transaction(isolation=isolation):  # type: ignore[arg-type]
            await safe_position(sql)
    assert caught.value.hint is not None
    async with sql.transaction(isolation="read_uncommitted"):
        assert await safe_position(sql) == 0


async def test_service_connections_read_committed_whatever_the_database_prefers(
    settings: Settings,
) -> None:
    superuser = await connect(as_superuser(settings))
    await superuser.execute(
        f"ALTER DATABASE {settings.database_name} "
        "SET default_transaction_isolation = 'repeatable read'"
    )
    await superuser.close()
    database = Database(settings)
    await database.open()
    assert await EventReader(database).safe_position() == 0
    await database.close(timeout_s=5)


# --- the 32 bits of a mark


@pytest.mark.parametrize(
    "first_wrap", [2**31, WRAP, 1000 * WRAP], ids=["2^31", "2^32", "1000*2^32"]
)
async def test_mark_is_widened_across_the_wrap(
    sql: Connection, observer: Connection, first_wrap: int
) -> None:
    """Positions wrap-2 … wrap+3; one of them is held open, at each wrap another one."""
    safe = 0
    for before in range(5):
        wrap = first_wrap + before * WRAP
        await set_sequence(sql, wrap - 3)
        for _ in range(before):
            safe = await insert_event(observer)
        async with sql.transaction():
            held = await insert_event(sql)
            assert held == wrap - 2 + before
            assert await marks(observer) == [(held - 1) % WRAP]
            for _ in range(5 - before):
                assert await safe_position(observer) == safe
                await insert_event(observer)
            assert await safe_position(observer) == safe
        safe = await safe_position(observer)
        assert safe == wrap + 3


@pytest.mark.parametrize("head", [2**31 - 1, WRAP - 1])
async def test_mark_younger_than_the_head_is_widened_to_its_own_position(
    sql: Connection, observer: Connection, settings: Settings, head: int
) -> None:
    """Against the head alone, such a mark would be taken for one of 2^32 positions earlier."""
    await set_sequence(sql, head - 1)
    assert await insert_event(sql) == head
    async with _paused_between_head_and_marks(settings, safe_position(observer)) as reading:
        for _ in range(3):
            await insert_event(sql)
        await sql.execute("BEGIN")
        assert await insert_event(sql) == head + 4
    assert await marks(observer) == [(head + 3) % WRAP]
    assert await reading == head
    await sql.execute("ROLLBACK")
    assert await safe_position(observer) == head + 3


@pytest.mark.parametrize("start", [2**31, WRAP, WRAP + 1])
async def test_sequence_restarted_by_its_owner(
    sql: Connection, observer: Connection, start: int
) -> None:
    await sql.execute(f"ALTER TABLE events ALTER COLUMN global_position RESTART WITH {start}")
    async with sql.transaction():
        assert await insert_event(sql) == start
        assert await insert_event(observer) == start + 1
        assert await safe_position(observer) < start
    assert await safe_position(observer) == start + 1


# --- prepared transactions


@pytest.fixture
async def preparing(own_server: OwnServer) -> AsyncIterator[Connection]:
    connection = await connect(own_server.settings)
    yield connection
    await connection.close()


async def test_prepared_transaction_keeps_its_mark_until_it_is_committed(
    own_server: OwnServer, preparing: Connection
) -> None:
    before = await insert_event(preparing)
    await preparing.execute("BEGIN")
    held = await insert_event(preparing)
    await preparing.execute("PREPARE TRANSACTION 'kept'")
    later = await insert_event(preparing)
    assert before < held < later
    assert await safe_position(preparing) == before
    await preparing.execute("COMMIT PREPARED 'kept'")
    assert await safe_position(preparing) == later


async def test_prepared_transaction_keeps_its_mark_across_a_restart(
    own_server: OwnServer, preparing: Connection
) -> None:
    before = await insert_event(preparing)
    await preparing.execute("BEGIN")
    await insert_event(preparing)
    await preparing.execute("PREPARE TRANSACTION 'restarted'")
    await insert_event(preparing)
    await preparing.close()
    own_server.restart()
    again = await connect(own_server.settings)
    try:
        assert await safe_position(again) == before
        await again.execute("ROLLBACK PREPARED 'restarted'")
        assert await safe_position(again) > before
    finally:
        await again.close()


# --- what it costs


@pytest.mark.parametrize("in_flight", [0, 20])
async def test_safe_position_cost(sql: Connection, settings: Settings, in_flight: int) -> None:
    """Printed, not judged: the machine's load would decide."""
    await sql.execute(
        """
        INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                            occurred_at)
        SELECT gen_random_uuid(), 'Order', 'o', version, 'OrderPlaced', '{}', $1
        FROM generate_series(1, 1000) AS version
        """,
        OCCURRED_AT,
    )
    writers = [await connect(settings) for _ in range(in_flight)]
    for writer in writers:
        await writer.execute("BEGIN")
        await insert_event(writer)
    query = await sql.prepare(statement("safe_position"))
    calls = 500
    begin = time.perf_counter()
    for _ in range(calls):
        assert await query.fetchval() == 1000
    cost_ms = (time.perf_counter() - begin) * 1000 / calls
    print(f"safe position, {in_flight} transactions in flight: {cost_ms:.3f} ms a call")
    for writer in writers:
        await writer.close()


async def _has_no_marks(connection: Connection) -> bool:
    return not await marks(connection)


@asynccontextmanager
async def _paused_between_head_and_marks(
    settings: Settings, call: Coroutine[object, object, T]
) -> AsyncIterator["asyncio.Task[T]"]:
    """Hold a call that asks for the safe position after it has read the head, for the body.

    It reads the marks together with pg_database, which is locked meanwhile.
    """
    superuser = await connect(as_superuser(settings))
    has_read_the_head = f"""
        SELECT count(*) FROM pg_locks AS has JOIN pg_locks AS wants USING (pid)
        WHERE has.relation = '{SEQUENCE}'::regclass AND has.granted
          AND wants.relation = 'pg_database'::regclass AND NOT wants.granted
    """
    try:
        async with superuser.transaction():
            await superuser.execute("LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE")
            reading = asyncio.create_task(call)
            await until(lambda: superuser.fetchval(has_read_the_head))
            yield reading
        await asyncio.wait([reading])
    finally:
        await superuser.close()

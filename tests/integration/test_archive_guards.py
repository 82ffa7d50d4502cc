"""What unique indexes keep of live events, a trigger keeps of those that are archived."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.errors import ArchiveRefused
from app.settings import Settings
from app.store.archive_store import Archivable, ArchiveStore, MovedBatch
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter
from tests.conftest import connect, run_as_superuser
from tests.integration.client_sql import COLUMNS, INSERT, Connection, event_row
from tests.integration.support import insert_event, safe_position, until

ALL = Archivable(datetime(2100, 1, 1, tzinfo=UTC))
EVERYTHING = "SELECT * FROM events_archive_batch(0, 1000, '2100-01-01', NULL, false, 1000)"


@pytest.fixture
async def store(database: Database) -> ArchiveStore:
    return ArchiveStore(database)


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Connection]:
    """A second connection with direct SQL."""
    connection = await connect(settings)
    yield connection
    await connection.close()


async def archive_all(store: ArchiveStore) -> int:
    up_to = await store.last_position(ALL)
    batch = await store.move_batch(ALL, after=0, up_to=up_to, limit=1_000)
    return batch.moved


async def places(connection: Connection) -> tuple[int, int, int]:
    """How many events are live, archived, and seen by who reads `events`."""
    live = await connection.fetchval("SELECT count(*) FROM ONLY events")
    archived = await connection.fetchval("SELECT count(*) FROM events_archive")
    return live, archived, await connection.fetchval("SELECT count(*) FROM events")


async def test_direct_readers_go_on_seeing_every_event(
    store: ArchiveStore, sql: Connection
) -> None:
    for version in (1, 2, 3):
        await insert_event(sql, "a", version)
    before = await sql.fetch("SELECT * FROM events ORDER BY global_position")
    assert await archive_all(store) == 3
    assert await places(sql) == (0, 3, 3)
    assert await sql.fetch("SELECT * FROM events ORDER BY global_position") == before
    version = await sql.fetchval(
        "SELECT max(version) FROM events WHERE aggregate_type = 'Order' AND aggregate_id = 'a'"
    )
    # The classic way of a direct writer: the version that it has seen, and one more.
    await insert_event(sql, "a", version + 1)
    assert await places(sql) == (1, 3, 4)


async def test_direct_reader_misses_nothing_while_a_month_is_made(
    store: ArchiveStore, sql: Connection, other: Connection
) -> None:
    """It is planned without the new table, and looks when its events are there."""
    await insert_event(sql, "a", 1)
    await archive_all(store)
    row = list(event_row("b", 1))
    row[COLUMNS.index("occurred_at")] = datetime(2024, 1, 31, tzinfo=UTC)
    await sql.execute(INSERT, *row)
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = $1::regclass)"
    async with sql.transaction():
        await sql.execute("LOCK TABLE events_archive_2024_05 IN ACCESS EXCLUSIVE MODE")
        reading = asyncio.create_task(other.fetchval("SELECT count(*) FROM events"))
        await until(lambda: sql.fetchval(waiting, "events_archive_2024_05"))
        archiving = asyncio.create_task(archive_all(store))

        async def has_met_the_reader() -> bool:
            return archiving.done() or await sql.fetchval(waiting, "events_archive")

        await until(has_met_the_reader)
    assert await reading == 2
    assert await archiving == 1
    assert await places(sql) == (0, 2, 2)


async def _insert(connection: Connection, version: int) -> None:
    await insert_event(connection, "a", version)


async def _copy(connection: Connection, version: int) -> None:
    row = event_row("a", version)
    await connection.copy_records_to_table("events", records=[row], columns=COLUMNS)


ADD = {"insert": _insert, "copy": _copy}


@pytest.mark.parametrize("way", ADD)
async def test_archived_version_is_not_stored_again(
    store: ArchiveStore, sql: Connection, way: str
) -> None:
    for version in (1, 2):
        await insert_event(sql, "a", version)
    await archive_all(store)
    for version in (1, 2):
        with pytest.raises(asyncpg.UniqueViolationError) as caught:
            await ADD[way](sql, version)
        assert caught.value.constraint_name == "idx_events_aggregate"
        assert caught.value.table_name == "events"
    assert await places(sql) == (0, 2, 2)


async def test_archived_event_id_is_not_stored_again(store: ArchiveStore, sql: Connection) -> None:
    event_id = uuid4()
    await sql.execute(INSERT, *event_row("a", 1, event_id))
    await archive_all(store)
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await sql.execute(INSERT, *event_row("other", 1, event_id))
    assert caught.value.constraint_name == "events_pkey"


async def test_archived_position_is_not_given_again_but_a_hole_is(
    store: ArchiveStore, sql: Connection
) -> None:
    first = await insert_event(sql, "a")
    hole = await sql.fetchval("SELECT nextval('events_global_position_seq')")
    last = await insert_event(sql, "b")
    await archive_all(store)
    columns = INSERT.replace("causation_id)", "causation_id, global_position)").replace(
        "VALUES", "OVERRIDING SYSTEM VALUE VALUES"
    )
    for position in (first, last):
        with pytest.raises(asyncpg.UniqueViolationError) as caught:
            await sql.execute(columns.replace("$10)", f"$10, {position})"), *event_row("c"))
        assert caught.value.constraint_name == "idx_events_global_position"
    await sql.execute(columns.replace("$10)", f"$10, {hole})"), *event_row("c"))


async def test_version_that_is_being_archived_is_waited_for_and_refused(
    store: ArchiveStore, sql: Connection, other: Connection
) -> None:
    """The unique index of live events waits for the deletion; what it lets in then is refused."""
    await insert_event(sql, "a", 1)
    await store.last_position(ALL)  # Has the trigger enabled.
    await insert_event(sql, "a", 2)
    async with sql.transaction():
        assert (await sql.fetchrow(EVERYTHING))["moved"] == 2  # type: ignore[index]
        inserting = asyncio.create_task(insert_event(other, "a", 2))
        await until(lambda: _is_waiting(sql, other.get_server_pid()))
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await inserting
    assert caught.value.constraint_name == "idx_events_aggregate"
    assert await places(sql) == (0, 2, 2)


async def _is_waiting(connection: Connection, pid: int) -> bool:
    waits: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)", pid
    )
    return waits


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_fixed_snapshot_from_before_the_archive_fails_instead_of_storing_twice(
    store: ArchiveStore, sql: Connection, other: Connection, isolation: str
) -> None:
    await insert_event(sql, "a", 1)
    await store.last_position(ALL)
    transaction = other.transaction(isolation=isolation)  # type: ignore[arg-type]
    await transaction.start()
    await other.fetchval("SELECT count(*) FROM events")
    await insert_event(sql, "a", 2)
    await archive_all(store)
    with pytest.raises(asyncpg.SerializationError):
        await insert_event(other, "a", 2)
    await transaction.rollback()
    # As such a transaction does: again, from the start.
    async with other.transaction(isolation=isolation):  # type: ignore[arg-type]
        assert await other.fetchval("SELECT max(version) FROM events") == 2
        await insert_event(other, "a", 3)


async def test_archive_waits_for_no_writer_and_takes_what_is_committed(
    store: ArchiveStore, sql: Connection, other: Connection
) -> None:
    await insert_event(sql, "a", 1)
    assert await archive_all(store) == 1
    async with other.transaction():
        await insert_event(other, "b", 1)
        await insert_event(sql, "c", 1)
        # The safe position ends before the one that is in flight, and so does the archive.
        assert await archive_all(store) == 0
    assert await archive_all(store) == 2


async def test_safe_position_is_the_same_wherever_the_last_event_is(
    store: ArchiveStore, sql: Connection, other: Connection
) -> None:
    for aggregate_id in ("a", "b", "c"):
        await insert_event(sql, aggregate_id)
    assert await safe_position(sql) == 3
    await archive_all(store)
    assert await safe_position(sql) == 3
    async with other.transaction():
        await insert_event(other, "d")
        assert await safe_position(sql) == 3
        await insert_event(sql, "e")
        # Moved by hand while a mark is older than it: still not beyond the mark.
        await sql.fetchrow(EVERYTHING)
        assert await sql.fetchval("SELECT position FROM archive_state") == 5
        assert await safe_position(sql) == 3
    assert await safe_position(sql) == 5


async def test_archive_refuses_to_move_unguarded(sql: Connection) -> None:
    await insert_event(sql, "a")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="not enabled"):
        await sql.fetchrow(EVERYTHING)
    assert await places(sql) == (1, 0, 1)


async def test_events_stay_immutable_wherever_they_are(
    store: ArchiveStore, sql: Connection
) -> None:
    await insert_event(sql, "a")
    await archive_all(store)
    await insert_event(sql, "b")
    for table in ("events", "ONLY events", "events_archive", "events_archive_2024_05"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET version = 7"):
            with pytest.raises(asyncpg.RestrictViolationError):
                await sql.execute(statement)
    for table in ("events", "events_archive_2024_05"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await sql.execute(f"TRUNCATE {table}")
    with pytest.raises(asyncpg.RestrictViolationError):
        await sql.execute("INSERT INTO events_archive SELECT * FROM events")
    # As pg_restore does with a dump of the data.
    await sql.copy_records_to_table("events_archive", records=[])
    assert await places(sql) == (1, 1, 2)


async def test_nobody_but_the_owner_can_pretend_to_archive(
    store: ArchiveStore, sql: Connection, settings: Settings
) -> None:
    await insert_event(sql, "a")
    await store.last_position(ALL)
    role = f"stranger_{uuid4().hex}"
    await asyncio.to_thread(
        run_as_superuser,
        str(settings.database_host),
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT, DELETE ON events TO {role}",
        database=settings.database_name,
    )
    stranger = await connect(settings.model_copy(update={"database_user": role}))
    try:
        # One transaction, as it has no parameters.
        with pytest.raises(asyncpg.RestrictViolationError):
            await stranger.execute(
                "SELECT set_config('eventstore.archiving', pg_current_xact_id()::text, true);"
                "DELETE FROM events"
            )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.fetchrow(EVERYTHING)
        # A role that may only insert and select goes on to do so, with the trigger.
        await insert_event(stranger, "b")
    finally:
        await stranger.close()
        await asyncio.to_thread(
            run_as_superuser,
            str(settings.database_host),
            f"DROP OWNED BY {role}",
            f"DROP ROLE {role}",
            database=settings.database_name,
        )


async def test_setting_of_the_archive_ends_with_its_batch(
    store: ArchiveStore, sql: Connection
) -> None:
    await insert_event(sql, "a")
    await store.last_position(ALL)
    transaction = sql.transaction()
    await transaction.start()
    await sql.fetchrow(EVERYTHING)
    await insert_event(sql, "b")
    with pytest.raises(asyncpg.RestrictViolationError):
        await sql.execute("DELETE FROM ONLY events")
    await transaction.rollback()


async def test_batch_that_fails_moves_nothing(store: ArchiveStore, sql: Connection) -> None:
    """Here at its last table, on an id that somebody has put there."""
    event_id = UUID(int=7)
    await sql.execute(INSERT, *event_row("a", 1, event_id))
    await insert_event(sql, "b")
    await store.last_position(ALL)
    await sql.execute("INSERT INTO archived_event_ids VALUES ($1, 99)", event_id)
    with pytest.raises(asyncpg.UniqueViolationError):
        await sql.fetchrow(EVERYTHING)
    assert await places(sql) == (2, 0, 2)
    assert await sql.fetchval("SELECT count(*) FROM archive_months") == 0


async def test_batch_of_many_aggregates_is_quick_without_statistics(
    store: ArchiveStore, sql: Connection
) -> None:
    """Compared with each other, 10,000 aggregates do not get done in the time given here."""
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, "
        "event_data, occurred_at) SELECT gen_random_uuid(), 'Order', n, 1, 'A', '{}', '2024-05-02' "
        "FROM generate_series(1, 10000) AS n"
    )
    await store.last_position(ALL)
    await sql.execute("SET statement_timeout = '4s'")
    row = await sql.fetchrow(EVERYTHING.replace("1000", "10000"))
    assert row is not None
    assert row["moved"] == 10_000


async def test_batch_ends_before_it_becomes_too_large(store: ArchiveStore, sql: Connection) -> None:
    large = "{" + f'"text": "{"x" * 7_000_000}"' + "}"
    # Not compressed, so as large as it is written.
    await sql.execute("ALTER TABLE events ALTER COLUMN event_data SET STORAGE EXTERNAL")
    for aggregate_id in ("a", "b", "c", "d"):
        row = list(event_row(aggregate_id))
        row[COLUMNS.index("event_data")] = large
        await sql.execute(INSERT, *row)
    up_to = await store.last_position(ALL)
    first = await store.move_batch(ALL, after=0, up_to=up_to, limit=1_000)
    assert first == MovedBatch(reached=3, looked_at=3, moved=3)
    rest = await store.move_batch(ALL, after=first.reached, up_to=up_to, limit=1_000)
    assert rest == MovedBatch(reached=up_to, looked_at=1, moved=1)


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE"])
async def test_nothing_moves_that_a_foreign_key_refers_to(
    store: ArchiveStore, sql: Connection, action: str
) -> None:
    """A key sees live events alone: its rows would go with those that move, or keep them here."""
    await insert_event(sql, "a")
    await store.last_position(ALL)
    await sql.execute(
        "CREATE TABLE notes (event_id UUID CONSTRAINT of_event REFERENCES events "
        f"ON DELETE {action});"
        "INSERT INTO notes SELECT event_id FROM events"
    )
    with pytest.raises(ArchiveRefused) as caught:
        await store.last_position(ALL)
    assert caught.value.foreign_keys == ["notes.of_event"]
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="foreign key"):
        await sql.fetchrow(EVERYTHING)
    assert await sql.fetchval("SELECT count(*) FROM notes") == 1
    assert await places(sql) == (1, 0, 1)


async def test_who_may_read_events_may_read_each_month_by_its_name(
    store: ArchiveStore, sql: Connection, settings: Settings
) -> None:
    role = f'Reader "{uuid4().hex}"'
    quoted = '"' + role.replace('"', '""') + '"'
    host, name = str(settings.database_host), settings.database_name
    create = f"CREATE ROLE {quoted} LOGIN"
    await asyncio.to_thread(run_as_superuser, host, create, database=name)
    try:
        await sql.execute(f"GRANT SELECT ON events TO {quoted}")
        await insert_event(sql, "a")
        await archive_all(store)
        reader = await connect(settings.model_copy(update={"database_user": role}))
        try:
            assert await reader.fetchval("SELECT count(*) FROM ONLY events_archive_2024_05") == 1
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute("DELETE FROM events_archive_2024_05")
        finally:
            await reader.close()
    finally:
        drop = (f"DROP OWNED BY {quoted}", f"DROP ROLE {quoted}")
        await asyncio.to_thread(run_as_superuser, host, *drop, database=name)


async def test_schedule_goes_on_after_a_clock_was_ahead(
    store: ArchiveStore, sql: Connection
) -> None:
    assert await store.claim_run(3_600)
    assert not await store.claim_run(3_600)
    await sql.execute("UPDATE archive_state SET next_run_at = now() + interval '10 years'")
    assert await store.claim_run(3_600)
    assert not await store.claim_run(3_600)


async def test_statements_over_months_are_not_kept(
    database: Database, event_reader: EventReader, store: ArchiveStore, sql: Connection
) -> None:
    await insert_event(sql, "a", 1)
    await insert_event(sql, "a", 2)
    event_id = await sql.fetchval("SELECT event_id FROM events LIMIT 1")
    await archive_all(store)
    page = await event_reader.read_events("Order", "a", from_version=1, to_version=9, limit=9)
    assert [event.version for event in page.events] == [1, 2]
    assert (await event_reader.get_event(event_id)) is not None
    feed = await event_reader.read_feed(FeedFilter(), after=0, limit=9)
    assert len(feed.events) == 2
    async with database.connection() as connection:
        kept = await connection.fetch("SELECT statement FROM pg_prepared_statements")
    assert kept
    assert not [row for row in kept if "ONLY events_archive_" in row["statement"]]


JUDGED = "SELECT set_config('eventstore.judged', {} || statement_timestamp()::text, true)"
BATCHES = "(SELECT batches FROM archive_state)"


async def test_what_was_judged_before_something_moved_is_looked_at_again(
    store: ArchiveStore, sql: Connection
) -> None:
    """As an append that has waited for the very batch which moves its version."""
    await insert_event(sql, "a", 1)
    await archive_all(store)
    for judged in ("0", "''"):
        insert = f"""
        WITH judged AS MATERIALIZED ({JUDGED.format(judged)} AS value)
        INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                            occurred_at)
        SELECT gen_random_uuid(), 'Order', 'a', 1, 'Again', '{{}}', now() FROM judged
        WHERE value IS NOT NULL
        """
        with pytest.raises(asyncpg.UniqueViolationError):
            await sql.execute(insert)
    assert await places(sql) == (0, 1, 1)


async def test_one_statement_is_not_judged_by_another_of_its_transaction(
    store: ArchiveStore, sql: Connection
) -> None:
    await insert_event(sql, "a", 1)
    await archive_all(store)
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(JUDGED.format(BATCHES))
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert_event(sql, "a", 1)
    await transaction.rollback()
    assert await places(sql) == (0, 1, 1)

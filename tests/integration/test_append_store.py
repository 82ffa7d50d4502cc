"""Appending against the database itself: races, refusals and lost connections."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import psutil
import pytest

from app.commands.append_events import append_events
from app.commands.append_transaction import append_transaction
from app.errors import DatabaseBusy, DatabaseUnreachable, OutcomeUnknown, UnstorableValue
from app.events import Append, Expectation
from app.settings import Settings
from app.store import connection as store_connection
from app.store.connection import Database
from app.store.event_store import EventStore
from tests.conftest import connect
from tests.integration.client_sql import INSERT, OCCURRED_AT, Connection, event_row
from tests.integration.support import (
    OwnServer,
    as_superuser,
    insert_event,
    new_append,
    new_event,
    until,
)

MUST_EXIST = Expectation(must_exist=True)


@pytest.fixture
async def superuser(settings: Settings) -> AsyncIterator[Connection]:
    connection = await connect(as_superuser(settings))
    yield connection
    await connection.close()


async def insert_id(
    connection: Connection, event_id: UUID, aggregate_id: str | None = None
) -> None:
    await connection.execute(INSERT, *event_row(aggregate_id or uuid4().hex, 1, event_id))


async def stored_ids(connection: Connection) -> list[UUID]:
    rows = await connection.fetch("SELECT event_id FROM events ORDER BY global_position")
    return [row["event_id"] for row in rows]


async def waiting_backend(observer: Connection) -> int | None:
    """The service's backend that waits for a lock.

    The observer must not be in a transaction: there, the activity is that of its first look.
    """
    pid: int | None = await observer.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'eventstore' AND wait_event_type = 'Lock'"
    )
    return pid


# --- what is stored, and where


async def test_five_thousand_events_of_one_append_get_rising_versions_and_positions(
    event_store: EventStore, sql: Connection
) -> None:
    append = new_append("o", *(new_event() for _ in range(5_000)))
    appended = await event_store.append_events(append)
    assert appended is not None
    assert [event.version for event in appended.events] == list(range(1, 5_001))
    assert [event.global_position for event in appended.events] == list(range(1, 5_001))
    assert [event.event_id for event in appended.events] == append.event_ids
    assert await stored_ids(sql) == append.event_ids


async def test_events_of_one_append_keep_their_own_values(
    event_store: EventStore, sql: Connection
) -> None:
    ids = [uuid4() for _ in range(4)]
    later = OCCURRED_AT + timedelta(microseconds=1)
    events = (
        new_event(b'{"n": 1.50}', occurred_at=later, correlation_id=ids[0]),
        new_event(b"{}", metadata=new_event().event_data, causation_id=ids[1]),
    )
    await event_store.append_events(
        new_append("o", *events, correlation_id=ids[2], causation_id=ids[3])
    )
    rows = await sql.fetch(
        "SELECT event_data::text, metadata::text, occurred_at, correlation_id, causation_id "
        "FROM events ORDER BY version"
    )
    assert [tuple(row) for row in rows] == [
        ('{"n": 1.50}', None, later, ids[0], ids[3]),
        ("{}", '{"total": "1.10"}', OCCURRED_AT, ids[2], ids[1]),
    ]


async def test_append_tells_the_version_of_the_snapshot(
    event_store: EventStore, sql: Connection
) -> None:
    appended = await event_store.append_events(new_append("o"))
    assert appended is not None
    assert appended.snapshot_version == 0
    await sql.execute("INSERT INTO snapshots VALUES ('Order', 'o', 1, '{}', now())")
    appended = await event_store.append_events(new_append("o"))
    assert appended is not None
    assert (appended.snapshot_version, appended.version) == (1, 2)


async def test_transaction_stores_in_the_order_of_its_appends(
    event_store: EventStore, sql: Connection
) -> None:
    """Whatever the order in which it locks the aggregates."""
    names = ["c", "a", "b", "a", "c"]
    outcomes = await event_store.append_transaction(
        [new_append(name, new_event(), new_event()) for name in names]
    )
    assert outcomes is not None
    positions = [event.global_position for outcome in outcomes for event in outcome.events]
    assert positions == list(range(1, 11))
    rows = await sql.fetch("SELECT aggregate_id, version FROM events ORDER BY global_position")
    assert [tuple(row) for row in rows] == [
        *(("c", 1), ("c", 2), ("a", 1), ("a", 2), ("b", 1), ("b", 2)),
        *(("a", 3), ("a", 4), ("c", 3), ("c", 4)),
    ]


# --- what is refused


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_append_at_another_version_is_refused(
    event_store: EventStore, sql: Connection, expected: int
) -> None:
    await insert_event(sql, "o", 1)
    await insert_event(sql, "o", 2)
    assert (
        await event_store.append_events(new_append("o", expectation=Expectation(expected))) is None
    )
    assert len(await stored_ids(sql)) == 2


async def test_append_to_an_absent_aggregate_that_must_exist_is_refused(
    event_store: EventStore, sql: Connection
) -> None:
    assert await event_store.append_events(new_append("o", expectation=MUST_EXIST)) is None
    assert await event_store.append_events(new_append("o", expectation=Expectation(1))) is None
    assert await stored_ids(sql) == []
    assert await event_store.append_events(new_append("o", expectation=Expectation(0)))
    assert await event_store.append_events(new_append("o", expectation=MUST_EXIST))


async def test_append_with_one_id_that_is_taken_is_refused_as_a_whole(
    event_store: EventStore, sql: Connection
) -> None:
    taken = uuid4()
    await insert_id(sql, taken, "another")
    ids = [uuid4(), taken, uuid4()]
    append = new_append("o", *(new_event() for _ in ids), event_ids=ids)
    assert await event_store.append_events(append) is None
    assert await event_store.append_transaction([new_append("p"), append]) is None
    assert await stored_ids(sql) == [taken]


async def test_append_with_the_same_id_twice_is_refused(
    event_store: EventStore, sql: Connection
) -> None:
    event_id = uuid4()
    append = new_append("o", new_event(), new_event(), event_ids=[event_id, event_id])
    assert await event_store.append_events(append) is None
    assert await stored_ids(sql) == []


async def test_transaction_of_which_one_append_is_refused_stores_nothing(
    event_store: EventStore, sql: Connection
) -> None:
    refused = new_append("c", expectation=Expectation(1))
    assert await event_store.append_transaction([new_append("a"), new_append("b"), refused]) is None
    assert await stored_ids(sql) == []


async def test_append_that_loses_the_version_to_a_direct_insert_is_refused(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    """The other transaction is not visible to the statement, which waits for it at the index."""
    async with sql.transaction():
        await insert_event(sql, "o")
        appending = asyncio.create_task(event_store.append_events(new_append("o")))
        await until(lambda: waiting_backend(superuser))
    assert await appending is None
    assert len(await stored_ids(sql)) == 1


async def test_append_that_waited_for_a_transaction_that_rolled_back_is_stored(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    await sql.execute("BEGIN")
    await insert_event(sql, "o")
    appending = asyncio.create_task(event_store.append_events(new_append("o")))
    await until(lambda: waiting_backend(superuser))
    await sql.execute("ROLLBACK")
    appended = await appending
    assert appended is not None
    assert appended.version == 1


async def test_append_of_any_version_that_loses_a_race_is_repeated_by_its_command(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    async with sql.transaction():
        await insert_event(sql, "o")
        appending = asyncio.create_task(append_events(event_store, new_append("o")))
        await until(lambda: waiting_backend(superuser))
    assert (await appending).version == 2


async def test_transactions_over_the_same_aggregates_in_opposite_order_take_turns(
    event_store: EventStore,
) -> None:
    """Twenty pairs at once, with every version; none deadlocks, none is refused."""
    orders = (["a", "b", "c"], ["c", "b", "a"])
    outcomes = await asyncio.gather(
        *(
            append_transaction(event_store, [new_append(name) for name in orders[number % 2]])
            for number in range(40)
        )
    )
    versions = sorted(outcome.version for transaction in outcomes for outcome in transaction)
    assert versions == sorted(3 * list(range(1, 41)))


async def test_value_that_cannot_be_stored_is_told_apart(
    event_store: EventStore, sql: Connection
) -> None:
    append = new_append("o", new_event(), new_event(b'{"a": "\\u0000"}'))
    with pytest.raises(UnstorableValue):
        await event_store.append_events(append)
    with pytest.raises(UnstorableValue):
        await event_store.append_transaction([new_append("p"), append])
    assert await stored_ids(sql) == []


# --- deadlocks


# So that it is the service's transaction which looks for the deadlock, and is ended.
HOLD = "SET deadlock_timeout = '60s'; BEGIN"


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT"])
async def test_deadlock_over_event_ids_is_repeated_and_does_not_reach_the_caller(
    event_store: EventStore, superuser: Connection, sql: Connection, end: str
) -> None:
    ids = [uuid4(), uuid4()]
    appends = [new_append(f"o{n}", event_ids=[event_id]) for n, event_id in enumerate(ids)]
    await superuser.execute(HOLD)
    await insert_id(superuser, ids[1])
    appending = asyncio.create_task(event_store.append_transaction(appends))
    await until(lambda: waiting_backend(sql))
    # Waits for the service's transaction, until that is ended as the deadlock's victim.
    await insert_id(superuser, ids[0])
    # Repeated by now, or soon, it waits for this one.
    await until(lambda: waiting_backend(sql))
    await superuser.execute(end)
    outcome = await appending
    if end == "COMMIT":
        assert outcome is None
    else:
        assert outcome is not None
        assert await stored_ids(superuser) == ids


async def test_deadlock_within_one_append_does_not_reach_the_caller(
    event_store: EventStore, superuser: Connection, sql: Connection
) -> None:
    ids = [uuid4(), uuid4()]
    append = new_append("o", new_event(), new_event(), event_ids=ids)
    await superuser.execute(HOLD)
    await insert_id(superuser, ids[1])
    appending = asyncio.create_task(append_events(event_store, append))
    await until(lambda: waiting_backend(sql))
    await insert_id(superuser, ids[0])
    await superuser.execute("ROLLBACK")
    assert (await appending).version == 2
    assert await stored_ids(superuser) == ids


# --- trouble


@pytest.mark.parametrize("way", ["append_events", "append_transaction"])
@pytest.mark.parametrize("setting", ["database_statement_timeout_s", "database_lock_timeout_s"])
async def test_append_that_waits_too_long_is_busy_and_stores_nothing(
    settings: Settings, sql: Connection, way: str, setting: str
) -> None:
    database = Database(settings.model_copy(update={setting: 0.2}))
    await database.open()
    store = EventStore(database)
    appends = [new_append("p"), new_append("o")]
    async with sql.transaction():
        await insert_event(sql, "o")
        with pytest.raises(DatabaseBusy):
            await _append(store, way, appends)
    assert len(await stored_ids(sql)) == 1
    assert await store.append_transaction(appends) is not None
    await database.close(timeout_s=5)


async def test_outcome_is_unknown_when_the_backend_ends_during_the_statement(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    """The statement commits by itself, so the service cannot tell whether it has."""
    append = new_append("o", new_event(), new_event())
    async with sql.transaction():
        await insert_event(sql, "o")
        appending = asyncio.create_task(event_store.append_events(append))
        await until(lambda: waiting_backend(superuser))
        await superuser.execute("SELECT pg_terminate_backend($1)", await waiting_backend(superuser))
        with pytest.raises(OutcomeUnknown) as caught:
            await appending
    assert list(caught.value.event_ids) == append.event_ids


async def test_nothing_was_stored_when_the_backend_ends_before_the_commit(
    event_store: EventStore, sql: Connection, superuser: Connection
) -> None:
    appends = [new_append("p"), new_append("o")]
    async with sql.transaction():
        await insert_event(sql, "o")
        appending = asyncio.create_task(event_store.append_transaction(appends))
        await until(lambda: waiting_backend(superuser))
        await superuser.execute("SELECT pg_terminate_backend($1)", await waiting_backend(superuser))
        with pytest.raises(DatabaseUnreachable):
            await appending
    assert len(await stored_ids(sql)) == 1


@pytest.mark.parametrize("way", ["append_events", "append_transaction"])
async def test_append_whose_commit_was_cut_off_is_recognised_when_repeated(
    own_server: OwnServer, way: str
) -> None:
    """The commit waits for a standby that does not exist: it is done, and not acknowledged."""
    superuser = await connect(
        as_superuser(own_server.settings), server_settings={"synchronous_commit": "local"}
    )
    await superuser.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await superuser.execute("SELECT pg_reload_conf()")
    database = Database(own_server.settings)
    await database.open()
    store = EventStore(database)
    appends = [new_append(uuid4().hex, new_event(), new_event())]
    if way == "append_transaction":
        appends.append(new_append(uuid4().hex))
    committing = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
        "AND application_name = 'eventstore'"
    )
    try:
        appending = asyncio.create_task(_append(store, way, appends))
        await until(lambda: superuser.fetchval(committing))
        pid = await superuser.fetchval(committing)
        await superuser.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(OutcomeUnknown) as caught:
            await appending
    finally:
        await superuser.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await superuser.execute("SELECT pg_reload_conf()")
        await superuser.close()
    event_ids = [event_id for append in appends for event_id in append.event_ids]
    assert list(caught.value.event_ids) == event_ids
    again = await append_transaction(store, appends)
    assert [outcome.replayed for outcome in again] == [True] * len(appends)
    assert [event.event_id for outcome in again for event in outcome.events] == event_ids
    await database.close(timeout_s=5)


async def test_outcome_is_unknown_when_the_server_stops_answering(
    settings: Settings, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is frozen cannot keep to its own statement_timeout."""
    monkeypatch.setattr(store_connection, "UNRESPONSIVE_AFTER_S", 0.1)
    database = Database(
        settings.model_copy(
            update={
                "database_statement_timeout_s": 0.2,
                "database_connect_timeout_s": 0.5,
                "database_pool_max_size": 1,
            }
        )
    )
    await database.open()
    async with database.connection() as connection:
        backend = psutil.Process(connection.get_server_pid())
    append = new_append("o")
    backend.suspend()
    try:
        with pytest.raises(OutcomeUnknown):
            async with asyncio.timeout(10):
                await EventStore(database).append_events(append)
    finally:
        backend.resume()
    # The pool has given that connection up, and goes on with another.
    [looked_up] = await EventStore(database).look_up_appends([new_append("p")])
    assert looked_up.version == 0
    await database.close(timeout_s=5)


async def _append(store: EventStore, way: str, appends: list[Append]) -> object:
    if way == "append_events":
        return await store.append_events(appends[-1])
    return await store.append_transaction(appends)

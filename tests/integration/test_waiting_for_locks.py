"""Transactions of others that hold an aggregate hold up its own appends, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.commands.append_events import append_events
from app.commands.append_transaction import append_transaction
from app.errors import DatabaseBusy
from app.settings import Settings
from app.store.connection import Database
from app.store.event_store import EventStore
from app.store.position_store import PositionStore
from app.store.schema import schema_state
from app.store.snapshot_store import SnapshotStore
from tests.conftest import connect
from tests.integration.client_sql import OCCURRED_AT, Connection
from tests.integration.support import as_superuser, insert_event, new_append, new_state, until

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'eventstore' AND wait_event_type = 'Lock'
"""


@pytest.fixture
async def observer(settings: Settings) -> AsyncIterator[Connection]:
    connection = await connect(as_superuser(settings))
    yield connection
    await connection.close()


@pytest.fixture
def setting_overrides() -> dict[str, Any]:
    # Long enough that nothing ends by it here.
    return {"database_lock_timeout_s": 60, "database_pool_max_size": 4}


async def test_appends_to_an_aggregate_that_a_stranger_holds_wait_on_one_connection(
    database: Database, event_store: EventStore, sql: Connection, observer: Connection
) -> None:
    """Twenty wait for one aggregate, with a pool of four: all others go on, and it is ready."""
    async with sql.transaction():
        await insert_event(sql, "held")
        held = [
            asyncio.create_task(append_events(event_store, new_append("held"))) for _ in range(20)
        ]
        await until(lambda: observer.fetchval(WAITING))
        for number in range(50):
            assert await event_store.append_events(new_append(f"free-{number}")) is not None
            assert (await schema_state(database)).revision
            assert await observer.fetchval(WAITING) <= 1
    versions = [(await task).version for task in held]
    assert sorted(versions) == list(range(2, 22))


async def test_many_aggregates_that_a_stranger_holds_leave_connections_for_others(
    database: Database, event_store: EventStore, sql: Connection, observer: Connection
) -> None:
    """After its first short wait, each of them waits in a lane, most of them for a lane."""
    names = [f"held-{number}" for number in range(12)]
    async with sql.transaction():
        for name in names:
            await insert_event(sql, name)
        held = [
            *(asyncio.create_task(append_events(event_store, new_append(name))) for name in names),
            asyncio.create_task(
                append_transaction(event_store, [new_append("other"), new_append(names[0])])
            ),
        ]
        # All have met the lock; one has the lane, the transaction waits for its turn.
        await until(lambda: _has_waiters(database, len(names) - 1))
        for number in range(20):
            await append_events(event_store, new_append(f"free-{number}"))
        assert await observer.fetchval(WAITING) == 1
    await asyncio.gather(*held)


async def test_held_snapshot_and_position_are_waited_for_in_a_lane(
    database: Database, event_store: EventStore, sql: Connection, observer: Connection
) -> None:
    await event_store.append_events(new_append("o"))
    snapshots, positions = SnapshotStore(database), PositionStore(database)
    save = {"expected_position": None, "may_go_back": False, "processed_at": OCCURRED_AT}
    await snapshots.save_snapshot("Order", "o", 1, new_state(b"1"), OCCURRED_AT)
    await positions.save_position("p", 0, **save)  # type: ignore[arg-type]
    async with sql.transaction():
        await sql.execute("SELECT * FROM snapshots FOR UPDATE")
        await sql.execute("SELECT * FROM projection_positions FOR UPDATE")
        waiting = [
            asyncio.create_task(
                snapshots.save_snapshot("Order", "o", 1, new_state(b"2"), OCCURRED_AT)
            ),
            asyncio.create_task(snapshots.delete_snapshot("Order", "o")),
            asyncio.create_task(positions.save_position("p", 0, **save)),  # type: ignore[arg-type]
            asyncio.create_task(positions.delete_position("p")),
        ]
        await until(lambda: _has_waiters(database, 3))
        assert await observer.fetchval(WAITING) == 1
        await append_events(event_store, new_append("free"))
    await asyncio.gather(*waiting)


async def _has_waiters(database: Database, count: int) -> bool:
    waiters = database._waiting_lanes._waiters
    return waiters is not None and len(waiters) == count


async def test_append_that_never_gets_its_turn_is_busy(settings: Settings, sql: Connection) -> None:
    database = Database(settings.model_copy(update={"database_lock_timeout_s": 0.3}))
    await database.open()
    event_store = EventStore(database)
    async with sql.transaction():
        await insert_event(sql, "held")
        outcomes = await asyncio.gather(
            *(append_events(event_store, new_append("held")) for _ in range(10)),
            return_exceptions=True,
        )
    assert {type(outcome) for outcome in outcomes} == {DatabaseBusy}
    assert await event_store.append_events(new_append("held")) is not None
    await database.close(timeout_s=5)

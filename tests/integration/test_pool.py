"""The pool keeps its limits, as PostgreSQL counts them, and outlives broken connections."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from app.errors import DatabaseBusy, DatabaseUnreachable, UnstorableValue
from app.events import Expectation
from app.settings import Settings
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.event_store import EventStore
from app.store.schema import schema_state
from tests.conftest import connect, running_service
from tests.integration.client_sql import Connection
from tests.integration.support import (
    OwnServer,
    as_superuser,
    insert_event,
    new_append,
    new_event,
    until,
)

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def open_database(settings: Settings, **overrides: Any) -> AsyncIterator[Database]:
    database = Database(settings.model_copy(update=overrides))
    await database.open()
    try:
        yield database
    finally:
        await database.close(timeout_s=5)


@asynccontextmanager
async def observed_by(settings: Settings) -> AsyncIterator["Observer"]:
    connection = await connect(as_superuser(settings))
    yield Observer(connection)
    await connection.close()


class Observer:
    """Counts the service's connections, as the server sees them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def pids(self, state: str = "%") -> list[int]:
        rows = await self.connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'eventstore' AND state LIKE $1 ORDER BY pid",
            state,
        )
        return [row["pid"] for row in rows]

    async def waiting(self) -> int:
        """How many of them wait for a lock."""
        count: int = await self.connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'eventstore' AND wait_event_type = 'Lock'"
        )
        return count

    async def has(self, connections: int) -> bool:
        return len(await self.pids()) == connections

    async def terminate_all(self) -> None:
        for pid in await self.pids():
            await self.connection.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
        assert await self.pids() == []


# --- how many


async def test_fifty_requests_at_once_share_the_connections_of_the_pool(
    settings: Settings, sql: Connection
) -> None:
    limit = settings.database_pool_max_size
    assert limit == 10
    await insert_event(sql, "o")
    async with observed_by(settings) as observer:
        with running_service(settings) as url:
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                async with sql.transaction():
                    # Each request holds its connection until this ends.
                    await sql.execute("LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE")
                    requests = [
                        asyncio.create_task(client.get("/v1/aggregates/Order/o/snapshot"))
                        for _ in range(50)
                    ]
                    # The last one is kept for what tells whether the service is ready.
                    await until(lambda: _all_wait(observer, limit - 1))
                    for _ in range(20):
                        assert (await client.get("/health/ready")).status_code == 200
                        assert len(await observer.pids()) in (limit - 1, limit)
                answers = await asyncio.gather(*requests)
                assert {answer.status_code for answer in answers} == {404}
                assert len(await observer.pids()) <= limit


async def test_three_workers_divide_the_limit(settings: Settings, sql: Connection) -> None:
    """Ten by three: each process has three connections, the service nine."""
    shared = settings.model_copy(update={"workers": 3})
    assert shared.pool_size_per_worker == 3
    # What a worker does with the database, without HTTP.
    worker = """
import asyncio, sys
from app.settings import Settings
from app.store.connection import Database
from app.store.snapshot_store import SnapshotStore

async def run():
    database = Database(Settings(_env_file=None))
    await database.open()
    store = SnapshotStore(database)
    await asyncio.gather(*(store.get_snapshot("Order", "o") for _ in range(17)))
    await asyncio.to_thread(sys.stdin.read)
    await database.close(timeout_s=5)

asyncio.run(run())
"""
    environment = {
        "PATH": "",
        "DATABASE_HOST": str(settings.database_host),
        "DATABASE_NAME": settings.database_name,
        "WORKERS": "3",
    }
    async with observed_by(settings) as observer:
        async with sql.transaction():
            await sql.execute("LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE")
            workers = [
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", worker),
                    env=environment,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                )
                for _ in range(3)
            ]
            await until(lambda: _all_wait(observer, 9))
            for _ in range(20):
                assert len(await observer.pids()) == 9
        await until(lambda: _all_idle(observer, 9))
        for process in workers:
            await process.communicate(b"")
            assert process.returncode == 0


def test_more_workers_than_connections_are_refused() -> None:
    with pytest.raises(ValidationError, match="DATABASE_POOL_MAX_SIZE of at least 4"):
        Settings(_env_file=None, workers=4, database_pool_max_size=3)


async def test_no_connection_is_made_before_it_is_needed(settings: Settings) -> None:
    async with observed_by(settings) as observer, open_database(settings) as database:
        assert await observer.pids() == []
        await schema_state(database)
        assert len(await observer.pids()) == 1


async def test_idle_connections_are_closed(settings: Settings) -> None:
    async with (
        observed_by(settings) as observer,
        open_database(settings, database_pool_idle_timeout_s=1) as database,
    ):
        await asyncio.gather(*(schema_state(database) for _ in range(20)))
        assert 1 <= len(await observer.pids()) <= 10
        begin = time.monotonic()
        await until(lambda: observer.has(0))
        assert time.monotonic() - begin < 10
        assert (await schema_state(database)).revision


# --- how long


async def test_waiting_for_a_free_connection_ends(settings: Settings) -> None:
    async with open_database(
        settings, database_pool_max_size=2, database_connect_timeout_s=0.3
    ) as database:
        async with database.connection(), database.connection():
            begin = time.monotonic()
            with pytest.raises(DatabaseBusy, match="every connection to the database is in use"):
                await schema_state(database)
            assert 0.25 < time.monotonic() - begin < 5
        assert (await schema_state(database)).revision


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of which connections are accepted by the system and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_address_that_never_answers(settings: Settings, black_hole: int) -> None:
    async with open_database(
        settings,
        database_host="127.0.0.1",
        database_port=black_hole,
        database_connect_timeout_s=0.3,
    ) as database:
        begin = time.monotonic()
        # More than the pool holds: those that wait for a connection end as well.
        ended = await asyncio.gather(
            *(schema_state(database) for _ in range(12)), return_exceptions=True
        )
        assert 0.25 < time.monotonic() - begin < 5
        assert {type(error) for error in ended} == {DatabaseUnreachable}


async def test_refused_connection(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with open_database(settings, database_host="127.0.0.1", database_port=port) as database:
        with pytest.raises(DatabaseUnreachable):
            await schema_state(database)


async def test_missing_socket_directory(settings: Settings, tmp_path: Path) -> None:
    async with open_database(settings, database_host=str(tmp_path)) as database:
        with pytest.raises(DatabaseUnreachable):
            await schema_state(database)


async def test_host_name_that_does_not_exist(settings: Settings) -> None:
    async with open_database(settings, database_host="nowhere.invalid") as database:
        with pytest.raises(DatabaseUnreachable):
            await schema_state(database)


async def test_unknown_database(settings: Settings) -> None:
    async with open_database(settings, database_name="nowhere") as database:
        with pytest.raises(DatabaseUnreachable, match="the database does not exist"):
            await schema_state(database)


async def test_unknown_user(settings: Settings) -> None:
    async with open_database(settings, database_user="nobody") as database:
        with pytest.raises(DatabaseUnreachable):
            await schema_state(database)


async def test_wrong_password(own_server: OwnServer) -> None:
    superuser = await connect(as_superuser(own_server.settings))
    await superuser.execute("CREATE ROLE careful LOGIN PASSWORD 'right'")
    rules = own_server.data_dir / "pg_hba.conf"
    rules.write_text(f"local all careful scram-sha-256\n{rules.read_text()}")
    await superuser.execute("SELECT pg_reload_conf()")
    await until(
        lambda: superuser.fetchval(
            "SELECT true FROM pg_hba_file_rules WHERE 'careful' = ANY (user_name)"
        )
    )
    await superuser.execute("GRANT SELECT ON alembic_version TO careful")
    await superuser.close()
    as_careful = {"database_user": "careful"}
    for password in (SecretStr("wrong"), None):
        async with open_database(
            own_server.settings, **as_careful, database_password=password
        ) as database:
            with pytest.raises(DatabaseUnreachable) as caught:
                await schema_state(database)
            assert "wrong" not in str(caught.value)
    async with open_database(
        own_server.settings, **as_careful, database_password=SecretStr("right")
    ) as database:
        assert (await schema_state(database)).revision


async def test_database_without_connections_left(settings: Settings, sql: Connection) -> None:
    superuser = await connect(as_superuser(settings))
    await superuser.execute(f"ALTER DATABASE {settings.database_name} CONNECTION LIMIT 1")
    await superuser.close()
    async with open_database(settings) as database:
        with pytest.raises((DatabaseUnreachable, DatabaseBusy)):
            await schema_state(database)
        await sql.close()
        assert (await schema_state(database)).revision


# --- what remains in a connection


async def test_connections_that_broke_while_idle_do_not_fail_the_next_requests(
    settings: Settings,
) -> None:
    async with observed_by(settings) as observer, open_database(settings) as database:
        store = EventStore(database)
        async with database.connection(), database.connection(), database.connection():
            pass
        assert len(await observer.pids()) == 3
        await observer.terminate_all()
        appended = await asyncio.gather(
            *(store.append_events(new_append(f"o{number}")) for number in range(6))
        )
        assert None not in appended


async def test_pool_outlives_a_restart_of_the_server(own_server: OwnServer) -> None:
    async with open_database(own_server.settings) as database:
        assert (await schema_state(database)).revision
        await asyncio.to_thread(own_server.stop)
        with pytest.raises(DatabaseUnreachable):
            await schema_state(database)
        await asyncio.to_thread(own_server.start)
        assert (await schema_state(database)).revision


async def test_release_of_a_connection_asks_the_server_nothing(settings: Settings) -> None:
    async with (
        observed_by(settings) as observer,
        open_database(settings, database_pool_max_size=1) as database,
    ):
        async with database.connection() as connection:
            await connection.fetchval("SELECT 'the last statement'")
        last = await observer.connection.fetchval(
            "SELECT query FROM pg_stat_activity WHERE pid = $1", (await observer.pids())[0]
        )
        assert last == "SELECT 'the last statement'"


@pytest.mark.parametrize("failure", ["unstorable value", "version conflict", "cancelled"])
async def test_transaction_that_fails_leaves_nothing_in_its_connection(
    settings: Settings, sql: Connection, failure: str
) -> None:
    """One connection, so the next request gets the same; locks would be seen, too."""
    async with (
        observed_by(settings) as observer,
        open_database(settings, database_pool_max_size=1) as database,
    ):
        store = EventStore(database)
        first = new_append("first")
        pid = await _pid(database)
        if failure == "unstorable value":
            bad = new_append("bad", new_event(b'{"nul": "\\u0000"}'))
            with pytest.raises(UnstorableValue):
                await store.append_transaction([first, bad])
        elif failure == "version conflict":
            conflicting = new_append("bad", expectation=Expectation(7))
            assert await store.append_transaction([first, conflicting]) is None
        else:
            async with sql.transaction():
                await insert_event(sql, "bad")
                appending = asyncio.create_task(
                    store.append_transaction([first, new_append("bad")])
                )
                await until(lambda: _all_wait(observer, 1))
                appending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await appending
        locks = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND locktype = 'advisory'"
        # A cancelled connection is closed; the others are used again.
        assert await observer.connection.fetchval(locks, pid) == 0
        assert await observer.pids("idle in transaction%") == []
        if failure != "cancelled":
            assert await _pid(database) == pid
        assert await sql.fetchval("SELECT count(*) FROM events WHERE aggregate_id = 'first'") == 0
        assert await store.append_transaction([first]) is not None
        assert await EventReader(database).safe_position() > 0


async def test_close_does_not_wait_longer_than_it_is_told(settings: Settings) -> None:
    async with observed_by(settings) as observer:
        database = Database(settings)
        await database.open()
        holding = asyncio.create_task(_hold(database))
        await until(lambda: observer.has(1))
        begin = time.monotonic()
        await database.close(timeout_s=0.2)
        assert time.monotonic() - begin < 5
        with pytest.raises(DatabaseUnreachable):
            await holding


async def _hold(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("SELECT pg_sleep(60)")


async def _pid(database: Database) -> int:
    async with database.connection() as connection:
        return connection.get_server_pid()


async def _all_wait(observer: Observer, connections: int) -> bool:
    return await observer.waiting() == connections


async def _all_idle(observer: Observer, connections: int) -> bool:
    return len(await observer.pids("idle")) == connections == len(await observer.pids())

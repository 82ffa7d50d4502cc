"""What several integration tests need: marks, waiting for a condition, appends, servers."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
from msgspec import Raw

from app.embedded import EmbeddedPostgres
from app.events import ANY_VERSION, Append, Expectation, NewEvent
from app.migrations import upgrade
from app.settings import Settings
from tests.conftest import OWNER, connect
from tests.integration.client_sql import INSERT, OCCURRED_AT, Connection, event_row

PATIENCE_S = 30
MARK_CLASS = 0x45565354
MARKS = f"""
SELECT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND classid = {MARK_CLASS} AND objsubid = 2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""
SEQUENCE = "events_global_position_seq"


async def insert_event(
    connection: Connection, aggregate_id: str | None = None, version: int = 1
) -> int:
    """Insert one event as a direct SQL writer; its position."""
    row = event_row(aggregate_id or uuid4().hex, version)
    position: int = await connection.fetchval(f"{INSERT} RETURNING global_position", *row)
    return position


async def safe_position(connection: Connection) -> int:
    position: int = await connection.fetchval("SELECT events_safe_position()")
    return position


async def marks(connection: Connection) -> list[int]:
    """The in-flight marks of this database, as they are: 32 bits each."""
    return [row["objid"] for row in await connection.fetch(MARKS)]


async def set_sequence(connection: Connection, last_value: int) -> None:
    """As if ``last_value`` positions had been handed out already; for the sequence's owner."""
    await connection.execute(f"SELECT setval('{SEQUENCE}', {last_value})")


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.005)


def as_superuser(settings: Settings) -> Settings:
    return settings.model_copy(update={"database_user": "postgres"})


def new_event(event_data: bytes = b'{"total": "1.10"}', **more: Any) -> NewEvent:
    return NewEvent("OrderPlaced", Raw(event_data), **more)


def new_state(state: bytes) -> Raw:
    """The state of a snapshot, as it comes from a request."""
    return Raw(state)


def new_ids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


def new_append(
    aggregate_id: str,
    *events: NewEvent,
    expectation: Expectation = ANY_VERSION,
    event_ids: list[UUID] | None = None,
    **more: Any,
) -> Append:
    """An append of these events, or of one."""
    wanted = events or (new_event(),)
    ids = event_ids or [event.event_id or uuid4() for event in wanted]
    return Append("Order", aggregate_id, expectation, wanted, ids, OCCURRED_AT, **more)


class OwnServer:
    """A migrated PostgreSQL of a test's own, which it may configure and kill."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._postgres = EmbeddedPostgres(data_dir, database="eventstore", user=OWNER)
        self.settings = self.start()
        upgrade(self.settings)

    def start(self) -> Settings:
        return Settings(_env_file=None, database_host=str(self._postgres.start()))

    def stop(self) -> None:
        self._postgres.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def configure(self, **values: str) -> None:
        """ALTER SYSTEM SET each value; `restart` makes all of them valid."""

        async def run() -> None:
            connection = await connect(as_superuser(self.settings))
            for name, value in values.items():
                await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            await connection.execute("SELECT pg_reload_conf()")
            await connection.close()

        asyncio.run(run())

    def freeze(self, *, except_pids: set[int]) -> None:
        """Stop all of its processes but these, the postmaster first: it would start new ones."""
        for process in self._processes():
            # Autovacuum's workers may end at any moment.
            with suppress(psutil.NoSuchProcess):
                if process.pid not in except_pids:
                    process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL all of its processes at once."""
        processes = self._processes()
        processes[0].send_signal(signal.SIGSTOP)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
        assert not alive

    def _processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(int((self.data_dir / "postmaster.pid").read_text().split()[0]))
        processes = [postmaster]
        for process in postmaster.children():
            with suppress(psutil.NoSuchProcess):
                # The one that writes the log is left: stopped, it would block the others.
                if "logger" not in " ".join(process.cmdline()):
                    processes.append(process)
        return processes


@contextmanager
def running_server() -> Iterator[OwnServer]:
    """An `OwnServer` in a temporary directory."""
    # Not pytest's tmp_path: every run of pytest closes its parents to PostgreSQL's OS user again.
    home = Path(tempfile.mkdtemp(prefix="eventstore-test-")).resolve()
    home.chmod(0o711)
    try:
        server = OwnServer(home / "data")
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=os.geteuid() != 0)

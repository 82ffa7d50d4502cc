"""A real PostgreSQL 16 for the whole run, a database of its own and a service for each test."""

import asyncio
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import uvicorn

from app.embedded import EmbeddedPostgres
from app.http_protocol import ProblemProtocol
from app.main import create_app
from app.migrations import upgrade
from app.settings import Settings
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.event_store import EventStore

OWNER = "actor_user"
TEMPLATE = "eventstore_template"


def run_as_superuser(host: str, *statements: str, database: str = "postgres") -> None:
    """Run statements as the server's superuser, each in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(host=host, user="postgres", database=database)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


@contextmanager
def directory_for_postgres() -> Iterator[Path]:
    """A temporary directory that PostgreSQL's OS user may pass, too, where the tests run as root.

    Not pytest's tmp_path: every run of pytest closes its parents to that user again.
    """
    home = Path(tempfile.mkdtemp(prefix="eventstore-test-")).resolve()
    try:
        home.chmod(0o711)
        yield home
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def postgres_host() -> Iterator[str]:
    """The socket directory of a PostgreSQL 16 that runs as long as the tests do.

    Its data need not outlive the machine: tests of what survives a crash have servers of their own.
    """
    with directory_for_postgres() as home:
        postgres = EmbeddedPostgres(home / "data", database=TEMPLATE, user=OWNER)
        host = str(postgres.start())
        run_as_superuser(host, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield host
        postgres.stop()


@pytest.fixture(scope="session")
def template_database(postgres_host: str) -> str:
    """A migrated database that each test gets a copy of."""
    upgrade(Settings(_env_file=None, database_host=postgres_host, database_name=TEMPLATE))
    return TEMPLATE


@pytest.fixture
def empty_database(postgres_host: str) -> Iterator[Settings]:
    """Settings of a database that was never migrated."""
    with copied_database(postgres_host, "template1") as settings:
        yield settings


@pytest.fixture
def setting_overrides() -> dict[str, Any]:
    """Settings that a test wants otherwise: override this fixture."""
    return {}


@pytest.fixture
def settings(
    postgres_host: str, template_database: str, setting_overrides: dict[str, Any]
) -> Iterator[Settings]:
    """Settings of a migrated, empty database of the test's own."""
    with copied_database(postgres_host, template_database) as settings:
        yield settings.model_copy(update=setting_overrides)


@contextmanager
def copied_database(host: str, template: str, name: str | None = None) -> Iterator[Settings]:
    """Settings of a copy of the template, which is dropped at the end."""
    name = name or f"test_{uuid4().hex}"
    # By its files: without fsync that is much quicker than page by page through the WAL.
    copy = f"TEMPLATE {template} STRATEGY FILE_COPY"
    run_as_superuser(host, f"CREATE DATABASE {name} OWNER {OWNER} {copy}")
    try:
        yield Settings(_env_file=None, database_host=host, database_name=name)
    finally:
        run_as_superuser(host, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The service's own pool."""
    database = Database(settings)
    await database.open()
    yield database
    await database.close(timeout_s=5)


@pytest.fixture
def event_store(database: Database) -> EventStore:
    """The store's side of appending."""
    return EventStore(database)


@pytest.fixture
def event_reader(database: Database) -> EventReader:
    """The store's side of reading."""
    return EventReader(database)


@pytest.fixture
async def sql(settings: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of another service, which uses the tables with plain SQL."""
    connection = await connect(settings)
    yield connection
    await connection.close()


async def connect(settings: Settings, **more: Any) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect as another service does."""
    return await asyncpg.connect(
        host=settings.database_host,
        user=settings.database_user,
        database=settings.database_name,
        **more,
    )


class PromptServer(uvicorn.Server):
    """Ends as soon as it is told to: uvicorn looks for that ten times a second, and then rests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._is_to_stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Tick once a second, which keeps the date of the answers."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_to_stop.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, but for its rest of 0.1 s where nobody is connected any more."""
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self.lifespan.shutdown()

    def stop(self) -> None:
        """Stop, from another thread."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # closed: it has ended already
                self._loop.call_soon_threadsafe(self._is_to_stop.set)


@contextmanager
def running_service(settings: Settings) -> Iterator[str]:
    """Serve HTTP on a free port from a thread of its own; yields the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = PromptServer(
        uvicorn.Config(
            create_app(settings),
            http=ProblemProtocol,
            log_level="warning",
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=5,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop()
        thread.join()
        listener.close()


@pytest.fixture
def service_url(settings: Settings) -> Iterator[str]:
    """A running service on an empty store."""
    with running_service(settings) as url:
        yield url


@pytest.fixture
async def client(service_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running service on an empty store."""
    # Without certificates, which take longer to load than many tests here.
    async with httpx.AsyncClient(base_url=service_url, timeout=60, verify=False) as client:
        yield client


@pytest.fixture(scope="session")
def permit_lines() -> list[bytes]:
    """Events of about a hundred cases of a real permit process, one a line."""
    path = Path(__file__).parent / "data" / "permit_applications_100.ndjson"
    return path.read_bytes().splitlines(keepends=True)

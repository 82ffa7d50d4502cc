"""A temporary PostgreSQL with default durability, and databases in it that the service migrated."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from app.embedded import PORT, EmbeddedPostgres
from app.migrations import upgrade
from app.settings import Settings
from bench.stores import EMPTY, Store, fill

OWNER: Final = "actor_user"
DURABILITY: Final = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Result = TypeVar("Result")

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The running server; its data is gone after the benchmark."""

    socket_dir: str
    data_dir: Path
    tell: Callable[[str], None] = print
    """What it is about to do, where that takes a while."""
    _made: set[Store] = field(default_factory=set)

    @property
    def postmaster_pid(self) -> int:
        return int((self.data_dir / "postmaster.pid").read_text().split()[0])

    def database_of(self, store: Store) -> str:
        """The one database with that in it, made at first: to read, or to be copied."""
        if store not in self._made:
            self.tell(f"storing {store.events:,} events")
            self.execute(f"CREATE DATABASE {store.name} TEMPLATE {EMPTY.name} OWNER {OWNER}")
            self.run(lambda connection: fill(connection, store), store.name)
            # What a background process would do later, in the middle of a measurement.
            self.execute("VACUUM (FREEZE, ANALYZE) events", "CHECKPOINT", database=store.name)
            self._made.add(store)
        return store.name

    @contextmanager
    def copy_of(self, store: Store) -> Iterator[str]:
        """A database of its own, which begins with nothing left to write."""
        name = f"bench_copy_{next(_numbers)}"
        self.execute(
            f"CREATE DATABASE {name} TEMPLATE {self.database_of(store)} OWNER {OWNER} "
            "STRATEGY file_copy",
            "CHECKPOINT",
        )
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each in a transaction of its own."""

        async def run(connection: Connection) -> None:
            for statement in statements:
                await connection.execute(statement)

        self.run(run, database, user="postgres")

    def value(self, query: str, *arguments: Any, database: str = "postgres") -> Any:
        """The one value that a query gives."""

        async def run(connection: Connection) -> Any:
            return await connection.fetchval(query, *arguments)

        return self.run(run, database)

    def run(
        self, work: Callable[[Connection], Awaitable[Result]], database: str, user: str = OWNER
    ) -> Result:
        """Do something over a connection of its own."""

        async def run() -> Result:
            connection = await self.connect(database, user)
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(run())

    async def connect(self, database: str, user: str = OWNER) -> Connection:
        return await asyncpg.connect(
            host=self.socket_dir, port=PORT, user=user, database=database, timeout=30
        )

    def durability(self) -> dict[str, str]:
        """PostgreSQL's settings that decide what a commit costs."""
        return {name: self.value("SELECT current_setting($1)", name) for name in DURABILITY}


@contextmanager
def running_cluster(parent: Path, tell: Callable[[str], None] = print) -> Iterator[Cluster]:
    """Start PostgreSQL in a new directory below ``parent``, with a migrated database."""
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=parent) as directory:
        path = Path(directory).resolve()
        # For root, PostgreSQL runs as another user, who must pass here.
        path.chmod(0o711)
        data_dir = path / "postgres"
        tell("starting PostgreSQL")
        with EmbeddedPostgres(data_dir, database=EMPTY.name, user=OWNER) as postgres:
            # A second start() tells where the running server is.
            cluster = Cluster(str(postgres.start()), data_dir, tell, {EMPTY})
            upgrade(
                Settings(_env_file=None, database_host=cluster.socket_dir, database_name=EMPTY.name)
            )
            yield cluster

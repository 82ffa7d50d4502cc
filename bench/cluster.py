"""A temporary PostgreSQL with default durability, and databases in it that the service migrated."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from app.embedded import PORT, EmbeddedPostgres
from app.migrations import upgrade
from app.settings import Settings
from bench.payload import AGGREGATE_TYPE, EVENTS_A_BATCH, permit_events

OWNER: Final = "actor_user"
EMPTY: Final = "bench_empty"
FILLED: Final = "bench_filled"
DURABILITY: Final = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")

# Version by version over all aggregates, as they would grow: the events of one aggregate are not
# neighbours in the table.
_FILL: Final = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    metadata, occurred_at)
SELECT lpad(to_hex(new.version * 1000000 + aggregate), 32, '0')::uuid, $1, 'case-' || aggregate,
       new.version, new.event_type, new.event_data, new.metadata, new.occurred_at
FROM unnest($3::text[], $4::jsonb[], $5::jsonb[], $6::text[]::timestamptz[])
       WITH ORDINALITY AS new (event_type, event_data, metadata, occurred_at, version),
     generate_series(0, $2::int - 1) AS aggregate
ORDER BY new.version, aggregate
"""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The running server; its data is gone after the benchmark."""

    socket_dir: str
    data_dir: Path
    aggregates: int
    """In the filled database: "case-0" and up, each of EVENTS_A_BATCH events."""

    @property
    def stored_events(self) -> int:
        return self.aggregates * EVENTS_A_BATCH

    @property
    def postmaster_pid(self) -> int:
        return int((self.data_dir / "postmaster.pid").read_text().split()[0])

    @contextmanager
    def copy_of(self, template: str) -> Iterator[str]:
        """A database of its own for one run, which begins with nothing left to write."""
        name = "bench_run"
        self.execute(
            f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER} STRATEGY file_copy",
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
def running_cluster(parent: Path, aggregates: int) -> Iterator[Cluster]:
    """Start PostgreSQL in a new directory below ``parent``, with an empty and a filled database."""
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=parent) as directory:
        path = Path(directory).resolve()
        # For root, PostgreSQL runs as another user, who must pass here.
        path.chmod(0o711)
        data_dir = path / "postgres"
        with EmbeddedPostgres(data_dir, database=EMPTY, user=OWNER) as postgres:
            # A second start() tells where the running server is.
            cluster = Cluster(str(postgres.start()), data_dir, aggregates)
            _prepare(cluster)
            yield cluster


def _prepare(cluster: Cluster) -> None:
    upgrade(Settings(_env_file=None, database_host=cluster.socket_dir, database_name=EMPTY))
    cluster.execute(f"CREATE DATABASE {FILLED} TEMPLATE {EMPTY} OWNER {OWNER}")
    cluster.run(lambda connection: _fill(connection, cluster.aggregates), FILLED)
    cluster.execute("VACUUM (FREEZE, ANALYZE) events", database=FILLED)


async def _fill(connection: Connection, aggregates: int) -> None:
    events = permit_events(EVENTS_A_BATCH)
    columns: Sequence[list[str]] = (
        [event.event_type for event in events],
        [event.event_data for event in events],
        [event.metadata for event in events],
        [event.occurred_at for event in events],
    )
    await connection.execute(_FILL, AGGREGATE_TYPE, aggregates, *columns, timeout=600)

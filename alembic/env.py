"""Runs migrations one at a time: over one connection, each in a transaction of its own.

Two instances that start at once meet at an advisory lock: the second waits, then finds nothing
left to do. A migration that cannot get a table lock within `LOCK_TIMEOUT` gives up rather than
queue in front of every append (https://www.postgresql.org/docs/16/explicit-locking.html).
"""

import asyncio
import re

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from app.settings import Settings
from app.store.connection import connection_arguments
from app.store.tables import metadata

# Any 64-bit number that no other program on the database uses: "evstore" in ASCII.
MIGRATION_LOCK = 0x6576_7374_6F72_65
MIGRATION_LOCK_TIMEOUT = "120s"
LOCK_TIMEOUT = "5s"


def is_ours(name: str | None, kind: str, _: object) -> bool:
    """Whether the metadata should know a table: the archive's months are made when needed."""
    return kind != "table" or re.fullmatch(r"events_archive_\d{4}_\d\d", name or "") is None


def run_migrations(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET lock_timeout = '{MIGRATION_LOCK_TIMEOUT}'")
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    connection.commit()
    # No unlock: the lock goes with the connection, also when a migration fails.
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        include_name=is_ours,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_run() -> None:
    settings = context.config.attributes.get("settings") or Settings()
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=connection_arguments(settings),
        poolclass=pool.NullPool,
    )
    async with engine.connect() as connection:
        await connection.run_sync(run_migrations)
    await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("eventstore: migrations read the database, so --sql is not supported")
asyncio.run(connect_and_run())

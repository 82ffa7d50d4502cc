"""How to reach the database: the arguments of a connection, and the one pool of them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from app.errors import DatabaseBusy, DatabaseUnreachable
from app.settings import Settings
from app.store.driver_errors import translated

# Beyond PostgreSQL's own statement_timeout: for a server that does not answer at all.
UNRESPONSIVE_AFTER_S = 5.0

logger = logging.getLogger(__name__)

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


def connection_arguments(settings: Settings) -> dict[str, Any]:
    """Arguments of `asyncpg.connect` for the configured database.

    https://magicstack.github.io/asyncpg/current/api/index.html#connection
    """
    password = settings.database_password
    return {
        "host": settings.database_host,
        "port": settings.database_port,
        "database": settings.database_name,
        "user": settings.database_user,
        "password": password.get_secret_value() if password else None,
        "ssl": settings.database_ssl_mode,
        "timeout": settings.database_connect_timeout_s,
    }


async def _keep_session(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """No statement of the service changes its session, so that nothing is to be reset.

    asyncpg's own reset is a round trip at each release; an open transaction it rolls back anyway.
    """


class Database:
    """The pool: at most ``settings.pool_size_per_worker`` connections, made when needed.

    A connection that has been idle for ``database_pool_idle_timeout_s`` is closed.
    """

    def __init__(self, settings: Settings) -> None:
        self._connect_timeout_s = settings.database_connect_timeout_s
        self._pool = asyncpg.create_pool(
            **connection_arguments(settings),
            init_size=0,
            min_size=0,
            max_size=settings.pool_size_per_worker,
            max_inactive_connection_lifetime=settings.database_pool_idle_timeout_s,
            reset=_keep_session,
            command_timeout=settings.database_statement_timeout_s + UNRESPONSIVE_AFTER_S,
            server_settings={
                "application_name": "eventstore",
                "statement_timeout": f"{settings.database_statement_timeout_s * 1000:.0f}",
                "lock_timeout": f"{settings.database_lock_timeout_s * 1000:.0f}",
                # events_safe_position() and the statements after it need fresh snapshots.
                "default_transaction_isolation": "read committed",
            },
        )

    async def open(self) -> None:
        """Make the pool ready; no connection is made yet, so an absent database does not fail."""
        await self._pool

    async def close(self, *, timeout_s: float) -> None:
        """Wait for the connections in use to come back, then close all.

        Those that are not back after ``timeout_s`` are closed under their users.
        """
        try:
            await asyncio.wait_for(self._pool.close(), timeout_s)
        except TimeoutError:
            logger.warning("closed connections that were still in use after %s s", timeout_s)

    @asynccontextmanager
    async def connection(self, *, writing: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection; what the driver raises in the body becomes an error of the store.

        Each statement of the body is a transaction of its own unless the body opens one.
        ``writing``: see `translated`.

        Raises:
            DatabaseUnreachable: No connection can be made.
            DatabaseBusy: All connections stayed in use for ``database_connect_timeout_s``.
        """
        connection = await self._acquire()
        try:
            yield connection
        except Exception as error:
            domain_error = translated(error, writing=writing)
            if domain_error is None:
                raise
            raise domain_error from error
        finally:
            await self._release(connection)

    async def _release(self, connection: Connection) -> None:
        try:
            await self._pool.release(connection)
        except Exception:
            # The pool has closed the connection, and the body's outcome stands by itself.
            logger.warning("a connection could not be given back and was closed", exc_info=True)

    async def _acquire(self) -> Connection:
        try:
            return await self._pool.acquire(timeout=self._connect_timeout_s)
        except TimeoutError as error:
            if self._pool.get_idle_size() == 0 and self._pool.get_size() == (
                self._pool.get_max_size()
            ):
                raise DatabaseBusy("every connection to the database is in use") from error
            raise DatabaseUnreachable("the database does not answer") from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseUnreachable(f"the database cannot be reached: {error}") from error

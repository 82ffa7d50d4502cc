"""How to reach the database: the arguments of a connection, and the one pool of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from app.errors import DatabaseBusy, DatabaseUnreachable
from app.metrics import Metrics
from app.settings import Settings
from app.store.driver_errors import CONNECTION_FAILURES, is_lock_timeout, translated

# Beyond PostgreSQL's own statement_timeout: for a server that does not answer at all.
UNRESPONSIVE_AFTER_S = 5.0
# Longer than a commit takes that is not held up, so that few writes have to wait in a lane.
FIRST_LOCK_TIMEOUT_S = 0.2
RESERVE_FROM = 4
IN_USE = "every connection to the database is in use"

logger = logging.getLogger(__name__)

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
Outcome = TypeVar("Outcome")


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

    A connection that has been idle for ``database_pool_idle_timeout_s`` is closed. Of four or more,
    the last is kept for what is ``reserved``. At most a quarter of them wait long for locks of
    other transactions, so that whoever holds some rows does not hold up all others.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        """``metrics``: where what becomes of statements is counted; None: in some of its own."""
        self.metrics = metrics or Metrics()
        self._waiting = 0
        size = settings.pool_size_per_worker
        self._connect_timeout_s = settings.database_connect_timeout_s
        self.lock_timeout_s = settings.database_lock_timeout_s
        self._unreserved = asyncio.Semaphore(size - 1 if size >= RESERVE_FROM else size)
        self._waiting_lanes = asyncio.Semaphore(max(1, size // 4))
        self._on_contention: list[Callable[[], None]] = []
        self._pool = asyncpg.create_pool(
            **connection_arguments(settings),
            init_size=0,
            min_size=0,
            max_size=size,
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

    @property
    def waiting(self) -> int:
        """How many wait for a connection now, or for one to be made."""
        return self._waiting

    @property
    def in_use(self) -> int:
        """How many connections are lent now."""
        return self._pool.get_size() - self._pool.get_idle_size()

    @property
    def max_size(self) -> int:
        """How many connections there may be."""
        return self._pool.get_max_size()

    async def open(self) -> None:
        """Make the pool ready; no connection is made yet, so an absent database does not fail."""
        await self._pool

    async def close(self, *, timeout_s: float) -> None:
        """Wait for the connections in use to come back, then close all.

        Those that are not back after ``timeout_s`` are closed under their users.
        """
        self._call_back_idle()
        try:
            await asyncio.wait_for(self._pool.close(), timeout_s)
        except TimeoutError:
            logger.warning("closed connections that were still in use after %s s", timeout_s)

    @asynccontextmanager
    async def connection(
        self, *, writing: bool = False, storing: bool = False, reserved: bool = False
    ) -> AsyncIterator[Connection]:
        """Lend a connection; what the driver raises in the body becomes an error of the store.

        Each statement of the body is a transaction of its own unless the body opens one.
        ``writing`` and ``storing``: see `translated`. ``reserved``: for what is short and must
        work also while all other connections are in use.

        Raises:
            DatabaseUnreachable: No connection can be made.
            DatabaseBusy: All connections stayed in use for ``database_connect_timeout_s``.
        """
        deadline = asyncio.get_running_loop().time() + self._connect_timeout_s
        if self.is_contended():
            # Also for what is reserved: of three or fewer there is no last one.
            self._call_back_idle()
        if not reserved:
            self._waiting += 1
            try:
                await _enter(self._unreserved, deadline, IN_USE)
            finally:
                self._waiting -= 1
        try:
            connection = await self._acquire(deadline)
            try:
                with translating(writing=writing, storing=storing):
                    yield connection
            finally:
                await self._release(connection)
        finally:
            if not reserved:
                self._unreserved.release()

    def on_contention(self, give_back: Callable[[], None]) -> None:
        """Have ``give_back`` called when a connection is wanted and none is left, or at the end.

        For those who keep one that they do not use at the moment.
        """
        self._on_contention.append(give_back)

    def is_contended(self) -> bool:
        """Whether every connection is in use, or wanted."""
        return self._unreserved.locked()

    async def patiently(self, write: Callable[[str], Awaitable[Outcome]]) -> Outcome:
        """Call ``write`` with the lock timeout of its statements, in PostgreSQL's notation.

        At first that is short. A write that meets a longer lock is repeated with the whole
        ``database_lock_timeout_s`` in one of a few lanes, and waits for the lane without a
        connection. ``write`` may have no effect where it raises.

        Raises:
            DatabaseBusy: The lock, or a lane, was not to be had in time.
        """
        try:
            return await write(self.lock_timeout(FIRST_LOCK_TIMEOUT_S))
        except DatabaseBusy as error:
            if not is_lock_timeout(error):
                raise
        self.metrics.retries.inc("lock")
        deadline = asyncio.get_running_loop().time() + self.lock_timeout_s
        await _enter(self._waiting_lanes, deadline, "too many writes wait for locks")
        try:
            return await write(self.lock_timeout(self.lock_timeout_s))
        finally:
            self._waiting_lanes.release()

    def lock_timeout(self, seconds: float) -> str:
        """``seconds``, at most ``database_lock_timeout_s``, in PostgreSQL's notation."""
        return f"{min(seconds, self.lock_timeout_s) * 1000:.0f}ms"

    def _call_back_idle(self) -> None:
        for give_back in self._on_contention:
            give_back()

    async def _acquire(self, deadline: float) -> Connection:
        remaining_s = deadline - asyncio.get_running_loop().time()
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=max(remaining_s, 0.001))
        except TimeoutError as error:
            if self._pool.get_idle_size() == 0 and self._pool.get_size() == (
                self._pool.get_max_size()
            ):
                raise DatabaseBusy(IN_USE) from None
            raise DatabaseUnreachable("the database does not answer") from error
        except CONNECTION_FAILURES as error:
            raise DatabaseUnreachable("no connection to the database could be made") from error
        except asyncpg.PostgresError as error:
            raise translated(error, writing=False, storing=False) or error from error
        finally:
            self._waiting -= 1

    async def _release(self, connection: Connection) -> None:
        try:
            await self._pool.release(connection)
        except Exception:
            # The pool has closed the connection, and the body's outcome stands by itself.
            logger.warning("a connection could not be given back and was closed", exc_info=True)


def is_lost(connection: Connection) -> bool:
    """Whether a connection that is lent has been closed by the other side."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool has noticed it, and taken the connection back.
        return True


def give_up(connection: Connection) -> None:
    """Close a connection that is lent without a word to the other side, which may not answer."""
    if not is_lost(connection):
        connection.terminate()


@contextmanager
def translating(*, writing: bool = False, storing: bool = False) -> Iterator[None]:
    """Make of what the driver raises in the body an error of the store: see `translated`."""
    try:
        yield
    except Exception as error:
        domain_error = translated(error, writing=writing, storing=storing)
        if domain_error is None:
            raise
        raise domain_error from error


async def _enter(semaphore: asyncio.Semaphore, deadline: float, reason: str) -> None:
    if not semaphore.locked():
        # Does not wait, so it needs no timer.
        await semaphore.acquire()
        return
    try:
        async with asyncio.timeout_at(deadline):
            await semaphore.acquire()
    except TimeoutError:
        raise DatabaseBusy(reason) from None

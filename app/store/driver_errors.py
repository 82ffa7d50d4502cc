"""Turns what asyncpg and PostgreSQL raise into the errors of the store, by SQLSTATE.

The classes are those of https://www.postgresql.org/docs/16/errcodes-appendix.html. Unique
violations are not here: what they mean depends on the statement, which names the constraint.
"""

import logging

import asyncpg

from app.errors import (
    DatabaseBusy,
    DatabaseUnreachable,
    EventStoreError,
    OutcomeUnknown,
    UnstorableValue,
)

# Raised by a connection that breaks or is broken; TimeoutError is asyncpg's own command_timeout,
# for a server that answers nothing at all.
CONNECTION_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    # The server ends an idle session or transaction: idle_session_timeout and its like.
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)

_BUSY = {
    "40001": "transactions kept getting into each other's way",
    "40P01": "transactions kept getting into each other's way",
    "53000": "the database is out of a resource",
    "53100": "the database's disk is full",
    "53200": "the database is out of memory",
    "53300": "the database has no connection left",
    "53400": "a limit in the database's configuration is exceeded",
    "55P03": "another transaction holds a lock for too long",
    "57014": "the statement took too long",
}
_UNREACHABLE = {
    "25006": "the database is read-only: a standby, or set so",
    "3D000": "the database does not exist",
    "42501": "the database denies the service's user a right that it needs",
    "42P01": "the schema is missing: run `eventstore migrate`",
    "42703": "the schema is an older one: run `eventstore migrate`",
    "42883": "the schema is missing: run `eventstore migrate`",
    "58030": "the database cannot read or write its files",
    "XX001": "the database finds its data damaged",
    "XX002": "the database finds an index damaged",
}
_PROGRAM_LIMIT_EXCEEDED = "54"
_DATA_EXCEPTION = "22"
_INVALID_AUTHORIZATION = "28"
_DEFECTS = {"42601", "42P02", "42P18"}

logger = logging.getLogger(__name__)


def translated(error: BaseException, *, writing: bool, storing: bool) -> EventStoreError | None:
    """The store's error for a driver's, or None where there is none: then it is a defect of ours.

    ``writing``: the statement commits by itself, so that a connection lost under it leaves open
    whether it has. ``writing`` or ``storing``: the statement carries values of a request's body,
    so that one of them is to blame for what the database calls bad data; in any other statement
    that is data which is stored already. No detail of the driver's message is taken over where it
    could tell a client of hosts and users; it is the cause of the error, for the log.
    """
    if isinstance(error, CONNECTION_FAILURES):
        if writing:
            return OutcomeUnknown()
        return DatabaseUnreachable("the connection to the database was lost")
    if not isinstance(error, asyncpg.PostgresError):
        return None
    sqlstate = error.sqlstate or ""
    if isinstance(error, asyncpg.UniqueViolationError) or sqlstate in _DEFECTS:
        return None
    if sqlstate in _BUSY:
        return DatabaseBusy(_BUSY[sqlstate])
    if sqlstate in _UNREACHABLE:
        return DatabaseUnreachable(_UNREACHABLE[sqlstate])
    if sqlstate.startswith(_INVALID_AUTHORIZATION):
        return DatabaseUnreachable("the database refuses the service's user")
    if (writing or storing) and sqlstate.startswith((_DATA_EXCEPTION, _PROGRAM_LIMIT_EXCEEDED)):
        return UnstorableValue("$", str(error))
    # Nobody has foreseen it here, but the database has said no: nothing was stored, and it may be
    # the operator's to mend (a trigger, a constraint, an extension), so it is not called a defect.
    logger.error("the database refuses a statement with SQLSTATE %s", sqlstate, exc_info=error)
    return DatabaseUnreachable(f"the database refuses the statement (SQLSTATE {sqlstate})")


def is_deadlock(error: EventStoreError) -> bool:
    """Whether the database ended the transaction as one of a circle that waits for itself."""
    return isinstance(error.__cause__, asyncpg.DeadlockDetectedError)


def is_lock_timeout(error: EventStoreError) -> bool:
    """Whether a lock was not to be had within the statement's lock timeout."""
    return isinstance(error.__cause__, asyncpg.LockNotAvailableError)

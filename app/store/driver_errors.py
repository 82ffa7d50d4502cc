"""Turns what asyncpg and PostgreSQL raise into the errors of the store, by SQLSTATE.

The classes are those of https://www.postgresql.org/docs/16/errcodes-appendix.html. Unique
violations are not here: what they mean depends on the statement, which names the constraint.
"""

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
)

_BUSY = {
    "40001": "transactions kept getting into each other's way",
    "40P01": "transactions kept getting into each other's way",
    "53000": "the database is out of a resource",
    "53100": "the database's disk is full",
    "53200": "the database is out of memory",
    "53300": "the database has no connection left",
    "55P03": "another transaction holds a lock for too long",
    "57014": "the statement took too long",
}
_UNREACHABLE = {
    "25006": "the database is read-only",
    "3D000": "the database does not exist",
    "42P01": "the schema is missing: run `eventstore migrate`",
    "42883": "the schema is missing: run `eventstore migrate`",
}
_PROGRAM_LIMIT_EXCEEDED = "54"
_DATA_EXCEPTION = "22"
_INVALID_AUTHORIZATION = "28"


def translated(error: BaseException, *, writing: bool) -> EventStoreError | None:
    """The store's error for a driver's, or None where there is none: then it is a defect of ours.

    ``writing``: the statement commits by itself, so that a connection lost under it leaves open
    whether it has.
    """
    if isinstance(error, CONNECTION_FAILURES):
        if writing:
            return OutcomeUnknown()
        return DatabaseUnreachable(f"the connection to the database was lost: {error}")
    if not isinstance(error, asyncpg.PostgresError):
        return None
    sqlstate = error.sqlstate or ""
    if sqlstate in _BUSY:
        return DatabaseBusy(_BUSY[sqlstate])
    if sqlstate in _UNREACHABLE:
        return DatabaseUnreachable(_UNREACHABLE[sqlstate])
    if sqlstate.startswith(_INVALID_AUTHORIZATION):
        return DatabaseUnreachable("the database refuses the service's user")
    if sqlstate.startswith((_DATA_EXCEPTION, _PROGRAM_LIMIT_EXCEEDED)):
        return UnstorableValue("$", str(error))
    return None

"""app.store.driver_errors: what each error of driver and database means to the store."""

import asyncpg
import pytest

from app.errors import (
    DatabaseBusy,
    DatabaseUnreachable,
    EventStoreError,
    OutcomeUnknown,
    UnstorableValue,
)
from app.store.driver_errors import translated

BY_SQLSTATE: list[tuple[type[asyncpg.PostgresError], type[EventStoreError]]] = [
    (asyncpg.SerializationError, DatabaseBusy),
    (asyncpg.DeadlockDetectedError, DatabaseBusy),
    (asyncpg.InsufficientResourcesError, DatabaseBusy),
    (asyncpg.DiskFullError, DatabaseBusy),
    (asyncpg.OutOfMemoryError, DatabaseBusy),
    (asyncpg.TooManyConnectionsError, DatabaseBusy),
    (asyncpg.LockNotAvailableError, DatabaseBusy),
    (asyncpg.QueryCanceledError, DatabaseBusy),
    (asyncpg.ReadOnlySQLTransactionError, DatabaseUnreachable),
    (asyncpg.InvalidCatalogNameError, DatabaseUnreachable),
    (asyncpg.UndefinedTableError, DatabaseUnreachable),
    (asyncpg.UndefinedFunctionError, DatabaseUnreachable),
    (asyncpg.InsufficientPrivilegeError, DatabaseUnreachable),
    (asyncpg.DataCorruptedError, DatabaseUnreachable),
    (asyncpg.IndexCorruptedError, DatabaseUnreachable),
    (asyncpg.PostgresIOError, DatabaseUnreachable),
    (asyncpg.ConfigurationLimitExceededError, DatabaseBusy),
    (asyncpg.FeatureNotSupportedError, DatabaseUnreachable),
    (asyncpg.InvalidPasswordError, DatabaseUnreachable),
    (asyncpg.InvalidAuthorizationSpecificationError, DatabaseUnreachable),
    (asyncpg.DataError, UnstorableValue),
    (asyncpg.UntranslatableCharacterError, UnstorableValue),
    (asyncpg.NumericValueOutOfRangeError, UnstorableValue),
    (asyncpg.DatetimeFieldOverflowError, UnstorableValue),
    (asyncpg.InvalidTextRepresentationError, UnstorableValue),
    (asyncpg.StringDataRightTruncationError, UnstorableValue),
    (asyncpg.ProgramLimitExceededError, UnstorableValue),
    (asyncpg.StatementTooComplexError, UnstorableValue),
]

CONNECTION_FAILURES = [
    ConnectionResetError(),
    ConnectionRefusedError(),
    BrokenPipeError(),
    FileNotFoundError(),
    TimeoutError(),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("unexpected"),
    asyncpg.ConnectionDoesNotExistError("closed in the middle"),
    asyncpg.ConnectionFailureError("x"),
    asyncpg.AdminShutdownError("terminating connection"),
    asyncpg.CrashShutdownError("x"),
    asyncpg.CannotConnectNowError("starting up"),
    asyncpg.IdleSessionTimeoutError("x"),
    asyncpg.IdleInTransactionSessionTimeoutError("x"),
]


@pytest.mark.parametrize(("driver_error", "domain_error"), BY_SQLSTATE)
def test_what_the_database_reports_has_stored_nothing(
    driver_error: type[asyncpg.PostgresError], domain_error: type[EventStoreError]
) -> None:
    # The database has said no: whether it was writing leaves nothing open.
    for writing, storing in ((True, False), (False, True)):
        error = translated(driver_error("the message"), writing=writing, storing=storing)
        assert type(error) is domain_error
        assert str(error)


@pytest.mark.parametrize(
    "driver_error",
    [asyncpg.DatetimeFieldOverflowError, asyncpg.ProgramLimitExceededError],
)
def test_bad_data_in_a_statement_that_stores_none_is_not_the_requests(
    driver_error: type[asyncpg.PostgresError],
) -> None:
    error = translated(driver_error("x"), writing=False, storing=False)
    assert type(error) is DatabaseUnreachable


def test_a_refusal_that_nobody_has_foreseen_is_told_by_its_sqlstate_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for driver_error in (asyncpg.CheckViolationError, asyncpg.UndefinedObjectError):
        error = translated(driver_error("of host db-7"), writing=True, storing=False)
        assert type(error) is DatabaseUnreachable
        assert driver_error.sqlstate in str(error)
        assert "db-7" not in str(error)
        assert driver_error.sqlstate in caplog.text


@pytest.mark.parametrize(
    "driver_error", CONNECTION_FAILURES, ids=lambda error: type(error).__name__
)
def test_a_lost_connection_leaves_open_whether_something_was_written(
    driver_error: Exception,
) -> None:
    lost = translated(driver_error, writing=False, storing=True)
    assert type(lost) is DatabaseUnreachable
    assert str(lost) == "the connection to the database was lost"
    unknown = translated(driver_error, writing=True, storing=False)
    assert isinstance(unknown, OutcomeUnknown)
    assert (unknown.outcome, unknown.event_ids) == ("unknown", ())


@pytest.mark.parametrize(
    "error",
    [
        ValueError("ours"),
        KeyError("ours"),
        asyncpg.UniqueViolationError("its meaning depends on the statement"),
        asyncpg.PostgresSyntaxError("x"),
    ],
    ids=repr,
)
def test_what_is_a_defect_stays_one(error: Exception) -> None:
    assert translated(error, writing=False, storing=False) is None
    assert translated(error, writing=True, storing=False) is None


def test_an_unstorable_value_has_no_place_yet() -> None:
    error = translated(
        asyncpg.NumericValueOutOfRangeError("value overflows"), writing=True, storing=False
    )
    assert isinstance(error, UnstorableValue)
    assert (error.place, error.reason) == ("$", "value overflows")

"""app.logs.failure: what is told of an exception, and what is never."""

from collections.abc import Callable

import asyncpg
import pytest

from app.errors import DatabaseBusy, InvalidInput
from app.logs.failure import MAX_FAILURES, MAX_FRAMES, describe

SECRET = "s3cret-value"


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error with a trace, in whose frames there is a secret, too."""
    local = SECRET
    try:
        assert local
        raise error from cause
    except BaseException as caught:  # noqa: BLE001
        return caught


def postgres_error(sqlstate: str, message: str, **fields: str) -> asyncpg.PostgresError:
    """As the driver makes it of the server's message."""
    codes = {"C": sqlstate, "M": message, "D": f"Failing row contains ({SECRET})", **fields}
    made = asyncpg.PostgresError.new(codes, query=f"SELECT '{SECRET}'")
    assert isinstance(made, asyncpg.PostgresError)
    assert SECRET in str(made)
    return made


def test_a_message_without_values_is_told_with_the_place() -> None:
    told = describe(raised(RuntimeError("no running event loop")))
    assert told.startswith("RuntimeError: no running event loop at tests/unit/logs/test_failure.py")
    assert told.endswith(" raised")


@pytest.mark.parametrize(
    "error",
    [
        KeyError(SECRET),
        ValueError(f"invalid literal: {SECRET!r}"),
        UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
        LookupError(SECRET),
        InvalidInput("$.events[0]", f"{SECRET} is not a date"),
        type("LibraryError", (RuntimeError,), {})(SECRET),
        asyncpg.DataError(f"invalid input for query argument $1: {SECRET!r}"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_message_that_may_quote_a_value_is_not_told(error: Exception) -> None:
    told = describe(raised(error))
    assert type(error).__name__ in told
    assert SECRET not in told


def test_of_a_database_error_the_state_and_the_names_are_told() -> None:
    error = postgres_error(
        "23514",
        'new row for relation "events" violates check constraint "events_check"',
        t="events",
        n="events_check",
    )
    told = describe(raised(error))
    assert told.startswith(
        "asyncpg.exceptions.CheckViolationError "
        "[23514 table_name=events constraint_name=events_check]: new row for relation"
    )
    assert SECRET not in told


@pytest.mark.parametrize("sqlstate", ["22P02", "22003", "P0001", "54000", "ZZ999", ""])
def test_a_database_message_that_may_quote_a_value_is_not_told(sqlstate: str) -> None:
    told = describe(raised(postgres_error(sqlstate, f'invalid input syntax: "{SECRET}"')))
    assert f"[{sqlstate}]" in told
    assert SECRET not in told


def test_causes_follow() -> None:
    cause = raised(OSError(111, "Connection refused"), raised(KeyError(SECRET)))
    told = describe(raised(DatabaseBusy("no connection was free in time"), cause))
    kinds = [part.split(" at ")[0] for part in told.split("; caused by ")]
    assert kinds == [
        "app.errors.DatabaseBusy: no connection was free in time",
        "ConnectionRefusedError: [Errno 111] Connection refused",
        "KeyError",
    ]


def test_a_group_tells_of_its_members() -> None:
    told = describe(raised(ExceptionGroup(SECRET, [TypeError("a type"), KeyError(SECRET)])))
    assert "TypeError: a type" in told
    assert "KeyError" in told
    assert SECRET not in told


def test_what_leads_to_itself_ends() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__context__, other.__context__ = other, one
    assert describe(one) == "RuntimeError: one; caused by RuntimeError: other"


def test_a_long_chain_and_a_deep_stack_are_cut() -> None:
    def deep(levels: int, act: Callable[[], None]) -> None:
        act() if levels == 0 else deep(levels - 1, act)

    def fail() -> None:
        raise TypeError("deep")

    error: BaseException = TypeError("first")
    for _ in range(3 * MAX_FAILURES):
        error = raised(TypeError("next"), error)
    assert describe(error).count("TypeError") == MAX_FAILURES
    with pytest.raises(TypeError) as caught:
        deep(3 * MAX_FRAMES, fail)
    told = describe(caught.value)
    assert told.count(" < ") == MAX_FRAMES - 1
    # The innermost comes first.
    assert told.split(" < ")[0].endswith(" fail")

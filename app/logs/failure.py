"""Renders an exception without the values that it may quote.

What the driver and PostgreSQL say may hold what a client has sent: the detail of a constraint's
violation is the whole row, and asyncpg quotes the argument that it cannot encode. Of Python's own
exceptions, a KeyError is nothing but a value. So a message is told only where it is known to have
none; otherwise the class, PostgreSQL's SQLSTATE and names, and the places in the code must do.
"""

import traceback
from collections.abc import Iterator
from pathlib import Path

from app.errors import Unavailable

MAX_FRAMES = 12
MAX_FAILURES = 6
MAX_MESSAGE_LENGTH = 300
ROOT = f"{Path(__file__).resolve().parents[2]}/"
PACKAGES = "/site-packages/"

# By exact class: what inherits from them may say anything.
_WITHOUT_VALUES = frozenset(
    {
        AssertionError,
        AttributeError,
        ImportError,
        IndexError,
        MemoryError,
        ModuleNotFoundError,
        NameError,
        NotImplementedError,
        RecursionError,
        RuntimeError,
        TypeError,
        UnboundLocalError,
        ZeroDivisionError,
    }
)
# Classes of SQLSTATE (https://www.postgresql.org/docs/16/errcodes-appendix.html) whose primary
# messages name objects and limits. Not data exceptions (22) and what a trigger raises (P0), which
# quote values.
_STATES_WITHOUT_VALUES = (
    *("08", "0A", "23", "25", "26", "28", "3D", "3F", "40", "42"),
    *("53", "55", "57", "58", "XX"),
)
_DRIVER_ERRORS_WITHOUT_VALUES = {"InterfaceError", "InternalClientError"}


def describe(error: BaseException) -> str:
    """An exception and what has led to it, in one text: the innermost place comes first."""
    return "; caused by ".join(
        " ".join((_named(failure), *_places(failure))) for failure in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, its cause, the cause's cause …, and what a group holds."""
    left = [error]
    seen: set[int] = set()
    while left and len(seen) < MAX_FAILURES:
        failure = left.pop(0)
        if id(failure) in seen:
            continue
        seen.add(id(failure))
        yield failure
        if isinstance(failure, BaseExceptionGroup):
            left += failure.exceptions
        cause = failure.__cause__
        if cause is None and not failure.__suppress_context__:
            cause = failure.__context__
        if cause is not None:
            left.append(cause)


def _named(error: BaseException) -> str:
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        name += f" [{' '.join(_diagnostics(error, sqlstate))}]"
    message = _message(error, sqlstate)
    return f"{name}: {message[:MAX_MESSAGE_LENGTH]}" if message else name


def _diagnostics(error: BaseException, sqlstate: str) -> Iterator[str]:
    """What PostgreSQL names (https://www.postgresql.org/docs/16/protocol-error-fields.html)."""
    yield sqlstate
    for name in ("schema_name", "table_name", "column_name", "constraint_name"):
        if value := getattr(error, name, None):
            yield f"{name}={value}"


def _message(error: BaseException, sqlstate: str | None) -> str | None:
    if isinstance(sqlstate, str):
        # Not `str(error)`, which has the detail in it.
        message = error.args[0] if error.args else None
        return str(message) if message and sqlstate.startswith(_STATES_WITHOUT_VALUES) else None
    is_safe = (
        type(error) in _WITHOUT_VALUES
        or isinstance(error, (OSError, Unavailable))
        or type(error).__name__ in _DRIVER_ERRORS_WITHOUT_VALUES
    )
    return str(error) if is_safe else None


def _places(error: BaseException) -> Iterator[str]:
    frames = traceback.extract_tb(error.__traceback__, limit=-MAX_FRAMES)
    for order, frame in enumerate(reversed(frames)):
        yield f"{'<' if order else 'at'} {_short(frame.filename)}:{frame.lineno} {frame.name}"


def _short(filename: str) -> str:
    _, separator, in_package = filename.rpartition(PACKAGES)
    return in_package if separator else filename.removeprefix(ROOT)

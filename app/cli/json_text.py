"""JSON that is passed on as text: nothing here turns a number into a float."""

from typing import TypeVar

import msgspec

from app.cli.errors import CliError

T = TypeVar("T")


def check_json(text: bytes, name: str) -> msgspec.Raw:
    """Check that ``text`` is one JSON value and keep its bytes; ``name`` is for the message."""
    try:
        text.decode()
        return msgspec.json.decode(text, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        raise CliError(f"{name} is not UTF-8") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise CliError(f"{name} is not JSON: {error}") from error


def read_answer(body: bytes, kind: type[T]) -> T:
    """Decode what the service has answered."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CliError(f"the answer is not that of an event store: {error}") from error

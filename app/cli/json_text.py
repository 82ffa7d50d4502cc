"""JSON that is passed on as text: nothing here turns a number into a float."""

import msgspec

from app.cli.errors import CliError


def check_json(text: bytes, name: str) -> msgspec.Raw:
    """Check that ``text`` is one JSON value and keep its bytes; ``name`` is for the message."""
    try:
        text.decode()
        return msgspec.json.decode(text, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        raise CliError(f"{name} is not UTF-8") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise CliError(f"{name} is not JSON: {error}") from error

"""One text for JSON values that are equal, and that stays the same through PostgreSQL's jsonb."""

import re
from decimal import Decimal
from typing import Any

import msgspec

# A number keeps its digits: as jsonb, which writes exponents out.
_decoder = msgspec.json.Decoder(float_hook=Decimal)
# Compact, with keys in one order. msgspec writes a Decimal as a string: these are marked.
_encoder = msgspec.json.Encoder(order="sorted", decimal_format="number")
_HAS_FLOAT = re.compile(rb"[0-9][.eE]")


def canonical_json(raw: bytes) -> bytes:
    """A valid JSON text with its keys sorted, no spaces, and numbers as jsonb writes them.

    Raises:
        RecursionError: It is nested too deeply.
    """
    value = _decoder.decode(raw)
    if _HAS_FLOAT.search(raw):
        value = _written_out(value)
    return _encoder.encode(value)


def _written_out(value: Any) -> Any:
    """The value with numbers whose text has no exponent."""
    match value:
        case dict():
            return {key: _written_out(member) for key, member in value.items()}
        case list():
            return [_written_out(member) for member in value]
        case Decimal():
            return msgspec.Raw(_digits(value))
        case _:
            return value


def _digits(number: Decimal) -> bytes:
    text = format(number, "f")
    # numeric knows no negative zero.
    return (text if number else text.lstrip("-")).encode()

"""Finds the place of a value that PostgreSQL's jsonb cannot hold.

A client decides how large and of what shape the text is that is searched here, and everybody waits
meanwhile. So the text is never made into objects: regular expressions pass over it, possessive
throughout, which neither go back nor remember (docs/decisions/0006-bounds-of-json.md).
"""

import re
from collections.abc import Sequence

import msgspec

from app.commands.json_path import json_path
from app.errors import UnstorableValue
from app.events import NewEvent

# Limits of numeric: https://www.postgresql.org/docs/16/datatype-numeric.html
MAX_DIGITS_BEFORE_POINT = 131_072
MAX_DIGITS_AFTER_POINT = 16_383

# Of the numbers that might not fit by their length or exponent, and do. No text that has come as
# far as the database has as many; in one that is refused before, the search ends there.
MAX_SUSPECTED_NUMBERS = 200_000

_NUL = rb"\u0000"
# Every group that repeats is atomic, too: Python before 3.11.5 takes for matched what a repetition
# that failed has passed (https://github.com/python/cpython/issues/106052).
_STORABLE_CHARACTERS = rb"""
    [^"\\]*+
    (?> \\(?: [^u] | u(?!0000|[dD][89a-fA-F]) | u[dD][89abAB]..\\u[dD][c-fC-F] ) [^"\\]*+ )*+
"""
_STORABLE_PART_OF_STRING = re.compile(b'"' + _STORABLE_CHARACTERS, re.VERBOSE)
# All before the first string that cannot be stored, or before a number that is to be looked at, and
# that number: 300 digits with an exponent below 16,000 fit, wherever the point is.
_UP_TO_SUSPECT = re.compile(
    rb"""
    (?> [^"0-9]*+
        (?: "%b"
          | [0-9.]{1,300}+ (?![0-9.])
            (?> [eE] [+-]?+ 0*+ (?: 1[0-5][0-9]{3} | [0-9]{0,4}+ ) (?![0-9]) )?+ (?![eE])
        )
    )*+
    [^"0-9]*+
    (?: ([0-9]++) (?: \.([0-9]++) )?+ (?: [eE]([+-]?+)0*+([0-9]*+) )?+ )?+
    """
    % _STORABLE_CHARACTERS,
    re.VERBOSE,
)

_any_json = msgspec.json.Decoder(msgspec.Raw)


def locate_unstorable(
    events: Sequence[NewEvent], error: UnstorableValue, *, place: str = "$"
) -> UnstorableValue:
    """The error with the JSON path of the offending value below ``place``.

    The database names neither the event nor the value, so the events are searched, once it has
    refused them. Returns ``error`` itself if the search finds nothing.
    """
    for ordinal, event in enumerate(events):
        for name, raw in (("event_data", event.event_data), ("metadata", event.metadata)):
            located = locate_in_json(bytes(raw), f"{place}.events[{ordinal}].{name}")
            if located is not None:
                return located
    return error


def locate_in_json(text: bytes | str, place: str) -> UnstorableValue | None:
    """The first value in a JSON text that jsonb cannot hold, or None.

    Raises:
        ValueError: The text is no JSON.
    """
    raw = text.encode() if isinstance(text, str) else text
    try:
        # The decoder refuses half of a surrogate pair, which JSON's grammar allows: here it sees
        # other characters in their place.
        _any_json.decode(raw.replace(rb"\ud", rb"\u0").replace(rb"\uD", rb"\u0"))
    except msgspec.DecodeError as error:
        raise ValueError(f"Expecting well-formed JSON: {error}") from error
    except RecursionError:
        return UnstorableValue(place, "is nested too deeply")
    found = _first_unstorable(raw)
    if found is None:
        return None
    offset, reason = found
    return UnstorableValue(json_path(raw, offset, place), reason)


def _first_unstorable(raw: bytes) -> tuple[int, str] | None:
    """Where the first string or number starts that cannot be stored, and why it cannot."""
    offset = 0
    for _ in range(MAX_SUSPECTED_NUMBERS):
        suspect = _UP_TO_SUSPECT.match(raw, offset)
        assert suspect
        offset = suspect.end()
        if suspect[1]:
            if not _fits_numeric(*suspect.groups(b"")):
                return suspect.start(1), "has more digits than a number can have"
        elif part := _STORABLE_PART_OF_STRING.match(raw, offset):
            if raw.startswith(_NUL, part.end()):
                return offset, "contains the character NUL (\\u0000)"
            return offset, "contains half of a surrogate pair"
        else:
            return None
    return None


def _fits_numeric(whole: bytes, fraction: bytes, sign: bytes, exponent_digits: bytes) -> bool:
    # The length alone tells a huge one, which int() would take long to read.
    exponent = int(exponent_digits or b"0") if len(exponent_digits) < 10 else 10**9
    if sign == b"-":
        exponent = -exponent
    significant = (whole + fraction).lstrip(b"0")
    digits_before_point = len(significant) - len(fraction) + exponent if significant else 0
    digits_after_point = len(fraction) - exponent
    return (
        digits_before_point <= MAX_DIGITS_BEFORE_POINT
        and digits_after_point <= MAX_DIGITS_AFTER_POINT
    )

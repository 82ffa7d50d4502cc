"""Finds the place of a value that PostgreSQL's jsonb cannot hold."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from app.errors import UnstorableValue
from app.events import NewEvent

# Limits of numeric: https://www.postgresql.org/docs/16/datatype-numeric.html
MAX_DIGITS_BEFORE_POINT = 131_072
MAX_DIGITS_AFTER_POINT = 16_383


class _Number(str):
    """A JSON number as it is written, so that parsing it loses nothing."""

    __slots__ = ()


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object, also those whose key occurs again: the database reads all."""

    __slots__ = ()


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
    try:
        value = json.loads(text, parse_int=_Number, parse_float=_Number, object_pairs_hook=_Members)
    except RecursionError:
        return UnstorableValue(place, "is nested too deeply")
    return next(_unstorable_values(value, place), None)


def _unstorable_values(value: Any, place: str) -> Iterator[UnstorableValue]:
    # An explicit stack: the value may be nested as deeply as Python's own limit allows.
    stack = [(value, place)]
    while stack:
        value, place = stack.pop()
        if isinstance(value, _Number):
            if not _fits_numeric(value):
                yield UnstorableValue(place, "has more digits than a number can have")
        elif isinstance(value, str):
            yield from _unstorable_text(value, place)
        elif isinstance(value, _Members):
            for key, _ in value:
                yield from _unstorable_text(key, f"{place}.<key>")
            stack.extend((item, f"{place}.{key}") for key, item in reversed(value))
        elif isinstance(value, list):
            stack.extend(
                (item, f"{place}[{index}]") for index, item in reversed(list(enumerate(value)))
            )


def _unstorable_text(text: str, place: str) -> Iterator[UnstorableValue]:
    if "\x00" in text:
        yield UnstorableValue(place, "contains the character NUL (\\u0000)")
    elif any("\ud800" <= character <= "\udfff" for character in text):
        yield UnstorableValue(place, "contains half of a surrogate pair")


def _fits_numeric(number: str) -> bool:
    try:
        decimal = Decimal(number)
    except InvalidOperation:
        return False
    exponent = decimal.as_tuple().exponent
    return (
        isinstance(exponent, int)
        and decimal.adjusted() < MAX_DIGITS_BEFORE_POINT
        and -exponent <= MAX_DIGITS_AFTER_POINT
    )

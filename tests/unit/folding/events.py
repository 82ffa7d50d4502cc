"""Events and reducers that the tests of folding are made of."""

import json
from typing import Any

import msgspec
from msgspec import Raw

from app.events import NULL, RecordedEvent
from app.folding.reducer import Reducer, parse_reducer

PLACE = "$.reducer"


def recorded(version: int, event_data: object = None, event_type: str = "Paid") -> RecordedEvent:
    """An event of one aggregate; ``event_data`` may be JSON text."""
    text = event_data if isinstance(event_data, bytes) else json.dumps(event_data or {}).encode()
    return RecordedEvent(
        f"00000000-0000-0000-0000-{version:012}",
        "Order",
        "ord-1",
        version,
        event_type,
        Raw(text),
        NULL,
        "2026-11-23T10:15:30.123456Z",
        None,
        None,
        100 + version,
    )


def history(*event_data: object) -> list[RecordedEvent]:
    """Events of one aggregate, from version 1."""
    return [recorded(version, data) for version, data in enumerate(event_data, start=1)]


def texts(events: list[RecordedEvent]) -> list[Raw]:
    """Events as they come to the fold process."""
    return [Raw(msgspec.json.encode(event)) for event in events]


def reducer(**members: Any) -> Reducer:
    return parse_reducer(json.dumps(members).encode(), PLACE)


def merge(**fields: str) -> Reducer:
    return reducer(kind="merge", fields=fields)


def jsonata(expression: str, **members: Any) -> Reducer:
    """A reducer with one expression for all events."""
    return reducer(kind="jsonata", on={"*": expression}, **members)

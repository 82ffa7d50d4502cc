"""Events that are numbered, so that a test sees at once which of them it has."""

from collections.abc import Sequence

from app.client import Event, NewEvent


def numbered(count: int, first: int = 0) -> list[NewEvent]:
    return [NewEvent("Numbered", {"n": number}) for number in range(first, first + count)]


def numbers(events: Sequence[Event]) -> list[int]:
    return [event.event_data["n"] for event in events]

"""Refuses events whose data or time cannot be meant, before they go to the store."""

from collections.abc import Sequence
from datetime import UTC, datetime

from app.commands.refuse_expanding_numbers import has_exponents, refuse_expanding_numbers
from app.errors import InvalidInput
from app.events import NULL, NewEvent

NOT_AN_OBJECT = "must be a JSON object"

# Both exclusive: the driver takes these two for PostgreSQL's -infinity and infinity.
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def check_events(events: Sequence[NewEvent], place: str) -> None:
    """Raise `InvalidInput` for the first event that `check_event` refuses.

    ``place`` is the JSON path of the append. All events are looked at together first, which takes
    a quarter of the time: nearly always there is nothing to refuse.
    """
    texts = [event.event_data for event in events]
    texts += [event.metadata for event in events if event.metadata is not NULL]
    # A control character, which JSON does not contain, so it stands between two texts only.
    joined = b"\x1f" + b"\x1f".join(texts)
    times = [event.occurred_at for event in events if event.occurred_at is not None]
    if (
        joined.count(b"\x1f{") < len(texts)
        or has_exponents(joined)
        or not all(map(_is_within_bounds, times))
    ):
        for ordinal, event in enumerate(events):
            check_event(event, f"{place}.events[{ordinal}]")


def check_event(event: NewEvent, place: str) -> None:
    """Raise `InvalidInput` if data or time of an event cannot be meant; ``place`` is its path."""
    data, metadata = bytes(event.event_data), bytes(event.metadata)
    if not data.startswith(b"{"):
        raise InvalidInput(f"{place}.event_data", NOT_AN_OBJECT)
    if not metadata.startswith(b"{") and metadata != b"null":
        raise InvalidInput(f"{place}.metadata", NOT_AN_OBJECT)
    if has_exponents(data):
        refuse_expanding_numbers(data, f"{place}.event_data")
    if has_exponents(metadata):
        refuse_expanding_numbers(metadata, f"{place}.metadata")
    if event.occurred_at is not None and not _is_within_bounds(event.occurred_at):
        raise InvalidInput(f"{place}.occurred_at", "must lie in the years 1 to 9999 in UTC")


def _is_within_bounds(time: datetime) -> bool:
    # Most times are nowhere near, and conversion takes as long as all else here.
    if EARLIEST.year < time.year < LATEST.year:
        return True
    try:
        return EARLIEST < time.astimezone(UTC) < LATEST
    except OverflowError:
        return False

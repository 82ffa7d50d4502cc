"""Rows of the events table as the structs that answers are encoded from."""

from collections.abc import Iterable

from asyncpg import Record
from msgspec import Raw

from app.events import NULL, RecordedEvent


def recorded_event(row: Record) -> RecordedEvent:
    """The event in the first eleven columns of ``row``; its JSON stays text."""
    (
        event_id,
        aggregate_type,
        aggregate_id,
        version,
        event_type,
        event_data,
        metadata,
        occurred_at,
        correlation_id,
        causation_id,
        global_position,
    ) = row[:11]
    return RecordedEvent(
        event_id,
        aggregate_type,
        aggregate_id,
        version,
        event_type,
        Raw(event_data),
        NULL if metadata is None else Raw(metadata),
        occurred_at,
        correlation_id,
        causation_id,
        global_position,
    )


def recorded_events(rows: Iterable[Record]) -> list[RecordedEvent]:
    """The events of ``rows``, in their order."""
    return [recorded_event(row) for row in rows]

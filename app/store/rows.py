"""Rows of the events table as the structs that answers are encoded from."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, TypeAlias

from asyncpg import Record
from msgspec import Raw

from app.errors import EventsDetached
from app.events import NULL, RecordedEvent
from app.store.archived_months import attached, detached_months, fetch_with_months, months_of
from app.store.connection import Connection
from app.store.statements import statement

# Of the large events of one page. A page takes this, and 8 KiB for each small one, at most.
LARGE_JSON_BYTES = 8 * 1024 * 1024

Json: TypeAlias = tuple[str, str | None]


def recorded_event(row: Record, json: Json | None = None) -> RecordedEvent:
    """The event in the first eleven columns of ``row``; its JSON stays text.

    ``json``: its event_data and metadata, where these columns are null.
    """
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
    if json is not None:
        event_data, metadata = json
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


async def _large_json(
    connection: Connection, positions: Sequence[int], months: Sequence[date], budget: int
) -> list[Record]:
    """Rows of ``large_json.sql``; that of the first position is among them."""
    sql = statement("large_json")
    found = await fetch_with_months(connection, sql, months, positions, budget)
    if not found or found[0]["global_position"] != positions[0]:
        # It has moved to the archive since the page was read.
        there = await months_of(connection, positions)
        found = await fetch_with_months(connection, sql, attached(there), positions, budget)
        if not found or found[0]["global_position"] != positions[0]:
            raise EventsDetached(detached_months(there))
    return found


class Page(NamedTuple):
    """Events, whether they end early since they grew too large, and what the large ones take."""

    events: list[RecordedEvent]
    ends_early: bool
    large_json_bytes: int


async def complete_page(
    connection: Connection,
    rows: Sequence[Record],
    *,
    months: Sequence[date] = (),
    budget: int = LARGE_JSON_BYTES,
) -> Page:
    """The events of ``rows`` in their order, or the first ones.

    Rows of large events come without their JSON, so that ten thousand of them take little memory.
    It is read here, by one more statement, for as many as ``budget`` (bytes) allows; at least one.
    Events never change, so the later statement tells of the same ones; besides the live events, it
    looks at these ``months`` of the archive.
    """
    large = [row["global_position"] for row in rows if row["event_data"] is None]
    if not large:
        return Page([recorded_event(row) for row in rows], ends_early=False, large_json_bytes=0)
    found = await _large_json(connection, large, months, budget)
    large_json_bytes = sum(row["bytes"] for row in found)
    json_of: dict[int, Json] = {position: (data, metadata) for position, data, metadata, _ in found}
    events = []
    for row in rows:
        if row["event_data"] is not None:
            events.append(recorded_event(row))
        elif row["global_position"] in json_of:
            events.append(recorded_event(row, json_of[row["global_position"]]))
        else:
            return Page(events, True, large_json_bytes)
    return Page(events, False, large_json_bytes)

"""The events table as a service with direct SQL writes it; quick to import, for processes."""

from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

OCCURRED_AT = datetime(2024, 5, 17, 12, 30, tzinfo=UTC)

# All but global_position, which the database fills in.
COLUMNS = (
    "event_id",
    "aggregate_type",
    "aggregate_id",
    "version",
    "event_type",
    "event_data",
    "metadata",
    "occurred_at",
    "correlation_id",
    "causation_id",
)
INSERT = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    metadata, occurred_at, correlation_id, causation_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


def event_row(
    aggregate_id: str, version: int = 1, event_id: UUID | None = None
) -> tuple[object, ...]:
    """An event in the order of `COLUMNS`."""
    row = (event_id or uuid4(), "Order", aggregate_id, version, "OrderPlaced", '{"total": "1.10"}')
    return (*row, None, OCCURRED_AT, None, None)

"""Puts the feed's statement together from the filters that are given."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Dialect, Text, cast, func, select
from sqlalchemy.dialects.postgresql import asyncpg

from app.store.tables import events

_DIALECT: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """Which events of the feed are wanted; what is empty or None does not restrict."""

    aggregate_types: Sequence[str] = ()
    aggregate_id: str | None = None
    event_types: Sequence[str] = ()
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    occurred_from: datetime | None = None
    """Inclusive."""
    occurred_to: datetime | None = None
    """Exclusive, so that consecutive periods share no event."""

    @property
    def is_empty(self) -> bool:
        """Whether every event is wanted."""
        return not _conditions(self)


_COLUMNS = (
    cast(events.c.event_id, Text),
    events.c.aggregate_type,
    events.c.aggregate_id,
    events.c.version,
    events.c.event_type,
    cast(events.c.event_data, Text),
    cast(events.c.metadata, Text),
    func.to_char(func.timezone("UTC", events.c.occurred_at), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"').label(
        "occurred_at"
    ),
    cast(events.c.correlation_id, Text),
    cast(events.c.causation_id, Text),
    events.c.global_position,
)


def feed_statement(
    feed_filter: FeedFilter, *, after: int, up_to: int, limit: int, backward: bool
) -> tuple[str, list[Any]]:
    """The statement for a page of the feed, with ``$n`` parameters for asyncpg, and their values.

    Rows: the columns of `rows.recorded_event`, by rising position from ``after`` (exclusive) to
    ``up_to`` (inclusive); with ``backward`` by falling position below ``after``, from ``up_to``
    on. Zero rows: nothing there matches. Index: idx_events_global_position; where the filter wants
    few of all events, idx_events_type, idx_events_aggregate or idx_events_occurred, which only a
    plan for the given values can tell.
    """
    position = events.c.global_position
    statement = (
        select(*_COLUMNS)
        .where(position <= up_to)
        .where(position < after if backward else position > after)
        .where(*_conditions(feed_filter))
        .order_by(position.desc() if backward else position)
        .limit(limit)
    )
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled), [compiled.params[name] for name in compiled.positiontup or ()]


def _conditions(feed_filter: FeedFilter) -> list[ColumnElement[bool]]:
    conditions = []
    for column, wanted in (
        (events.c.aggregate_type, feed_filter.aggregate_types),
        (events.c.event_type, feed_filter.event_types),
    ):
        if len(wanted) == 1:
            conditions.append(column == wanted[0])
        elif wanted:
            # One parameter whatever the number, so that the prepared statement is the same.
            conditions.append(column == func.any(list(wanted)))
    for column, value in (
        (events.c.aggregate_id, feed_filter.aggregate_id),
        (events.c.correlation_id, feed_filter.correlation_id),
        (events.c.causation_id, feed_filter.causation_id),
    ):
        if value is not None:
            conditions.append(column == value)
    if feed_filter.occurred_from is not None:
        conditions.append(events.c.occurred_at >= feed_filter.occurred_from)
    if feed_filter.occurred_to is not None:
        conditions.append(events.c.occurred_at < feed_filter.occurred_to)
    return conditions

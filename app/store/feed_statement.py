"""Puts the feed's statement together from the filters that are given."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Dialect,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import asyncpg

from app.store.statements import fragment
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
        return not self.values

    @property
    def values(self) -> dict[str, object]:
        """The values that restrict, by the name of their condition."""
        values: dict[str, object] = {}
        for one, several, wanted in (
            ("aggregate_type", "aggregate_types", self.aggregate_types),
            ("event_type", "event_types", self.event_types),
        ):
            if len(wanted) == 1:
                values[one] = wanted[0]
            elif wanted:
                # One parameter whatever the number, so that the statement is the same.
                values[several] = list(wanted)
        for name in (
            "aggregate_id",
            "correlation_id",
            "causation_id",
            "occurred_from",
            "occurred_to",
        ):
            if (value := getattr(self, name)) is not None:
                values[name] = value
        return values


def feed_statement(
    feed_filter: FeedFilter, *, start: int, stop: int, limit: int, backward: bool
) -> tuple[str, list[Any]]:
    """The statement for a page of the feed, with ``$n`` parameters for asyncpg, and their values.

    Rows: the columns of `rows.recorded_event` (event_data null: a large one, see
    `rows.complete_page`), by rising position from ``start`` (exclusive) to ``stop`` (inclusive);
    with ``backward`` by falling position below ``start`` down to ``stop`` (inclusive). Zero rows:
    nothing there matches. Index: idx_events_global_position; where the filter wants few of all
    events, idx_events_type, idx_events_aggregate or idx_events_occurred, which only a plan for the
    given values can tell.
    """
    values = feed_filter.values
    sql, names = _compiled(tuple(values), backward)
    values |= {"start": start, "stop": stop, "limit": limit}
    return sql, [values[name] for name in names]


@cache
def _compiled(conditions: Sequence[str], backward: bool) -> tuple[str, list[str]]:
    """The text for a set of conditions, and the names of its parameters in their order."""
    position = events.c.global_position
    start, stop = (bindparam(name, type_=BigInteger) for name in ("start", "stop"))
    limit = bindparam("limit", type_=BigInteger)
    rows = (
        select(text(fragment("small_event_as_text")))
        .select_from(events)
        .where(position < start if backward else position > start)
        .where(position >= stop if backward else position <= stop)
        .where(*map(_condition, conditions))
        .order_by(position.desc() if backward else position)
        .limit(limit)
        .subquery("event")
    )
    page_position: ColumnElement[int] = literal_column("global_position")
    statement = (
        select(text(fragment("event_if_small")))
        .select_from(rows)
        .order_by(page_position.desc() if backward else page_position)
    )
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled), list(compiled.positiontup or ())


def _condition(name: str) -> ColumnElement[bool]:
    columns = events.c
    match name:
        case "aggregate_types":
            return columns.aggregate_type == func.any(bindparam(name, type_=ARRAY(Text)))
        case "event_types":
            return columns.event_type == func.any(bindparam(name, type_=ARRAY(Text)))
        case "occurred_from":
            return columns.occurred_at >= bindparam(name)
        case "occurred_to":
            return columns.occurred_at < bindparam(name)
        case _:
            return columns[name] == bindparam(name)

"""Puts the feed's statement together from the filters that are given."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import asyncpg

from app.events import RecordedEvent
from app.store.statements import fragment, with_months
from app.store.tables import archive_months, archive_state, events

_TIME_LENGTH = len("2026-11-23T10:15:00.000000Z")
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

    def lets_through(self, event: RecordedEvent) -> bool:
        """Whether an event is wanted, by the same rules as in the database.

        Raises:
            ValueError: The event's time is not one of the years 1 to 9999, so that the text of it
                cannot be compared; only a direct SQL writer stores such a one.
        """
        return (
            (not self.aggregate_types or event.aggregate_type in self.aggregate_types)
            and (self.aggregate_id is None or event.aggregate_id == self.aggregate_id)
            and (not self.event_types or event.event_type in self.event_types)
            and _is_equal(self.correlation_id, event.correlation_id)
            and _is_equal(self.causation_id, event.causation_id)
            and (self.occurred_from is None or _time(event) >= _as_text(self.occurred_from))
            and (self.occurred_to is None or _time(event) < _as_text(self.occurred_to))
        )

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


def _is_equal(wanted: UUID | None, found: str | None) -> bool:
    return wanted is None or found == str(wanted)


def _time(event: RecordedEvent) -> str:
    # Null stands for infinity; a year of five digits makes it longer.
    if len(event.occurred_at or "") != _TIME_LENGTH:
        raise ValueError(f"{event.occurred_at!r} cannot be compared")
    return event.occurred_at


def _as_text(time: datetime) -> str:
    """A time in UTC as events carry it; such texts sort like their times."""
    return f"{time.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def feed_statement(
    feed_filter: FeedFilter,
    *,
    start: int,
    stop: int,
    limit: int,
    backward: bool,
    months: Sequence[date] = (),
) -> tuple[str, list[Any]]:
    """The statement for a page of the feed, with ``$n`` parameters for asyncpg, and their values.

    Rows: the columns of `rows.recorded_event` (event_data null: a large one, see
    `rows.complete_page`), by rising position from ``start`` (exclusive) to ``stop`` (inclusive);
    with ``backward`` by falling position below ``start`` down to ``stop`` (inclusive). Zero rows:
    nothing there matches. Index: idx_events_global_position; where the filter wants few of all
    events, idx_events_type, idx_events_aggregate or idx_events_occurred, which only a plan for the
    given values can tell.

    Of the live events, and of these ``months`` of the archive. A last column, ``archived_months``,
    has the months in which others of these positions may be at that moment; null: there are none.
    """
    values = feed_filter.values
    sql, names = _compiled(tuple(values), backward)
    values |= {"start": start, "stop": stop, "limit": limit}
    return with_months(sql, months), [values[name] for name in names]


@cache
def _compiled(conditions: Sequence[str], backward: bool) -> tuple[str, list[str]]:
    """The text for a set of conditions, and the names of its parameters in their order."""
    position = events.c.global_position
    start, stop = (bindparam(name, type_=BigInteger) for name in ("start", "stop"))
    limit = bindparam("limit", type_=BigInteger)
    rows = (
        select(text(fragment("small_event_as_text")))
        .select_from(events)
        .with_hint(events, "ONLY", "postgresql")
        .where(position < start if backward else position > start)
        .where(position >= stop if backward else position <= stop)
        .where(*map(_condition, conditions))
        .order_by(position.desc() if backward else position)
        .limit(limit)
        .subquery("event")
    )
    page_position: ColumnElement[int] = literal_column("global_position")
    statement = (
        select(text(fragment("event_if_small")), _archived_months(start, stop, backward))
        .select_from(rows)
        .order_by(page_position.desc() if backward else page_position)
    )
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled), list(compiled.positiontup or ())


def _archived_months(
    start: BindParameter[int], stop: BindParameter[int], backward: bool
) -> ColumnElement[Any]:
    months, state = archive_months.c, archive_state.c
    if backward:
        is_there = and_(months.max_position >= stop, months.min_position < start)
        is_near = state.position >= stop
    else:
        is_there = and_(months.max_position > start, months.min_position <= stop)
        is_near = state.position > start
    there = select(func.array_agg(months.month)).where(is_there).scalar_subquery()
    # Nearly always nothing has moved that is so new, and the months are not looked at.
    return select(case((is_near, there))).scalar_subquery().label("archived_months")


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

"""Runs the one statement that inserts events: for the appends of a batch, or a single one."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

import asyncpg

from app.events import NULL, Append, Appended, AppendedEvent, NewEvent
from app.store.connection import Connection
from app.store.statements import statement

# Taken by somebody else at the same moment: an event's id, the aggregate's next version, or (by
# an INSERT with OVERRIDING SYSTEM VALUE) the next position.
REFUSING_CONSTRAINTS = frozenset(
    {"events_pkey", "idx_events_aggregate", "idx_events_global_position"}
)


async def insert_appends(
    connection: Connection, appends: Sequence[Append], lock_timeout: str
) -> list[Appended | None]:
    """Insert the events of each append that is accepted; None for each that is refused.

    One statement, atomic by itself. An aggregate may be named more than once only by appends that
    take every version and have new ids.

    Raises:
        asyncpg.PostgresError: Nothing is inserted.
    """
    row = await connection.fetchrow(
        statement("append_events"), *parameters_of(appends), lock_timeout
    )
    assert row is not None
    versions, snapshot_versions, positions = row
    outcomes: list[Appended | None] = []
    stored = 0
    for append, version, snapshot_version in zip(appends, versions, snapshot_versions, strict=True):
        if version is None:
            outcomes.append(None)
            continue
        count = len(append.events)
        outcomes.append(
            Appended(
                list(
                    map(
                        AppendedEvent,
                        append.event_ids,
                        range(version + 1, version + 1 + count),
                        positions[stored : stored + count],
                    )
                ),
                snapshot_version,
            )
        )
        stored += count
    return outcomes


def is_refusal(error: BaseException) -> bool:
    """Whether an error tells that another transaction took a version or an id at the same time."""
    return (
        isinstance(error, asyncpg.UniqueViolationError)
        and error.constraint_name in REFUSING_CONSTRAINTS
    )


def content(events: Sequence[NewEvent]) -> tuple[list[str], list[str], list[str | None]]:
    """Types, data and metadata of events, as parameters."""
    return (
        [event.event_type for event in events],
        [str(event.event_data, "utf-8") for event in events],
        [None if event.metadata == NULL else str(event.metadata, "utf-8") for event in events],
    )


def parameters_of(appends: Sequence[Append]) -> tuple[Any, ...]:
    """The parameters of ``append_events.sql`` without the last, the lock timeout."""
    events = [event for append in appends for event in append.events]
    known = [
        (event_id, number)
        for number, append in enumerate(appends, 1)
        if not append.has_new_ids
        for event_id in append.event_ids
    ]
    event_types, event_data, metadata = content(events)
    return (
        [append.aggregate_type for append in appends],
        [append.aggregate_id for append in appends],
        [append.expectation.version for append in appends],
        [append.expectation.must_exist for append in appends],
        _preceding(appends),
        [append.occurred_at for append in appends],
        list(
            chain.from_iterable(
                repeat(number, len(append.events)) for number, append in enumerate(appends, 1)
            )
        ),
        list(chain.from_iterable(range(1, len(append.events) + 1) for append in appends)),
        list(chain.from_iterable(append.event_ids for append in appends)),
        event_types,
        event_data,
        _unless_all_null(metadata),
        _unless_all_null([event.occurred_at for event in events]),
        _unless_all_null(
            [
                event.correlation_id or append.correlation_id
                for append in appends
                for event in append.events
            ]
        ),
        _unless_all_null(
            [
                event.causation_id or append.causation_id
                for append in appends
                for event in append.events
            ]
        ),
        [event_id for event_id, _ in known],
        [number for _, number in known],
    )


def _preceding(appends: Sequence[Append]) -> list[int]:
    """How many events earlier appends add to each one's aggregate; empty if none does."""
    if len({append.aggregate for append in appends}) == len(appends):
        return []
    added: Counter[tuple[str, str]] = Counter()
    preceding = []
    for append in appends:
        preceding.append(added[append.aggregate])
        added[append.aggregate] += len(append.events)
    return preceding


def _unless_all_null(values: list[Any]) -> list[Any]:
    """The values, or none of them: the statement takes missing ones for null."""
    return values if any(value is not None for value in values) else []

"""Runs the statements that insert events: of one append, or of those of a batch.

Of each there are two: one for appends of a single event, as nearly all are, and one for any.
"""

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

import asyncpg
from msgspec import Raw

from app.events import NULL, Append, Appended, AppendedEvent, NewEvent
from app.store.array_text import texts_array, times_array, values_array
from app.store.connection import Connection
from app.store.statements import statement

# Taken by somebody else at the same moment: an event's id, the aggregate's next version, or (by
# an INSERT with OVERRIDING SYSTEM VALUE) the next position.
REFUSING_CONSTRAINTS = frozenset(
    {"events_pkey", "idx_events_aggregate", "idx_events_global_position"}
)
# A control character, which JSON contains neither within strings nor between (RFC 8259, section 7);
# the decoder of requests refuses a text that does.
SEPARATOR = b"\x1f"


async def insert_append(
    connection: Connection, append: Append, lock_timeout: str
) -> Appended | None:
    """Insert the events of an append; None where it is refused.

    One statement, atomic by itself.

    Raises:
        asyncpg.PostgresError: Nothing is inserted; `is_refusal` tells a refusal.
    """
    if len(append.events) == 1:
        return await _insert_event(connection, append, lock_timeout)
    rows = await connection.fetch(
        statement("append_events"), *append_parameters(append), lock_timeout
    )
    if not rows:
        return None
    version, _, snapshot_version = rows[0]
    positions = [row["global_position"] for row in rows]
    return _appended(append, version, positions, snapshot_version or 0)


async def insert_batch(
    connection: Connection, appends: Sequence[Append], lock_timeout: str
) -> list[Appended | None]:
    """Insert the events of each append that is accepted; None for each that is refused.

    One statement, atomic by itself. An aggregate may be named more than once by appends that take
    every version; they follow each other in their order.

    Raises:
        asyncpg.PostgresError: Nothing is inserted.
    """
    if _are_single_and_unlike(appends):
        return await _insert_event_each(connection, appends, lock_timeout)
    row = await connection.fetchrow(
        statement("append_batch"), *batch_parameters(appends), lock_timeout
    )
    assert row is not None
    versions, snapshot_versions, positions = row
    outcomes: list[Appended | None] = []
    stored = 0
    for append, version, snapshot_version in zip(appends, versions, snapshot_versions, strict=True):
        if version is None:
            outcomes.append(None)
            continue
        following = stored + len(append.events)
        outcomes.append(
            _appended(append, version + 1, positions[stored:following], snapshot_version)
        )
        stored = following
    return outcomes


def _are_single_and_unlike(appends: Sequence[Append]) -> bool:
    """Whether each is of one event, and neither an aggregate nor an id is in two of them.

    ``append_event_each.sql`` tells its rows apart by the ids only: one that is refused would be
    answered with the row of another one that has its id.
    """
    client_ids = [append.event_ids[0] for append in appends if not append.has_new_ids]
    return (
        all(len(append.events) == 1 for append in appends)
        and len({append.aggregate for append in appends}) == len(appends)
        and len(set(client_ids)) == len(client_ids)
    )


async def _insert_event(
    connection: Connection, append: Append, lock_timeout: str
) -> Appended | None:
    row = await connection.fetchrow(
        statement("append_event"), *event_parameters(append), lock_timeout
    )
    if row is None:
        return None
    version, position, snapshot_version = row
    return Appended([AppendedEvent(append.event_ids[0], version, position)], snapshot_version or 0)


async def _insert_event_each(
    connection: Connection, appends: Sequence[Append], lock_timeout: str
) -> list[Appended | None]:
    rows = await connection.fetch(
        statement("append_event_each"), *event_each_parameters(appends), lock_timeout
    )
    outcomes = {
        event_id: Appended([AppendedEvent(event_id, version, position)], snapshot_version or 0)
        for event_id, version, position, snapshot_version in rows
    }
    return [outcomes.get(append.event_ids[0]) for append in appends]


def _appended(
    append: Append, first_version: int, positions: Sequence[int], snapshot_version: int
) -> Appended:
    versions = range(first_version, first_version + len(positions))
    return Appended(
        list(map(AppendedEvent, append.event_ids, versions, positions)), snapshot_version
    )


def is_refusal(error: BaseException) -> bool:
    """Whether an error tells that another transaction took a version or an id at the same time."""
    return (
        isinstance(error, asyncpg.UniqueViolationError)
        and error.constraint_name in REFUSING_CONSTRAINTS
    )


def event_parameters(append: Append) -> tuple[Any, ...]:
    """The parameters of ``append_event.sql`` without the last, the lock timeout."""
    [event] = append.events
    return (
        append.aggregate_type,
        append.aggregate_id,
        append.expectation.version,
        append.expectation.must_exist,
        append.event_ids[0],
        event.event_type,
        str(event.event_data, "utf-8"),
        None if event.metadata == NULL else str(event.metadata, "utf-8"),
        event.occurred_at or append.occurred_at,
        event.correlation_id or append.correlation_id,
        event.causation_id or append.causation_id,
    )


def event_each_parameters(appends: Sequence[Append]) -> tuple[Any, ...]:
    """The parameters of ``append_event_each.sql`` without the last, the lock timeout."""
    events = [append.events[0] for append in appends]
    any_must_exist = any(append.expectation.must_exist for append in appends)
    return (
        texts_array([append.aggregate_type for append in appends]),
        texts_array([append.aggregate_id for append in appends]),
        values_array([append.expectation.version for append in appends]),
        [append.expectation.must_exist for append in appends] if any_must_exist else None,
        values_array([append.event_ids[0] for append in appends]),
        values_array([None if append.has_new_ids else append.event_ids[0] for append in appends]),
        texts_array([event.event_type for event in events]),
        _joined([event.event_data for event in events]),
        _joined([event.metadata for event in events]),
        times_array(
            [
                event.occurred_at or append.occurred_at
                for event, append in zip(events, appends, strict=True)
            ]
        ),
        *_related_ids(events, appends),
    )


def append_parameters(append: Append) -> tuple[Any, ...]:
    """The parameters of ``append_events.sql`` without the last, the lock timeout."""
    events = append.events
    return (
        append.aggregate_type,
        append.aggregate_id,
        append.expectation.version,
        append.expectation.must_exist,
        values_array(append.event_ids),
        texts_array([event.event_type for event in events]),
        _joined([event.event_data for event in events]),
        _joined([event.metadata for event in events]),
        times_array([event.occurred_at for event in events]),
        *_related_ids(events, [append] * len(events)),
        append.occurred_at,
    )


def batch_parameters(appends: Sequence[Append]) -> tuple[Any, ...]:
    """The parameters of ``append_batch.sql`` without the last, the lock timeout."""
    events = [event for append in appends for event in append.events]
    counts = [len(append.events) for append in appends]
    numbers = list(chain.from_iterable(map(repeat, range(1, len(appends) + 1), counts)))
    known = [
        (event_id, number)
        for number, append in enumerate(appends, 1)
        if not append.has_new_ids
        for event_id in append.event_ids
    ]
    return (
        [append.aggregate_type for append in appends],
        [append.aggregate_id for append in appends],
        [append.expectation.version for append in appends],
        [append.expectation.must_exist for append in appends],
        counts,
        [append.occurred_at for append in appends],
        numbers,
        list(chain.from_iterable(range(1, count + 1) for count in counts)),
        values_array(list(chain.from_iterable(append.event_ids for append in appends))),
        texts_array([event.event_type for event in events]),
        _joined([event.event_data for event in events]),
        _joined([event.metadata for event in events]),
        times_array([event.occurred_at for event in events]),
        *_related_ids(events, [appends[number - 1] for number in numbers]),
        [event_id for event_id, _ in known] or None,
        [number for _, number in known] or None,
    )


def _joined(texts: Sequence[Raw]) -> str:
    """JSON texts as one.

    The driver takes as long for an array of texts as for all else of a large append: it looks at
    each element whether it is an array, too.
    """
    joined = SEPARATOR.join(texts)
    assert joined.count(SEPARATOR) == len(texts) - 1, "an event would get the text of another one"
    return str(joined, "utf-8")


def _related_ids(
    events: Sequence[NewEvent], appends: Sequence[Append]
) -> tuple[str | None, str | None]:
    """correlation_id and causation_id of each event, which is one of the append beside it."""
    pairs = list(zip(events, appends, strict=True))
    correlation_ids = [event.correlation_id or append.correlation_id for event, append in pairs]
    causation_ids = [event.causation_id or append.causation_id for event, append in pairs]
    return values_array(correlation_ids), values_array(causation_ids)

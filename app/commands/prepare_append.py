"""Completes and checks an append before it goes to the store."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID, uuid5

from app.commands.check_event import check_events
from app.errors import InvalidInput
from app.events import Append, Expectation, NewEvent
from app.store.event_ids import new_event_id

# The namespace of event ids that are derived from an Idempotency-Key. It must never change: a
# retry is recognised by deriving the same ids again.
IDEMPOTENCY_NAMESPACE = UUID("4c8b1d0e-5b0f-5a55-9c3e-0f6b2a1c7d44")


def prepare_append(
    aggregate_type: str,
    aggregate_id: str,
    expectation: Expectation,
    events: Sequence[NewEvent],
    *,
    now: datetime,
    correlation_id: UUID | None = None,
    causation_id: UUID | None = None,
    idempotency_key: str | None = None,
    first_ordinal: int = 0,
    place: str = "$",
) -> Append:
    """Give every event the id, time and ids of correlation under which it will be stored.

    An event without an id gets one that is derived from aggregate, ``idempotency_key`` and its
    ordinal in the request (``first_ordinal`` and up), or, without a key, a UUIDv7 (RFC 9562), so
    that new ids fall together at one end of the primary key's index.

    Raises:
        InvalidInput: No events, an id twice, data that is no object, or a time beyond years
            1 to 9999 in UTC; ``place`` is the JSON path of the append.
    """
    if not events:
        raise InvalidInput(f"{place}.events", "an append has at least one event")

    check_events(events, place)
    following_event_id = None
    has_new_ids = idempotency_key is None and all(event.event_id is None for event in events)
    if has_new_ids:
        event_ids = [new_event_id() for _ in events]
    else:
        derive = partial(
            _derived_id, aggregate_type, aggregate_id, idempotency_key, first_ordinal=first_ordinal
        )
        if idempotency_key is not None:
            following_event_id = derive(len(events))
        event_ids = [
            event.event_id or (new_event_id() if idempotency_key is None else derive(ordinal))
            for ordinal, event in enumerate(events)
        ]
        _refuse_repeated_ids(
            [(event_id, f"{place}.events[{n}].event_id") for n, event_id in enumerate(event_ids)]
        )
    return Append(
        aggregate_type=aggregate_type,
        aggregate_id=aggregate_id,
        expectation=expectation,
        events=events,
        event_ids=event_ids,
        following_event_id=following_event_id,
        occurred_at=now,
        correlation_id=correlation_id,
        causation_id=causation_id,
        has_new_ids=has_new_ids,
    )


def _derived_id(
    aggregate_type: str,
    aggregate_id: str,
    idempotency_key: str | None,
    ordinal: int,
    *,
    first_ordinal: int,
) -> UUID:
    name = json.dumps([aggregate_type, aggregate_id, idempotency_key, first_ordinal + ordinal])
    return uuid5(IDEMPOTENCY_NAMESPACE, name)


def refuse_too_many_events(count: int, max_events: int, place: str) -> None:
    """Raise `InvalidInput` if one request has more than ``max_events`` events."""
    if count > max_events:
        raise InvalidInput(place, f"{count} events in one request are more than {max_events}")


def refuse_ids_of_two_appends(appends: Sequence[Append]) -> None:
    """Raise `InvalidInput` if two appends of a transaction share an event id."""
    places = [
        (event_id, f"$.appends[{index}].events[{ordinal}].event_id")
        for index, append in enumerate(appends)
        for ordinal, event_id in enumerate(append.event_ids)
    ]
    _refuse_repeated_ids(places)


def _refuse_repeated_ids(places: Sequence[tuple[UUID, str]]) -> None:
    seen = set()
    for event_id, place in places:
        if event_id in seen:
            raise InvalidInput(place, f"{event_id} occurs twice in the request")
        seen.add(event_id)

"""The operations of the service, one function each: what `EventStoreClient` documents, as data."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict
from uuid import UUID

from app.client.answers import (
    Aggregate,
    Appended,
    EventPage,
    FeedPage,
    FeedStatus,
    Position,
    Snapshot,
    State,
    Transaction,
)
from app.client.codec import Codec, encode
from app.client.errors import (
    EventStoreError,
    PositionConflict,
    ProjectionNotFound,
    SnapshotNotFound,
)
from app.client.events import Append, Event, NewEvent
from app.client.operation import Answer, Operation, Params, answered, nothing

Direction = Literal["forward", "backward"]


class FeedFilter(TypedDict, total=False):
    """What narrows the feed; what is not given narrows nothing."""

    aggregate_type: str | Sequence[str]
    event_type: str | Sequence[str]
    aggregate_id: str
    correlation_id: UUID
    causation_id: UUID
    occurred_from: datetime
    occurred_to: datetime


def _given(**params: object) -> Params:
    """Query parameters; None is none."""
    return {name: _text(value) for name, value in params.items() if value is not None}


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return value if isinstance(value, str | int | float) else list(value)


def _headers(correlation_id: UUID | None, causation_id: UUID | None) -> dict[str, str]:
    given = {"X-Correlation-ID": correlation_id, "X-Causation-ID": causation_id}
    return {name: str(value) for name, value in given.items() if value is not None}


def _aggregate(aggregate_type: str, aggregate_id: str, *more: str) -> tuple[str, ...]:
    return "v1", "aggregates", aggregate_type, aggregate_id, *more


def feed_params(feed_filter: FeedFilter, **more: object) -> Params:
    """The query parameters of the feed."""
    return _given(**feed_filter, **more)


def append(
    aggregate_type: str,
    aggregate_id: str,
    events: Iterable[NewEvent],
    expected_version: int | None,
    correlation_id: UUID | None,
    causation_id: UUID | None,
    *,
    include_conflicting_events: bool,
) -> Operation[Appended]:
    """Append events to an aggregate."""
    return Operation(
        "POST",
        _aggregate(aggregate_type, aggregate_id, "events"),
        answered(Appended),
        params={"include": "conflicting_events"} if include_conflicting_events else {},
        headers=_headers(correlation_id, causation_id),
        content=encode({"expected_version": expected_version, "events": list(events)}),
    )


def append_transaction(
    appends: Iterable[Append],
    correlation_id: UUID | None,
    causation_id: UUID | None,
    *,
    include_conflicting_events: bool,
) -> Operation[Sequence[Appended]]:
    """Append to several aggregates, all or nothing."""

    def read(codec: Codec, answer: Answer) -> Sequence[Appended]:
        return codec.decode(answer.body, Transaction).appends

    return Operation(
        "POST",
        ("v1", "transactions"),
        read,
        params={"include": "conflicting_events"} if include_conflicting_events else {},
        headers=_headers(correlation_id, causation_id),
        content=encode({"appends": list(appends)}),
    )


def load(
    aggregate_type: str,
    aggregate_id: str,
    at_version: int | None = None,
    as_of: datetime | None = None,
    *,
    snapshot: bool = True,
) -> Operation[Aggregate]:
    """Load an aggregate."""
    return Operation(
        "GET",
        _aggregate(aggregate_type, aggregate_id),
        answered(Aggregate),
        params=_given(at_version=at_version, as_of=as_of, snapshot=snapshot),
    )


def get_state(
    aggregate_type: str,
    aggregate_id: str,
    at_version: int | None = None,
    as_of: datetime | None = None,
) -> Operation[State]:
    """Read the state that the store makes of an aggregate."""
    return Operation(
        "GET",
        _aggregate(aggregate_type, aggregate_id, "state"),
        answered(State),
        params=_given(at_version=at_version, as_of=as_of),
    )


def read_events(
    aggregate_type: str,
    aggregate_id: str,
    from_version: int | None,
    to_version: int | None,
    limit: int,
    direction: Direction,
) -> Operation[EventPage]:
    """Read a page of an aggregate's events."""
    return Operation(
        "GET",
        _aggregate(aggregate_type, aggregate_id, "events"),
        answered(EventPage),
        params=_given(
            from_version=from_version, to_version=to_version, limit=limit, direction=direction
        ),
    )


def read_feed(
    after: int | None,
    limit: int,
    direction: Direction,
    wait_s: float,
    store_id: UUID | None,
    feed_filter: FeedFilter,
) -> Operation[FeedPage]:
    """Read a page of the feed."""
    return Operation(
        "GET",
        ("v1", "events"),
        answered(FeedPage),
        params=feed_params(
            feed_filter,
            after=after,
            limit=limit,
            direction=direction,
            wait=wait_s or None,
            store_id=store_id,
        ),
        wait_s=wait_s,
    )


def get_event(event_id: UUID) -> Operation[Event]:
    """Read one event."""
    return Operation("GET", ("v1", "events", str(event_id)), answered(Event))


def save_snapshot(
    aggregate_type: str, aggregate_id: str, version: int, state: object
) -> Operation[None]:
    """Save a snapshot."""
    return Operation(
        "PUT",
        _aggregate(aggregate_type, aggregate_id, "snapshot"),
        nothing,
        content=encode({"version": version, "state": state}),
    )


def get_snapshot(aggregate_type: str, aggregate_id: str) -> Operation[Snapshot]:
    """Read a snapshot."""
    path = _aggregate(aggregate_type, aggregate_id, "snapshot")
    return Operation("GET", path, answered(Snapshot))


def delete_snapshot(aggregate_type: str, aggregate_id: str) -> Operation[None]:
    """Delete a snapshot."""
    return Operation(
        "DELETE",
        _aggregate(aggregate_type, aggregate_id, "snapshot"),
        nothing,
        is_done=lambda error: isinstance(error, SnapshotNotFound),
    )


def save_position(
    projection_name: str,
    position: int,
    expected_position: int | None,
    store_id: UUID | None,
    *,
    reset: bool = False,
) -> Operation[None]:
    """Save a projection's position."""
    body: dict[str, object] = {"last_processed_position": position}
    if expected_position is not None:
        body["expected_position"] = expected_position
    if store_id is not None:
        body["store_id"] = store_id
    if reset:
        body["reset"] = True

    def is_done(error: EventStoreError) -> bool:
        return isinstance(error, PositionConflict) and error.last_processed_position == position

    return Operation(
        "PUT", _position(projection_name), nothing, content=encode(body), is_done=is_done
    )


def get_position(
    projection_name: str, wait_for: int | None = None, wait_s: float = 0.0
) -> Operation[Position]:
    """Read a projection's position, or wait until it has reached one."""
    if wait_for is None:
        return Operation("GET", _position(projection_name), answered(Position))
    return Operation(
        "GET",
        _position(projection_name),
        answered(Position),
        params={"wait_for": wait_for, "timeout": wait_s},
        wait_s=wait_s,
    )


def delete_position(projection_name: str) -> Operation[None]:
    """Forget a projection."""
    return Operation(
        "DELETE",
        _position(projection_name),
        nothing,
        is_done=lambda error: isinstance(error, ProjectionNotFound),
    )


def feed_status() -> Operation[FeedStatus]:
    """Read how far the feed goes, and what holds it back."""
    return Operation("GET", ("v1", "feed", "status"), answered(FeedStatus))


def _position(projection_name: str) -> tuple[str, ...]:
    return "v1", "projections", projection_name, "position"

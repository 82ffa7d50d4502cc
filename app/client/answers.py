"""What the service answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from app.client.events import Event

S = TypeVar("S")


class AppendedEvent(msgspec.Struct, frozen=True):
    """Where an event is stored."""

    event_id: UUID
    version: int
    global_position: int


class Appended(msgspec.Struct, frozen=True):
    """Where the events of an append are stored; ``version`` is that of the last of them.

    ``events_since_snapshot``: how many events the aggregate has beyond its snapshot; None: an older
    service does not tell.
    """

    aggregate_type: str
    aggregate_id: str
    version: int
    events: Sequence[AppendedEvent]
    snapshot_due: bool
    events_since_snapshot: int | None = None


class Transaction(msgspec.Struct, frozen=True):
    """Where the events of each append of a transaction are stored."""

    appends: Sequence[Appended]


class Snapshot(msgspec.Struct, frozen=True):
    """The state of an aggregate at a version, as a service has folded it."""

    version: int
    state: Any
    created_at: datetime


class Aggregate(msgspec.Struct, frozen=True):
    """An aggregate: its snapshot, if there is one, and the events after it.

    ``version`` 0: it has no events yet; only `load_decide_append` hands out such a one.
    """

    aggregate_type: str
    aggregate_id: str
    version: int
    snapshot: Snapshot | None
    events: Sequence[Event]


class State(msgspec.Struct, frozen=True):
    """What the reducer of the aggregate's type makes of its events up to ``version``.

    ``from_snapshot``: the version of the snapshot that it was folded from; None: from event 1.
    """

    aggregate_type: str
    aggregate_id: str
    version: int
    state: Any
    from_snapshot: int | None


class FoldedAggregate(Aggregate, Generic[S], frozen=True):
    """An aggregate and the ``state`` that its snapshot and events were folded to.

    ``snapshot`` None: there is none, or it was none of this fold's; then ``events`` are all events.
    """

    state: S


class EventPage(msgspec.Struct, frozen=True):
    """A page of an aggregate's events; ``next_from_version`` None: it is the last page."""

    aggregate_type: str
    aggregate_id: str
    version: int
    events: Sequence[Event]
    next_from_version: int | None


class FeedPage(msgspec.Struct, frozen=True):
    """A page of the feed; ``next_after`` is the position to store and to read on from."""

    events: Sequence[Event]
    next_after: int
    safe_position: int
    up_to_date: bool
    store_id: UUID


class Checkpoint(msgspec.Struct, frozen=True):
    """A subscription has passed all events up to ``safe_position``, which may be stored."""

    safe_position: int
    store_id: UUID


class Position(msgspec.Struct, frozen=True):
    """How far a projection has come, and how far it is behind."""

    projection_name: str
    last_processed_position: int
    last_processed_at: datetime
    safe_position: int
    lag_positions: int
    lag_seconds: float


class InFlightTransaction(msgspec.Struct, frozen=True):
    """The transaction that holds the feed back, by what PostgreSQL tells of it."""

    mark: int
    pid: int | None
    application_name: str | None
    user_name: str | None
    client_address: str | None
    state: str | None
    transaction_started_at: datetime | None
    state_changed_at: datetime | None
    age_seconds: float | None


class FeedStatus(msgspec.Struct, frozen=True):
    """The end of the feed: ``last_position`` is handed out, ``safe_position`` can be read.

    ``subscribers`` are those of the process that has answered.
    """

    store_id: UUID
    last_position: int
    safe_position: int
    lag_positions: int
    oldest_in_flight: InFlightTransaction | None
    subscribers: int

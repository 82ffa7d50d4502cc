"""What can go wrong for a client, as exceptions that carry what the service has told.

EventStoreError
├── Refused                      the service has answered, and repeating would not help
│   ├── InvalidInput             what is wrong, and where: ``errors``
│   │   ├── UnstorableValue      PostgreSQL cannot hold a value
│   │   ├── SnapshotBeyondAggregate
│   │   └── PositionBeyondSafePosition
│   ├── NotFound
│   │   ├── AggregateNotFound
│   │   ├── VersionNotFound
│   │   ├── EventNotFound
│   │   ├── SnapshotNotFound
│   │   ├── PolicyNotFound       the aggregate type has no snapshot policy of its own
│   │   ├── ReducerNotFound      the aggregate type has no reducer that makes states
│   │   └── ProjectionNotFound
│   ├── Conflict                 the store's state refuses it; nothing was stored
│   │   ├── VersionConflict      the aggregate is not at the expected version
│   │   ├── EventIdConflict      the ids are taken by other events
│   │   ├── SnapshotConflict     a newer snapshot is stored
│   │   ├── SnapshotManaged      the store itself makes the snapshots of this type
│   │   ├── PositionConflict     another runner has saved a position
│   │   └── StoreChanged         the positions are those of another store
│   ├── EventsDetached           the events are in months that are detached from the archive
│   ├── FoldFailed               the type's reducer fails on an event
│   └── PositionNotReached       the projection has not come so far in time
├── Unavailable                  worth repeating later; raised when the client has given up
│   ├── Unreachable              no connection could be made: nothing was sent
│   ├── ConnectionLost           it broke before the answer: nobody knows what was done
│   ├── TooManySubscribers
│   └── OutcomeUnknown           it broke behind the service, while the database was committing
└── BadAnswer                    what answers is no event store, or tells what cannot be read
"""

from collections.abc import Sequence
from typing import Self
from uuid import UUID

import msgspec

from app.client.events import Event


class EventStoreError(Exception):
    """The root of every error that this package raises by itself.

    ``status`` is that of the answer, None where there is none; ``kind`` the last segment of the
    problem's type, such as ``version-conflict``, or empty. Of an import, ``line`` is the first that
    is not stored, counted from 1; ``stored`` and ``already_there`` count events before it.
    """

    status: int | None = None
    kind: str = ""
    title: str = ""
    detail: str | None = None
    line: int | None = None
    stored: int = 0
    already_there: int = 0


class Refused(EventStoreError):
    """The service has answered, and the answer is no."""

    status: int


class InputError(msgspec.Struct, frozen=True):
    """What is wrong, and where: a JSON path in the body, or the name of a parameter."""

    place: str
    reason: str


class InvalidInput(Refused):
    """The request cannot be meant, or not be stored."""

    errors: Sequence[InputError] = ()


class UnstorableValue(InvalidInput):
    """A well-formed value that PostgreSQL cannot hold."""


class SnapshotBeyondAggregate(InvalidInput):
    """A snapshot's version is greater than its aggregate's."""

    aggregate_version: int


class PositionBeyondSafePosition(InvalidInput):
    """A position that no reader can have reached."""

    safe_position: int


class NotFound(Refused):
    """What was asked for does not exist."""


class AggregateNotFound(NotFound):
    """The aggregate has no events."""

    aggregate_type: str
    aggregate_id: str


class VersionNotFound(NotFound):
    """The aggregate exists, but not at the version or time asked for; ``version`` is its own."""

    aggregate_type: str
    aggregate_id: str
    version: int


class EventNotFound(NotFound):
    """No event has this id."""

    event_id: UUID


class SnapshotNotFound(NotFound):
    """The aggregate has no snapshot."""

    aggregate_type: str
    aggregate_id: str


class PolicyNotFound(NotFound):
    """The aggregate type has no snapshot policy: snapshots are due after ``default_every``."""

    aggregate_type: str
    default_every: int


class ReducerNotFound(NotFound):
    """The store makes no states of this aggregate type: its policy has no reducer."""

    aggregate_type: str


class ProjectionNotFound(NotFound):
    """No position was saved under this projection's name."""

    projection_name: str


class Conflict(Refused):
    """The request is refused by the state of the store; nothing was stored."""


class VersionConflict(Conflict):
    """The aggregate is not at the expected version.

    ``append_index``: which append of a transaction it is, from 0. ``conflicting_events``: the first
    events after the expected version, where they were asked for.
    """

    aggregate_type: str
    aggregate_id: str
    expected_version: int | None
    actual_version: int
    append_index: int | None = None
    conflicting_events: Sequence[Event] | None = None


class EventIdConflict(Conflict):
    """``event_ids`` are taken, and this is no repetition of the append that took them."""

    event_ids: Sequence[UUID] = ()


class SnapshotConflict(Conflict):
    """A newer snapshot is stored."""

    stored_version: int


class SnapshotManaged(Conflict):
    """The store itself makes the snapshots of this aggregate type, by the reducer of its policy."""

    aggregate_type: str


class PositionConflict(Conflict):
    """The stored position (None: none is) forbids the one to be saved."""

    last_processed_position: int | None


class StoreChanged(Conflict):
    """Positions of another store: this one was restored or rebuilt. Read models begin anew.

    ``expected_store_id`` None: the position alone has told.
    """

    store_id: UUID
    expected_store_id: UUID | None = None


class EventsDetached(Refused):
    """The answer needs events of months that are detached from the archive.

    ``months``, such as ``2024-03``. ``resume_after``: the position behind which the feed goes on
    without them; None: it is not about the feed.
    """

    months: Sequence[str]
    resume_after: int | None = None


class FoldFailed(Refused):
    """The reducer of an aggregate type fails on an event, or goes beyond its bounds there."""

    aggregate_type: str
    aggregate_id: str
    version: int
    event_id: UUID
    event_type: str
    reason: str


class PositionNotReached(Refused):
    """The projection was at ``last_processed_position`` (None: nowhere) when the wait was over."""

    last_processed_position: int | None
    wait_for: int


class Unavailable(EventStoreError):
    """No answer, or only "not now", for as long as the client was to try."""

    retry_after_s: float = 0.0

    def given_up(self, after_s: float) -> Self:
        """The same error, which tells for how long it was tried again."""
        self.args = (f"gave up after {after_s:.0f} s: {self}",)
        return self


class Unreachable(Unavailable):
    """No connection could be made: nothing was sent."""


class ConnectionLost(Unavailable):
    """The connection broke before the answer was there: what was sent may have been done."""


class TooManySubscribers(Unavailable):
    """The service follows the feed for as many subscribers as it may."""

    max_subscribers: int


class OutcomeUnknown(Unavailable):
    """The service lost its database while that was committing: it may have been stored."""

    event_ids: Sequence[UUID] = ()


class BadAnswer(EventStoreError):
    """What answers is no event store, or its answer has a value that cannot be read."""

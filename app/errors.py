"""What can go wrong, as data: neither HTTP nor SQL is known here.

EventStoreError
├── InvalidInput                 the request cannot be meant: says where and why
│   ├── UnstorableValue          PostgreSQL cannot hold a value
│   ├── SnapshotBeyondAggregate  a snapshot of a version that does not exist yet
│   └── PositionBeyondSafePosition
├── NotFound
│   ├── AggregateNotFound
│   ├── VersionNotFound
│   ├── EventNotFound
│   ├── SnapshotNotFound
│   ├── PolicyNotFound
│   ├── ReducerNotFound          the store makes no state of the type's aggregates
│   └── ProjectionNotFound
├── Conflict                     the store's state refuses the request
│   ├── VersionConflict
│   ├── EventIdConflict
│   ├── SnapshotConflict
│   ├── SnapshotManaged          the store makes the snapshots of the type itself
│   ├── PositionConflict
│   └── StoreChanged             positions of another store: restored, rebuilt
├── EventsDetached               the events are in months that are detached from the archive
├── MonthRefused                 a month of the archive is not as the request needs it
├── ArchiveRefused               other tables refer to events that would move
├── FoldFailed                   a reducer fails on an event
├── PositionNotReached           a projection has not come so far in the time that was given
└── Unavailable                  worth repeating later
    ├── DatabaseUnreachable      nothing was stored
    ├── DatabaseBusy             nothing was stored
    ├── ServiceBusy              nothing was stored
    ├── FoldUnavailable          the process that folds does not run
    ├── TooManySubscribers       as many live streams are open as may be
    └── OutcomeUnknown           stored or not: repeating with the same event ids is safe
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from msgspec import UNSET, UnsetType

from app.events import RecordedEvent


class EventStoreError(Exception):
    """The root of every error that a caller of the store can meet."""


class InvalidInput(EventStoreError):
    """A value that the store does not accept; ``place`` tells where, as a JSON path or a name."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


class UnstorableValue(InvalidInput):
    """A well-formed value that PostgreSQL cannot hold."""


class SnapshotBeyondAggregate(InvalidInput):
    """A snapshot's version is greater than its aggregate's (0: the aggregate has no events)."""

    def __init__(self, version: int, aggregate_version: int) -> None:
        super().__init__(
            "$.version",
            f"version {version} is beyond the aggregate's version {aggregate_version}",
        )
        self.aggregate_version = aggregate_version


class PositionBeyondSafePosition(InvalidInput):
    """A projection claims a position that no reader can have reached."""

    def __init__(self, position: int, safe_position: int) -> None:
        super().__init__(
            "$.last_processed_position",
            f"position {position} is beyond the safe position {safe_position}",
        )
        self.safe_position = safe_position


class NotFound(EventStoreError):
    """What was asked for does not exist."""


class AggregateNotFound(NotFound):
    """The aggregate has no events."""

    def __init__(self, aggregate_type: str, aggregate_id: str) -> None:
        super().__init__(f"aggregate {aggregate_type} {aggregate_id!r} has no events")
        self.aggregate_type = aggregate_type
        self.aggregate_id = aggregate_id


class VersionNotFound(NotFound):
    """The aggregate exists, but not at the version or time asked for."""

    def __init__(self, aggregate_type: str, aggregate_id: str, asked: str, version: int) -> None:
        super().__init__(
            f"aggregate {aggregate_type} {aggregate_id!r} has no state {asked}: "
            f"it is at version {version}"
        )
        self.aggregate_type = aggregate_type
        self.aggregate_id = aggregate_id
        self.version = version


class EventNotFound(NotFound):
    """No event has this id."""

    def __init__(self, event_id: UUID) -> None:
        super().__init__(f"no event has the id {event_id}")
        self.event_id = event_id


class SnapshotNotFound(NotFound):
    """The aggregate has no snapshot."""

    def __init__(self, aggregate_type: str, aggregate_id: str) -> None:
        super().__init__(f"aggregate {aggregate_type} {aggregate_id!r} has no snapshot")
        self.aggregate_type = aggregate_type
        self.aggregate_id = aggregate_id


class PolicyNotFound(NotFound):
    """The aggregate type has no snapshot policy of its own: ``default_every`` applies."""

    def __init__(self, aggregate_type: str, default_every: int) -> None:
        super().__init__(
            f"aggregate type {aggregate_type!r} has no snapshot policy: a snapshot is due after "
            f"{default_every} events, and its services make it"
        )
        self.aggregate_type = aggregate_type
        self.default_every = default_every


class ReducerNotFound(NotFound):
    """The aggregate type has no reducer: only its services know what its state is."""

    def __init__(self, aggregate_type: str) -> None:
        super().__init__(
            f"aggregate type {aggregate_type!r} has no reducer: its snapshot policy can have one"
        )
        self.aggregate_type = aggregate_type


class ProjectionNotFound(NotFound):
    """No position was ever saved under this projection's name."""

    def __init__(self, projection_name: str) -> None:
        super().__init__(f"projection {projection_name!r} has no position")
        self.projection_name = projection_name


class Conflict(EventStoreError):
    """The request was understood and is refused by the state of the store; nothing was stored."""


class VersionConflict(Conflict):
    """The aggregate is not at the expected version.

    ``expected_version`` None: any was expected, as long as the aggregate exists.
    ``append_index`` tells which append of a transaction it is (0-based). ``conflicting_events``,
    if somebody has asked for them, are the first events after the expected version.
    """

    def __init__(
        self,
        aggregate_type: str,
        aggregate_id: str,
        expected_version: int | None,
        actual_version: int,
        append_index: int | UnsetType = UNSET,
    ) -> None:
        expected = "to exist" if expected_version is None else f"at version {expected_version}"
        super().__init__(
            f"aggregate {aggregate_type} {aggregate_id!r} was expected {expected}, "
            f"but is at version {actual_version}"
        )
        self.aggregate_type = aggregate_type
        self.aggregate_id = aggregate_id
        self.expected_version = expected_version
        self.actual_version = actual_version
        self.append_index = append_index
        self.conflicting_events: Sequence[RecordedEvent] | UnsetType = UNSET


class EventIdConflict(Conflict):
    """Event ids are taken, and the request is not a repetition of the append that took them."""

    def __init__(self, event_ids: Sequence[UUID], reason: str) -> None:
        super().__init__(reason)
        self.event_ids = event_ids


class SnapshotConflict(Conflict):
    """A newer snapshot is stored already."""

    def __init__(self, version: int, stored_version: int) -> None:
        super().__init__(
            f"a snapshot of version {stored_version} is stored, "
            f"and one of version {version} does not replace it"
        )
        self.stored_version = stored_version


class SnapshotManaged(Conflict):
    """The type's policy has a reducer: the store makes the snapshots, and takes none."""

    def __init__(self, aggregate_type: str) -> None:
        super().__init__(
            f"the store makes the snapshots of {aggregate_type!r} itself: its policy has a reducer"
        )
        self.aggregate_type = aggregate_type


class PositionConflict(Conflict):
    """The stored position forbids the one to be saved."""

    def __init__(self, reason: str, last_processed_position: int | None) -> None:
        super().__init__(reason)
        self.last_processed_position = last_processed_position


class StoreChanged(Conflict):
    """The positions that a consumer has are those of another store.

    ``store_id`` is this one's. ``expected_store_id``: the one that the consumer knows, or None
    where its position alone tells: this store has not handed out that many.
    """

    def __init__(self, store_id: str, expected_store_id: str | None, reason: str) -> None:
        super().__init__(reason)
        self.store_id = store_id
        self.expected_store_id = expected_store_id


class EventsDetached(EventStoreError):
    """The answer needs events of ``months``, by their first days, which are detached.

    ``resume_after``: the position behind which the feed goes on without them; None: it is not about
    the feed.
    """

    def __init__(self, months: Sequence[date], resume_after: int | None = None) -> None:
        names = ", ".join(f"{month.year:04}-{month.month:02}" for month in months)
        super().__init__(f"the archive's months {names} are detached")
        self.months = [f"{month.year:04}-{month.month:02}" for month in months]
        self.resume_after = resume_after


class MonthRefused(EventStoreError):
    """A month of the archive, by its first day, is not as the request needs it; nothing changed."""

    def __init__(self, month: date, reason: str) -> None:
        super().__init__(f"the month {month.year:04}-{month.month:02} {reason}")
        self.month = month


class ArchiveRefused(EventStoreError):
    """Foreign keys of other tables refer to events, which cannot move then: nothing has.

    ``foreign_keys``: their names, each with its table's.
    """

    def __init__(self, foreign_keys: Sequence[str]) -> None:
        super().__init__(f"foreign keys refer to events: {', '.join(foreign_keys)}")
        self.foreign_keys = foreign_keys


class FoldFailed(EventStoreError):
    """A reducer fails on an event, or goes beyond its bounds there; the events before it fold.

    ``reason`` is for the reducer's author.
    """

    def __init__(
        self,
        aggregate_type: str,
        aggregate_id: str,
        version: int,
        event_id: str,
        event_type: str,
        reason: str,
    ) -> None:
        super().__init__(
            f"the reducer fails on event {version} of aggregate {aggregate_type} "
            f"{aggregate_id!r}: {reason}"
        )
        self.aggregate_type = aggregate_type
        self.aggregate_id = aggregate_id
        self.version = version
        self.event_id = event_id
        self.event_type = event_type
        self.reason = reason


class PositionNotReached(EventStoreError):
    """The projection has not come to the position ``wait_for`` in the time that was given to it.

    ``last_processed_position`` None: none is stored.
    """

    def __init__(
        self, projection_name: str, wait_for: int, last_processed_position: int | None
    ) -> None:
        stored = "none" if last_processed_position is None else str(last_processed_position)
        super().__init__(
            f"projection {projection_name!r} has not come to position {wait_for}: "
            f"{stored} is stored"
        )
        self.wait_for = wait_for
        self.last_processed_position = last_processed_position


class Unavailable(EventStoreError):
    """The store cannot answer now; the same request may succeed later."""


class DatabaseUnreachable(Unavailable):
    """No connection to the database could be made; nothing was stored."""


class DatabaseBusy(Unavailable):
    """No connection was free, or a lock was not to be had, in time; nothing was stored."""


class ServiceBusy(Unavailable):
    """The service has too many requests at hand; nothing was stored."""


class FoldUnavailable(Unavailable):
    """The process that folds does not run, or has too much to do; nothing was folded."""


class TooManySubscribers(Unavailable):
    """As many follow the feed live as this process serves."""

    def __init__(self, max_subscribers: int) -> None:
        super().__init__(f"{max_subscribers} subscribers follow the feed already")
        self.max_subscribers = max_subscribers


class OutcomeUnknown(Unavailable):
    """The connection was lost while the database was committing.

    ``event_ids`` are those of the append, in order, also where the service had made them: an
    append that is repeated with them is stored once.
    """

    def __init__(self, event_ids: Sequence[UUID] = ()) -> None:
        super().__init__("the connection to the database was lost during the commit")
        self.outcome = "unknown"
        self.event_ids = event_ids

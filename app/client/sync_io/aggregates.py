"""Aggregates: append, load, read, keep snapshots."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from app.client import operations
from app.client.answers import Aggregate, Appended, EventPage, Snapshot, State
from app.client.events import Append, NewEvent
from app.client.operations import Direction
from app.client.sync_io.connection import Connection


class Aggregates(Connection):
    """The operations on aggregates."""

    def append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        events: Iterable[NewEvent],
        *,
        expected_version: int | None = None,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
        include_conflicting_events: bool = False,
    ) -> Appended:
        """Append events, all or none; the same `NewEvent` objects once more are stored once.

        Args:
            aggregate_type: The kind of aggregate.
            aggregate_id: The aggregate.
            events: At least one.
            expected_version: The aggregate must be at it (0: must not exist yet); None: any.
            correlation_id: For events that carry none.
            causation_id: For events that carry none.
            include_conflicting_events: Whether `VersionConflict` is to tell what came in between.

        Raises:
            VersionConflict: The aggregate is not at ``expected_version``.
            EventIdConflict: The ids are those of other events.
            InvalidInput: The service cannot store it.
            Unavailable: It may be stored or not; to append the same events once more will tell.
        """
        return self.call(
            operations.append(
                aggregate_type,
                aggregate_id,
                events,
                expected_version,
                correlation_id,
                causation_id,
                include_conflicting_events=include_conflicting_events,
            )
        )

    def append_transaction(
        self,
        appends: Iterable[Append],
        *,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
        include_conflicting_events: bool = False,
    ) -> Sequence[Appended]:
        """Append to several aggregates, all or nothing; otherwise like `append`.

        Raises: the same; ``VersionConflict.append_index`` tells which append it is.
        """
        return self.call(
            operations.append_transaction(
                appends,
                correlation_id,
                causation_id,
                include_conflicting_events=include_conflicting_events,
            )
        )

    def load(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        at_version: int | None = None,
        as_of: datetime | None = None,
        snapshot: bool = True,
    ) -> Aggregate:
        """Load the newest snapshot and the events after it; ``snapshot`` False: all events.

        Raises:
            AggregateNotFound: It has no events.
            VersionNotFound: It was never at that version, or had no events then.
        """
        return self.call(
            operations.load(aggregate_type, aggregate_id, at_version, as_of, snapshot=snapshot)
        )

    def get_state(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        at_version: int | None = None,
        as_of: datetime | None = None,
    ) -> State:
        """Read the state that the reducer of the aggregate's type makes, now or in the past.

        Raises:
            ReducerNotFound: The store makes no states of this type.
            FoldFailed: The reducer fails on one of the events.
            AggregateNotFound: It has no events.
            VersionNotFound: It was never at that version, or had no events then.
        """
        return self.call(operations.get_state(aggregate_type, aggregate_id, at_version, as_of))

    def read_events(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        from_version: int | None = None,
        to_version: int | None = None,
        limit: int = 1_000,
        direction: Direction = "forward",
    ) -> EventPage:
        """Read a page of an aggregate's events, bounds inclusive.

        Raises:
            AggregateNotFound: It has no events.
        """
        return self.call(
            operations.read_events(
                aggregate_type, aggregate_id, from_version, to_version, limit, direction
            )
        )

    def save_snapshot(
        self, aggregate_type: str, aggregate_id: str, version: int, state: object
    ) -> None:
        """Save the state of an aggregate at a version: any value that msgspec encodes as JSON.

        Raises:
            SnapshotConflict: A newer one is stored.
            SnapshotBeyondAggregate: The aggregate has not come so far.
        """
        self.call(operations.save_snapshot(aggregate_type, aggregate_id, version, state))

    def get_snapshot(self, aggregate_type: str, aggregate_id: str) -> Snapshot:
        """Read the stored snapshot of an aggregate.

        Raises:
            SnapshotNotFound: There is none.
        """
        return self.call(operations.get_snapshot(aggregate_type, aggregate_id))

    def delete_snapshot(self, aggregate_type: str, aggregate_id: str) -> None:
        """Delete the stored snapshot of an aggregate.

        Raises:
            SnapshotNotFound: There is none.
        """
        self.call(operations.delete_snapshot(aggregate_type, aggregate_id))

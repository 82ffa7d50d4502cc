"""Aggregates: append, load, read, keep snapshots."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from app.client import operations
from app.client.answers import Aggregate, Appended, EventPage, Snapshot, State
from app.client.async_io.connection import AsyncConnection
from app.client.events import Append, NewEvent
from app.client.operations import Direction


class AsyncAggregates(AsyncConnection):
    """The operations on aggregates."""

    async def append(
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
        """See `EventStoreClient.append`."""
        return await self.call(
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

    async def append_transaction(
        self,
        appends: Iterable[Append],
        *,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
        include_conflicting_events: bool = False,
    ) -> Sequence[Appended]:
        """See `EventStoreClient.append_transaction`."""
        return await self.call(
            operations.append_transaction(
                appends,
                correlation_id,
                causation_id,
                include_conflicting_events=include_conflicting_events,
            )
        )

    async def load(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        at_version: int | None = None,
        as_of: datetime | None = None,
        snapshot: bool = True,
    ) -> Aggregate:
        """See `EventStoreClient.load`."""
        return await self.call(
            operations.load(aggregate_type, aggregate_id, at_version, as_of, snapshot=snapshot)
        )

    async def get_state(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        at_version: int | None = None,
        as_of: datetime | None = None,
    ) -> State:
        """See `EventStoreClient.get_state`."""
        return await self.call(
            operations.get_state(aggregate_type, aggregate_id, at_version, as_of)
        )

    async def read_events(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        from_version: int | None = None,
        to_version: int | None = None,
        limit: int = 1_000,
        direction: Direction = "forward",
    ) -> EventPage:
        """See `EventStoreClient.read_events`."""
        return await self.call(
            operations.read_events(
                aggregate_type, aggregate_id, from_version, to_version, limit, direction
            )
        )

    async def save_snapshot(
        self, aggregate_type: str, aggregate_id: str, version: int, state: object
    ) -> None:
        """See `EventStoreClient.save_snapshot`."""
        await self.call(operations.save_snapshot(aggregate_type, aggregate_id, version, state))

    async def get_snapshot(self, aggregate_type: str, aggregate_id: str) -> Snapshot:
        """See `EventStoreClient.get_snapshot`."""
        return await self.call(operations.get_snapshot(aggregate_type, aggregate_id))

    async def delete_snapshot(self, aggregate_type: str, aggregate_id: str) -> None:
        """See `EventStoreClient.delete_snapshot`."""
        await self.call(operations.delete_snapshot(aggregate_type, aggregate_id))

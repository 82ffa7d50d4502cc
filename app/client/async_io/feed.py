"""The feed: pages, a live subscription, single events, and how far projections have come."""

from collections.abc import AsyncIterator
from typing import Literal, Unpack, overload
from uuid import UUID

from app.client import operations
from app.client.answers import Checkpoint, FeedPage, FeedStatus, Position
from app.client.async_io.connection import AsyncConnection
from app.client.async_io.subscription import AsyncSubscription
from app.client.events import Event
from app.client.feed_cursor import events, events_and_checkpoints, raw_events
from app.client.operations import Direction, FeedFilter


class AsyncFeed(AsyncConnection):
    """The operations on the feed."""

    async def read_feed(
        self,
        after: int | None = None,
        *,
        limit: int = 1_000,
        direction: Direction = "forward",
        wait_s: float = 0.0,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> FeedPage:
        """See `EventStoreClient.read_feed`."""
        return await self.call(
            operations.read_feed(after, limit, direction, wait_s, store_id, feed_filter)
        )

    async def read_feed_pages(
        self,
        after: int = 0,
        *,
        limit: int = 1_000,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> AsyncIterator[FeedPage]:
        """See `EventStoreClient.read_feed_pages`."""
        while True:
            page = await self.read_feed(after, limit=limit, store_id=store_id, **feed_filter)
            yield page
            if page.up_to_date:
                return
            after, store_id = page.next_after, page.store_id

    @overload
    def subscribe(
        self,
        after: int = 0,
        *,
        checkpoints: Literal[False] = False,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> AsyncSubscription[Event]: ...

    @overload
    def subscribe(
        self,
        after: int = 0,
        *,
        checkpoints: Literal[True],
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> AsyncSubscription[Event | Checkpoint]: ...

    def subscribe(
        self,
        after: int = 0,
        *,
        checkpoints: bool = False,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> AsyncSubscription[Event] | AsyncSubscription[Event | Checkpoint]:
        """See `EventStoreClient.subscribe`."""
        if checkpoints:
            return AsyncSubscription(
                self._http, events_and_checkpoints(self._service, after, store_id, feed_filter)
            )
        return AsyncSubscription(self._http, events(self._service, after, store_id, feed_filter))

    def subscribe_raw(
        self,
        after: int = 0,
        *,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> AsyncSubscription[bytes]:
        """See `EventStoreClient.subscribe_raw`."""
        return AsyncSubscription(
            self._http, raw_events(self._service, after, store_id, feed_filter)
        )

    async def get_event(self, event_id: UUID) -> Event:
        """See `EventStoreClient.get_event`."""
        return await self.call(operations.get_event(event_id))

    async def feed_status(self) -> FeedStatus:
        """See `EventStoreClient.feed_status`."""
        return await self.call(operations.feed_status())

    async def save_position(
        self,
        projection_name: str,
        position: int,
        *,
        expected_position: int | None = None,
        store_id: UUID | None = None,
        reset: bool = False,
    ) -> None:
        """See `EventStoreClient.save_position`."""
        await self.call(
            operations.save_position(
                projection_name, position, expected_position, store_id, reset=reset
            )
        )

    async def get_position(
        self, projection_name: str, *, wait_for: int | None = None, wait_s: float = 10.0
    ) -> Position:
        """See `EventStoreClient.get_position`."""
        return await self.call(operations.get_position(projection_name, wait_for, wait_s))

    async def delete_position(self, projection_name: str) -> None:
        """See `EventStoreClient.delete_position`."""
        await self.call(operations.delete_position(projection_name))

"""The feed: pages, a live subscription, single events, and how far projections have come."""

from collections.abc import Iterator
from typing import Literal, Unpack, overload
from uuid import UUID

from app.client import operations
from app.client.answers import Checkpoint, FeedPage, FeedStatus, Position
from app.client.events import Event
from app.client.feed_cursor import events, events_and_checkpoints, raw_events
from app.client.operations import Direction, FeedFilter
from app.client.sync_io.connection import Connection
from app.client.sync_io.subscription import Subscription


class Feed(Connection):
    """The operations on the feed."""

    def read_feed(
        self,
        after: int | None = None,
        *,
        limit: int = 1_000,
        direction: Direction = "forward",
        wait_s: float = 0.0,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> FeedPage:
        """Read a page of all events in global order.

        Args:
            after: The position behind which it begins, exclusive. Default: the first event, or,
                backward, the last.
            limit: The most events.
            direction: Along the order of the events, or against it.
            wait_s: How long to wait, at most 60, for a page that has events.
            store_id: The store whose positions these are.
            **feed_filter: What narrows the feed.

        Raises:
            StoreChanged: It is another store.
        """
        return self.call(
            operations.read_feed(after, limit, direction, wait_s, store_id, feed_filter)
        )

    def read_feed_pages(
        self,
        after: int = 0,
        *,
        limit: int = 1_000,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> Iterator[FeedPage]:
        """Read page after page until one is up to date: at least one, perhaps without events.

        Raises:
            StoreChanged: It is another store, or has become another one.
        """
        while True:
            page = self.read_feed(after, limit=limit, store_id=store_id, **feed_filter)
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
    ) -> Subscription[Event]: ...

    @overload
    def subscribe(
        self,
        after: int = 0,
        *,
        checkpoints: Literal[True],
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> Subscription[Event | Checkpoint]: ...

    def subscribe(
        self,
        after: int = 0,
        *,
        checkpoints: bool = False,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> Subscription[Event] | Subscription[Event | Checkpoint]:
        """Follow the feed: what is there behind ``after``, then what comes, each event once.

        It never ends by itself. A connection that breaks, or from which nothing has come for 45
        seconds, is made again, for ever, with pauses that grow and are random.

        Args:
            after: The position behind which it begins, exclusive.
            checkpoints: Whether to tell positions too: when the end is reached for the first time,
                behind many events that the filter keeps back, and every 15 seconds of silence.
            store_id: The store whose positions these are. Default: the first that is met.
            **feed_filter: What narrows the feed.

        Raises (when it is iterated):
            StoreChanged: It is another store, or has become another one.
            InvalidInput: The service cannot follow the feed in this way.
        """
        if checkpoints:
            return Subscription(
                self._http, events_and_checkpoints(self._service, after, store_id, feed_filter)
            )
        return Subscription(self._http, events(self._service, after, store_id, feed_filter))

    def subscribe_raw(
        self,
        after: int = 0,
        *,
        store_id: UUID | None = None,
        **feed_filter: Unpack[FeedFilter],
    ) -> Subscription[bytes]:
        """Follow the feed like `subscribe`; each event is its JSON as the service has sent it."""
        return Subscription(self._http, raw_events(self._service, after, store_id, feed_filter))

    def get_event(self, event_id: UUID) -> Event:
        """Read one event, whichever aggregate it belongs to.

        Raises:
            EventNotFound: No event has this id.
        """
        return self.call(operations.get_event(event_id))

    def feed_status(self) -> FeedStatus:
        """Read how far the feed goes, and what holds it back."""
        return self.call(operations.feed_status())

    def save_position(
        self,
        projection_name: str,
        position: int,
        *,
        expected_position: int | None = None,
        store_id: UUID | None = None,
        reset: bool = False,
    ) -> None:
        """Save how far a projection has processed the feed.

        Args:
            projection_name: The projection.
            position: The last position that it has processed.
            expected_position: The stored one must be it (0: none is stored); None: any.
            store_id: The store whose position this is.
            reset: Whether the position may go back.

        Raises:
            PositionConflict: Another position is stored, or a greater one.
            StoreChanged: It is another store.
            PositionBeyondSafePosition: No reader can have come so far.
        """
        self.call(
            operations.save_position(
                projection_name, position, expected_position, store_id, reset=reset
            )
        )

    def get_position(
        self, projection_name: str, *, wait_for: int | None = None, wait_s: float = 10.0
    ) -> Position:
        """Read how far a projection has come; or wait, at most 60 s, until it is at ``wait_for``.

        Raises:
            ProjectionNotFound: It has never saved a position.
            PositionNotReached: It has not come so far within ``wait_s``.
        """
        return self.call(operations.get_position(projection_name, wait_for, wait_s))

    def delete_position(self, projection_name: str) -> None:
        """Forget a projection.

        Raises:
            ProjectionNotFound: It has never saved a position.
        """
        self.call(operations.delete_position(projection_name))

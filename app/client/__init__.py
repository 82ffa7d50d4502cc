"""The client of the event store: append, load, read, follow the feed, run projections.

`EventStoreClient` and `Projection` are for code that is not asynchronous, `AsyncEventStoreClient`
and `AsyncProjection` for asyncio; they differ in nothing else. What they raise is drawn in
`app.client.errors`.
"""

from app.client.answers import (
    Aggregate,
    Appended,
    AppendedEvent,
    Checkpoint,
    EventPage,
    FeedPage,
    FeedStatus,
    FoldedAggregate,
    InFlightTransaction,
    Position,
    Snapshot,
    State,
)
from app.client.async_io.client import AsyncEventStoreClient
from app.client.async_io.projection import AsyncProjection
from app.client.async_io.subscription import AsyncSubscription
from app.client.errors import EventStoreError
from app.client.events import Append, Event, NewEvent
from app.client.operations import FeedFilter
from app.client.sync_io.client import EventStoreClient
from app.client.sync_io.projection import Projection
from app.client.sync_io.subscription import Subscription

__all__ = [
    "Aggregate",
    "Append",
    "Appended",
    "AppendedEvent",
    "AsyncEventStoreClient",
    "AsyncProjection",
    "AsyncSubscription",
    "Checkpoint",
    "Event",
    "EventPage",
    "EventStoreClient",
    "EventStoreError",
    "FeedFilter",
    "FeedPage",
    "FeedStatus",
    "FoldedAggregate",
    "InFlightTransaction",
    "NewEvent",
    "Position",
    "Projection",
    "Snapshot",
    "State",
    "Subscription",
]

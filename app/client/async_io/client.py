"""The client for asyncio, put together."""

from app.client.async_io.aggregates import AsyncAggregates
from app.client.async_io.feed import AsyncFeed


class AsyncEventStoreClient(AsyncAggregates, AsyncFeed):
    """The event store at a URL, for the tasks of one event loop.

    Everything is as in `EventStoreClient`, and tried again like there.
    """

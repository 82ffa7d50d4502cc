"""The client for asyncio, put together."""

from app.client.async_io.decisions import AsyncDecisions
from app.client.async_io.feed import AsyncFeed


class AsyncEventStoreClient(AsyncDecisions, AsyncFeed):
    """The event store at a URL, for the tasks of one event loop.

    Everything is as in `EventStoreClient`, and tried again like there.
    """

"""Both clients, called in the same way."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from app.client import AsyncEventStoreClient, EventStoreClient


class Caller:
    """Either kind of client, its operations awaited."""

    def __init__(self, client: EventStoreClient | AsyncEventStoreClient) -> None:
        self.client = client

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        method: Callable[..., Any] = getattr(self.client, operation)
        if inspect.iscoroutinefunction(method):
            return method

        async def call(*arguments: object, **options: object) -> Any:
            return await asyncio.to_thread(method, *arguments, **options)

        return call


@asynccontextmanager
async def open_caller(kind: str, url: str, **options: Any) -> AsyncIterator[Caller]:
    """A client of either ``kind``, sync or async."""
    if kind == "sync":
        with EventStoreClient(url, **options) as client:
            yield Caller(client)
    else:
        async with AsyncEventStoreClient(url, **options) as async_client:
            yield Caller(async_client)

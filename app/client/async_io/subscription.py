"""A live subscription to the feed, over as many connections as it takes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Generic, Self, TypeVar
from uuid import UUID

import httpx

from app.client.errors import EventStoreError
from app.client.exchange import Retries
from app.client.feed_cursor import FeedCursor
from app.client.sse import SseParser

T = TypeVar("T")


class AsyncSubscription(Generic[T]):
    """An asynchronous iterator without an end: made by `AsyncEventStoreClient.subscribe`.

    Leaving its ``async with`` block closes it, and so does `aclose`. To cancel a wait for the next
    item, with `asyncio.timeout` for instance, loses nothing: it comes when it is awaited again.
    """

    def __init__(self, http: httpx.AsyncClient, cursor: FeedCursor[T]) -> None:
        self._http = http
        self._cursor = cursor
        self._items = self._follow()
        self._is_closed = False

    @property
    def store_id(self) -> UUID | None:
        """The store that is followed; None as long as it has not been told."""
        return self._cursor.store_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await anext(self._items)
        except asyncio.CancelledError:
            # It has ended the generator and its connection; another one goes on from the cursor.
            if not self._is_closed:
                self._items = self._follow()
            raise

    async def aclose(self) -> None:
        """End the iteration."""
        self._is_closed = True
        await self._items.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _follow(self) -> AsyncGenerator[T, None]:
        retries = Retries(self._cursor.service.on_trouble)
        while True:
            try:
                # Closed here and now, and with it the connection.
                async with aclosing(self._follow_once(retries)) as items:
                    async for item in items:
                        yield item
                error = self._cursor.end(None)
            except httpx.RequestError as broken:
                error = self._cursor.end(broken)
            except EventStoreError as refused:
                error = refused
            await asyncio.sleep(retries.next_delay_s(error))

    async def _follow_once(self, retries: Retries) -> AsyncGenerator[T, None]:
        cursor, parser = self._cursor, SseParser()
        async with self._http.stream(
            "GET", cursor.url, params=cursor.params, headers=cursor.headers, timeout=cursor.timeout
        ) as response:
            if not cursor.is_stream(response):
                await response.aread()
                raise cursor.refusal(response)
            async for chunk in response.aiter_raw():
                for message in parser.feed(chunk):
                    retries.reset()
                    item = cursor.take(message)
                    if item is not None:
                        yield item

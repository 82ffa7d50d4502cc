"""A live subscription to the feed, over as many connections as it takes."""

import socket
from collections.abc import Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from uuid import UUID

import httpx

from app.client.errors import EventStoreError
from app.client.exchange import Retries
from app.client.feed_cursor import FeedCursor
from app.client.sse import SseParser
from app.client.sync_io.stop import Stop

T = TypeVar("T")


class Subscription(Generic[T]):
    """An iterator without an end: made by `EventStoreClient.subscribe`.

    Leaving its ``with`` block closes it; so does `close`, which any thread may call, and which ends
    an iteration that is waiting for the next event.
    """

    def __init__(self, http: httpx.Client, cursor: FeedCursor[T]) -> None:
        self._http = http
        self._cursor = cursor
        self._stop = Stop()
        self._network_stream: Any = None
        self._items = self._follow()

    @property
    def store_id(self) -> UUID | None:
        """The store that is followed; None as long as it has not been told."""
        return self._cursor.store_id

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._stop.is_set:
            self._items.close()
        return next(self._items)

    def close(self) -> None:
        """End the iteration."""
        self._stop.set()
        stream = self._network_stream
        if stream is not None:
            # Closing a socket wakes nobody who is reading from it; this does. The plain socket's
            # method, also under TLS: its own would change what the reader is in the middle of.
            with suppress(OSError):
                socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        # ValueError: another thread is iterating; it ends by itself.
        with suppress(ValueError):
            self._items.close()

    def _follow(self) -> Generator[T, None, None]:
        retries = Retries(self._cursor.service.on_trouble)
        while not self._stop.is_set:
            try:
                yield from self._follow_once(retries)
                error = self._cursor.end(None)
            except httpx.RequestError as broken:
                error = self._cursor.end(broken)
            except EventStoreError as refused:
                error = refused
            if not self._stop.is_set:
                self._stop.wait(retries.next_delay_s(error))

    def _follow_once(self, retries: Retries) -> Generator[T, None, None]:
        cursor, parser = self._cursor, SseParser()
        with self._http.stream(
            "GET", cursor.url, params=cursor.params, headers=cursor.headers, timeout=cursor.timeout
        ) as response:
            if not cursor.is_stream(response):
                response.read()
                raise cursor.refusal(response)
            self._network_stream = response.extensions.get("network_stream")
            # Looked at only now: a `close` that comes later finds the network stream.
            if self._stop.is_set:
                return
            try:
                for chunk in response.iter_raw():
                    for message in parser.feed(chunk):
                        retries.reset()
                        item = cursor.take(message)
                        if item is not None:
                            yield item
            finally:
                self._network_stream = None

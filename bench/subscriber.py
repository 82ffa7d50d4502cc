"""A live subscriber over HTTP: counts and times what it is given, and decodes none of it."""

import asyncio
import time
from typing import NamedTuple, cast

from bench.event_stream import Continuity, EventIds, StreamedResponse
from bench.http_load import Address, LoadFailed

LIVE_WITHIN_S = 30.0


class Arrival(NamedTuple):
    """Events that came together: at `time.perf_counter`, positions inclusive."""

    at_s: float
    first: int
    last: int


class Subscriber(asyncio.Protocol):
    """One subscription to the feed, over a connection of its own.

    ``reads``: otherwise it asks, takes the beginning of the answer, and never reads again.
    """

    def __init__(self, after: int, *, reads: bool = True) -> None:
        self.arrivals: list[Arrival] = []
        self.continuity = Continuity(after)
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Live; of one that does not read: answered."""
        self.is_lost = False
        self._after = after
        self._reads = reads
        self._response = StreamedResponse()
        self._ids = EventIds()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(
            b"GET /v1/events?after=%d HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
            % self._after
        )

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        try:
            positions = self._ids.feed(self._response.feed(data))
        except Exception as error:  # noqa: BLE001 - whoever waits for the begin is told
            self._fail(error)
            return
        if not self._reads:
            self._transport.pause_reading()
            self._begin()
        elif positions:
            self.continuity.take(positions)
            self.arrivals.append(Arrival(now_s, positions[0], positions[-1]))
        if self._ids.is_live:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(LoadFailed(f"a subscriber was disconnected: {exc}"))

    def close(self) -> None:
        """Leave."""
        self._transport.abort()

    def _begin(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)

    def _fail(self, error: Exception) -> None:
        self.is_lost = True
        self._transport.abort()
        if not self.begun.done():
            self.begun.set_exception(error)


async def subscribe(address: Address, after: int, *, reads: bool = True) -> Subscriber:
    """A subscriber that is live, or that has been answered and does not read.

    Raises:
        LoadFailed, UnreadableResponse: It did not come to that.
    """
    loop = asyncio.get_running_loop()
    _, subscriber = await loop.create_connection(lambda: Subscriber(after, reads=reads), *address)
    try:
        async with asyncio.timeout(LIVE_WITHIN_S):
            await subscriber.begun
    except TimeoutError:
        raise LoadFailed(f"a subscriber was not live after {LIVE_WITHIN_S:.0f} s") from None
    return subscriber

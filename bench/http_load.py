"""The load generator: requests that are bytes already, over connections that are kept.

It runs in the process of the benchmark, away from the service's. What it is able to send is
measured against a server that does nothing (bench/echo.py), and printed beside each figure.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, TypeAlias, cast

import uvloop

from bench.figures import Timing, Trace
from bench.http_response import Response, ResponseReader

Conversation: TypeAlias = Generator[bytes, Response, None]
"""What one connection asks, request by request; it is sent each answer. It does not end."""

Meters: TypeAlias = Mapping[str, Callable[[], float]]
"""CPU seconds used so far, by whom."""

STUCK_AFTER_S: Final = 60.0


class Address(NamedTuple):
    host: str
    port: int


class LoadFailed(Exception):
    """The server has answered otherwise than it should, or not at all."""


@dataclass(slots=True)
class Load:
    """What was seen of a load."""

    trace: Trace = field(default_factory=Trace)
    last_body: bytes = b""
    cores: dict[str, float] = field(default_factory=dict)
    """CPU seconds a second, by meter."""


def drive(
    address: Address, conversations: Sequence[Conversation], timing: Timing, meters: Meters
) -> Load:
    """Hold all conversations at the same time, each over a connection of its own.

    Raises:
        LoadFailed: An answer was not 2xx, or a connection was lost, or nothing was answered.
    """
    return uvloop.run(_drive(address, conversations, timing, meters))


async def _drive(
    address: Address, conversations: Sequence[Conversation], timing: Timing, meters: Meters
) -> Load:
    loop = asyncio.get_running_loop()
    load = Load()
    connections = []
    for conversation in conversations:
        make = partial(_Connection, conversation, load)
        _, connection = await loop.create_connection(make, *address)
        connections.append(connection)
    started_at = time.perf_counter()
    for connection in connections:
        connection.begin(started_at, timing.total_s)
    # The meters take milliseconds: they are read during the warm-up, and again after the end.
    await asyncio.sleep(timing.warm_up_s / 2)
    used_before = {name: read() for name, read in meters.items()}
    metered_from = time.perf_counter()
    try:
        async with asyncio.timeout(timing.total_s + STUCK_AFTER_S):
            await asyncio.gather(*(connection.finished for connection in connections))
    except TimeoutError:
        raise LoadFailed(f"no answer for {STUCK_AFTER_S:.0f} s") from None
    elapsed_s = time.perf_counter() - metered_from
    for name, read in meters.items():
        load.cores[name] = (read() - used_before[name]) / elapsed_s
    return load


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the one before is answered, until the time is over."""

    def __init__(self, conversation: Conversation, load: Load) -> None:
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._conversation = conversation
        self._load = load
        self._ended_at_s = load.trace.ended_at_s
        self._latency_s = load.trace.latency_s
        self._reader = ResponseReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def begin(self, started_at: float, total_s: float) -> None:
        self._started_at = started_at
        self._total_s = total_s
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._conversation))

    def data_received(self, data: bytes) -> None:
        try:
            response = self._reader.feed(data)
            if response is None:
                return
            now = time.perf_counter()
            ended_at_s = now - self._started_at
            self._ended_at_s.append(ended_at_s)
            self._latency_s.append(now - self._sent_at)
            if not 200 <= response.status < 300:
                raise LoadFailed(f"answer {response.status}: {response.body[:500]!r}")
            if ended_at_s >= self._total_s:
                self._load.last_body = response.body
                self._end(None)
            else:
                request = self._conversation.send(response)
                self._sent_at = time.perf_counter()
                self._transport.write(request)
        except Exception as error:  # noqa: BLE001 - drive() raises it
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(LoadFailed(f"the server has closed a connection: {exc}"))

    def _end(self, error: Exception | None) -> None:
        if self.finished.done():
            return
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)
        self._transport.close()

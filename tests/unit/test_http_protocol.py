"""app.http_protocol: how long a connection may be idle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from app.http_protocol import ProblemProtocol

IDLE_S = 0.3
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Client(asyncio.Protocol):
    """Knows what has come, and when the server has closed the connection."""

    def __init__(self) -> None:
        self.received = b""
        self.has_ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, _: Exception | None) -> None:
        self.has_ended.set()

    async def ends_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.has_ended.wait(), seconds)
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def connected(answers_after_s: float = 0) -> AsyncIterator[tuple[asyncio.Transport, Client]]:
    """A connection to a server that closes idle ones soon."""

    async def app(_: Any, __: Any, send: Any) -> None:
        await asyncio.sleep(answers_after_s)
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    config.load()

    def protocol() -> ProblemProtocol:
        made = ProblemProtocol(config=config, server_state=ServerState(), app_state={})
        made.timeout_keep_alive = IDLE_S  # type: ignore[assignment]
        return made

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0)
    async with server:
        transport, client = await loop.create_connection(
            Client, *server.sockets[0].getsockname()[:2]
        )
        yield transport, client
        transport.close()
        await client.has_ended.wait()


async def test_a_connection_that_has_been_idle_for_long_enough_is_closed() -> None:
    async with connected() as (transport, client):
        transport.write(REQUEST)
        assert not await client.ends_within(IDLE_S / 2)
        assert client.received.endswith(b"ok")
        assert await client.ends_within(IDLE_S * 10)


async def test_a_connection_that_is_used_again_and_again_stays_open() -> None:
    async with connected() as (transport, client):
        for _ in range(8):
            transport.write(REQUEST)
            assert not await client.ends_within(IDLE_S / 3)
        assert client.received.count(b"ok") == 8
        assert await client.ends_within(IDLE_S * 10)


async def test_a_request_that_takes_longer_than_a_connection_may_be_idle_is_answered() -> None:
    async with connected(answers_after_s=IDLE_S * 2) as (transport, client):
        for number in (1, 2):
            transport.write(REQUEST)
            assert not await client.ends_within(IDLE_S * 2.5)
            assert client.received.count(b"ok") == number


async def test_a_request_that_has_begun_to_come_keeps_the_connection() -> None:
    async with connected() as (transport, client):
        transport.write(REQUEST)
        await asyncio.sleep(IDLE_S / 2)
        transport.write(REQUEST[:10])
        assert not await client.ends_within(IDLE_S * 2)
        transport.write(REQUEST[10:])
        assert await client.ends_within(IDLE_S * 10)
        assert client.received.count(b"ok") == 2

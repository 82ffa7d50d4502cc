"""A client that costs next to nothing: in a race of hundreds, httpx would take most of the time."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any


class BareClient:
    """One connection that is kept alive; JSON in and out, of answers that tell their length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the body of an answer."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(content)}\r\n"
        lines = [f"{name}: {value}\r\n" for name, value in (headers or {}).items()]
        self._writer.write("".join([head, *lines, "\r\n"]).encode() + content)
        status_line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        told = dict(line.lower().split(": ", maxsplit=1) for line in lines if line)
        answer = await self._reader.readexactly(int(told["content-length"]))
        return int(status_line.split()[1]), json.loads(answer)


@asynccontextmanager
async def bare_client(url: str) -> AsyncIterator[BareClient]:
    """A client with a connection of its own."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield BareClient(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()

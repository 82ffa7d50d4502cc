"""A connection to PostgreSQL that breaks at the moment that a test has chosen."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any

SOCKET_NAME = ".s.PGSQL.5432"


class Break(Enum):
    """When a connection is cut that carries the marked request."""

    BEFORE_REQUEST = "PostgreSQL never sees the request"
    AFTER_EXECUTION = "PostgreSQL has executed it, the answer never arrives"


class PostgresProxy:
    """Passes bytes on between the service and PostgreSQL's socket."""

    def __init__(self, server_dir: Path) -> None:
        self._server = str(server_dir / SOCKET_NAME)
        self._marker: bytes | None = None
        self._passes = 0
        self._break = Break.BEFORE_REQUEST

    def break_at(self, marker: bytes, when: Break, *, passes: int = 0) -> None:
        """Cut the connection with the next request that contains ``marker``.

        ``passes``: how many such requests come through before. No later one is affected.
        """
        self._marker, self._break, self._passes = marker, when, passes

    def _is_marked(self, request: bytes) -> bool:
        if self._marker is None or self._marker not in request:
            return False
        if self._passes:
            self._passes -= 1
            return False
        self._marker = None
        return True

    async def connect(
        self, service_reader: asyncio.StreamReader, service_writer: asyncio.StreamWriter
    ) -> None:
        """Pass a new connection on until one of its ends closes it, or it is cut."""
        server_reader, server_writer = await asyncio.open_unix_connection(self._server)
        is_cut_by_answer = False

        async def pass_requests() -> None:
            nonlocal is_cut_by_answer
            while request := await service_reader.read(1 << 16):
                if self._is_marked(request):
                    if self._break is Break.BEFORE_REQUEST:
                        return
                    is_cut_by_answer = True
                server_writer.write(request)
                await server_writer.drain()

        async def pass_answers() -> None:
            while answer := await server_reader.read(1 << 16):
                if is_cut_by_answer:
                    return
                service_writer.write(answer)
                await service_writer.drain()

        directions = {asyncio.create_task(pass_requests()), asyncio.create_task(pass_answers())}
        _, unfinished = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in unfinished:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        for writer in (service_writer, server_writer):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@contextmanager
def postgres_proxy(server_dir: Path, listening_dir: Path) -> Iterator[PostgresProxy]:
    """A proxy whose socket is in ``listening_dir``, as PostgreSQL's own would be.

    It has a thread of its own: to the service it is another process, whatever the test waits for.
    """
    proxy = PostgresProxy(server_dir)
    is_over = asyncio.Event()
    is_listening = threading.Event()

    async def serve() -> None:
        async with asyncio.TaskGroup() as connections:

            def connected(*streams: Any) -> None:
                connections.create_task(proxy.connect(*streams))

            listener = await asyncio.start_unix_server(connected, listening_dir / SOCKET_NAME)
            loops.append(asyncio.get_running_loop())
            is_listening.set()
            await is_over.wait()
            listener.close()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    is_listening.wait()
    try:
        yield proxy
    finally:
        # After the last connection has been closed by the service or by PostgreSQL.
        loops[0].call_soon_threadsafe(is_over.set)
        thread.join()

"""Connections to the service that break, freeze or are refused as a test wants it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import repeat

BEFORE_THE_REQUEST = -1
NEVER = 10**12


class ServiceProxy:
    """Passes bytes on between clients and the service at ``target_url``.

    ``breaks``: after how many bytes of answers each connection is cut, or `BEFORE_THE_REQUEST`,
    of which the service then sees nothing. While it is frozen, no answers come.
    """

    def __init__(self) -> None:
        self.url = ""
        self.target_url = ""
        self.breaks: Iterator[int] = repeat(NEVER)
        self.connections = 0
        self.is_frozen = False

    async def connect(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        """Pass a new connection on until one of its ends closes it, or it is cut."""
        self.connections += 1
        left = next(self.breaks)
        writers = [client_writer]
        try:
            if left == BEFORE_THE_REQUEST:
                await client_reader.read(1)
                return
            host, port = self.target_url.removeprefix("http://").split(":")
            server_reader, server_writer = await asyncio.open_connection(host, int(port))
            writers.append(server_writer)
            await self._pass_both_ways(
                client_reader, client_writer, server_reader, server_writer, left
            )
        except OSError:
            pass
        finally:
            for writer in writers:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _pass_both_ways(
        self,
        client_reader: asyncio.StreamReader,
        client_writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
        left: int,
    ) -> None:
        async def pass_requests() -> None:
            while request := await client_reader.read(1 << 16):
                server_writer.write(request)
                await server_writer.drain()

        async def pass_answers(left: int) -> None:
            while answer := await server_reader.read(1 << 16):
                while self.is_frozen:  # noqa: ASYNC110 - set from another thread
                    await asyncio.sleep(0.01)
                client_writer.write(answer[:left])
                await client_writer.drain()
                left -= len(answer)
                if left <= 0:
                    return

        directions = {asyncio.create_task(pass_requests()), asyncio.create_task(pass_answers(left))}
        _, unfinished = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in unfinished:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)


@contextmanager
def service_proxy(target_url: str) -> Iterator[ServiceProxy]:
    """A proxy on a port of its own, in a thread of its own."""
    proxy = ServiceProxy()
    proxy.target_url = target_url
    is_over = asyncio.Event()
    is_listening = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        connections: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.create_task(proxy.connect(reader, writer)))

        listener = await asyncio.start_server(connected, "127.0.0.1", 0)
        proxy.url = "http://{}:{}".format(*listener.sockets[0].getsockname())
        loops.append(asyncio.get_running_loop())
        is_listening.set()
        await is_over.wait()
        listener.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    is_listening.wait()
    try:
        yield proxy
    finally:
        loops[0].call_soon_threadsafe(is_over.set)
        thread.join()

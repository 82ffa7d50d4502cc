"""uvicorn in this process: how it is set up, when it is up, and how it ends."""

import gc
import socket
from collections.abc import Callable

import uvicorn

from app.cli.signals import StopSignals
from app.http_protocol import ProblemProtocol
from app.settings import Settings

# New objects until garbage is looked for among them; Python's own 700 are those of 20 appends.
COLLECT_EVERY = 10_000
# How long requests that are under way may take to end after a stop signal.
GRACE_S = 20


def serve_http(
    settings: Settings,
    sockets: list[socket.socket],
    signals: StopSignals,
    on_up: Callable[[], None],
) -> bool:
    """Serve until a stop signal; False if it could not start."""
    config = uvicorn.Config(
        "app.main:create_app",
        factory=True,
        loop="uvloop",
        http=ProblemProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        # `app.api.request_log` tells of requests, whichever way they come.
        access_log=False,
        server_header=False,
        # No answer tells a client's address or the scheme of its URL.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config, on_up)
    signals.on_stop = lambda: setattr(server, "should_exit", True)
    if signals.count:
        return True
    try:
        server.run(sockets)
    except SystemExit:
        # So uvicorn ends when the application cannot be imported or does not start.
        return False
    return server.started


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_up: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_up = on_up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _collect_garbage_seldom()
        if self.started and not self.should_exit:
            self._on_up()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:
            # The second Ctrl-C stops waiting for requests. The application still closes what it
            # has opened: uvicorn leaves that out.
            await self.lifespan.shutdown()


def _collect_garbage_seldom() -> None:
    """Keep what is there now out of all collections: it lives as long as the process.

    With Python's defaults they take a quarter of a single append's time
    (https://docs.python.org/3.11/library/gc.html#gc.freeze).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, *gc.get_threshold()[1:])

"""Notices that the client has gone while its answer takes its time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

# As nginx says it; nobody is there to read it.
CLIENT_HAS_GONE = 499


async def while_connected(request: Request, answering: Coroutine[Any, Any, Response]) -> Response:
    """The answer, or an empty one as soon as the client has gone: ``answering`` is cancelled then.

    The server lets a request run on whose client has gone. For requests whose body is not needed,
    or was read.
    """
    task = asyncio.create_task(answering)
    leaving = asyncio.create_task(disconnected(request.receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else Response(status_code=CLIENT_HAS_GONE)
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass

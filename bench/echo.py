"""A server that does nothing: what the load generator, HTTP server and machine reach without work.

Any GET is answered with the content of the file ANSWER_TO_GET, a POST with that of ANSWER_TO_POST
or, where none is named, with its own body.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]

_ANSWER_TO_GET = Path(os.environ.get("ANSWER_TO_GET", os.devnull)).read_bytes()
_ANSWER_TO_POST = Path(os.environ.get("ANSWER_TO_POST", os.devnull)).read_bytes()


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    status, body = 200, _ANSWER_TO_GET
    if scope["method"] == "POST":
        status, body = 201, b""
        more = True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        body = _ANSWER_TO_POST or body
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

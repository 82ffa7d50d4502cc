"""Encodes answers; JSON that is stored passes through unparsed."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractContextManager, aclosing
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response, StreamingResponse

from app.events import RecordedEvent

JSON_MEDIA_TYPE = "application/json"
NDJSON_MEDIA_TYPE = "application/x-ndjson"

Item = TypeVar("Item")

_JSON_CONTENT_TYPE = (b"content-type", JSON_MEDIA_TYPE.encode())

encoder = msgspec.json.Encoder()


class JsonResponse(Response):
    """An answer of JSON text, made in a fraction of the time that the framework's takes."""

    def __init__(
        self, body: bytes, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """``headers``: names and values in ASCII."""
        self.status_code = status_code
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON_CONTENT_TYPE]
        if headers:
            self.raw_headers += [
                (name.lower().encode("ascii"), value.encode("ascii"))
                for name, value in headers.items()
            ]


def json_answer(
    body: object, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer with a JSON body."""
    return JsonResponse(encoder.encode(body), status_code, headers)


async def primed(items: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """The same items, the first of them made already.

    What keeps a stream from beginning is so raised before the answer's status line is sent.
    """
    try:
        first = [await anext(items)]
    except StopAsyncIteration:
        first = []

    async def all_items() -> AsyncGenerator[Item, None]:
        async with aclosing(items):
            while first:
                yield first.pop()
            async for item in items:
                yield item

    return all_items()


def ndjson_answer(
    pages: AsyncIterable[list[RecordedEvent]],
    headers: dict[str, str] | None = None,
    *,
    streaming: AbstractContextManager[None],
) -> Response:
    """A stream of events, one a line; page by page, as fast as the client reads.

    ``streaming`` is entered for as long as it lasts.
    An error on the way breaks the connection off, so that a client never takes a part for all.
    """

    async def lines() -> AsyncIterator[bytes]:
        with streaming:
            async for events in pages:
                yield encoder.encode_lines(events)

    return StreamingResponse(lines(), headers=headers, media_type=NDJSON_MEDIA_TYPE)


def streamed_array_answer(
    members: dict[str, Any],
    array_name: str,
    events: list[RecordedEvent],
    further_pages: AsyncIterable[list[RecordedEvent]],
    headers: dict[str, str],
) -> Response:
    """A JSON object of ``members``, and last all events as the array ``array_name``.

    In bounded memory, however many pages follow; any of them may be empty. An error on the way
    breaks the connection off.
    """

    async def chunks() -> AsyncIterator[bytes]:
        yield encoder.encode({**members, array_name: events})[: -len("]}")]
        separator = b"," if events else b""
        async for page in further_pages:
            if page:
                yield separator + encoder.encode(page)[1:-1]
                separator = b","
        yield b"]}"

    return StreamingResponse(chunks(), headers=headers, media_type=JSON_MEDIA_TYPE)

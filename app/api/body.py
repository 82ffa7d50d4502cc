"""Reads and decodes request bodies, within their bound."""

import re
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope

from app.api.bodies_in_flight import hold_body_bytes
from app.commands.locate_unstorable import locate_in_json
from app.errors import InvalidInput

Body = TypeVar("Body")

# The reason may quote an unknown key, and that may contain anything. No place: it is the whole.
_REASON_AND_PLACE = re.compile(r"(?P<reason>.*) - at `(?P<place>\$[^`]*)`", re.DOTALL)


class MalformedBodyError(Exception):
    """The body is not JSON in UTF-8 (RFC 8259)."""


class BodyTooLargeError(Exception):
    """The body is over the limit; it was not read to its end."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(f"the body is over {max_body_bytes} bytes")
        self.max_body_bytes = max_body_bytes


async def read_body(request: Request, max_body_bytes: int) -> bytes:
    """The whole body of a request; see `receive_body`."""
    return await receive_body(request.scope, request.receive, max_body_bytes)


async def receive_body(scope: Scope, receive: Receive, max_body_bytes: int) -> bytes:
    """The whole body.

    What is not read here is read and dropped by the server, also behind the answer: a connection
    closed under a client that is still sending is reset, and the answer lost with it.

    Raises:
        BodyTooLargeError: As soon as that is known: from its declared length, before any of it is
            read, or from what has arrived.
        ServiceBusy: It and the other bodies in flight take too much memory.
        MalformedBodyError: The client has gone; nobody is there to read the answer.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > max_body_bytes:
            raise BodyTooLargeError(max_body_bytes)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedBodyError("the client went away before the end of the body")
        chunk: bytes = message.get("body", b"")
        if len(body) + len(chunk) > max_body_bytes:
            raise BodyTooLargeError(max_body_bytes)
        hold_body_bytes(scope, len(chunk), max_body_bytes)
        if not message.get("more_body", False):
            return bytes(body + chunk) if body else chunk
        body += chunk


def decode_body(body: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
    """The body as the decoder's type.

    Raises:
        MalformedBodyError: It is not JSON.
        InvalidInput: It is JSON of another shape, or with half of a surrogate pair, or nested too
            deeply; names the place.
    """
    try:
        # The decoder leaves bytes within event_data alone: whether they are UTF-8 is seen here. It
        # is not given the text, which takes up to four times the memory and would be kept as long
        # as any raw part of it.
        body.decode("utf-8")
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8: {error.reason}") from error
    except msgspec.ValidationError as error:
        match = _REASON_AND_PLACE.fullmatch(str(error))
        place, reason = (match["place"], match["reason"]) if match else ("$", str(error))
        raise InvalidInput(place, reason) from error
    except msgspec.DecodeError as error:
        raise _refusal(body, error) from error
    except RecursionError as error:
        raise InvalidInput("$", "is nested too deeply") from error


def _refusal(body: bytes, error: msgspec.DecodeError) -> Exception:
    """Tell a lone surrogate, which JSON's grammar allows, from a text that is no JSON."""
    try:
        located = locate_in_json(body, "$")
    except ValueError:
        located = None
    return located or MalformedBodyError(str(error))

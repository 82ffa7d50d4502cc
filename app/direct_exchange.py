"""A request that is answered without ASGI, and its place among uvicorn's own on a connection."""

from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol


class DirectRequest(Protocol):
    """What the body of a request goes to."""

    def receive(self, chunk: bytes) -> None:
        """Take a part of the body."""

    def complete(self) -> None:
        """The body is there."""

    def abandon(self) -> None:
        """The client has gone before the end of the body."""


class DirectResponse(Protocol):
    """What is sent: an answer that is there as a whole."""

    status_code: int
    raw_headers: list[tuple[bytes, bytes]]
    body: bytes | memoryview


class DirectExchange:
    """Stands where uvicorn has a request's cycle: so it knows that one is open, or answered.

    A request that is sent before this one is answered waits as behind any other one, and a stop of
    the server lets this one be answered first. It does not know its request, which knows it: with
    the body in it, that must be gone when it is answered and not when garbage is looked for.
    """

    __slots__ = ("_protocol", "disconnected", "keep_alive", "response_complete")

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> "DirectExchange":
        """What uvicorn sets to tell of a disconnect; nothing waits for it here."""
        return self

    def set(self) -> None:
        """See `message_event`."""

    def answer(self, response: DirectResponse) -> None:
        """Send the answer, and let the next request of the connection begin."""
        protocol = self._protocol
        self.response_complete = True
        if protocol.transport.is_closing():
            return
        parts = [STATUS_LINE[response.status_code]]
        for name, value in protocol.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in response.raw_headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        protocol.transport.write(b"".join((*parts, response.body)))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

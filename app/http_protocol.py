"""What uvicorn's HTTP protocol leaves out: problem details, HTTP/1.0 streams, single writes.

And a way past ASGI for requests that are answered without it: see `app.direct_exchange`.
"""

import asyncio
import socket
import struct
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.direct_exchange import DirectExchange, DirectRequest

SLUG = "malformed-request"
TITLE = "This is not an HTTP request"
# What closing a socket means (socket(7), SO_LINGER): that the peer is told of an error, or of an
# end.
_RESET = struct.pack("ii", 1, 0)
_END = struct.pack("ii", 0, 0)


class ProblemProtocol(HttpToolsProtocol):
    """uvicorn's protocol; a request that cannot be parsed is answered as RFC 9457 says."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._take_append = self.app_state.get("take_append")
        self._receiving: DirectRequest | None = None
        self._idle_since: float | None = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP request, and close the connection."""
        body = msgspec.json.encode(
            {
                "type": f"/problems/{SLUG}",
                "title": TITLE,
                "status": 400,
                "detail": msg,
            }
        )
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n"
            b"content-type: application/problem+json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    def shutdown(self) -> None:
        """Let the connection end: the server stops."""
        super().shutdown()
        # What has no end of its own would hold the server up until its patience ends.
        if stop_streams := self.app_state.get("stop_streams"):
            stop_streams()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what waits for more of a request."""
        if self._receiving is not None:
            self._receiving.abandon()
            self._receiving = None
        super()._unset_keepalive_if_required()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Let the next request begin, or the connection be idle."""
        if self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._close_when_idle_for(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        # uvicorn ends the timer here and begins another behind each answer: a tenth of the time
        # that an append takes. This one looks by itself whether the connection has been idle.
        self._idle_since = None

    def _close_when_idle_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for long enough."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        remaining_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if remaining_s > 0:
            self._close_when_idle_for(remaining_s)
        else:
            super().timeout_keep_alive_handler()

    def on_message_begin(self) -> None:
        """Begin with a request; without what only ASGI needs."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Begin to answer a request whose headers are there."""
        if self._take_append is not None and self._is_plain_post():
            exchange = DirectExchange(self)
            request = self._take_append(self.url, self.headers, exchange.answer)
            if request is not None:
                self._receiving = request
                self.cycle = exchange  # type: ignore[assignment]
                return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        # The list that the scope has got.
        self.headers += headers
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            _end_by_close(self.cycle)
        elif self.scope["method"] != "HEAD":
            self.cycle.transport = _HeadWithBody(self.transport)  # type: ignore[assignment]

    def _is_plain_post(self) -> bool:
        """Whether the request is to be answered at once, and over HTTP/1.1 as most are."""
        return (
            self.parser.get_method() == b"POST"
            and not self._is_answering()
            # Nothing more is begun for who does not read.
            and not self.flow.write_paused
            and self.parser.should_keep_alive()
            and self.parser.get_http_version() == "1.1"
        )

    def _is_answering(self) -> bool:
        # uvicorn's own type leaves out that there is none at first.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def on_body(self, body: bytes) -> None:
        """Take a part of a request's body."""
        if self._receiving is None:
            super().on_body(body)
        else:
            self._receiving.receive(body)

    def on_message_complete(self) -> None:
        """A request is there as a whole."""
        if self._receiving is None:
            super().on_message_complete()
            return
        request, self._receiving = self._receiving, None
        request.complete()


class _HeadWithBody:
    """A transport that sends the head of an answer together with its body.

    uvicorn writes each by itself, at the price of a system call, and often of a packet, more. The
    head of an answer without a length is sent at once: nobody knows when its first part comes.
    """

    __slots__ = ("_head", "_is_begun", "_transport", "close", "get_extra_info", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._is_begun = False
        self._head = b""
        self.close = transport.close
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._is_begun:
            self._is_begun = True
            if b"\r\ncontent-length: " in data:
                self._head = data
                return
        elif self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)


def _end_by_close(cycle: RequestResponseCycle) -> None:
    """Let an answer over HTTP/1.0 whose length is not known end where its connection does.

    uvicorn would use the chunked coding, which HTTP/1.0 does not have (RFC 9112, section 6.1).
    Until such an answer is whole, its connection can only be reset, by whatever it is closed, so
    that the client never takes a part for all.
    """
    send = cycle.send
    ends_by_close = False

    async def send_until_close(message: Any) -> None:
        nonlocal ends_by_close
        if message["type"] == "http.response.start":
            ends_by_close = _has_unknown_length(cycle.scope["method"], message)
            if ends_by_close:
                cycle.chunked_encoding = False
                _let_close_mean(_RESET, cycle)
        elif ends_by_close:
            cycle.expected_content_length = len(message.get("body", b""))
            if not message.get("more_body", False):
                _let_close_mean(_END, cycle)
        await send(message)

    cycle.send = send_until_close  # type: ignore[method-assign]


def _has_unknown_length(method: str, start: Any) -> bool:
    if method == "HEAD" or start["status"] in {204, 304}:
        return False
    return all(name.lower() != b"content-length" for name, _ in start.get("headers", ()))


def _let_close_mean(meaning: bytes, cycle: RequestResponseCycle) -> None:
    # The number of a closed socket may be another connection's already.
    if not cycle.transport.is_closing():
        connection = cycle.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, meaning)

"""Reads HTTP/1.1 answers from the bytes of a connection, as cheaply as Python can: pure.

Only what the measured requests are answered with: one answer at a time, Content-Length, no chunks.
"""

from typing import Final, NamedTuple

_END_OF_HEAD: Final = b"\r\n\r\n"
_CONTENT_LENGTH: Final = b"\r\ncontent-length:"


class Response(NamedTuple):
    status: int
    body: bytes


class UnreadableResponse(Exception):
    """Not an answer that this reader is for."""


class ResponseReader:
    """Takes the bytes of a connection in whatever pieces they come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._received = 0
        self._body_starts_at = 0
        self._ends_at: int | None = None

    def feed(self, data: bytes) -> Response | None:
        """The answer, with the piece that completes it; None before."""
        self._pieces.append(data)
        self._received += len(data)
        if self._ends_at is None and not self._read_head():
            return None
        assert self._ends_at is not None
        if self._received < self._ends_at:
            return None
        if self._received > self._ends_at:
            raise UnreadableResponse("more bytes than the answer has")
        received = self._joined()
        response = Response(int(received[9:12]), received[self._body_starts_at :])
        self._pieces.clear()
        self._received = 0
        self._ends_at = None
        return response

    def _read_head(self) -> bool:
        received = self._joined()
        end = received.find(_END_OF_HEAD)
        if end < 0:
            return False
        if not received.startswith(b"HTTP/1.1 "):
            raise UnreadableResponse(f"not HTTP/1.1: {received[:40]!r}")
        head = received[: end + 2].lower()
        at = head.find(_CONTENT_LENGTH)
        if at < 0:
            raise UnreadableResponse(f"no Content-Length: {head!r}")
        value = head[at + len(_CONTENT_LENGTH) : head.find(b"\r\n", at + 2)]
        self._body_starts_at = end + len(_END_OF_HEAD)
        self._ends_at = self._body_starts_at + int(value)
        return True

    def _joined(self) -> bytes:
        if len(self._pieces) > 1:
            self._pieces[:] = [b"".join(self._pieces)]
        return self._pieces[0]

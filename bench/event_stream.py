"""Reads streamed answers from the bytes of a connection, as cheaply as Python can: pure."""

from typing import Final

from bench.http_response import UnreadableResponse

_END_OF_HEAD: Final = b"\r\n\r\n"
_ID: Final = b"id: "
_CHECKPOINT: Final = b"event: checkpoint"


class StreamedResponse:
    """The content of one 200 answer in the chunked coding, in whatever pieces its bytes come."""

    def __init__(self) -> None:
        self.is_complete = False
        """Whether the answer has come to its end."""
        self._has_head = False
        self._rest = b""
        self._left = 0
        """Bytes of the current chunk that have not come, with the line end behind it."""

    def feed(self, data: bytes) -> bytes:
        """The content in the next piece; what is behind the end is passed over."""
        if self.is_complete:
            return b""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        if not self._has_head:
            at = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
            if at < len(_END_OF_HEAD):
                self._rest = data
                return b""
            _check_head(data[:at], data)
            self._has_head = True
        pieces = []
        while at < len(data):
            if not self._left:
                end = data.find(b"\r\n", at)
                if end < 0:
                    self._rest = data[at:]
                    break
                size = int(data[at:end], 16)
                if size == 0:
                    self.is_complete = True
                    break
                self._left = size + 2
                at = end + 2
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            # Of the line end, what has come: the last two bytes of what was left.
            content = len(piece) - max(0, 2 - self._left)
            if content > 0:
                pieces.append(piece[:content])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _check_head(head: bytes, data: bytes) -> None:
    if not head.startswith(b"HTTP/1.1 200 "):
        raise UnreadableResponse(f"not 200: {data[:1000]!r}")
    if b"\r\ntransfer-encoding: chunked\r\n" not in head.lower():
        raise UnreadableResponse(f"not chunked: {head!r}")


class EventIds:
    """The ids of the server-sent events in a stream, checkpoints apart."""

    def __init__(self) -> None:
        self.is_live = False
        """Whether there was a checkpoint: the first one means that the stream has caught up."""
        self._rest = b""

    def feed(self, content: bytes) -> list[int]:
        """The ids of the events that end in the next piece."""
        *frames, self._rest = (self._rest + content).split(b"\n\n")
        ids = []
        for frame in frames:
            if frame.startswith(_ID):
                end = frame.find(b"\n")
                if frame.startswith(_CHECKPOINT, end + 1):
                    self.is_live = True
                else:
                    ids.append(int(frame[len(_ID) : end]))
        return ids


class Continuity:
    """Whether positions come one after the other. Appends of the benchmark leave no holes."""

    def __init__(self, after: int) -> None:
        self.reached = after
        self.missed = 0
        self.repeated = 0

    def take(self, positions: list[int]) -> None:
        """Take note of the next positions."""
        start = self.reached + 1
        if positions == list(range(start, start + len(positions))):
            self.reached += len(positions)
            return
        for position in positions:
            if position <= self.reached:
                self.repeated += 1
            else:
                self.missed += position - self.reached - 1
                self.reached = position

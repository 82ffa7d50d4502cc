"""Parses server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import re
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Message(NamedTuple):
    """A message of the stream; ``id`` is the last one that was given, here or before."""

    id: bytes
    event: bytes
    data: bytes


class SseParser:
    """Makes messages of the bytes of one connection, whichever way these are cut into chunks.

    ``retry`` is not heeded: the pause before a reconnection is the client's own, with jitter.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._ends_with_cr = False
        self._is_first_line = True
        self._id = b""
        self._event = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[Message]:
        """Take the next bytes; return the messages that they complete."""
        if self._ends_with_cr and chunk:
            # The line has ended with the CR; its LF is no line of its own.
            chunk = chunk.removeprefix(b"\n")
            self._ends_with_cr = False
        if chunk.endswith(b"\r"):
            self._ends_with_cr = True
        first, *others = _LINE_END.split(chunk)
        # Only joined at its end: a long line in many chunks would be copied with each of them.
        self._line.append(first)
        messages = []
        for other in others:
            message = self._take_line(b"".join(self._line))
            if message is not None:
                messages.append(message)
            self._line = [other]
        return messages

    def _take_line(self, line: bytes) -> Message | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id" and b"\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> Message | None:
        data, event = self._data, self._event
        self._data, self._event = [], b""
        # As in a browser: without data it is no message, though it may have set the id.
        return Message(self._id, event or b"message", b"\n".join(data)) if data else None

"""Reads a file of events: every line gets an id, and parts of many lines go out together."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from app.cli.errors import CliError
from app.cli.line_ids import FileMemory

MAX_LINE_BYTES = 64 * 1024 * 1024
UTF8_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLine(CliError):
    """A line of the file cannot be imported."""

    def __init__(self, file: str, number: int, reason: str) -> None:
        super().__init__(f"{file}:{number}: {reason}")


class _Line(msgspec.Struct):
    """What has to be known of a line here; all else is for the service to judge."""

    aggregate_type: str
    aggregate_id: str
    event_id: str | None = None


_decoder = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that follow each other in the file, from ``first_number``, as they are sent."""

    first_number: int
    body: bytes
    size_bytes: int


def read_parts(
    file: BinaryIO, name: str, memory: FileMemory, max_lines: int, max_bytes: int
) -> Iterator[Part]:
    """Read ``file`` part by part; each has ``max_lines``, or ``max_bytes`` or more, but the last.

    Empty lines are among them, so that the lines after them keep their numbers. At a line that is
    too long the lines before it come as a last part; after that `BadLine` is raised.
    """
    lines: list[bytes] = []
    number = first_number = 1
    size_bytes = sent_bytes = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            break
        size_bytes += len(line)
        if number == 1:
            line = line.removeprefix(UTF8_BYTE_ORDER_MARK)
        lines.append(_with_id(line.rstrip(b"\r\n"), memory))
        sent_bytes += len(lines[-1])
        number += 1
        if len(lines) >= max_lines or sent_bytes >= max_bytes:
            yield Part(first_number, b"\n".join((*lines, b"")), size_bytes)
            lines, first_number, size_bytes, sent_bytes = [], number, 0, 0
    if lines:
        yield Part(first_number, b"\n".join((*lines, b"")), size_bytes)
    if line:
        raise BadLine(name, number, f"is longer than {MAX_LINE_BYTES // 1024**2} MiB")


def _with_id(line: bytes, memory: FileMemory) -> bytes:
    try:
        head = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Not an event: the service says what is wrong with it, or it is empty.
        return line
    memory.add_aggregate(head.aggregate_type, head.aggregate_id)
    if head.event_id is not None:
        return line
    # At the end: of a key that occurs twice, as ``"event_id": null`` would, the last one counts.
    event_id = memory.event_id(line)
    return b'%b,"event_id":"%b"}' % (line.rstrip()[:-1], str(event_id).encode())

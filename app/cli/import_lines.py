"""Reads a file of events: lines are checked, given ids, and grouped by aggregate in windows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

import msgspec

from app.cli.errors import CliError
from app.cli.line_ids import FileMemory
from app.events import AggregateId, AggregateType, Name

MAX_LINE_BYTES = 64 * 1024 * 1024
UTF8_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NULL = msgspec.Raw(b"null")


class BadLine(CliError):
    """A line of the file cannot be imported."""

    def __init__(self, file: str, number: int, reason: str) -> None:
        super().__init__(f"{file}:{number}: {reason}")


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    aggregate_type: AggregateType
    aggregate_id: AggregateId
    event_type: Name
    event_data: msgspec.Raw
    metadata: msgspec.Raw = NULL
    occurred_at: str | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    event_id: UUID | None = None
    # What an exported line carries besides: the store gives its own.
    version: int | None = None
    global_position: int | None = None


class _Event(msgspec.Struct, omit_defaults=True):
    event_id: UUID
    event_type: str
    event_data: msgspec.Raw
    metadata: msgspec.Raw = NULL
    occurred_at: str | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None


_decoder = msgspec.json.Decoder(_Line)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is ready to be sent: ``event`` is the JSON of one event of an append."""

    number: int
    size_bytes: int
    aggregate_type: str
    aggregate_id: str
    event_id: UUID
    event: bytes


Window = list[list[Line]]
"""The lines of a part of the file: a list per aggregate, in file order."""


def read_windows(
    file: BinaryIO, name: str, memory: FileMemory, max_lines: int, max_bytes: int
) -> Iterator[Window]:
    """Read ``file`` window by window: many lines, so that few requests carry them, yet bounded.

    At a bad line the lines before it come as a last window; after that `BadLine` is raised.
    """
    groups: dict[tuple[str, str], list[Line]] = {}
    lines = size_bytes = 0
    try:
        for number, text in _numbered_lines(file, name):
            parsed = _parse(text, name, number)
            key = parsed.aggregate_type, parsed.aggregate_id
            if key not in groups:
                groups[key] = []
                memory.add_aggregate(*key)
            groups[key].append(_line(number, text, parsed, memory))
            lines += 1
            size_bytes += len(text)
            if lines >= max_lines or size_bytes >= max_bytes:
                yield list(groups.values())
                groups = {}
                lines = size_bytes = 0
    except BadLine:
        if groups:
            yield list(groups.values())
        raise
    if groups:
        yield list(groups.values())


def _numbered_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """Number the lines from 1, as editors do; empty ones are counted and left out."""
    number = 0
    while text := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(text) > MAX_LINE_BYTES:
            raise BadLine(name, number, f"is longer than {MAX_LINE_BYTES // 1024**2} MiB")
        if number == 1:
            text = text.removeprefix(UTF8_BYTE_ORDER_MARK)
        if not text.isspace() and text:
            yield number, text


def _parse(text: bytes, name: str, number: int) -> _Line:
    try:
        text.decode()  # the parts that stay unparsed are not looked at otherwise
        return _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise BadLine(name, number, "is not UTF-8") from error
    except msgspec.ValidationError as error:
        raise BadLine(name, number, str(error)) from error
    except msgspec.DecodeError as error:
        raise BadLine(name, number, f"is not JSON: {error}") from error
    except RecursionError as error:
        raise BadLine(name, number, "is nested too deeply") from error


def _line(number: int, text: bytes, parsed: _Line, memory: FileMemory) -> Line:
    event_id = parsed.event_id or memory.event_id(text)
    event = _Event(
        event_id=event_id,
        event_type=parsed.event_type,
        event_data=parsed.event_data,
        metadata=parsed.metadata,
        occurred_at=parsed.occurred_at,
        correlation_id=parsed.correlation_id,
        causation_id=parsed.causation_id,
    )
    return Line(
        number=number,
        size_bytes=len(text),
        aggregate_type=parsed.aggregate_type,
        aggregate_id=parsed.aggregate_id,
        event_id=event_id,
        event=_encoder.encode(event),
    )

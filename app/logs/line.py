"""Renders a record as one line of JSON or of text, whatever is in it.

A line has at most `MAX_LINE_BYTES`, so that lines that several processes write to one pipe do not
get into each other (POSIX, `write`: PIPE_BUF).
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from structlog.typing import EventDict, WrappedLogger

from app.logs.context import origin
from app.logs.failure import describe

MAX_LINE_BYTES: Final = 4096
# As JSON, without its quotes. An exception gets what the others leave: a thousand bytes and more.
MAX_EVENT_BYTES: Final = 600
MAX_VALUE_BYTES: Final = 300

# Whatever else is attached to a record, by a library say, is not told.
FIELDS: Final = (
    "component",
    "request_id",
    "correlation_id",
    "trace_id",
    "parent_id",
    "operation",
    "aggregate_type",
    "aggregate_id",
    "method",
    "path",
    "status",
    "problem",
    "duration_ms",
    "left_out",
)
_BARE = re.compile(r"[^\s\"'=\\]+")


def collect(_: WrappedLogger, __: str, found: EventDict) -> EventDict:
    """What is told of a record, in its order; the first processor."""
    record: logging.LogRecord = found["_record"]
    whose = origin.get()
    context: Mapping[str, Any] = {} if whose is None else whose.log_fields()
    told: EventDict = {
        "timestamp": _timestamp(record.created),
        "level": record.levelname.lower(),
        "logger": cut(record.name, MAX_VALUE_BYTES),
        "event": cut(found["event"].strip(), MAX_EVENT_BYTES),
    }
    for name in FIELDS:
        value = record.__dict__.get(name, context.get(name))
        if value is not None:
            told[name] = value if isinstance(value, int | float) else _text(value)
    if (failed := found.get("exc_info")) and failed[1] is not None:
        room = MAX_LINE_BYTES - len(json.dumps({**told, "exception": ""})) - len("\n")
        told["exception"] = cut(describe(failed[1]), room)
    return told


def as_json(_: WrappedLogger, __: str, told: EventDict) -> str:
    """A record as a JSON object in ASCII: any other character is escaped, so it is one line."""
    return json.dumps(told)


def as_text(_: WrappedLogger, __: str, told: EventDict) -> str:
    """A record for people. What does not print, line ends above all, is escaped."""
    head = (told.pop(name) for name in ("timestamp", "level", "logger", "event"))
    timestamp, level, logger, event = map(_printable, head)
    fields = "".join(f" {name}={_quoted(value)}" for name, value in told.items())
    return f"{timestamp} {level:<8} {logger}: {event}{fields}"


def _text(value: object) -> str:
    return cut(str(value), MAX_VALUE_BYTES)


def cut(text: str, max_bytes: int) -> str:
    """A text that takes at most so many bytes in a JSON string; … stands for what is missing.

    The same bound holds as text: no escape there is longer than in JSON.
    """
    if len(json.dumps(text[: max_bytes + 1])) - 2 <= max_bytes:
        return text
    room = max_bytes - len(json.dumps("…")) + 2
    for length, character in enumerate(text):
        room -= len(json.dumps(character)) - 2
        if room < 0:
            return text[:length] + "…"
    return text


def _timestamp(created_s: float) -> str:
    at = datetime.fromtimestamp(created_s, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(value: object) -> str:
    text = str(value)
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    return '"{}"'.format(_printable(text).replace('"', '\\"'))


def _printable(text: str) -> str:
    """Escaped are a backslash and what does not print: ends of lines, directions, controls."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        character if character.isprintable() and character != "\\" else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]

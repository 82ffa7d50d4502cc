"""What the service and its fold process tell each other: JSON behind its length.

A request is answered before the next one is sent.
"""

import struct
from typing import Final

import msgspec
from msgspec import Raw

from app.events import RecordedEvent

LENGTH: Final = struct.Struct("<I")


class CheckRequest(msgspec.Struct, tag="check", frozen=True):
    """Asks whether the expressions of a reducer parse."""

    reducer: Raw


class CheckAnswer(msgspec.Struct, tag="checked", frozen=True):
    """The first event type, by name, whose expression does not parse, and why; None: all do."""

    event_type: str | None
    reason: str


class FoldRequest(msgspec.Struct, tag="fold", frozen=True):
    """Fold events into a state; ``reducer`` may be kept under its ``hash``."""

    hash: str
    reducer: Raw
    state: Raw
    events: list[RecordedEvent]


class ReceivedFoldRequest(msgspec.Struct, tag="fold", frozen=True):
    """The same, where only what is used of an event is parsed."""

    hash: str
    reducer: Raw
    state: Raw
    events: list[Raw]


class FoldAnswer(msgspec.Struct, tag="folded", frozen=True):
    """The state after the first ``count`` events: as many as were folded in one turn."""

    count: int
    state: Raw


class FoldFailure(msgspec.Struct, tag="failed", frozen=True):
    """The reducer fails on the event with this index."""

    index: int
    reason: str


Request = CheckRequest | ReceivedFoldRequest
Answer = CheckAnswer | FoldAnswer | FoldFailure

encode = msgspec.json.Encoder().encode
_request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
decode_request = _request_decoder.decode
_answer_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
decode_answer = _answer_decoder.decode


def framed(message: CheckRequest | FoldRequest | Answer) -> bytes:
    """The bytes of a message on the pipe."""
    text = encode(message)
    return LENGTH.pack(len(text)) + text

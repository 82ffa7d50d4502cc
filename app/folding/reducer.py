"""What a reducer is, and what is refused as one: everything that can be told without running it.

Whether an expression parses is told by `FoldProcess.check`: a parser of a foreign text belongs
where it cannot take the service with it.
"""

import hashlib
import re
from importlib.metadata import version
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, field

from app.commands.locate_unstorable import locate_in_json
from app.commands.refuse_expanding_numbers import refuse_expanding_numbers
from app.errors import InvalidInput
from app.events import MAX_NAME_LENGTH, JsonValue
from app.folding.canonical import canonical_json
from app.folding.jsonata_source import refuse_undetermined

MAX_REDUCER_BYTES: Final = 1024 * 1024
MAX_EXPRESSION_LENGTH: Final = 64 * 1024
MAX_EXPRESSIONS: Final = 1_000
MAX_FIELDS: Final = 100
ANY_EVENT_TYPE: Final = "*"

# With the rules of folding: a change of theirs, or of the engine, makes snapshots that are folded
# anew. Count up what a change can give another state by.
MERGE_ENGINE: Final = "merge 1"
JSONATA_ENGINE: Final = f"jsonata 1, jlens {version('jlens')}"

EventField: TypeAlias = Literal[
    "event_id",
    "aggregate_type",
    "aggregate_id",
    "version",
    "event_type",
    "metadata",
    "occurred_at",
    "correlation_id",
    "causation_id",
    "global_position",
]
EVENT_FIELDS: Final = get_args(EventField)


class MergeReducer(
    msgspec.Struct, tag_field="kind", tag="merge", forbid_unknown_fields=True, frozen=True
):
    """Each event's `event_data` is a JSON Merge Patch (RFC 7396) of the state, at first `{}`."""

    fields: Annotated[
        dict[str, EventField],
        Meta(
            description="Members of the state that are set behind each event, and what of the "
            "event to; they go before members of `event_data`.",
            extra_json_schema={"maxProperties": MAX_FIELDS},
        ),
    ] = field(default_factory=dict)


class JsonataReducer(
    msgspec.Struct, tag_field="kind", tag="jsonata", forbid_unknown_fields=True, frozen=True
):
    """Each event's state is what the expression for its type makes of `state` and `event`.

    Without a result, and without an expression for the type, the state stays as it is.
    """

    on: Annotated[
        dict[str, str],
        Meta(
            description="The JSONata expression for each event type; `*`: for all others.",
            extra_json_schema={"minProperties": 1, "maxProperties": MAX_EXPRESSIONS},
        ),
    ]
    initial: Annotated[JsonValue, Meta(description="The state before event 1. Default: `{}`.")] = (
        field(default_factory=lambda: msgspec.Raw(b"{}"))
    )


AnyReducer: TypeAlias = MergeReducer | JsonataReducer


class Reducer(msgspec.Struct, frozen=True):
    """A reducer, checked; two that are equal as JSON have the same ``hash``.

    ``canonical`` is its text, the same for both, and the same again when it has been kept as jsonb.
    ``hash`` (64 hex digits) changes with the text and with the engine that folds: states of equal
    hash are made in the same way.
    """

    spec: AnyReducer
    canonical: bytes
    hash: str

    @property
    def initial(self) -> bytes:
        """The state before the first event."""
        return bytes(self.spec.initial) if isinstance(self.spec, JsonataReducer) else b"{}"


_decoder: msgspec.json.Decoder[AnyReducer] = msgspec.json.Decoder(AnyReducer)
decode_reducer = _decoder.decode
_REASON_AND_PLACE = re.compile(r"(?P<reason>.*) - at `\$(?P<place>[^`]*)`", re.DOTALL)
_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)


def parse_reducer(raw: bytes, place: str) -> Reducer:
    """The reducer that a JSON text (well-formed, in UTF-8) describes; ``place`` is its JSON path.

    Raises:
        InvalidInput: It is none, or too large; names the place.
    """
    if len(raw) > MAX_REDUCER_BYTES:
        raise InvalidInput(place, f"is over {MAX_REDUCER_BYTES} bytes")
    if (unstorable := locate_in_json(raw, place)) is not None:
        raise unstorable
    refuse_expanding_numbers(raw, place)
    try:
        canonical = canonical_json(raw)
    except RecursionError as error:
        raise InvalidInput(place, "is nested too deeply") from error
    try:
        spec = decode_reducer(canonical)
    except msgspec.ValidationError as error:
        raise _refusal(canonical, str(error), place) from error
    if isinstance(spec, JsonataReducer):
        _check_expressions(spec.on, f"{place}.on")
    else:
        _check_fields(spec.fields, f"{place}.fields")
    engine = JSONATA_ENGINE if isinstance(spec, JsonataReducer) else MERGE_ENGINE
    digest = hashlib.sha256(engine.encode() + b"\n" + canonical).hexdigest()
    return Reducer(spec, canonical, digest)


def _refusal(canonical: bytes, message: str, place: str) -> InvalidInput:
    """What the decoder refuses, at the place that it means."""
    if unknown := _UNKNOWN_KEY.fullmatch(message):
        return InvalidInput(f"{place}.{unknown['key']}", "is no member of a reducer of this kind")
    match = _REASON_AND_PLACE.fullmatch(message)
    if match is None:
        return InvalidInput(place, message)
    below, reason = match["place"], match["reason"]
    if below.endswith("[...]"):
        # A member of `on` or `fields`, which the decoder does not name: the first that is no text,
        # or no name of a field.
        below = below.removesuffix("[...]")
        members = msgspec.json.decode(canonical)[below[1:]]
        wrong = (
            key
            for key, value in members.items()
            if not isinstance(value, str) or (below == ".fields" and value not in EVENT_FIELDS)
        )
        below += f".{next(wrong)}"
    return InvalidInput(f"{place}{below}", reason)


def _check_expressions(on: dict[str, str], place: str) -> None:
    if not 1 <= len(on) <= MAX_EXPRESSIONS:
        raise InvalidInput(place, f"has {len(on)} expressions: 1 to {MAX_EXPRESSIONS} are taken")
    for event_type, expression in on.items():
        if not 1 <= len(event_type) <= MAX_NAME_LENGTH:
            raise InvalidInput(f"{place}.<key>", "is no event type: it has 1 to 255 characters")
        if len(expression) > MAX_EXPRESSION_LENGTH:
            raise InvalidInput(
                f"{place}.{event_type}", f"is over {MAX_EXPRESSION_LENGTH} characters"
            )
        refuse_undetermined(expression, f"{place}.{event_type}")


def _check_fields(fields: dict[str, EventField], place: str) -> None:
    if len(fields) > MAX_FIELDS:
        raise InvalidInput(place, f"has {len(fields)} members: at most {MAX_FIELDS} are taken")

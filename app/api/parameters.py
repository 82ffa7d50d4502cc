"""Parameters that several operations have."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Header, Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    StringConstraints,
    WithJsonSchema,
)

from app.events import MAX_NAME_LENGTH, MAX_VERSION, NAME_PATTERN

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 10_000


class Direction(StrEnum):
    """Along the order of the events, or against it."""

    forward = "forward"
    backward = "backward"


def _name(description: str, example: str) -> object:
    return Path(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        pattern=NAME_PATTERN,
        description=description,
        examples=[example],
    )


AggregateTypePath = Annotated[
    str, _name("The kind of aggregate; percent-encoded as one segment.", "Order")
]
AggregateIdPath = Annotated[
    str, _name("The aggregate; percent-encoded as one segment, so it may contain `/`.", "ord-123")
]
ProjectionNamePath = Annotated[
    str, _name("The projection; percent-encoded as one segment.", "order-totals")
]
NameText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN),
]


def _refuse_number(value: object) -> object:
    """Pydantic would take a number for the seconds since 1970."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        raise ValueError("a time has the form of RFC 3339, like 2026-11-23T10:15:30Z")
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time must lie in the years 1 to 9999 in UTC") from None


_NUMBER = re.compile(r"[\s\d._+-]*")
Time = Annotated[AwareDatetime, BeforeValidator(_refuse_number), AfterValidator(_in_utc)]
AtVersionQuery = Annotated[
    int | None, Query(ge=1, le=MAX_VERSION, description="As it was at this version.")
]
AsOfQuery = Annotated[
    Time | None,
    Query(description="As it was at this time: before the first event that occurred later."),
]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The most items of a page.")]
AggregateTypeQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        pattern=NAME_PATTERN,
        description="Only aggregates of this type. Default: of all.",
    ),
]
ExactQuery = Annotated[
    bool,
    Query(
        description="true: find it out really, which takes its time: about a second for a million "
        "events. Default: by the figures that are kept."
    ),
]
TokenQuery = Annotated[
    str | None,
    Query(
        # Two names, of which each character may take twelve.
        max_length=24 * MAX_NAME_LENGTH + 100,
        description="Where the page begins: `next_after` of the page before.",
    ),
]
CorrelationHeader = Annotated[
    UUID | None,
    Header(alias="X-Correlation-ID", description="For events that carry no `correlation_id`."),
]
CausationHeader = Annotated[
    UUID | None,
    Header(alias="X-Causation-ID", description="For events that carry no `causation_id`."),
]


def _decoded(value: object) -> object:
    """A header's text as it was meant: what the framework takes for Latin-1 is mostly UTF-8."""
    try:
        return value.encode("latin-1").decode("utf-8") if isinstance(value, str) else value
    except UnicodeDecodeError:
        return value


IdempotencyKeyHeader = Annotated[
    str | None,
    BeforeValidator(_decoded),
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Makes the request safe to repeat: ids of events that carry none are derived "
        "from it.",
    ),
]
# Lists, because a header may come in several lines; the document describes them as one line.
# What the patterns do not match is answered 400, by `app.api.preconditions`.
IfMatchHeader = Annotated[
    list[str] | None,
    Header(
        alias="If-Match",
        description="The version that the aggregate must have, in quotes; `*`: any, but it must "
        "exist.",
    ),
    WithJsonSchema(
        {"type": "string", "pattern": r'^(\*|"[0-9]{1,10}")$', "examples": ['"3"']},
    ),
]
MustNotExistHeader = Annotated[
    list[str] | None,
    Header(alias="If-None-Match", description="`*`: the aggregate must not exist yet."),
    WithJsonSchema({"type": "string", "pattern": r"^\*$"}),
]
IfNoneMatchHeader = Annotated[
    list[str] | None,
    Header(
        alias="If-None-Match",
        description="The `ETag` of an answer that the client has: 304 if it is still the same.",
    ),
    WithJsonSchema({"type": "string", "examples": ['"4"']}),
]
AcceptHeader = Annotated[list[str] | None, Header(alias="Accept", include_in_schema=False)]
DirectionQuery = Annotated[Direction, Query(description="The order of the page.")]
IncludeQuery = Annotated[
    list[Literal["conflicting_events"]] | None,
    Query(description="Add the events after the expected version to a version conflict."),
]
LastPositionHeader = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="The last `id` that a subscriber has seen; it goes before the parameter.",
        json_schema_extra={"pattern": "^[0-9]{1,18}$"},
        examples=["918"],
    ),
]
LastVersionHeader = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="The last `id` that a subscriber has seen; it goes before the parameter.",
        json_schema_extra={"pattern": "^[0-9]{1,9}$"},
        examples=["4"],
    ),
]

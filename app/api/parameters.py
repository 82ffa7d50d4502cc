"""Parameters that several operations have."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Header, Path, Query
from pydantic import StringConstraints

from app.events import MAX_NAME_LENGTH, NAME_PATTERN

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 10_000


class Direction(StrEnum):
    """The order of a page."""

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
LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The most items of a page.")]
CorrelationHeader = Annotated[
    UUID | None,
    Header(alias="X-Correlation-ID", description="For events that carry no `correlation_id`."),
]
CausationHeader = Annotated[
    UUID | None,
    Header(alias="X-Causation-ID", description="For events that carry no `causation_id`."),
]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Makes the request safe to repeat: ids of events that carry none are derived "
        "from it.",
    ),
]
IfMatchHeader = Annotated[str | None, Header(alias="If-Match")]
IfNoneMatchHeader = Annotated[str | None, Header(alias="If-None-Match")]
AcceptHeader = Annotated[str, Header(alias="Accept", include_in_schema=False)]

"""The words of the store as types.

The structs here are what a request body is decoded into and what an answer is encoded from; their
field descriptions are those of the OpenAPI document, so there is no second definition to drift.
``event_data``, ``metadata`` and ``state`` are `msgspec.Raw`: JSON text that passes through the
service unparsed, so that a number keeps all its digits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, field

MAX_NAME_LENGTH = 255
MAX_VERSION = 2**31 - 1
MAX_POSITION = 2**63 - 1
# PostgreSQL's text cannot hold NUL (https://www.postgresql.org/docs/16/datatype-character.html).
NAME_PATTERN = r"^[^\x00]*$"

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN)]
Version = Annotated[int, Meta(ge=0, le=MAX_VERSION)]
EventVersion = Annotated[int, Meta(ge=1, le=MAX_VERSION)]
Position = Annotated[int, Meta(ge=0, le=MAX_POSITION)]
Time = Annotated[datetime, Meta(tz=True)]
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
JsonObjectOrNull = Annotated[Raw, Meta(extra_json_schema={"type": ["object", "null"]})]
NULL = Raw(b"null")
JsonValue = Annotated[Raw, Meta(description="Any JSON value.")]

AggregateType = Annotated[Name, Meta(description="The kind of aggregate: which service owns it.")]
AggregateId = Annotated[Name, Meta(description="Names the aggregate within its type.")]


class NewEvent(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An event to append."""

    event_type: Annotated[Name, Meta(description="What happened.")]
    event_data: Annotated[JsonObject, Meta(description="What is to be known about it.")]
    event_id: Annotated[
        UUID | None,
        Meta(
            description="Makes the append safe to repeat. Default: a UUIDv7 made by the service, "
            "or derived from `Idempotency-Key`."
        ),
    ] = None
    # A factory: msgspec cannot write a default of raw JSON into the OpenAPI document.
    metadata: Annotated[
        JsonObjectOrNull, Meta(description="About the event rather than of it.")
    ] = field(default_factory=lambda: NULL)
    occurred_at: Annotated[
        Time | None, Meta(description="When it happened. Default: now, by the service's clock.")
    ] = None
    correlation_id: Annotated[
        UUID | None, Meta(description="Default: the header `X-Correlation-ID`.")
    ] = None
    causation_id: Annotated[
        UUID | None, Meta(description="Default: the header `X-Causation-ID`.")
    ] = None


class ImportedEvent(NewEvent, kw_only=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """One line of an import: an event, and the aggregate that it belongs to.

    A line that was exported is one, too.
    """

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: Annotated[
        EventVersion | None,
        Meta(description="It must be the next one of the aggregate. Default: that one."),
    ] = None
    global_position: Annotated[
        Position | None,
        Meta(description="Where it was in another store. Not heeded: this one gives its own."),
    ] = None


class ImportProgress(msgspec.Struct, frozen=True):
    """How far an import has come: all lines up to ``line`` are durably in the store."""

    line: Annotated[int, Meta(ge=0, description="Counted from 1; lines that are empty count.")]
    stored: Annotated[int, Meta(ge=0, description="Events that this import has added.")]
    already_there: Annotated[int, Meta(ge=0, description="Events that it has found there.")]
    last_position: Annotated[
        Position, Meta(description="The highest position of these events; 0: there are none.")
    ]
    done: Annotated[
        bool | msgspec.UnsetType,
        Meta(description="Only of the last line of an answer: the import is complete."),
    ] = msgspec.UNSET


class RecordedEvent(msgspec.Struct, frozen=True):
    """An event as the store holds it; every key is always present."""

    event_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: Annotated[
        EventVersion, Meta(description="1, 2, 3 … within the aggregate, without holes.")
    ]
    event_type: str
    event_data: JsonObject
    metadata: JsonObjectOrNull
    occurred_at: Annotated[
        str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339, in UTC.")
    ]
    correlation_id: Annotated[str | None, Meta(extra_json_schema={"format": "uuid"})]
    causation_id: Annotated[str | None, Meta(extra_json_schema={"format": "uuid"})]
    global_position: Annotated[
        int, Meta(description="Strictly increasing over the whole store; holes are possible.")
    ]


class AppendedEvent(msgspec.Struct, frozen=True):
    """Where an event of an append has been stored."""

    event_id: UUID
    version: EventVersion
    global_position: Position


class Expectation(msgspec.Struct, frozen=True):
    """What an append demands of its aggregate's version.

    ``version``: exactly this (0: the aggregate must not exist); None: no exact demand.
    ``must_exist``: some version, whichever; only without an exact one.
    """

    version: int | None = None
    must_exist: bool = False

    def is_met_by(self, version: int) -> bool:
        """Whether an aggregate at ``version`` (0: without events) satisfies the demand."""
        if self.version is not None:
            return version == self.version
        return version > 0 or not self.must_exist


ANY_VERSION = Expectation()


class Append(msgspec.Struct, frozen=True):
    """One append, complete: events with the ids and the times under which they will be stored.

    ``event_ids`` are complete; ``occurred_at``, ``correlation_id`` and ``causation_id`` are for
    events that carry none themselves. ``following_event_id`` is the id that one more event of the
    same idempotency key would have: stored, it tells that the key stands for a longer append.
    ``has_new_ids``: the service has made all ids just now, so that none can be stored already.
    """

    aggregate_type: str
    aggregate_id: str
    expectation: Expectation
    events: Sequence[NewEvent]
    event_ids: Sequence[UUID]
    occurred_at: datetime
    following_event_id: UUID | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    has_new_ids: bool = False

    @property
    def aggregate(self) -> tuple[str, str]:
        """The aggregate's type and id."""
        return self.aggregate_type, self.aggregate_id


class Appended(msgspec.Struct, frozen=True):
    """The outcome of an append: its events' places, and the snapshot version as of then (or 0).

    ``replayed``: the events had been there already, from an earlier request with the same ids.
    """

    events: Sequence[AppendedEvent]
    snapshot_version: int
    replayed: bool = False

    @property
    def version(self) -> int:
        """The version of the last event."""
        return self.events[-1].version


class LostPositions(msgspec.Struct, frozen=True):
    """The positions behind ``after`` and up to ``up_to``: of the store before it was restored.

    No event that is stored has one, and none ever will. A consumer that has come from one of them
    has read what is not there any more.
    """

    after: int
    up_to: int

    def has(self, position: int) -> bool:
        """Whether the position was lost."""
        return self.after < position <= self.up_to

    def count_between(self, after: int, up_to: int) -> int:
        """How many of the positions behind ``after`` and up to ``up_to`` were lost."""
        return max(0, min(up_to, self.up_to) - max(after, self.after))


class Snapshot(msgspec.Struct, frozen=True):
    """The state of an aggregate at a version, as a service has folded it."""

    version: EventVersion
    state: JsonValue
    created_at: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]

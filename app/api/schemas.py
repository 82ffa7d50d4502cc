"""Bodies of requests and answers; what they have in common with the store is in `app.events`.

Those about snapshots and policies are in `app.api.snapshot_schemas`, problems in
`app.api.problem_schemas`.
"""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from app.events import (
    MAX_VERSION,
    AggregateId,
    AggregateType,
    AppendedEvent,
    EventVersion,
    JsonObject,
    JsonValue,
    Name,
    NewEvent,
    Position,
    RecordedEvent,
    Snapshot,
    Version,
)

ExpectedVersion = Annotated[
    Version | None,
    Meta(
        description="The aggregate must be at exactly this version; 0: it must not exist yet. "
        "Absent or null: any."
    ),
]
NewEvents = Annotated[
    list[NewEvent], Meta(min_length=1, description="Stored together, in this order.")
]
SafePosition = Annotated[
    int, Meta(description="No event can still appear at or below this position.")
]
DateTime = Annotated[
    str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339, in UTC.")
]
Uuid = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
StoreId = Annotated[
    str,
    Meta(
        extra_json_schema={"format": "uuid"},
        description="Whose positions these are: another one after a restore.",
    ),
]


class AppendRequest(Struct, forbid_unknown_fields=True):
    """Events for one aggregate."""

    events: NewEvents
    expected_version: ExpectedVersion = None


class AppendAnswer(Struct):
    """Where the events are stored."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: Annotated[EventVersion, Meta(description="The version of the last of the events.")]
    events: list[AppendedEvent]
    snapshot_due: Annotated[
        bool,
        Meta(
            description="Whether the service should save a snapshot: the aggregate is as many "
            "events past its snapshot as the type's policy says, and the store does not make the "
            "snapshots of the type itself."
        ),
    ]
    events_since_snapshot: Annotated[
        int,
        Meta(ge=0, le=MAX_VERSION, description="Events after its snapshot; without one, all."),
    ]


class TransactionAppend(Struct, forbid_unknown_fields=True):
    """Events for one aggregate of a transaction."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    events: NewEvents
    expected_version: ExpectedVersion = None


class TransactionRequest(Struct, forbid_unknown_fields=True):
    """Appends that are stored all or nothing, in this order."""

    appends: Annotated[list[TransactionAppend], Meta(min_length=1)]


class TransactionAnswer(Struct):
    """Where the events of each append are stored, in the order of the request."""

    appends: list[AppendAnswer]


class EventsAnswer(Struct):
    """A page of an aggregate's events."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: Annotated[EventVersion, Meta(description="The aggregate's own version.")]
    events: list[RecordedEvent]
    next_from_version: Annotated[
        EventVersion | None,
        Meta(description="`from_version` of the next page; null: this is the last."),
    ]


class AggregateAnswer(Struct):
    """An aggregate: its snapshot and the events after it."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: Annotated[EventVersion, Meta(description="The version that is loaded.")]
    snapshot: Snapshot | None
    events: list[RecordedEvent]


FromSnapshot = Annotated[
    EventVersion | None,
    Meta(description="The version of the snapshot it was folded from; null: from event 1."),
]


class StateAnswer(Struct):
    """What the reducer makes of an aggregate's events up to a version."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: EventVersion
    state: JsonValue
    from_snapshot: FromSnapshot


class PreviewRequest(Struct, forbid_unknown_fields=True):
    """A reducer, and an aggregate to try it on."""

    aggregate_id: AggregateId
    reducer: Annotated[JsonObject, Meta(description="As in a snapshot policy.")]
    at_version: Annotated[
        EventVersion | None, Meta(description="As it was at this version. Default: all events.")
    ] = None


class StateFailure(Struct):
    """Why an aggregate has no state: the event that the reducer fails on.

    The three are null where events are detached from the archive.
    """

    version: EventVersion | None
    event_id: Annotated[str | None, Meta(extra_json_schema={"format": "uuid"})]
    event_type: str | None
    reason: str


class AggregateSummary(Struct):
    """One aggregate of a list.

    With `include=state` it has `state` and `from_snapshot`, or `failure` in their place.
    """

    aggregate_id: AggregateId
    version: EventVersion
    state: Annotated[
        Raw | UnsetType, Meta(description="Any JSON value: what the reducer makes of the events.")
    ] = UNSET
    from_snapshot: FromSnapshot | UnsetType = UNSET
    failure: StateFailure | UnsetType = UNSET


class AggregatesAnswer(Struct):
    """A page of a type's aggregates, by id."""

    aggregate_type: AggregateType
    aggregates: list[AggregateSummary]
    next_after: Annotated[
        str | None, Meta(description="`after` of the next page; null: this is the last.")
    ]


class AggregateTypeSummary(Struct):
    """One aggregate type of a list."""

    aggregate_type: AggregateType


class AggregateTypesAnswer(Struct):
    """All aggregate types that have events."""

    aggregate_types: list[AggregateTypeSummary]


class FeedAnswer(Struct):
    """A page of the feed."""

    events: list[RecordedEvent]
    next_after: Annotated[
        int, Meta(description="`after` of the next page: what a consumer stores.")
    ]
    safe_position: SafePosition
    up_to_date: Annotated[bool, Meta(description="Whether there was nothing more to read.")]
    store_id: StoreId


class InFlightTransaction(Struct):
    """A transaction that has inserted events and has not ended.

    Null is what does not apply, and what the service's database user may not see of another user's
    transaction.
    """

    mark: Annotated[
        int,
        Meta(description="All positions of the transaction are greater than this one."),
    ]
    pid: Annotated[
        int | None,
        Meta(description="Its backend; null: it is prepared for a two-phase commit, and has none."),
    ]
    application_name: str | None
    user_name: str | None
    client_address: Annotated[str | None, Meta(description="Null: over a UNIX socket.")]
    state: Annotated[
        str | None,
        Meta(description="Of `pg_stat_activity`, like `idle in transaction`; or `prepared`."),
    ]
    transaction_started_at: DateTime | None
    state_changed_at: Annotated[
        DateTime | None, Meta(description="Since when it has been in its state.")
    ]
    age_seconds: Annotated[
        float | None, Meta(description="How long ago it began, or was prepared.")
    ]


class FeedStatusAnswer(Struct):
    """Where the feed is, and what holds it back."""

    store_id: StoreId
    last_position: Annotated[int, Meta(description="The highest position that was given out.")]
    safe_position: SafePosition
    lag_positions: Annotated[
        int, Meta(description="How many positions the safe position is behind; holes count.")
    ]
    oldest_in_flight: Annotated[
        InFlightTransaction | None,
        Meta(
            description="Of the transactions that hold the feed back, the one that began first to "
            "insert; null: none does, and what is behind are holes."
        ),
    ]
    subscribers: Annotated[
        int, Meta(description="Live streams and waiting readers of this process.")
    ]


class PositionRequest(Struct, forbid_unknown_fields=True):
    """How far a projection has come."""

    last_processed_position: Position
    expected_position: Annotated[
        Position | None,
        Meta(description="The stored position must be exactly this one; 0: none is stored yet."),
    ] = None
    reset: Annotated[
        bool, Meta(description="Whether the position may go back. Default: false.")
    ] = False
    store_id: Annotated[
        UUID | None,
        Meta(description="The store whose position it is: 409 if this is another one."),
    ] = None


class PositionSavedAnswer(Struct):
    """A position that is stored."""

    projection_name: Name
    last_processed_position: int


class PositionAnswer(Struct):
    """How far a projection has come, and how far it is behind."""

    projection_name: Name
    last_processed_position: int
    last_processed_at: DateTime
    safe_position: SafePosition
    lag_positions: Annotated[
        int, Meta(description="How many positions the safe position is ahead; holes count.")
    ]
    lag_seconds: Annotated[
        float, Meta(description="The age of the oldest event that is not processed; 0: none is.")
    ]


class ProjectionsAnswer(Struct):
    """All projections, by name."""

    projections: list[PositionAnswer]


class LiveAnswer(Struct):
    """The process answers."""

    status: Annotated[str, Meta(extra_json_schema={"enum": ["live"]})]


class ReadyAnswer(Struct):
    """The service can do its work."""

    status: Annotated[str, Meta(extra_json_schema={"enum": ["ready"]})]
    schema_revision: str

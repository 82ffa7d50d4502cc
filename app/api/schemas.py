"""Bodies of requests and answers; what they have in common with the store is in `app.events`."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from app.events import (
    AggregateId,
    AggregateType,
    AppendedEvent,
    EventVersion,
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
        bool, Meta(description="Whether the aggregate is SNAPSHOT_EVERY events past its snapshot.")
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


class AggregateSummary(Struct):
    """One aggregate of a list."""

    aggregate_id: AggregateId
    version: EventVersion


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


class SnapshotRequest(Struct, forbid_unknown_fields=True):
    """The state of an aggregate at a version."""

    version: EventVersion
    state: JsonValue


class SnapshotSavedAnswer(Struct):
    """A snapshot that is stored."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: EventVersion


class SnapshotAnswer(Struct):
    """A stored snapshot."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: EventVersion
    state: JsonValue
    created_at: DateTime


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


class Problem(Struct):
    """Problem details (RFC 9457)."""

    type: Annotated[str, Meta(extra_json_schema={"format": "uri-reference"})]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str


class InputError(Struct):
    """What is wrong, and where."""

    place: Annotated[str, Meta(description="A JSON path in the body, or the name of a parameter.")]
    reason: str


class InvalidInputProblem(Problem, kw_only=True):
    """The request is refused as it is; nothing was stored."""

    errors: list[InputError]


class AppendConflictProblem(Problem, kw_only=True):
    """The store's state refuses the append; nothing was stored.

    `version-conflict` has the first six members (of which the last two only in a transaction, or
    where they were asked for), `event-id-conflict` has `event_ids`.
    """

    aggregate_type: str | UnsetType = UNSET
    aggregate_id: str | UnsetType = UNSET
    expected_version: Annotated[
        Version | UnsetType | None,
        Meta(description="Null: any version, but the aggregate must exist."),
    ] = UNSET
    actual_version: Version | UnsetType = UNSET
    append_index: Annotated[
        int | UnsetType, Meta(description="Which append of the transaction, from 0.")
    ] = UNSET
    conflicting_events: Annotated[
        list[RecordedEvent] | UnsetType,
        Meta(description="With `include=conflicting_events`: at most 100 events."),
    ] = UNSET
    event_ids: Annotated[list[Uuid] | UnsetType, Meta(description="The ids in conflict.")] = UNSET


class SnapshotConflictProblem(Problem, kw_only=True):
    """A newer snapshot is stored."""

    stored_version: EventVersion


class PositionConflictProblem(Problem, kw_only=True):
    """The position is not stored.

    `position-conflict` has `last_processed_position`, `store-changed` the other two.
    """

    last_processed_position: Annotated[
        int | UnsetType | None, Meta(description="The stored position; null: none is.")
    ] = UNSET
    store_id: StoreId | UnsetType = UNSET
    expected_store_id: Uuid | UnsetType = UNSET


class StoreChangedProblem(Problem, kw_only=True):
    """The positions that the consumer has are those of another store: begin from 0."""

    store_id: StoreId
    expected_store_id: Annotated[
        str | None,
        Meta(
            extra_json_schema={"format": "uuid"},
            description="The store that was expected; null: the position alone has told.",
        ),
    ]


class PositionNotReachedProblem(Problem, kw_only=True):
    """The projection has not come to the position in time."""

    wait_for: Annotated[int, Meta(description="The position that was waited for.")]
    last_processed_position: Annotated[
        int | None, Meta(description="The stored position; null: none is.")
    ]


class ImportProblem(Problem, kw_only=True):
    """The import ends before its end: all lines before `line` are stored, and none from there on.

    Without `line` nothing was read. The other members are those of the kind of problem, of which
    places are places in the line.
    """

    line: Annotated[int | UnsetType, Meta(description="Counted from 1.")] = UNSET
    stored: Annotated[int | UnsetType, Meta(description="As in ImportProgress.")] = UNSET
    already_there: Annotated[int | UnsetType, Meta(description="As in ImportProgress.")] = UNSET
    last_position: Position | UnsetType = UNSET
    errors: list[InputError] | UnsetType = UNSET
    aggregate_type: str | UnsetType = UNSET
    aggregate_id: str | UnsetType = UNSET
    expected_version: Annotated[
        Version | UnsetType, Meta(description="One less than the line's `version`.")
    ] = UNSET
    actual_version: Version | UnsetType = UNSET
    event_ids: Annotated[list[Uuid] | UnsetType, Meta(description="The id in conflict.")] = UNSET
    outcome: Annotated[
        str | UnsetType,
        Meta(
            extra_json_schema={"enum": ["unknown"]},
            description="The lines from `line` on may be stored, those of a whole chunk or none.",
        ),
    ] = UNSET


class UnavailableProblem(Problem, kw_only=True):
    """The service cannot do it now; the same request may succeed later.

    With `outcome` "unknown" the database may have stored it: repeating it with the same event ids
    is safe, and `event_ids` are those, also where the service had made them.
    """

    outcome: Annotated[str | UnsetType, Meta(extra_json_schema={"enum": ["unknown"]})] = UNSET
    max_subscribers: int | UnsetType = UNSET
    event_ids: list[Uuid] | UnsetType = UNSET

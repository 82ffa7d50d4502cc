"""Bodies of answers that are problems (RFC 9457): what each kind has beyond the common members."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.schemas import StoreId, Uuid
from app.events import EventVersion, Position, RecordedEvent, Version


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
        Meta(
            description="With `include=conflicting_events`, unless they are detached from the "
            "archive: at most 100 events."
        ),
    ] = UNSET
    event_ids: Annotated[list[Uuid] | UnsetType, Meta(description="The ids in conflict.")] = UNSET


class SnapshotConflictProblem(Problem, kw_only=True):
    """The snapshot is not stored.

    `snapshot-conflict` has `stored_version`, `snapshot-managed` has `aggregate_type`.
    """

    stored_version: EventVersion | UnsetType = UNSET
    aggregate_type: str | UnsetType = UNSET


class StateProblem(Problem, kw_only=True):
    """There is no state.

    `invalid-input` has `errors`, `fold-failed` has the others: on which event the reducer fails.
    """

    errors: list[InputError] | UnsetType = UNSET
    aggregate_type: str | UnsetType = UNSET
    aggregate_id: str | UnsetType = UNSET
    version: EventVersion | UnsetType = UNSET
    event_id: Uuid | UnsetType = UNSET
    event_type: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


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


class EventsDetachedProblem(Problem, kw_only=True):
    """The answer needs events of months that are detached from the archive."""

    months: Annotated[list[str], Meta(description="Such as `2024-03`, by name.")]
    resume_after: Annotated[
        Position | None,
        Meta(
            description="The position behind which the feed goes on without them, and without what "
            "else is up to there; null: it is not about the feed."
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
    months: Annotated[list[str] | UnsetType, Meta(description="As in EventsDetachedProblem.")] = (
        UNSET
    )
    resume_after: Position | UnsetType | None = UNSET
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

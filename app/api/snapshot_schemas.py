"""Bodies of requests and answers about snapshots: kept, due, failed, and the policies for them."""

from typing import Annotated

from msgspec import Meta, Struct, field

from app.api.schemas import DateTime, SafePosition
from app.events import (
    MAX_VERSION,
    NULL,
    AggregateId,
    AggregateType,
    EventVersion,
    JsonObjectOrNull,
    JsonValue,
)


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


Every = Annotated[
    int,
    Meta(ge=1, le=10_000, description="Events beyond its snapshot that make a snapshot due."),
]
Reducer = Annotated[
    JsonObjectOrNull,
    Meta(
        description="What the store folds events with, to make snapshots itself: a JSON Merge "
        'Patch, `{"kind": "merge", "fields": {…}}`, or expressions, `{"kind": "jsonata", '
        '"initial": …, "on": {"OrderPlaced": "…", "*": "…"}}`; null: the services make them.'
    ),
]


class PolicyRequest(Struct, forbid_unknown_fields=True):
    """When snapshots of a type's aggregates are due, and who makes them."""

    every: Annotated[
        Every | None, Meta(description="Default: what SNAPSHOT_EVERY is at the moment.")
    ] = None
    reducer: Reducer = field(default_factory=lambda: NULL)


class PolicyAnswer(Struct):
    """The snapshot policy of an aggregate type."""

    aggregate_type: AggregateType
    every: Every
    reducer: Reducer
    reducer_hash: Annotated[
        str | None,
        Meta(description="Of the reducer and what evaluates it; null: there is no reducer."),
    ]
    updated_at: DateTime


class PoliciesAnswer(Struct):
    """All snapshot policies, by type."""

    default_every: Annotated[
        int,
        Meta(ge=1, description="SNAPSHOT_EVERY: of all other types, whose services make them."),
    ]
    policies: list[PolicyAnswer]


class DueAggregateSummary(Struct):
    """An aggregate that is due for a snapshot."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: EventVersion
    snapshot_version: Annotated[
        EventVersion | None, Meta(description="Of its usable snapshot; null: it has none.")
    ]
    events_since_snapshot: Annotated[
        int, Meta(ge=1, le=MAX_VERSION, description="Events after that; without one, all.")
    ]
    is_managed: Annotated[
        bool, Meta(description="Whether the store makes the snapshot: the type has a reducer.")
    ]


class DueAnswer(Struct):
    """A page of the aggregates that are due for a snapshot, largest first."""

    aggregates: list[DueAggregateSummary]
    next_after: Annotated[
        str | None, Meta(description="`after` of the next page; null: this is the last.")
    ]


class FailureSummary(Struct):
    """An aggregate of which no snapshot can be made, and the event on which its reducer fails.

    Where events are detached from the archive, that from which on they are needed: `event_id` and
    `event_type` are null.
    """

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: Annotated[EventVersion, Meta(description="Of the event.")]
    event_id: Annotated[str | None, Meta(extra_json_schema={"format": "uuid"})]
    event_type: str | None
    message: Annotated[str, Meta(description="Why it fails.")]
    failed_at: DateTime


class FailuresAnswer(Struct):
    """A page of the aggregates of which no snapshot can be made."""

    failures: list[FailureSummary]
    next_after: Annotated[
        str | None, Meta(description="`after` of the next page; null: this is the last.")
    ]


Count = Annotated[int, Meta(ge=0)]
Ratio = Annotated[float | None, Meta(description="Null: there are none.")]


class TypeCoverageSummary(Struct):
    """How well the aggregates of a type are covered by snapshots."""

    aggregate_type: Annotated[
        str, Meta(description="Empty: loads of all types together that were met late.")
    ]
    every: Annotated[int, Meta(ge=1, description="Of its policy, or of SNAPSHOT_EVERY.")]
    is_managed: Annotated[
        bool, Meta(description="Whether the store makes the snapshots: the type has a reducer.")
    ]
    aggregates_beyond_every: Annotated[
        Count, Meta(description="Aggregates that have at least `every` events.")
    ]
    aggregates_with_snapshot: Annotated[
        Count,
        Meta(description="Those of them with a snapshot; of a reducer: with one of its own."),
    ]
    coverage: Ratio
    due: Annotated[Count, Meta(description="As many as /v1/snapshots/due lists.")]
    failed: Annotated[Count, Meta(description="As many as /v1/snapshots/failed lists.")]
    loads_beyond_every: Annotated[
        Count,
        Meta(description="Loads and states, as they are now, of aggregates beyond `every`."),
    ]
    loads_with_snapshot: Annotated[Count, Meta(description="Those of them that used a snapshot.")]
    hit_rate: Ratio


class CoverageAnswer(Struct):
    """How well aggregates are covered by snapshots, by type."""

    types: list[TypeCoverageSummary]
    exact: Annotated[
        bool,
        Meta(
            description="Whether aggregates are counted, up to `safe_position`. If not, there are "
            "many snapshots and a part was looked at, or `position` is behind."
        ),
    ]
    position: Annotated[
        int, Meta(description="Up to where the feed has been looked at for what is due.")
    ]
    safe_position: SafePosition
    loads_since: Annotated[
        DateTime,
        Meta(description="Loads are those of the process that answers, since it started."),
    ]

"""Bodies of answers about how the store is doing: counts, sizes, and what to do about them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.api.schemas import DateTime, SafePosition
from app.api.snapshot_schemas import Count
from app.events import MAX_VERSION, AggregateId, AggregateType, EventVersion, JsonObjectOrNull
from app.queries.audit import Kind
from app.queries.find_slow import Cause
from app.queries.judge_tables import Level, Urgency

Exact = Annotated[
    bool,
    Meta(
        description="Whether every event is counted up to `safe_position`. If not, all are up to "
        "`position`, and the rest is being counted."
    ),
]
CountedPosition = Annotated[
    int, Meta(description="Up to where in the feed everything is counted, and nothing beyond.")
]


class AggregateTypeCount(Struct):
    """How much there is of an aggregate type."""

    aggregate_type: AggregateType
    events: Count
    aggregates: Count
    events_per_aggregate: Annotated[float, Meta(description="The mean.")]


class AggregateTypeCountsAnswer(Struct):
    """Events and aggregates by aggregate type."""

    types: Annotated[
        list[AggregateTypeCount], Meta(description="Those with the most events first.")
    ]
    total_types: Annotated[Count, Meta(description="Also those beyond `limit`; so are the totals.")]
    total_events: Count
    total_aggregates: Count
    exact: Exact
    position: CountedPosition
    safe_position: SafePosition


class EventTypeCount(Struct):
    """How many events there are of an event type."""

    event_type: str
    events: Count


class EventTypeCountsAnswer(Struct):
    """Events by event type."""

    types: Annotated[list[EventTypeCount], Meta(description="Those with the most events first.")]
    total_types: Annotated[Count, Meta(description="Also those beyond `limit`; so is the total.")]
    total_events: Count
    exact: Exact
    position: CountedPosition
    safe_position: SafePosition


class AggregateSize(Struct):
    """An aggregate and how many events it has."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    version: Annotated[EventVersion, Meta(description="The number of its events.")]


class LargestAggregatesAnswer(Struct):
    """The aggregates with the most events."""

    aggregates: Annotated[list[AggregateSize], Meta(description="The largest first.")]
    exact: Exact
    position: CountedPosition
    safe_position: SafePosition


WarningLevel = Annotated[Level, Meta(description="The most urgent of the concerns.")]
Bytes = Annotated[int, Meta(ge=0)]


class ConcernDetails(Struct):
    """Something that is not as it should be."""

    level: Annotated[
        Urgency,
        Meta(description="`watch`: it may go away by itself; `act`: it will not."),
    ]
    why: str
    advice: Annotated[str, Meta(description="What to do, mostly in SQL.")]


class TableSummary(Struct):
    """A table: how large it is, and how well it is vacuumed."""

    table_name: Annotated[
        str, Meta(description="`events_archive`: all tables of archived events, added up.")
    ]
    tables: Annotated[Count, Meta(description="How many were added up.")]
    rows: Count
    exact: Annotated[
        bool, Meta(description="Whether the rows were counted; if not, PostgreSQL estimates them.")
    ]
    dead_rows: Annotated[Count, Meta(description="Estimated: what vacuum has to remove.")]
    table_bytes: Bytes
    index_bytes: Bytes
    toast_bytes: Annotated[Bytes, Meta(description="Of large values, which are kept apart.")]
    total_bytes: Bytes
    last_vacuum: Annotated[
        DateTime | None, Meta(description="By autovacuum or by hand; null: never.")
    ]
    last_analyze: Annotated[
        DateTime | None, Meta(description="By autovacuum or by hand; null: never.")
    ]
    inserts_since_vacuum: Count
    xid_age: Annotated[
        Count, Meta(description="Of the oldest transaction id that is not frozen, in transactions.")
    ]
    multixact_age: Annotated[
        Count, Meta(description="Of the oldest multixact that is not frozen, in multixacts.")
    ]
    freeze_max_age: Annotated[
        Count, Meta(description="`xid_age` at which autovacuum comes, whatever else there is.")
    ]
    warning: WarningLevel
    concerns: list[ConcernDetails]


class OldestSnapshotDetails(Struct):
    """Who needs the oldest rows that are dead, so that no vacuum may remove them."""

    kind: Literal["transaction", "prepared transaction", "standby", "replication slot"]
    name: Annotated[str | None, Meta(description="Of a slot or a prepared transaction.")]
    pid: Annotated[int | None, Meta(description="For `pg_terminate_backend(pid)`.")]
    application_name: str | None
    user_name: str | None
    client_address: str | None
    state: str | None
    started_at: Annotated[DateTime | None, Meta(description="Null: not known.")]
    age_seconds: float | None
    xid_age: Annotated[Count, Meta(description="In transactions.")]


class TablesAnswer(Struct):
    """The store's tables, and what keeps vacuum back."""

    tables: list[TableSummary]
    total_bytes: Bytes
    oldest_snapshot: Annotated[
        OldestSnapshotDetails | None, Meta(description="Null: nobody keeps vacuum back.")
    ]
    warning: WarningLevel
    concerns: Annotated[
        list[ConcernDetails], Meta(description="About `oldest_snapshot`, of all tables.")
    ]


class OperationLink(Struct):
    """A request that follows an advice."""

    operation_id: str
    method: Literal["GET", "PUT", "POST"]
    path: str
    body: JsonObjectOrNull


class Advice(Struct):
    """What to do, and the operation that does it or tells more."""

    text: str
    operation: OperationLink


class SlowAggregateSummary(Struct):
    """An aggregate whose loads are long, and what to do about it."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    events: Annotated[EventVersion, Meta(description="All that it has.")]
    has_snapshot: Annotated[
        bool,
        Meta(description="One that is usable: of its type's reducer, if there is a reducer."),
    ]
    snapshot_version: EventVersion | None
    events_since_snapshot: Annotated[int, Meta(ge=0, le=MAX_VERSION)]
    load_seconds: Annotated[
        float, Meta(ge=0, description="Time to load it: the snapshot and the events after it.")
    ]
    load_is_measured: Annotated[
        bool,
        Meta(description="If not, it is an estimate by the loads of the process that answers."),
    ]
    cause: Cause
    advice: Advice


class SlowAggregatesAnswer(Struct):
    """The aggregates whose loads are long."""

    aggregates: Annotated[
        list[SlowAggregateSummary],
        Meta(description="Those with the most events since their snapshot first."),
    ]
    exact: Exact
    position: CountedPosition
    safe_position: SafePosition
    loads_observed: Annotated[
        Count, Meta(description="Loads of the process that answers, which estimates go by.")
    ]


class TypeConflictsSummary(Struct):
    """Version conflicts of the aggregates of a type."""

    aggregate_type: Annotated[
        str, Meta(description="Empty: all types together that were met late.")
    ]
    conflicts: Count
    last_at: DateTime


class AggregateConflictsSummary(Struct):
    """Version conflicts of an aggregate, and what to do about them."""

    aggregate_type: AggregateType
    aggregate_id: AggregateId
    conflicts: Annotated[Count, Meta(description="At least so many; if `exact`, exactly so many.")]
    creations: Annotated[
        Count, Meta(description="Those of appends that expected that it did not exist.")
    ]
    exact: Annotated[
        bool,
        Meta(description="Whether none can be missing: a thousand aggregates are remembered."),
    ]
    last_at: DateTime
    advice: Advice


class ConflictsAnswer(Struct):
    """Version conflicts, and the aggregates that have the most."""

    scope: Annotated[
        Literal["process"],
        Meta(description="They are those of the process that answers: of one of all workers."),
    ]
    process_id: Annotated[int, Meta(description="Tells one worker from another.")]
    since: Annotated[DateTime, Meta(description="When that process has started.")]
    conflicts: Count
    exact: bool
    types: Annotated[
        list[TypeConflictsSummary], Meta(description="Those with the most conflicts first.")
    ]
    aggregates: Annotated[list[AggregateConflictsSummary], Meta(description="The hottest first.")]


class AuditFinding(Struct):
    """Something that must not be so in the store."""

    kind: Kind
    aggregate_type: Annotated[str | None, Meta(description="Null: it is of no type.")]
    aggregate_id: Annotated[str | None, Meta(description="Null: it is of no single aggregate.")]
    projection_name: Annotated[str | None, Meta(description="Null: it is of no projection.")]
    expected: str
    found: str
    advice: str


class AuditChecked(Struct):
    """At how much a step has looked."""

    events: Count
    snapshots: Count
    projections: Count


class AuditAnswer(Struct):
    """What a step of an audit has found."""

    findings: list[AuditFinding]
    checked: AuditChecked
    next_after: Annotated[
        str | None, Meta(description="`after` of the next step; null: the audit is complete.")
    ]

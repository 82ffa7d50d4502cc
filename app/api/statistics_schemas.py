"""Bodies of answers about how the store is doing: counts, sizes, and what to do about them."""

from typing import Annotated

from msgspec import Meta, Struct

from app.api.schemas import SafePosition
from app.api.snapshot_schemas import Count
from app.events import AggregateId, AggregateType, EventVersion

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

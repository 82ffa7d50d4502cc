"""How much there is: events and aggregates by type, and the largest aggregates."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.disconnect import while_connected
from app.api.parameters import DEFAULT_LIMIT, AggregateTypeQuery, ExactQuery, LimitQuery
from app.api.services import OpenServices, Services
from app.api.statistics_examples import AGGREGATE_TYPE_COUNTS, EVENT_TYPE_COUNTS, LARGEST
from app.api.statistics_schemas import (
    AggregateSize,
    AggregateTypeCount,
    AggregateTypeCountsAnswer,
    EventTypeCount,
    EventTypeCountsAnswer,
    LargestAggregatesAnswer,
)
from app.queries.count_types import count_aggregate_types, count_event_types
from app.queries.find_largest import find_largest
from app.store.statistics_store import LARGEST_KEPT

router = APIRouter(tags=["statistics"])

LargestLimitQuery = Annotated[
    int, Query(ge=1, le=LARGEST_KEPT, description="The most aggregates of the answer.")
]


@router.get(
    "/v1/stats/aggregate-types",
    operation_id="count_aggregate_types",
    summary="Count events and aggregates by aggregate type",
    responses=openapi.reading(
        _200=openapi.answer(
            "By aggregate type.", AggregateTypeCountsAnswer, example=AGGREGATE_TYPE_COUNTS
        )
    ),
)
async def count_aggregate_types_endpoint(
    request: Request,
    services: Services,
    limit: LimitQuery = DEFAULT_LIMIT,
    exact: ExactQuery = False,
) -> Response:
    """Tell how many events and aggregates each type has, from figures that are kept.

    They follow the feed in the background; what is new since is counted with the question, unless
    it is much: then `exact` is false, and `position` tells how far they are.
    """
    return await while_connected(request, _aggregate_types(services, limit, exact))


async def _aggregate_types(services: OpenServices, limit: int, exact: bool) -> Response:
    found = await count_aggregate_types(services.statistics_store, exact=exact)
    return json_answer(
        AggregateTypeCountsAnswer(
            [
                AggregateTypeCount(
                    each.name, each.events, each.aggregates, each.events / max(each.aggregates, 1)
                )
                for each in found.types[:limit]
            ],
            len(found.types),
            sum(each.events for each in found.types),
            sum(each.aggregates for each in found.types),
            found.is_exact,
            found.position,
            found.safe_position,
        )
    )


@router.get(
    "/v1/stats/event-types",
    operation_id="count_event_types",
    summary="Count events by event type",
    responses=openapi.reading(
        _200=openapi.answer("By event type.", EventTypeCountsAnswer, example=EVENT_TYPE_COUNTS)
    ),
)
async def count_event_types_endpoint(
    request: Request,
    services: Services,
    aggregate_type: AggregateTypeQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
    exact: ExactQuery = False,
) -> Response:
    """Tell how many events of each type there are, from the same figures as by aggregate type."""
    return await while_connected(request, _event_types(services, aggregate_type, limit, exact))


async def _event_types(
    services: OpenServices, aggregate_type: str | None, limit: int, exact: bool
) -> Response:
    found = await count_event_types(services.statistics_store, aggregate_type, exact=exact)
    return json_answer(
        EventTypeCountsAnswer(
            [EventTypeCount(each.name, each.events) for each in found.types[:limit]],
            len(found.types),
            sum(each.events for each in found.types),
            found.is_exact,
            found.position,
            found.safe_position,
        )
    )


@router.get(
    "/v1/stats/largest-aggregates",
    operation_id="largest_aggregates",
    summary="List the aggregates with the most events",
    responses=openapi.reading(
        _200=openapi.answer("The largest first.", LargestAggregatesAnswer, example=LARGEST)
    ),
)
async def largest_aggregates_endpoint(
    request: Request,
    services: Services,
    limit: LargestLimitQuery = 100,
    exact: ExactQuery = False,
) -> Response:
    """List the largest aggregates of all types, from a list of a thousand that is kept.

    It is no approximation: versions only grow, so whoever enters the list does with an event.
    """
    return await while_connected(request, _largest(services, limit, exact))


async def _largest(services: OpenServices, limit: int, exact: bool) -> Response:
    found = await find_largest(services.statistics_store, limit, exact=exact)
    return json_answer(
        LargestAggregatesAnswer(
            [
                AggregateSize(each.aggregate_type, each.aggregate_id, each.version)
                for each in found.aggregates
            ],
            found.position >= found.safe_position,
            found.position,
            found.safe_position,
        )
    )

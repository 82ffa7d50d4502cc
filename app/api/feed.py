"""The feed: all events in global order, and one event by its id."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.api import openapi
from app.api.answer import JSON_MEDIA_TYPE, json_answer
from app.api.examples import EVENT_ID, RECORDED_EVENT
from app.api.negotiation import VARY_ACCEPT, negotiate
from app.api.parameters import (
    DEFAULT_LIMIT,
    AcceptHeader,
    Direction,
    DirectionQuery,
    LimitQuery,
    NameText,
    Time,
)
from app.api.schemas import FeedAnswer
from app.api.services import Services
from app.errors import EventNotFound
from app.events import MAX_POSITION, RecordedEvent
from app.queries.read_feed import read_feed
from app.store.feed_statement import FeedFilter

router = APIRouter(tags=["feed"])


@router.get(
    "/v1/events",
    operation_id="read_feed",
    summary="Read the feed",
    responses=openapi.reading(
        _200=openapi.answer(
            "A page of the feed.",
            FeedAnswer,
            example={
                "events": [RECORDED_EVENT],
                "next_after": 918,
                "safe_position": 918,
                "up_to_date": True,
            },
        ),
        _406=openapi.problem(
            "JSON is not accepted.", HTTPException(406, f"available are {JSON_MEDIA_TYPE}")
        ),
    ),
)
async def read_feed_endpoint(
    services: Services,
    after: Annotated[
        int | None,
        Query(
            ge=0,
            le=MAX_POSITION,
            description="The position behind which the page begins, exclusive: `next_after` of "
            "the page before. Default: 0; backward: behind the last event.",
        ),
    ] = None,
    limit: LimitQuery = DEFAULT_LIMIT,
    direction: DirectionQuery = Direction.forward,
    aggregate_type: Annotated[
        list[NameText] | None, Query(description="Only of these types.")
    ] = None,
    aggregate_id: Annotated[NameText | None, Query(description="Only of this aggregate.")] = None,
    event_type: Annotated[
        list[NameText] | None, Query(description="Only events of these types.")
    ] = None,
    correlation_id: Annotated[
        UUID | None, Query(description="Only events with this correlation id.")
    ] = None,
    causation_id: Annotated[
        UUID | None, Query(description="Only events with this causation id.")
    ] = None,
    occurred_from: Annotated[
        Time | None, Query(description="Only events of this time or later.")
    ] = None,
    occurred_to: Annotated[Time | None, Query(description="Only events before this time.")] = None,
    accept: AcceptHeader = None,
) -> Response:
    """Read events in global order, up to the safe position: none can appear below it later.

    A consumer stores `next_after` and continues from it; it moves on also where a filter lets
    nothing through.
    """
    negotiate(accept, (JSON_MEDIA_TYPE,))
    backward = direction is Direction.backward
    if after is None:
        after = MAX_POSITION if backward else 0
    feed = await read_feed(
        services.event_reader,
        FeedFilter(
            aggregate_types=aggregate_type or (),
            aggregate_id=aggregate_id,
            event_types=event_type or (),
            correlation_id=correlation_id,
            causation_id=causation_id,
            occurred_from=occurred_from,
            occurred_to=occurred_to,
        ),
        after=after,
        limit=limit,
        backward=backward,
    )
    return json_answer(
        FeedAnswer(feed.events, feed.next_after, feed.safe_position, feed.up_to_date),
        headers=VARY_ACCEPT,
    )


@router.get(
    "/v1/events/{event_id}",
    operation_id="get_event",
    summary="Read one event",
    responses=openapi.reading(
        _200=openapi.answer("The event.", RecordedEvent, example=RECORDED_EVENT),
        _404=openapi.problem("No event has this id.", EventNotFound(UUID(EVENT_ID))),
    ),
)
async def get_event_endpoint(
    services: Services,
    event_id: Annotated[UUID, Path(description="The id of the event.", examples=[EVENT_ID])],
) -> Response:
    """Read an event by its id, whichever aggregate it belongs to."""
    event = await services.event_reader.get_event(event_id)
    if event is None:
        raise EventNotFound(event_id)
    return json_answer(event)

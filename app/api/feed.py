"""The feed: all events in global order, and one event by its id."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.api import openapi
from app.api.answer import (
    JSON_MEDIA_TYPE,
    NDJSON_MEDIA_TYPE,
    json_answer,
    ndjson_answer,
    primed,
)
from app.api.disconnect import while_connected
from app.api.event_stream import (
    EVENT_STREAM_MEDIA_TYPE,
    EventStreamResponse,
    feed_frames,
    parse_last_event_id,
)
from app.api.examples import EVENT_ID, RECORDED_EVENT, STORE_ID
from app.api.negotiation import VARY_ACCEPT, negotiate
from app.api.parameters import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    AcceptHeader,
    Direction,
    DirectionQuery,
    LastPositionHeader,
    NameText,
    Time,
)
from app.api.problem_schemas import StoreChangedProblem
from app.api.schemas import FeedAnswer
from app.api.services import OpenServices, Services
from app.errors import EventNotFound, InvalidInput, StoreChanged
from app.events import MAX_POSITION, RecordedEvent
from app.queries.follow_feed import FeedFollower
from app.queries.read_ahead import read_ahead
from app.queries.read_feed import Feed, read_feed, wait_for_feed
from app.queries.stream_feed import stream_feed
from app.store.feed_statement import FeedFilter

router = APIRouter(tags=["feed"])


AVAILABLE = (JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE, EVENT_STREAM_MEDIA_TYPE)
MAX_WAIT_S = 60


@router.get(
    "/v1/events",
    operation_id="read_feed",
    summary="Read or follow the feed",
    responses=openapi.reading(
        _200=openapi.answer(
            "A page of the feed; or all of it up to now as NDJSON; or, as server-sent events, all "
            "of it and then what comes.",
            FeedAnswer,
            example={
                "events": [RECORDED_EVENT],
                "next_after": 918,
                "safe_position": 918,
                "up_to_date": True,
                "store_id": STORE_ID,
            },
            ndjson=True,
            event_stream=True,
        ),
        _406=openapi.problem(
            "None of the available representations is accepted.",
            HTTPException(406, f"available are {', '.join(AVAILABLE)}"),
        ),
        _409=openapi.problem(
            "The positions are those of another store.",
            StoreChanged(STORE_ID, EVENT_ID, f"this is the store {STORE_ID}, not {EVENT_ID}"),
            body=StoreChangedProblem,
        ),
        _410=openapi.DETACHED_FEED,
        _503=openapi.UNAVAILABLE_OR_FULL,
    ),
)
async def read_feed_endpoint(
    request: Request,
    services: Services,
    after: Annotated[
        int | None,
        Query(
            ge=0,
            le=MAX_POSITION,
            description="The position behind which reading begins, exclusive: `next_after` of "
            "the page before. Default: 0; backward: behind the last event.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_LIMIT,
            description="The most events. Default: 1,000; NDJSON: no limit. Not of a subscription.",
        ),
    ] = None,
    direction: DirectionQuery = Direction.forward,
    wait: Annotated[
        float | None,
        Query(
            ge=0,
            le=MAX_WAIT_S,
            description="Seconds to wait for the first event, instead of answering an empty page. "
            "Only of JSON pages, forward.",
        ),
    ] = None,
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
    store_id: Annotated[
        UUID | None,
        Query(description="The store whose positions the consumer has: 409 if it is another one."),
    ] = None,
    last_event_id: LastPositionHeader = None,
    accept: AcceptHeader = None,
) -> Response:
    """Read events in global order, up to the safe position: none can appear below it later.

    A consumer stores `next_after` (of a subscription the last `id`) and continues from it; it moves
    on also where a filter lets nothing through. With `Accept: text/event-stream` events come live,
    each once and in order; after each long run of events that the filter keeps back, and every 15
    seconds of silence, a `checkpoint` tells the position that was reached. With
    `Accept: application/x-ndjson` there is one event a line, up to the safe position as of the
    start.

    What is detached from the archive is never skipped in silence: the answer is a 410, also of
    NDJSON that would come to it later. A subscription that comes to it ends, and is refused with
    the 410 when it comes back.
    """
    media_type = negotiate(accept, AVAILABLE)
    backward = direction is Direction.backward
    if last_event_id is not None:
        _refuse(backward, "direction", "is forward for who comes back with Last-Event-ID")
        after = parse_last_event_id(last_event_id, digits=18)
    asked = _Asked(
        FeedFilter(
            aggregate_types=aggregate_type or (),
            aggregate_id=aggregate_id,
            event_types=event_type or (),
            correlation_id=correlation_id,
            causation_id=causation_id,
            occurred_from=occurred_from,
            occurred_to=occurred_to,
        ),
        after=(MAX_POSITION if backward else 0) if after is None else after,
        limit=limit,
        store_id=None if store_id is None else str(store_id),
    )
    if wait is not None:
        _refuse(backward or media_type != JSON_MEDIA_TYPE, "wait", "is of JSON pages, forward")
    if media_type == EVENT_STREAM_MEDIA_TYPE:
        _refuse(backward, "direction", "of a subscription is forward")
        _refuse(limit is not None, "limit", "is not of a subscription: it has no end")
        return await _subscription(services, asked)
    if media_type == NDJSON_MEDIA_TYPE:
        _refuse(backward, "direction", "of NDJSON is forward")
        return await _ndjson(services, asked)
    if wait:
        return await while_connected(request, _first_page(services, asked, wait_s=wait))
    return await answer_page(
        services,
        asked.filter,
        after=asked.after,
        limit=asked.limit or DEFAULT_LIMIT,
        backward=backward,
        store_id=asked.store_id,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of the feed, in whichever form."""

    filter: FeedFilter
    after: int
    limit: int | None
    store_id: str | None


def _refuse(is_given: bool, name: str, reason: str) -> None:
    if is_given:
        raise InvalidInput(f"query.{name}", reason)


async def _subscription(services: OpenServices, asked: _Asked) -> Response:
    follower = FeedFollower(
        services.event_reader,
        services.feed_tail,
        asked.filter,
        after=asked.after,
        store_id=asked.store_id,
    )
    frames = await primed(feed_frames(services.feed_tail, follower, asked.after))
    return EventStreamResponse(frames, follower.store_id)


async def _ndjson(services: OpenServices, asked: _Asked) -> Response:
    reader = services.event_reader
    head = await reader.feed_head()
    pages = stream_feed(
        reader,
        asked.filter,
        after=asked.after,
        limit=asked.limit,
        store_id=asked.store_id,
        head=head,
    )
    return ndjson_answer(
        await primed(read_ahead(pages)),
        {"Store-Id": head.store_id, **VARY_ACCEPT},
        streaming=services.metrics.subscribed("ndjson"),
    )


async def answer_page(
    services: OpenServices,
    feed_filter: FeedFilter,
    *,
    after: int,
    limit: int,
    backward: bool = False,
    store_id: str | None = None,
) -> Response:
    """Read a page of the feed, and answer."""
    return _page_answer(
        await read_feed(
            services.event_reader,
            feed_filter,
            after=after,
            limit=limit,
            backward=backward,
            store_id=store_id,
        )
    )


async def _first_page(services: OpenServices, asked: _Asked, *, wait_s: float) -> Response:
    return _page_answer(
        await wait_for_feed(
            services.event_reader,
            services.feed_tail,
            asked.filter,
            after=asked.after,
            limit=asked.limit or DEFAULT_LIMIT,
            store_id=asked.store_id,
            wait_s=wait_s,
        )
    )


def _page_answer(feed: Feed) -> Response:
    return json_answer(
        FeedAnswer(
            feed.events, feed.next_after, feed.safe_position, feed.up_to_date, feed.store_id
        ),
        headers=VARY_ACCEPT,
    )


@router.get(
    "/v1/events/{event_id}",
    operation_id="get_event",
    summary="Read one event",
    responses=openapi.reading(
        _200=openapi.answer("The event.", RecordedEvent, example=RECORDED_EVENT),
        _404=openapi.problem("No event has this id.", EventNotFound(UUID(EVENT_ID))),
        _410=openapi.DETACHED,
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

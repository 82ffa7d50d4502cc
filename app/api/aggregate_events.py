"""The events of one aggregate: append and read."""

from functools import partial
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.api import openapi
from app.api.answer import JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE, json_answer, ndjson_answer, primed
from app.api.appending import AppendConditions, answer_attempt, requested_append
from app.api.body import read_body
from app.api.event_stream import (
    EVENT_STREAM_MEDIA_TYPE,
    EventStreamResponse,
    aggregate_frames,
    parse_last_event_id,
)
from app.api.examples import (
    AGGREGATE_NOT_FOUND,
    APPEND_ANSWER,
    APPEND_REQUEST,
    EVENT_ID_CONFLICT,
    RECORDED_EVENT,
    VERSION_CONFLICT,
)
from app.api.negotiation import VARY_ACCEPT, negotiate
from app.api.parameters import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    AcceptHeader,
    AggregateIdPath,
    AggregateTypePath,
    CausationHeader,
    CorrelationHeader,
    Direction,
    DirectionQuery,
    IdempotencyKeyHeader,
    IfMatchHeader,
    IfNoneMatchHeader,
    IncludeQuery,
    LastVersionHeader,
    MustNotExistHeader,
)
from app.api.path_segments import AGGREGATE_PATH
from app.api.preconditions import (
    BadPreconditionError,
    PreconditionFailed,
    entity_tag,
    header_expectation,
    is_current,
)
from app.api.problem_schemas import AppendConflictProblem
from app.api.schemas import AppendAnswer, AppendRequest, EventsAnswer
from app.api.services import OpenServices, Services
from app.errors import InvalidInput
from app.events import MAX_VERSION
from app.queries.follow_aggregate import AggregateFollower
from app.queries.load_aggregate import loaded_version
from app.queries.read_ahead import read_ahead
from app.queries.read_events import EventRange, next_range, read_events, stream_events

AVAILABLE = (JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE, EVENT_STREAM_MEDIA_TYPE)
PATH = AGGREGATE_PATH + "/events"

router = APIRouter(tags=["aggregates"])


@router.post(
    PATH,
    operation_id="append_events",
    summary="Append events",
    status_code=201,
    responses=openapi.writing(
        _200=openapi.answer(
            "All the events were there already: a repetition.",
            AppendAnswer,
            example=APPEND_ANSWER,
            etag=openapi.VERSION_TAG,
        ),
        _201=openapi.answer(
            "Stored durably.", AppendAnswer, example=APPEND_ANSWER, etag=openapi.VERSION_TAG
        ),
        _400=openapi.problem(
            "The body is not well-formed JSON, or a precondition is malformed, a list of versions "
            "or in contradiction with another one.",
            openapi.MALFORMED_BODY,
            BadPreconditionError("If-Match and If-None-Match cannot be combined"),
        ),
        _409=openapi.problem(
            "`version-conflict`: the aggregate is not at `expected_version`; or "
            "`event-id-conflict`: ids are taken, and this is no repetition.",
            VERSION_CONFLICT,
            EVENT_ID_CONFLICT,
            body=AppendConflictProblem,
        ),
        _410=openapi.DETACHED_REPETITION,
        _412=openapi.problem(
            "`version-conflict`: the aggregate is not as `If-Match` or `If-None-Match` demands.",
            PreconditionFailed(VERSION_CONFLICT),
            body=AppendConflictProblem,
        ),
    ),
    openapi_extra=openapi.request_body(AppendRequest, APPEND_REQUEST),
)
async def append_events_endpoint(
    request: Request,
    services: Services,
    aggregate_type: AggregateTypePath,
    aggregate_id: AggregateIdPath,
    if_match: IfMatchHeader = None,
    if_none_match: MustNotExistHeader = None,
    idempotency_key: IdempotencyKeyHeader = None,
    correlation_id: CorrelationHeader = None,
    causation_id: CausationHeader = None,
    include: IncludeQuery = None,
) -> Response:
    """Store all events with consecutive versions, or none of them.

    What the aggregate's version must be is said by `expected_version`, or as a precondition:
    `If-Match: "3"` (exactly 3), `If-Match: *` (must exist), `If-None-Match: *` (must not exist).
    An append with the same event ids (or `Idempotency-Key`) and content is safe to repeat.
    """
    conditions = AppendConditions(
        header_expectation(if_match, if_none_match), idempotency_key, correlation_id, causation_id
    )
    body = await read_body(request, services.settings.max_body_bytes)
    begun_at = monotonic()
    append = requested_append(services, aggregate_type, aggregate_id, conditions, body)
    first_attempt = partial(services.event_store.append_events, append)
    return await answer_attempt(
        services, append, conditions, first_attempt, begun_at, tells_events=bool(include)
    )


@router.get(
    PATH,
    operation_id="read_events",
    summary="Read events",
    responses=openapi.reading(
        _200=openapi.answer(
            "A page of the events; or all of them as NDJSON; or, as server-sent events, all of "
            "them and then what comes.",
            EventsAnswer,
            example={
                "aggregate_type": "Order",
                "aggregate_id": "ord-123",
                "version": 4,
                "events": [RECORDED_EVENT],
                "next_from_version": None,
            },
            ndjson=True,
            event_stream=True,
            etag=openapi.PAGE_TAG,
        ),
        _304=openapi.answer(
            "The aggregate is still at the version of `If-None-Match`, so the page is the same.",
            etag=openapi.PAGE_TAG,
        ),
        _404=openapi.problem("The aggregate has no events.", AGGREGATE_NOT_FOUND),
        _406=openapi.problem(
            "None of the available representations is accepted.",
            HTTPException(406, f"available are {', '.join(AVAILABLE)}"),
        ),
        _410=openapi.DETACHED,
        _503=openapi.UNAVAILABLE_OR_FULL,
    ),
)
async def read_events_endpoint(
    services: Services,
    aggregate_type: AggregateTypePath,
    aggregate_id: AggregateIdPath,
    from_version: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_VERSION,
            description="Where reading starts, inclusive. Default: the first, backward the last.",
        ),
    ] = None,
    to_version: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_VERSION,
            description="Where reading ends, inclusive. Default: the last, backward the first.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=MAX_LIMIT, description="The most events. Default: 1,000; NDJSON: no limit."),
    ] = None,
    direction: DirectionQuery = Direction.forward,
    accept: AcceptHeader = None,
    if_none_match: IfNoneMatchHeader = None,
    last_event_id: LastVersionHeader = None,
) -> Response:
    """Read an aggregate's events by rising version, or by falling version from the last.

    With `Accept: application/x-ndjson` one event a line, without a limit of the page; then there
    is no `ETag`, and `If-None-Match` finds none. With `Accept: text/event-stream` they come live,
    from `from_version` or behind `Last-Event-ID` on; the `id` is the version.
    """
    media_type = negotiate(accept, AVAILABLE)
    backward = direction is Direction.backward
    if last_event_id is not None:
        from_version = parse_last_event_id(last_event_id, digits=9) + 1
    if media_type == EVENT_STREAM_MEDIA_TYPE:
        for name, is_given in (
            ("direction", backward),
            ("to_version", to_version is not None),
            ("limit", limit is not None),
        ):
            if is_given:
                raise InvalidInput(f"query.{name}", "is not of a subscription: it goes on and on")
        return await _subscription(services, aggregate_type, aggregate_id, from_version or 1)
    wanted = EventRange(
        from_version or (MAX_VERSION if backward else 1),
        to_version or (1 if backward else MAX_VERSION),
        backward,
    )
    reader = services.event_reader
    if media_type == NDJSON_MEDIA_TYPE:
        pages = stream_events(reader, aggregate_type, aggregate_id, wanted, limit or MAX_VERSION)
        # The first page before the status line: an unknown aggregate is still a 404.
        return ndjson_answer(
            await primed(read_ahead(pages)),
            VARY_ACCEPT,
            streaming=services.metrics.subscribed("ndjson"),
        )
    if if_none_match is not None:
        # Events never change, so the same request has the same page as long as none is appended.
        tag = entity_tag(await loaded_version(reader, aggregate_type, aggregate_id))
        if is_current(if_none_match, tag):
            return Response(status_code=304, headers={"ETag": tag, **VARY_ACCEPT})
    page = await read_events(reader, aggregate_type, aggregate_id, wanted, limit or DEFAULT_LIMIT)
    remaining = next_range(wanted, page)
    return json_answer(
        EventsAnswer(
            aggregate_type,
            aggregate_id,
            page.version,
            page.events,
            remaining.first if remaining else None,
        ),
        headers={"ETag": entity_tag(page.version), **VARY_ACCEPT},
    )


async def _subscription(
    services: OpenServices, aggregate_type: str, aggregate_id: str, from_version: int
) -> Response:
    follower = AggregateFollower(
        services.event_reader,
        services.feed_tail,
        aggregate_type,
        aggregate_id,
        from_version=from_version,
    )
    return EventStreamResponse(await primed(aggregate_frames(services.feed_tail, follower)))

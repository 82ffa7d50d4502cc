"""Aggregates: load one, list those of a type, list the types."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from time import monotonic
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer, streamed_array_answer
from app.api.disconnect import while_connected
from app.api.examples import AGGREGATE_NOT_FOUND, RECORDED_EVENT, REDUCER_NOT_FOUND, STATE
from app.api.parameters import (
    DEFAULT_LIMIT,
    AggregateIdPath,
    AggregateTypePath,
    AsOfQuery,
    AtVersionQuery,
    IfNoneMatchHeader,
    LimitQuery,
)
from app.api.path_segments import AGGREGATE_PATH, AGGREGATE_TYPE_PATH
from app.api.preconditions import entity_tag, is_current
from app.api.schemas import (
    AggregateAnswer,
    AggregatesAnswer,
    AggregateSummary,
    AggregateTypesAnswer,
    AggregateTypeSummary,
    StateFailure,
)
from app.api.services import OpenServices, Services
from app.errors import EventsDetached, FoldFailed, VersionNotFound
from app.events import MAX_NAME_LENGTH, NAME_PATTERN, RecordedEvent
from app.queries.get_state import ListedState, list_states, reducer_of
from app.queries.load_aggregate import load_aggregate, loaded_version

router = APIRouter(tags=["aggregates"])


@router.get(
    AGGREGATE_PATH,
    operation_id="load_aggregate",
    summary="Load an aggregate",
    responses=openapi.reading(
        _200=openapi.answer(
            "The newest snapshot, if there is one, and all events after it.",
            AggregateAnswer,
            example={
                "aggregate_type": "Order",
                "aggregate_id": "ord-123",
                "version": 4,
                "snapshot": {
                    "version": 3,
                    "state": {"status": "placed", "total": "45.48"},
                    "created_at": "2026-11-23T10:15:00.000000Z",
                },
                "events": [RECORDED_EVENT],
            },
            etag=openapi.LOADED_VERSION_TAG,
        ),
        _304=openapi.answer(
            "The state is still that of the version of `If-None-Match`.",
            etag=openapi.LOADED_VERSION_TAG,
        ),
        _404=openapi.problem(
            "The aggregate has no events, or was never at that version or time.",
            AGGREGATE_NOT_FOUND,
            VersionNotFound("Order", "ord-123", "at version 5", 4),
        ),
        _410=openapi.DETACHED,
    ),
)
async def load_aggregate_endpoint(
    services: Services,
    aggregate_type: AggregateTypePath,
    aggregate_id: AggregateIdPath,
    snapshot: Annotated[bool, Query(description="false: all events, no snapshot.")] = True,
    at_version: AtVersionQuery = None,
    as_of: AsOfQuery = None,
    if_none_match: IfNoneMatchHeader = None,
) -> Response:
    """Load what a service needs to fold the aggregate's state: consistent in itself.

    `at_version` and `as_of` load the past; a snapshot newer than that is not used.
    The `ETag` is the version that is loaded: the state, whichever snapshot it is told with. So a
    snapshot that was saved meanwhile makes no difference to `If-None-Match`.
    """
    reader = services.event_reader
    if if_none_match is not None:
        tag = entity_tag(
            await loaded_version(
                reader, aggregate_type, aggregate_id, at_version=at_version, as_of=as_of
            )
        )
        if is_current(if_none_match, tag):
            return Response(status_code=304, headers={"ETag": tag})
    return await answer_load(
        services,
        aggregate_type,
        aggregate_id,
        use_snapshot=snapshot,
        at_version=at_version,
        as_of=as_of,
    )


async def answer_load(
    services: OpenServices,
    aggregate_type: str,
    aggregate_id: str,
    *,
    use_snapshot: bool = True,
    at_version: int | None = None,
    as_of: datetime | None = None,
) -> Response:
    """Load an aggregate, and answer."""
    begun_at = monotonic()
    aggregate = await load_aggregate(
        services.event_reader,
        aggregate_type,
        aggregate_id,
        use_snapshot=use_snapshot,
        at_version=at_version,
        as_of=as_of,
    )
    services.load_cost.note(len(aggregate.events), monotonic() - begun_at)
    if use_snapshot and at_version is None and as_of is None:
        services.count_load(
            aggregate_type, aggregate.version, with_snapshot=aggregate.snapshot is not None
        )

    def note_time() -> None:
        found = "none" if aggregate.snapshot is None else "used"
        services.metrics.load_seconds.observe(monotonic() - begun_at, (found,))

    headers = {"ETag": entity_tag(aggregate.version)}
    answer = AggregateAnswer(
        aggregate_type,
        aggregate_id,
        aggregate.version,
        aggregate.snapshot,
        aggregate.events,
    )
    if aggregate.further_pages is None:
        note_time()
        return json_answer(answer, headers=headers)
    members = {name: getattr(answer, name) for name in answer.__struct_fields__}
    events = members.pop("events")
    further_pages = _telling_the_end(aggregate.further_pages, note_time)
    return streamed_array_answer(members, "events", events, further_pages, headers)


async def _telling_the_end(
    pages: AsyncGenerator[list[RecordedEvent], None], note_end: Callable[[], None]
) -> AsyncGenerator[list[RecordedEvent], None]:
    async with aclosing(pages):
        async for page in pages:
            yield page
    note_end()


@router.head(
    AGGREGATE_PATH,
    operation_id="head_aggregate",
    summary="Tell an aggregate's version",
    responses=openapi.reading(
        _200=openapi.answer("`ETag` is the version.", etag=openapi.LOADED_VERSION_TAG),
        _304=openapi.answer(
            "The state is still that of the version of `If-None-Match`.",
            etag=openapi.LOADED_VERSION_TAG,
        ),
        _404=openapi.problem(
            "The aggregate has no events, or was never at that version or time.",
            AGGREGATE_NOT_FOUND,
        ),
        _410=openapi.DETACHED,
    ),
)
async def head_aggregate_endpoint(
    services: Services,
    aggregate_type: AggregateTypePath,
    aggregate_id: AggregateIdPath,
    at_version: AtVersionQuery = None,
    as_of: AsOfQuery = None,
    if_none_match: IfNoneMatchHeader = None,
) -> Response:
    """Tell the version that a load would have, without reading an event."""
    version = await loaded_version(
        services.event_reader, aggregate_type, aggregate_id, at_version=at_version, as_of=as_of
    )
    tag = entity_tag(version)
    response = Response(
        status_code=304 if is_current(if_none_match, tag) else 200,
        headers={"ETag": tag},
        media_type="application/json",
    )
    # It would be the length of what GET answers (RFC 9110, section 8.6), which is not known here.
    del response.headers["Content-Length"]
    return response


@router.get(
    AGGREGATE_TYPE_PATH,
    operation_id="list_aggregates",
    summary="List the aggregates of a type",
    responses=openapi.reading(
        _200=openapi.answer(
            "A page of aggregates; empty where the type has none.",
            AggregatesAnswer,
            example={
                "aggregate_type": "Order",
                "aggregates": [
                    {"aggregate_id": "ord-123", "version": 4, **STATE},
                ],
                "next_after": None,
            },
        ),
        _404=openapi.problem("The type has no reducer.", REDUCER_NOT_FOUND),
        _503=openapi.UNAVAILABLE_TO_FOLD,
    ),
)
async def list_aggregates_endpoint(
    request: Request,
    services: Services,
    aggregate_type: AggregateTypePath,
    after: Annotated[
        str,
        Query(
            max_length=MAX_NAME_LENGTH,
            pattern=NAME_PATTERN,
            description="The id after which the page begins: `next_after` of the page before.",
        ),
    ] = "",
    limit: LimitQuery = DEFAULT_LIMIT,
    include: Annotated[
        list[Literal["state"]] | None,
        Query(description="Add what the type's reducer makes of each aggregate's events."),
    ] = None,
) -> Response:
    """List aggregates with their versions, by id.

    With `include=state`, of a type that has a reducer, also with their states: each as of its
    version, and not all as of one moment. A page may then end early, where states are large or take
    long. An aggregate on which the reducer fails, or whose events are detached from the archive,
    has a `failure` instead.
    """
    if include:
        return await while_connected(
            request, _answer_states(services, aggregate_type, after, limit)
        )
    found = await services.event_reader.list_aggregates(aggregate_type, after=after, limit=limit)
    return json_answer(
        AggregatesAnswer(
            aggregate_type,
            [AggregateSummary(aggregate_id, version) for aggregate_id, version in found],
            next_after=found[-1][0] if len(found) == limit else None,
        )
    )


async def _answer_states(
    services: OpenServices, aggregate_type: str, after: str, limit: int
) -> Response:
    page = await list_states(
        services.event_reader,
        services.fold_process,
        await reducer_of(services.policy_store, aggregate_type),
        aggregate_type,
        after=after,
        limit=limit,
    )
    return json_answer(
        AggregatesAnswer(
            aggregate_type,
            [_summary(listed) for listed in page.states],
            next_after=page.next_after,
        )
    )


def _summary(listed: ListedState) -> AggregateSummary:
    state = listed.state
    if isinstance(state, EventsDetached):
        failure = StateFailure(None, None, None, str(state))
        return AggregateSummary(listed.aggregate_id, listed.version, failure=failure)
    if isinstance(state, FoldFailed):
        failure = StateFailure(state.version, state.event_id, state.event_type, state.reason)
        return AggregateSummary(listed.aggregate_id, listed.version, failure=failure)
    return AggregateSummary(listed.aggregate_id, listed.version, state.state, state.from_snapshot)


@router.get(
    "/v1/aggregates",
    operation_id="list_aggregate_types",
    summary="List the aggregate types",
    responses=openapi.reading(
        _200=openapi.answer(
            "All types that have events.",
            AggregateTypesAnswer,
            example={"aggregate_types": [{"aggregate_type": "Order"}]},
        ),
    ),
)
async def list_aggregate_types_endpoint(services: Services) -> Response:
    """List the types that have events, by name: all of them in one answer, without pages."""
    found = await services.event_reader.list_aggregate_types()
    return json_answer(AggregateTypesAnswer([AggregateTypeSummary(name) for name in found]))

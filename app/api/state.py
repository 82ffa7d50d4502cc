"""State: what a type's reducer makes of an aggregate's events, now or in the past."""

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.body import decode_body, read_body
from app.api.disconnect import while_connected
from app.api.examples import AGGREGATE_NOT_FOUND, PREVIEW_REQUEST, REDUCER_NOT_FOUND, STATE
from app.api.parameters import (
    AggregateIdPath,
    AggregateTypePath,
    AsOfQuery,
    AtVersionQuery,
    IfNoneMatchHeader,
)
from app.api.path_segments import PREVIEW_PATH, STATE_PATH
from app.api.preconditions import is_current, refuse_preconditions, state_tag
from app.api.schemas import PreviewRequest, StateAnswer
from app.api.services import Services
from app.errors import InvalidInput, VersionNotFound
from app.folding.reducer import parse_reducer
from app.queries.get_state import get_state, reducer_of
from app.queries.load_aggregate import loaded_version

REDUCER_PLACE = "$.reducer"
VERSION_NOT_FOUND = VersionNotFound("Order", "ord-123", "at version 5", 4)

router = APIRouter()
_decoder = msgspec.json.Decoder(PreviewRequest)
_example = {"aggregate_type": "Order", "aggregate_id": "ord-123", "version": 4, **STATE}


@router.get(
    STATE_PATH,
    operation_id="get_state",
    summary="Read an aggregate's state",
    tags=["aggregates"],
    responses=openapi.reading(
        _200=openapi.answer("The state.", StateAnswer, example=_example, etag=openapi.STATE_TAG),
        _304=openapi.answer(
            "The state is still the one of `If-None-Match`.", etag=openapi.STATE_TAG
        ),
        _404=openapi.problem(
            "The type has no reducer, or the aggregate has no events, or was never at that version "
            "or time.",
            REDUCER_NOT_FOUND,
            AGGREGATE_NOT_FOUND,
            VERSION_NOT_FOUND,
        ),
        _410=openapi.DETACHED,
        _422=openapi.no_state(),
        _503=openapi.UNAVAILABLE_TO_FOLD,
    ),
)
async def get_state_endpoint(
    request: Request,
    services: Services,
    aggregate_type: AggregateTypePath,
    aggregate_id: AggregateIdPath,
    at_version: AtVersionQuery = None,
    as_of: AsOfQuery = None,
    if_none_match: IfNoneMatchHeader = None,
) -> Response:
    """Fold the newest usable snapshot and the events after it, by the type's reducer.

    It is the same from whichever snapshot. `at_version` and `as_of` tell the past, from event 1
    where the snapshot is newer than that.
    """
    reader = services.event_reader
    reducer = await reducer_of(services.policy_store, aggregate_type)
    if if_none_match is not None:
        version = await loaded_version(
            reader, aggregate_type, aggregate_id, at_version=at_version, as_of=as_of
        )
        tag = state_tag(version, reducer.hash)
        if is_current(if_none_match, tag):
            return Response(status_code=304, headers={"ETag": tag})

    async def answer() -> Response:
        found = await get_state(
            reader,
            services.fold_process,
            reducer,
            aggregate_type,
            aggregate_id,
            at_version=at_version,
            as_of=as_of,
        )
        if at_version is None and as_of is None:
            has_snapshot = found.from_snapshot is not None
            services.count_load(aggregate_type, found.version, with_snapshot=has_snapshot)
        return json_answer(
            StateAnswer(
                aggregate_type, aggregate_id, found.version, found.state, found.from_snapshot
            ),
            headers={"ETag": state_tag(found.version, reducer.hash)},
        )

    return await while_connected(request, answer())


@router.post(
    PREVIEW_PATH,
    operation_id="preview_reducer",
    summary="Try a reducer",
    tags=["snapshot policies"],
    responses=openapi.writing(
        _200=openapi.answer(
            "What the reducer makes of the events.",
            StateAnswer,
            example={**_example, "from_snapshot": None},
        ),
        _404=openapi.problem(
            "The aggregate has no events, or was never at that version.",
            AGGREGATE_NOT_FOUND,
            VERSION_NOT_FOUND,
        ),
        _410=openapi.DETACHED,
        _422=openapi.no_state(
            InvalidInput("$.reducer.on.OrderPaid", "Unexpected end of expression (S0207)")
        ),
        _503=openapi.UNAVAILABLE_TO_FOLD,
    ),
    openapi_extra=openapi.request_body(PreviewRequest, PREVIEW_REQUEST),
)
async def preview_reducer_endpoint(
    request: Request, services: Services, aggregate_type: AggregateTypePath
) -> Response:
    """Fold the events of one aggregate by a reducer, from event 1, and keep nothing of it.

    Whatever policy the type has. `If-Match` and `If-None-Match` are refused.
    """
    refuse_preconditions(request.headers)
    body = decode_body(await read_body(request, services.settings.max_body_bytes), _decoder)
    reducer = parse_reducer(bytes(body.reducer), REDUCER_PLACE)

    async def answer() -> Response:
        await services.fold_process.check(reducer, REDUCER_PLACE)
        found = await get_state(
            services.event_reader,
            services.fold_process,
            reducer,
            aggregate_type,
            body.aggregate_id,
            use_snapshot=False,
            at_version=body.at_version,
        )
        return json_answer(
            StateAnswer(
                aggregate_type, body.aggregate_id, found.version, found.state, found.from_snapshot
            )
        )

    return await while_connected(request, answer())

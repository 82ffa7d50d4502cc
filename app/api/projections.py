"""Projections: how far each has come."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.body import decode_body, read_body
from app.api.disconnect import while_connected
from app.api.examples import (
    EVENT_ID,
    POSITION,
    POSITION_REQUEST,
    POSITION_SAVED,
    PROJECTION_NOT_FOUND,
    STORE_ID,
)
from app.api.parameters import ProjectionNamePath
from app.api.path_segments import POSITION_PATH
from app.api.preconditions import refuse_preconditions
from app.api.problem_schemas import PositionConflictProblem, PositionNotReachedProblem
from app.api.schemas import PositionAnswer, PositionRequest, PositionSavedAnswer, ProjectionsAnswer
from app.api.services import Services, now
from app.commands.save_position import save_position
from app.errors import (
    InvalidInput,
    PositionBeyondSafePosition,
    PositionConflict,
    PositionNotReached,
    ProjectionNotFound,
    StoreChanged,
)
from app.events import MAX_POSITION
from app.queries.get_position import get_position, wait_for_position
from app.store.position_store import StoredPosition

router = APIRouter(tags=["projections"])
_decoder = msgspec.json.Decoder(PositionRequest)
DEFAULT_TIMEOUT_S = 10.0
MAX_TIMEOUT_S = 60.0


def _position_answer(stored: StoredPosition, safe_position: int) -> PositionAnswer:
    return PositionAnswer(
        stored.projection_name,
        stored.last_processed_position,
        stored.last_processed_at,
        safe_position,
        lag_positions=max(0, safe_position - stored.last_processed_position),
        # An event may claim to occur in the future.
        lag_seconds=max(0.0, stored.lag_seconds or 0.0),
    )


@router.put(
    POSITION_PATH,
    operation_id="save_position",
    summary="Save a projection's position",
    responses=openapi.writing(
        _200=openapi.answer("Stored.", PositionSavedAnswer, example=POSITION_SAVED),
        _201=openapi.answer(
            "Stored, as the projection's first.", PositionSavedAnswer, example=POSITION_SAVED
        ),
        _409=openapi.problem(
            "`position-conflict`: the stored position is greater, or is not `expected_position`; "
            "or `store-changed`: the position is one of another store.",
            PositionConflict("the stored position 920 is greater than 918", 920),
            StoreChanged(STORE_ID, EVENT_ID, f"this is the store {STORE_ID}, not {EVENT_ID}"),
            body=PositionConflictProblem,
        ),
        _422=openapi.invalid_body(PositionBeyondSafePosition(921, 920)),
    ),
    openapi_extra=openapi.request_body(PositionRequest, POSITION_REQUEST),
)
async def save_position_endpoint(
    request: Request, services: Services, projection_name: ProjectionNamePath
) -> Response:
    """Store how far a projection has processed the feed; it goes back only with `reset`.

    A request with `expected_position` that is repeated after a lost answer gets 409 if its first
    try was stored. The client knows by the problem's `last_processed_position`: it is the one that
    was sent; any other one is that of another runner. `If-Match` and `If-None-Match` are refused.
    """
    refuse_preconditions(request.headers)
    body = decode_body(await read_body(request, services.settings.max_body_bytes), _decoder)
    is_new = await save_position(
        services.position_store,
        services.position_watch,
        projection_name,
        body.last_processed_position,
        expected_position=body.expected_position,
        may_go_back=body.reset,
        store_id=body.store_id,
        now=now(),
    )
    return json_answer(
        PositionSavedAnswer(projection_name, body.last_processed_position),
        status_code=201 if is_new else 200,
    )


@router.get(
    POSITION_PATH,
    operation_id="get_position",
    summary="Read a projection's position",
    responses=openapi.reading(
        _200=openapi.answer("The position, and the lag.", PositionAnswer, example=POSITION),
        _404=openapi.problem("No position was saved under this name.", PROJECTION_NOT_FOUND),
        _504=openapi.problem(
            "The projection has not come to `wait_for` in time.",
            PositionNotReached("order-totals", 921, 918),
            body=PositionNotReachedProblem,
        ),
    ),
)
async def get_position_endpoint(
    request: Request,
    services: Services,
    projection_name: ProjectionNamePath,
    wait_for: Annotated[
        int | None,
        Query(
            ge=0,
            le=MAX_POSITION,
            description="Answer as soon as the projection has come to this position, like the "
            "`global_position` of an event that was appended; it may be unknown until then.",
        ),
    ] = None,
    timeout_s: Annotated[
        float | None,
        Query(
            alias="timeout",
            ge=0,
            le=MAX_TIMEOUT_S,
            allow_inf_nan=False,
            description="Seconds to wait at most, with `wait_for`. Default: 10.",
        ),
    ] = None,
) -> Response:
    """Read how far a projection has come, and how far it is behind.

    With `wait_for`, what the client has written is in what the projection tells it afterwards.
    """
    store, reader = services.position_store, services.event_reader
    if wait_for is None:
        if timeout_s is not None:
            raise InvalidInput("query.timeout", "is only for requests with wait_for")
        found, safe_position = await get_position(store, reader, projection_name, now())
        if found is None:
            raise ProjectionNotFound(projection_name)
        return json_answer(_position_answer(found, safe_position))

    async def answer() -> Response:
        found, safe_position = await wait_for_position(
            store,
            reader,
            services.position_watch,
            projection_name,
            wait_for,
            timeout_s=DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s,
            clock=now,
        )
        return json_answer(_position_answer(found, safe_position))

    return await while_connected(request, answer())


@router.delete(
    POSITION_PATH,
    operation_id="delete_position",
    summary="Forget a projection",
    status_code=204,
    responses=openapi.reading(
        _204=openapi.answer("Forgotten."),
        _400=openapi.PRECONDITION_REFUSED,
        _404=openapi.problem("No position was saved under this name.", PROJECTION_NOT_FOUND),
    ),
)
async def delete_position_endpoint(
    request: Request, services: Services, projection_name: ProjectionNamePath
) -> Response:
    """Forget a projection and its position, however far it has come."""
    refuse_preconditions(request.headers)
    if not await services.position_store.delete_position(projection_name):
        raise ProjectionNotFound(projection_name)
    return Response(status_code=204)


@router.get(
    "/v1/projections",
    operation_id="list_projections",
    summary="List the projections",
    responses=openapi.reading(
        _200=openapi.answer(
            "All projections, with their lag.",
            ProjectionsAnswer,
            example={"projections": [POSITION]},
        ),
    ),
)
async def list_projections_endpoint(services: Services) -> Response:
    """List projections by name, with how far each is behind: all in one answer, without pages."""
    safe_position = await services.event_reader.safe_position()
    found = await services.position_store.list_positions(safe_position=safe_position, now=now())
    return json_answer(
        ProjectionsAnswer([_position_answer(stored, safe_position) for stored in found])
    )

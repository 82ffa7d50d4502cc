"""Snapshots: one an aggregate."""

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.body import decode_body, read_body
from app.api.examples import SNAPSHOT_NOT_FOUND, SNAPSHOT_REQUEST
from app.api.parameters import AggregateIdPath, AggregateTypePath, IfNoneMatchHeader
from app.api.path_segments import AGGREGATE_PATH
from app.api.preconditions import is_current, refuse_preconditions, snapshot_tag
from app.api.problem_schemas import SnapshotConflictProblem
from app.api.services import Services, now
from app.api.snapshot_schemas import SnapshotAnswer, SnapshotRequest, SnapshotSavedAnswer
from app.commands.save_snapshot import save_snapshot
from app.errors import (
    SnapshotBeyondAggregate,
    SnapshotConflict,
    SnapshotManaged,
    SnapshotNotFound,
)

PATH = AGGREGATE_PATH + "/snapshot"

router = APIRouter(tags=["snapshots"])
_decoder = msgspec.json.Decoder(SnapshotRequest)
_saved_example = {"aggregate_type": "Order", "aggregate_id": "ord-123", "version": 3}


@router.put(
    PATH,
    operation_id="save_snapshot",
    summary="Save a snapshot",
    responses=openapi.writing(
        _200=openapi.answer(
            "Stored, in the place of the one before.",
            SnapshotSavedAnswer,
            example=_saved_example,
            etag=openapi.SNAPSHOT_TAG,
        ),
        _201=openapi.answer(
            "Stored, as the aggregate's first.",
            SnapshotSavedAnswer,
            example=_saved_example,
            etag=openapi.SNAPSHOT_TAG,
        ),
        _409=openapi.problem(
            "`snapshot-conflict`: a newer snapshot is stored; or `snapshot-managed`: the store "
            "makes the snapshots of the type itself.",
            SnapshotConflict(3, 4),
            SnapshotManaged("Order"),
            body=SnapshotConflictProblem,
        ),
        _422=openapi.invalid_body(SnapshotBeyondAggregate(5, 4)),
    ),
    openapi_extra=openapi.request_body(SnapshotRequest, SNAPSHOT_REQUEST),
)
async def save_snapshot_endpoint(
    request: Request,
    services: Services,
    aggregate_type: AggregateTypePath,
    aggregate_id: AggregateIdPath,
) -> Response:
    """Store the state of an aggregate at a version that it has reached.

    The same version replaces, an older one never does. Where the type's policy has a reducer, the
    store makes the snapshots itself and takes none. There is no other precondition: `If-Match`
    and `If-None-Match` are refused.
    """
    refuse_preconditions(request.headers)
    body = decode_body(await read_body(request, services.settings.max_body_bytes), _decoder)
    created_at = now()
    is_new = await save_snapshot(
        services.snapshot_store,
        aggregate_type,
        aggregate_id,
        body.version,
        body.state,
        now=created_at,
    )
    # The same text as that of the stored time, of which GET makes the tag.
    tag = snapshot_tag(body.version, created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    return json_answer(
        SnapshotSavedAnswer(aggregate_type, aggregate_id, body.version),
        status_code=201 if is_new else 200,
        headers={"ETag": tag},
    )


@router.get(
    PATH,
    operation_id="get_snapshot",
    summary="Read a snapshot",
    responses=openapi.reading(
        _200=openapi.answer(
            "The snapshot.",
            SnapshotAnswer,
            example={
                **_saved_example,
                "state": SNAPSHOT_REQUEST["state"],
                "created_at": "2026-11-23T10:15:00.000000Z",
            },
            etag=openapi.SNAPSHOT_TAG,
        ),
        _304=openapi.answer(
            "The snapshot is still the one of `If-None-Match`.", etag=openapi.SNAPSHOT_TAG
        ),
        _404=openapi.problem("The aggregate has no snapshot.", SNAPSHOT_NOT_FOUND),
    ),
)
async def get_snapshot_endpoint(
    services: Services,
    aggregate_type: AggregateTypePath,
    aggregate_id: AggregateIdPath,
    if_none_match: IfNoneMatchHeader = None,
) -> Response:
    """Read the stored snapshot of an aggregate."""
    snapshot = await services.snapshot_store.get_snapshot(aggregate_type, aggregate_id)
    if snapshot is None:
        raise SnapshotNotFound(aggregate_type, aggregate_id)
    tag = snapshot_tag(snapshot.version, snapshot.created_at)
    headers = {"ETag": tag}
    if is_current(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return json_answer(
        SnapshotAnswer(
            aggregate_type, aggregate_id, snapshot.version, snapshot.state, snapshot.created_at
        ),
        headers=headers,
    )


@router.delete(
    PATH,
    operation_id="delete_snapshot",
    summary="Delete a snapshot",
    status_code=204,
    responses=openapi.reading(
        _204=openapi.answer("Deleted; the events remain."),
        _400=openapi.PRECONDITION_REFUSED,
        _404=openapi.problem("The aggregate has no snapshot.", SNAPSHOT_NOT_FOUND),
    ),
)
async def delete_snapshot_endpoint(
    request: Request,
    services: Services,
    aggregate_type: AggregateTypePath,
    aggregate_id: AggregateIdPath,
) -> Response:
    """Delete the stored snapshot of an aggregate, whichever it is; its events remain."""
    refuse_preconditions(request.headers)
    if not await services.snapshot_store.delete_snapshot(aggregate_type, aggregate_id):
        raise SnapshotNotFound(aggregate_type, aggregate_id)
    return Response(status_code=204)

"""Snapshot policies: one an aggregate type."""

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.body import decode_body, read_body
from app.api.examples import POLICY, POLICY_NOT_FOUND, POLICY_REQUEST
from app.api.parameters import AggregateTypePath
from app.api.path_segments import POLICY_PATH
from app.api.preconditions import refuse_preconditions
from app.api.services import Services, now
from app.api.snapshot_schemas import PoliciesAnswer, PolicyAnswer, PolicyRequest
from app.commands.save_policy import MAX_EVERY, delete_policy, save_policy
from app.errors import InvalidInput, PolicyNotFound
from app.events import NULL
from app.store.policy_store import StoredPolicy

router = APIRouter(tags=["snapshot policies"])
_decoder = msgspec.json.Decoder(PolicyRequest)


def _policy_answer(stored: StoredPolicy) -> PolicyAnswer:
    return PolicyAnswer(
        stored.aggregate_type,
        stored.every,
        NULL if stored.reducer is None else stored.reducer,
        stored.reducer_hash,
        stored.updated_at,
    )


@router.put(
    POLICY_PATH,
    operation_id="save_snapshot_policy",
    summary="Save a snapshot policy",
    responses=openapi.writing(
        _200=openapi.answer(
            "Stored, in the place of the one before.", PolicyAnswer, example=POLICY
        ),
        _201=openapi.answer("Stored, as the type's first.", PolicyAnswer, example=POLICY),
        _422=openapi.invalid_body(
            InvalidInput("$.every", "Expected `int` <= 10000"),
            InvalidInput("$.reducer.kind", "Invalid enum value 'fold'"),
        ),
    ),
    openapi_extra=openapi.request_body(PolicyRequest, POLICY_REQUEST),
)
async def save_snapshot_policy_endpoint(
    request: Request, services: Services, aggregate_type: AggregateTypePath
) -> Response:
    """Set after how many events a snapshot is due, and whether the store makes it.

    All aggregates of the type are judged anew in the background. With another reducer, the
    snapshots that the store has made with the former one are made anew; the same policy once more
    tries those again that have failed. `If-Match` and `If-None-Match` are refused.
    """
    refuse_preconditions(request.headers)
    body = decode_body(await read_body(request, services.settings.max_body_bytes), _decoder)
    is_new = await save_policy(
        services.policy_store,
        services.policies,
        services.fold_process,
        aggregate_type,
        min(services.settings.snapshot_every, MAX_EVERY) if body.every is None else body.every,
        None if body.reducer == NULL else body.reducer,
        now=now(),
    )
    stored = await services.policy_store.get_policy(aggregate_type)
    if stored is None:
        # Deleted since.
        raise PolicyNotFound(aggregate_type, services.settings.snapshot_every)
    return json_answer(_policy_answer(stored), status_code=201 if is_new else 200)


@router.get(
    POLICY_PATH,
    operation_id="get_snapshot_policy",
    summary="Read a snapshot policy",
    responses=openapi.reading(
        _200=openapi.answer("The policy.", PolicyAnswer, example=POLICY),
        _404=openapi.problem("The type has no policy of its own.", POLICY_NOT_FOUND),
    ),
)
async def get_snapshot_policy_endpoint(
    services: Services, aggregate_type: AggregateTypePath
) -> Response:
    """Read the policy of an aggregate type."""
    stored = await services.policy_store.get_policy(aggregate_type)
    if stored is None:
        raise PolicyNotFound(aggregate_type, services.settings.snapshot_every)
    return json_answer(_policy_answer(stored))


@router.delete(
    POLICY_PATH,
    operation_id="delete_snapshot_policy",
    summary="Delete a snapshot policy",
    status_code=204,
    responses=openapi.reading(
        _204=openapi.answer("Deleted: SNAPSHOT_EVERY applies, and the services make snapshots."),
        _400=openapi.PRECONDITION_REFUSED,
        _404=openapi.problem("The type has no policy of its own.", POLICY_NOT_FOUND),
    ),
)
async def delete_snapshot_policy_endpoint(
    request: Request, services: Services, aggregate_type: AggregateTypePath
) -> Response:
    """Delete the policy of an aggregate type; snapshots that were made remain."""
    refuse_preconditions(request.headers)
    if not await delete_policy(services.policy_store, services.policies, aggregate_type):
        raise PolicyNotFound(aggregate_type, services.settings.snapshot_every)
    return Response(status_code=204)


@router.get(
    "/v1/snapshot-policies",
    operation_id="list_snapshot_policies",
    summary="List the snapshot policies",
    responses=openapi.reading(
        _200=openapi.answer(
            "All policies, and what applies to every other type.",
            PoliciesAnswer,
            example={"default_every": 100, "policies": [POLICY]},
        ),
    ),
)
async def list_snapshot_policies_endpoint(services: Services) -> Response:
    """List the policies by type: all in one answer, without pages."""
    found = await services.policy_store.list_policies()
    return json_answer(
        PoliciesAnswer(services.settings.snapshot_every, [_policy_answer(each) for each in found])
    )

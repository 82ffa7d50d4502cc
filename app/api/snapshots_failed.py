"""Of which aggregates the store could not make a snapshot, and why."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.examples import FAILURE
from app.api.page_token import parts_of, token_of
from app.api.parameters import DEFAULT_LIMIT, AggregateTypeQuery, LimitQuery, TokenQuery
from app.api.services import Services
from app.api.snapshot_schemas import FailuresAnswer, FailureSummary

router = APIRouter(tags=["snapshots"])


@router.get(
    "/v1/snapshots/failed",
    operation_id="list_failed_snapshots",
    summary="List the aggregates of which no snapshot can be made",
    responses=openapi.reading(
        _200=openapi.answer(
            "A page of aggregates, by type and id.",
            FailuresAnswer,
            example={"failures": [FAILURE], "next_after": None},
        ),
    ),
)
async def list_failed_snapshots_endpoint(
    services: Services,
    aggregate_type: AggregateTypeQuery = None,
    after: TokenQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
) -> Response:
    """List the aggregates on which their type's reducer fails, with the event and the reason.

    And those of which needed events are detached from the archive. Each keeps the snapshot that it
    had. It is tried again when its type's policy is saved again, with another reducer or the same,
    or when a month is attached.
    """
    place = ("", "")
    if after is not None:
        [type_before, id_before] = parts_of(after, 2)
        place = (type_before, id_before)
    found = await services.made_snapshot_store.list_failures(
        aggregate_type, after=place, limit=limit
    )
    last = found[-1] if len(found) == limit else None
    return json_answer(
        FailuresAnswer(
            [
                FailureSummary(
                    failure.aggregate_type,
                    failure.aggregate_id,
                    failure.version,
                    failure.event_id,
                    failure.event_type,
                    failure.message,
                    failure.failed_at,
                )
                for failure in found
            ],
            next_after=None if last is None else token_of(last.aggregate_type, last.aggregate_id),
        )
    )

"""Which aggregates are fought over, and what to do about it."""

import os
from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from msgspec import Raw
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.path_segments import segment_of
from app.api.services import Services
from app.api.statistics_examples import CONFLICTS
from app.api.statistics_schemas import (
    Advice,
    AggregateConflictsSummary,
    ConflictsAnswer,
    OperationLink,
    TypeConflictsSummary,
)
from app.conflicts import MAX_AGGREGATES, AggregateConflicts
from app.events import NULL

router = APIRouter(tags=["statistics"])

HottestLimitQuery = Annotated[
    int, Query(ge=1, le=MAX_AGGREGATES, description="The most aggregates of the answer.")
]
EVENTS_OF_A_CREATION = Raw(
    msgspec.json.encode({"expected_version": 0, "events": [{"event_type": "…", "event_data": {}}]})
)


@router.get(
    "/v1/stats/conflicts",
    operation_id="list_conflicts",
    summary="Which aggregates are fought over, and what helps?",
    responses=openapi.reading(
        _200=openapi.answer(
            "Version conflicts since the process started.", ConflictsAnswer, example=CONFLICTS
        )
    ),
)
async def list_conflicts_endpoint(services: Services, limit: HottestLimitQuery = 100) -> Response:
    """Tell how many appends were refused as their aggregate was not at the expected version.

    By 409 or 412, by type, and the aggregates that had the most. Each process remembers its own
    (`scope`); `/metrics` has the sum over all workers.
    """
    types = services.conflicts.types()
    return json_answer(
        ConflictsAnswer(
            "process",
            os.getpid(),
            _text(services.conflicts.since),
            sum(each.conflicts for each in types),
            True,
            [
                TypeConflictsSummary(each.aggregate_type, each.conflicts, _text(each.last_at))
                for each in types
            ],
            [
                AggregateConflictsSummary(
                    each.aggregate_type,
                    each.aggregate_id,
                    each.conflicts,
                    each.creations,
                    each.missed == 0,
                    _text(each.last_at),
                    _advice(each),
                )
                for each in services.conflicts.hottest(limit)
            ],
        )
    )


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _advice(hot: AggregateConflicts) -> Advice:
    path = f"/v1/aggregates/{segment_of(hot.aggregate_type)}/{segment_of(hot.aggregate_id)}"
    if hot.creations * 2 > hot.conflicts:
        return Advice(
            "It is begun again and again: mostly that repeats an append that has succeeded. Send "
            "the same `Idempotency-Key`, or event ids, with each repetition: it is then answered "
            "200, as the first time.",
            OperationLink("append_events", "POST", f"{path}/events", EVENTS_OF_A_CREATION),
        )
    return Advice(
        "Writers decide on a state that is no longer the last. After a conflict load it again, "
        "decide anew, and append with the version that was loaded (the Python client does so: "
        "`load_decide_append`); send event ids or an `Idempotency-Key`, so that a repetition is no "
        "conflict. Append without `expected_version` where the order does not matter. If many have "
        "to change it at once, divide it: smaller aggregates meet less often.",
        OperationLink("load_aggregate", "GET", path, NULL),
    )

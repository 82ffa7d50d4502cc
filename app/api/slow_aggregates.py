"""Which aggregates take long to load, and what to do about it."""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from msgspec import Raw
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.disconnect import while_connected
from app.api.path_segments import segment_of
from app.api.services import OpenServices, Services
from app.api.statistics_examples import SLOW
from app.api.statistics_schemas import (
    Advice,
    OperationLink,
    SlowAggregatesAnswer,
    SlowAggregateSummary,
)
from app.commands.save_policy import MAX_EVERY
from app.events import NULL
from app.queries.find_slow import SLOW_FROM_EVENTS, cause_of, measure_loads
from app.store.slow_aggregates import SlowAggregate, slow_aggregates

router = APIRouter(tags=["statistics"])

MAX_SLOW = 1_000
MERGE = Raw(b'{"kind":"merge"}')

SlowLimitQuery = Annotated[
    int, Query(ge=1, le=MAX_SLOW, description="The most aggregates of the answer.")
]
MeasureQuery = Annotated[
    bool,
    Query(
        description="true: really load the first ten, if they have no more than 100,000 events "
        "together. Default: estimate how long a load takes."
    ),
]


@router.get(
    "/v1/stats/slow-aggregates",
    operation_id="slow_aggregates",
    summary="Which aggregates take long to load, and what helps?",
    responses=openapi.reading(
        _200=openapi.answer("The slowest first.", SlowAggregatesAnswer, example=SLOW)
    ),
)
async def slow_aggregates_endpoint(
    request: Request,
    services: Services,
    limit: SlowLimitQuery = 100,
    exact: MeasureQuery = False,
) -> Response:
    """List aggregates that have no usable snapshot near their end, and tell what to do.

    Those that are beyond `every` of their type's policy, those on which the type's reducer fails,
    and, of the thousand largest, those beyond 100 events whatever their policy says.
    """
    return await while_connected(request, _slow(services, limit, exact))


async def _slow(services: OpenServices, limit: int, exact: bool) -> Response:
    found = await slow_aggregates(
        services.database,
        services.policies.default_every,
        from_events=SLOW_FROM_EVENTS,
        limit=limit,
    )
    measured = await measure_loads(services.event_reader, found.aggregates) if exact else []
    for slow, seconds in zip(found.aggregates, measured, strict=False):
        services.load_cost.note(slow.events_since_snapshot, seconds)
    reducers = await _reducers(services, found.aggregates)
    cost = services.load_cost
    return json_answer(
        SlowAggregatesAnswer(
            [
                SlowAggregateSummary(
                    slow.aggregate_type,
                    slow.aggregate_id,
                    slow.version,
                    slow.snapshot_version > 0,
                    slow.snapshot_version or None,
                    slow.events_since_snapshot,
                    measured[number]
                    if number < len(measured)
                    else cost.estimate_s(slow.events_since_snapshot),
                    number < len(measured),
                    cause_of(slow),
                    _advice(slow, reducers.get(slow.aggregate_type, NULL)),
                )
                for number, slow in enumerate(found.aggregates)
            ],
            found.position >= found.safe_position,
            found.position,
            found.safe_position,
            cost.loads,
        )
    )


async def _reducers(services: OpenServices, found: Iterable[SlowAggregate]) -> dict[str, Raw]:
    """The reducers that a policy must keep when it is saved with another interval."""
    types = {
        slow.aggregate_type
        for slow in found
        if slow.is_managed and cause_of(slow) == "policy-too-wide"
    }
    policies = [await services.policy_store.get_policy(each) for each in sorted(types)]
    return {
        policy.aggregate_type: policy.reducer
        for policy in policies
        if policy is not None and policy.reducer is not None
    }


def _advice(slow: SlowAggregate, reducer: Raw) -> Advice:
    """What to do about it, by its cause."""
    type_segment = segment_of(slow.aggregate_type)
    policy_path = f"/v1/snapshot-policies/{type_segment}"
    match cause_of(slow):
        case "reducer-failed":
            return Advice(
                f"The reducer of {slow.aggregate_type} fails on event {slow.failed_version}: "
                f"{slow.failure}. See the failures, and save the policy with a reducer that takes "
                f"such an event (try it: POST {policy_path}/preview).",
                OperationLink(
                    "list_failed_snapshots",
                    "GET",
                    f"/v1/snapshots/failed?aggregate_type={type_segment}",
                    NULL,
                ),
            )
        case "policy-too-wide":
            return Advice(
                f"By its policy a snapshot is due only after {slow.every:,} events: save it with a "
                f"lower `every`, such as {SLOW_FROM_EVENTS}.",
                _save_policy(policy_path, SLOW_FROM_EVENTS, reducer),
            )
        case "snapshot-being-made":
            return Advice(
                "The store is about to make the snapshot. If it stays here, see whether "
                "`position` follows `safe_position`; if not, no instance keeps snapshots: is "
                "SNAPSHOT_WORKER off everywhere?",
                OperationLink("snapshot_coverage", "GET", "/v1/stats/snapshot-coverage", NULL),
            )
    snapshot = f"/v1/aggregates/{type_segment}/{segment_of(slow.aggregate_id)}/snapshot"
    return Advice(
        f"No snapshot is made near its end. Have the service save one every {slow.every:,} events, "
        f"when an append answers `snapshot_due` (PUT {snapshot}); or have the store make them, by "
        "a reducer in the type's policy, such as this one, if the state is the merge of all "
        f"`event_data` (try it: POST {policy_path}/preview).",
        _save_policy(policy_path, min(slow.every, MAX_EVERY), MERGE),
    )


def _save_policy(path: str, every: int, reducer: Raw) -> OperationLink:
    body = Raw(msgspec.json.encode({"every": every, "reducer": reducer}))
    return OperationLink("save_snapshot_policy", "PUT", path, body)

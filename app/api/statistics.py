"""Statistics of the store."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.examples import COVERAGE
from app.api.parameters import ExactQuery
from app.api.services import Services
from app.api.snapshot_schemas import CoverageAnswer, TypeCoverageSummary
from app.metrics import SnapshotLoads
from app.store.snapshot_statistics import TypeCoverage, due_summary, snapshot_coverage

router = APIRouter(tags=["statistics"])


@router.get(
    "/v1/stats/snapshot-coverage",
    operation_id="snapshot_coverage",
    summary="How well are aggregates covered by snapshots?",
    responses=openapi.reading(
        _200=openapi.answer("By aggregate type.", CoverageAnswer, example=COVERAGE)
    ),
)
async def snapshot_coverage_endpoint(services: Services, exact: ExactQuery = False) -> Response:
    """Tell, by type, who is beyond `every` events and has a snapshot, and what loads found.

    Counts of aggregates are those of the store, up to `position`; of many snapshots, an estimate by
    some thousand of them. Counts of loads are those of the process that answers, since it started;
    `/metrics` has the sum over all workers.
    """
    policies, metrics = services.policies, services.metrics
    progress = await due_summary(services.database)
    found = await snapshot_coverage(services.database, policies.default_every, exact=exact)
    covered = {each.aggregate_type: each for each in found.types}
    for aggregate_type in metrics.snapshot_loads:
        covered.setdefault(
            aggregate_type,
            TypeCoverage(
                aggregate_type,
                policies.every(aggregate_type),
                aggregate_type in policies.reducer_hashes,
                *(0, 0, 0, 0),
            ),
        )
    return json_answer(
        CoverageAnswer(
            [
                _summary(each, metrics.snapshot_loads.get(each.aggregate_type, SnapshotLoads()))
                for each in covered.values()
            ],
            progress.position >= progress.safe_position and not found.is_sampled,
            progress.position,
            progress.safe_position,
            metrics.started_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        )
    )


def _summary(type_: TypeCoverage, loads: SnapshotLoads) -> TypeCoverageSummary:
    return TypeCoverageSummary(
        type_.aggregate_type,
        type_.every,
        type_.is_managed,
        type_.beyond_every,
        type_.with_snapshot,
        _ratio(type_.with_snapshot, type_.beyond_every),
        type_.due,
        type_.failed,
        loads.beyond_every,
        loads.with_snapshot,
        _ratio(loads.with_snapshot, loads.beyond_every),
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None

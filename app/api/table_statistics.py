"""How large the tables are, how well they are vacuumed, and what keeps that back."""

from dataclasses import asdict

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answer import json_answer
from app.api.disconnect import while_connected
from app.api.parameters import ExactQuery
from app.api.services import OpenServices, Services
from app.api.statistics_examples import TABLES
from app.api.statistics_schemas import (
    ConcernDetails,
    OldestSnapshotDetails,
    TablesAnswer,
    TableSummary,
)
from app.queries.judge_tables import Concern, judge_snapshot, judge_table, worst
from app.store.table_statistics import (
    OldestSnapshot,
    TableStatistics,
    count_rows,
    oldest_snapshot,
    table_statistics,
)

router = APIRouter(tags=["statistics"])


@router.get(
    "/v1/stats/tables",
    operation_id="table_statistics",
    summary="How large are the tables, and are they vacuumed?",
    responses=openapi.reading(
        _200=openapi.answer("The tables, by name.", TablesAnswer, example=TABLES)
    ),
)
async def table_statistics_endpoint(
    request: Request, services: Services, exact: ExactQuery = False
) -> Response:
    """Tell sizes, dead rows and the last vacuum of each table, and what to do where it is needed.

    Numbers of rows are PostgreSQL's estimates, unless `exact` has them counted: each table by one
    statement, which is refused with 503 if it takes longer than `DATABASE_STATEMENT_TIMEOUT_S`.
    """
    return await while_connected(request, _tables(services, exact))


async def _tables(services: OpenServices, exact: bool) -> Response:
    # Who keeps vacuum back first: asked afterwards, it could be somebody who has just come.
    oldest = await oldest_snapshot(services.database)
    found = await table_statistics(services.database)
    concerns = judge_snapshot(oldest, min(table.freeze_max_age for table in found))
    summaries = []
    for table in found:
        rows = await count_rows(services.database, table.table_name) if exact else table.rows
        summaries.append(_summary(table, rows, exact, judge_table(table, oldest)))
    return json_answer(
        TablesAnswer(
            summaries,
            sum(each.total_bytes for each in summaries),
            _oldest(oldest),
            worst(concerns),
            _details(concerns),
        )
    )


def _summary(
    table: TableStatistics, rows: int, exact: bool, concerns: list[Concern]
) -> TableSummary:
    return TableSummary(
        table_name=table.table_name,
        tables=table.tables,
        rows=rows,
        exact=exact,
        dead_rows=table.dead_rows,
        table_bytes=table.table_bytes,
        index_bytes=table.index_bytes,
        toast_bytes=table.toast_bytes,
        total_bytes=table.table_bytes + table.index_bytes + table.toast_bytes,
        last_vacuum=table.last_vacuum,
        last_analyze=table.last_analyze,
        inserts_since_vacuum=table.inserts_since_vacuum,
        xid_age=table.xid_age,
        multixact_age=table.multixact_age,
        freeze_max_age=table.freeze_max_age,
        warning=worst(concerns),
        concerns=_details(concerns),
    )


def _oldest(oldest: OldestSnapshot | None) -> OldestSnapshotDetails | None:
    return None if oldest is None else OldestSnapshotDetails(**asdict(oldest))


def _details(concerns: list[Concern]) -> list[ConcernDetails]:
    return [ConcernDetails(each.level, each.why, each.advice) for each in concerns]

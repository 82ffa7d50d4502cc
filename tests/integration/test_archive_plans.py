"""PostgreSQL's plans for statements over live events and some months of the archive."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest

from app.commands.archive_events import archive_events
from app.settings import Settings
from app.store.archive_store import Archivable, ArchiveStore
from app.store.connection import Database
from app.store.feed_statement import FeedFilter, feed_statement
from app.store.statements import statement, with_months
from tests.conftest import connect, copied_database
from tests.integration.client_sql import Connection
from tests.integration.test_plans import PLAN_MODES, Plan, explain

EVENTS, LIVE, PAGE = 24_000, 4_000, 100
# Ten days an aggregate of ten events, 2,400 of them: of each month about 3,400 events.
SEED = f"""
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    occurred_at)
SELECT gen_random_uuid(), 'Order', 'id-' || n / 10, 1 + n % 10, 'Type' || n % 7, '{{}}',
       '2024-01-01T00:00:00Z'::timestamptz + n * interval '11 minutes'
FROM generate_series(0, {EVENTS} - 1) AS n
"""
LIVE_FROM = datetime(2024, 6, 3, tzinfo=UTC)
MONTHS = [date(2024, month, 1) for month in (2, 3)]


@pytest.fixture(scope="module")
def archived(postgres_host: str, template_database: str) -> Iterator[Settings]:
    """Five months are archived, and some of the sixth."""

    async def seed(settings: Settings) -> None:
        connection = await connect(settings)
        await connection.execute(SEED)
        database = Database(settings)
        await database.open()
        async for _ in archive_events(ArchiveStore(database), Archivable(LIVE_FROM)):
            pass
        await database.close(timeout_s=5)
        await connection.execute("SET default_statistics_target = 1000")
        await connection.execute("VACUUM ANALYZE")
        await connection.close()

    with copied_database(postgres_host, template_database) as settings:
        asyncio.run(seed(settings))
        yield settings


@pytest.fixture
async def sql(archived: Settings) -> AsyncIterator[Connection]:
    connection = await connect(archived, statement_cache_size=0)
    yield connection
    await connection.close()


def tables(plan: Plan) -> set[str]:
    return {node["Relation Name"] for node in plan.nodes if "Relation Name" in node}


def months_of(plan: Plan) -> set[str]:
    return {table for table in tables(plan) if table.startswith("events_archive_")}


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_an_aggregate_is_read_by_the_indexes_of_its_months_alone(
    sql: Connection, mode: str
) -> None:
    for name, parameters in (
        ("read_events", ["Order", "id-500", 1, 10]),
        ("read_events_backward", ["Order", "id-500", 10, 1, 10]),
        ("load_aggregate", ["Order", "id-500", True, None, None, 1_000, None]),
        ("load_aggregate", ["Order", "id-500", True, None, LIVE_FROM, 1_000, None]),
    ):
        plan = await explain(sql, with_months(statement(name), MONTHS), parameters, mode)
        assert months_of(plan) == {"events_archive_2024_02", "events_archive_2024_03"}, plan
        assert plan.scanned() <= {"snapshots"}, plan
        assert {"events_archive_2024_02_aggregate", "idx_events_aggregate"} <= plan.indexes()
        assert plan.buffers <= 60, plan


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_a_page_of_the_feed_reads_no_more_rows_of_a_month_than_it_has(
    sql: Connection, mode: str
) -> None:
    for backward, start, stop in ((False, 5_000, 9_000), (True, 9_000, 5_000)):
        text, parameters = feed_statement(
            FeedFilter(), start=start, stop=stop, limit=PAGE, backward=backward, months=MONTHS
        )
        plan = await explain(sql, text, parameters, mode)
        assert plan.root["Actual Rows"] == PAGE
        assert "Merge Append" in {node["Node Type"] for node in plan.nodes}, plan
        assert "events_archive_2024_02_global_position" in plan.indexes(), plan
        assert plan.scanned() <= {"snapshots"}, plan
        assert plan.buffers <= 40, plan


async def test_an_event_and_repetitions_are_found_by_the_ids_of_their_months(
    sql: Connection,
) -> None:
    text = with_months(statement("get_event"), MONTHS)
    plan = await explain(sql, text, [UUID(int=0)], "force_generic_plan")
    assert plan.indexes() == {
        *("events_pkey", "events_archive_2024_02_pkey", "events_archive_2024_03_pkey")
    }
    assert plan.buffers <= 12
    ids = [row[0] for row in await sql.fetch("SELECT event_id FROM events_archive LIMIT 10")]
    look_up = [["Order"], ["id-7"], [uuid4()], [0] * 10, list(range(10)), ["Order"] * 10]
    look_up += [["id-7"] * 10, ids, ["A"] * 10, ["{}"] * 10, *[[None] * 10] * 4]
    text = with_months(statement("look_up_appends"), MONTHS)
    plan = await explain(sql, text, look_up, "force_generic_plan")
    assert plan.scanned() <= {"snapshots"}, plan
    assert plan.buffers <= 300, plan


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_live_reads_and_appends_look_at_no_month(sql: Connection, mode: str) -> None:
    for name, parameters in (
        ("read_events", ["Order", "id-2300", 1, 10]),
        ("load_aggregate", ["Order", "id-2300", True, None, None, 1_000, None]),
        ("list_aggregates", ["Order", "", 100]),
        ("get_event", [UUID(int=0)]),
    ):
        plan = await explain(sql, statement(name), parameters, mode)
        assert months_of(plan) == set(), plan
    text, parameters = feed_statement(
        FeedFilter(), start=EVENTS - PAGE, stop=EVENTS, limit=PAGE, backward=False
    )
    plan = await explain(sql, text, parameters, mode)
    assert months_of(plan) == set()
    assert plan.root["Actual Rows"] == PAGE


async def test_a_batch_that_moves_touches_its_events_and_their_indexes(sql: Connection) -> None:
    text = "SELECT * FROM events_archive_batch(0, 1000000, '2100-01-01', NULL, false, 500)"
    plan = await explain(sql, text, [], "force_custom_plan")
    # About 20 pages of them, and five to ten a row for its index entries.
    assert plan.buffers <= 500 * 40, plan


async def test_what_is_old_is_found_without_what_is_newer(sql: Connection) -> None:
    for name, parameters in (
        ("archive_bounds", [LIVE_FROM, EVENTS]),
        ("months_to_make", [LIVE_FROM]),
    ):
        for mode in PLAN_MODES:
            plan = await explain(sql, statement(name), parameters, mode)
            assert plan.indexes() == {"idx_events_occurred"}, plan
            assert plan.buffers <= 200, plan

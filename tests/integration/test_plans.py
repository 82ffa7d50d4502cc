"""PostgreSQL's plans for the real statements, in 200,000 events of many aggregates."""

import asyncio
import inspect
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.events import Append, Expectation
from app.settings import Settings
from app.store import (
    append_statement,
    archive_store,
    archived_months,
    audit_reader,
    due_store,
    event_reader,
    event_store,
    feed_figures,
    feed_scan,
    feed_status,
    identity,
    import_store,
    made_snapshot_store,
    month_store,
    policy_store,
    position_store,
    rows,
    schema,
    slow_aggregates,
    snapshot_statistics,
    snapshot_store,
    statistics_store,
    table_figures,
    table_statistics,
)
from app.store.connection import Database
from app.store.event_reader import EventReader
from app.store.feed_statement import FeedFilter, feed_statement
from app.store.statements import SQL_DIR, statement
from tests.conftest import OWNER, connect, run_as_superuser
from tests.integration.client_sql import OCCURRED_AT, Connection
from tests.integration.support import new_append, new_event, new_ids

EVENTS = 200_000
LARGE_AGGREGATE = 10_000
PAGE = 1_000
# One event a minute, of four aggregate types with 4,750 aggregates each; every 20th belongs to one
# large aggregate, some to a seldom type. Ten event types, one that has died out, and a rare one.
SEED = f"""
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    metadata, occurred_at, correlation_id, causation_id)
SELECT gen_random_uuid(), aggregate_type, aggregate_id,
       row_number() OVER (PARTITION BY aggregate_type, aggregate_id ORDER BY n), event_type,
       '{{"amount": "45.48"}}', NULL, $1::timestamptz + n * interval '1 minute', NULL, NULL
FROM (
  SELECT n,
         CASE WHEN n % 20 = 0 THEN 'Order' WHEN n % 5003 = 0 THEN 'Seldom'
              ELSE (ARRAY['Order', 'Customer', 'Invoice', 'Shipment'])[1 + n % 4] END
           AS aggregate_type,
         CASE WHEN n % 20 = 0 THEN 'large' ELSE 'id-' || (n / 4) % 4750 END AS aggregate_id,
         CASE WHEN n % 10000 = 0 THEN 'Rare' WHEN n < 20000 AND n % 7 = 0 THEN 'Extinct'
              ELSE 'Type' || n % 10 END AS event_type
  FROM generate_series(1, {EVENTS}) AS n
) AS seed
ORDER BY n
"""
PLAN_MODES = ("force_custom_plan", "force_generic_plan")


def at(minute: int) -> datetime:
    return OCCURRED_AT + timedelta(minutes=minute)


@pytest.fixture(scope="module")
def seeded(postgres_host: str, template_database: str) -> Iterator[Settings]:
    name = f"plans_{uuid4().hex}"
    settings = Settings(_env_file=None, database_host=postgres_host, database_name=name)

    async def seed() -> None:
        connection = await connect(settings)
        # Aggregates have their snapshots, so that a scan of that table has its price too.
        await connection.execute(SEED, OCCURRED_AT)
        await connection.execute(
            """
            INSERT INTO snapshots
            SELECT aggregate_type, aggregate_id, max(version), '{}', now()
            FROM events GROUP BY aggregate_type, aggregate_id HAVING max(version) < 10000
            """
        )
        await connection.execute(
            "INSERT INTO projection_positions SELECT 'p' || n, n * 100, now() "
            "FROM generate_series(1, 1000) AS n"
        )
        await connection.execute(
            "INSERT INTO snapshot_policies SELECT 'T' || n, 50, NULL, NULL, now() "
            "FROM generate_series(1, 1000) AS n"
        )
        await connection.execute(
            """
            INSERT INTO snapshots_due
            SELECT CASE WHEN n % 100 = 0 THEN 'Seldom'
                        ELSE (ARRAY['Order', 'Customer', 'Invoice', 'Shipment'])[1 + n % 4] END,
                   'id-' || n / 4, 100 + n, 0, 100 + n
            FROM generate_series(1, 20000) AS n
            """
        )
        await connection.execute(
            "INSERT INTO snapshot_failures SELECT 'T' || n % 5, 'id-' || n, 'hash', 1, "
            "gen_random_uuid(), 'Type1', 'message', now() FROM generate_series(1, 20000) AS n"
        )
        # An archive of other aggregates, and of positions before the first.
        await connection.execute(
            "INSERT INTO archived_aggregates SELECT 'Old', 'id-' || n, 7, '{2000-01-01}' "
            "FROM generate_series(1, 20000) AS n"
        )
        await connection.execute(
            "INSERT INTO archived_event_ids SELECT gen_random_uuid(), -n "
            "FROM generate_series(1, 20000) AS n"
        )
        await connection.execute(
            "INSERT INTO archive_months "
            "SELECT '2000-01-01'::date + n * interval '1 month', 7, -9, 0 "
            "FROM generate_series(0, 59) AS n"
        )
        # All but the last thousand events are in the kept figures.
        await connection.execute(
            "INSERT INTO event_counts SELECT aggregate_type, event_type, count(*), "
            "count(*) FILTER (WHERE version = 1) FROM events WHERE global_position <= $1 "
            "GROUP BY aggregate_type, event_type",
            EVENTS - PAGE,
        )
        await connection.execute(
            "INSERT INTO largest_aggregates SELECT aggregate_type, aggregate_id, max(version) "
            "FROM events WHERE global_position <= $1 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 1000",
            EVENTS - PAGE,
        )
        await connection.execute("UPDATE statistics_progress SET position = $1", EVENTS - PAGE)
        await connection.execute(
            "UPDATE snapshot_progress SET leader = $1, leader_until = 'infinity'", UUID(int=0)
        )
        # A sample as large as the tables: else the plans vary with what chance picks.
        await connection.execute("SET default_statistics_target = 1000")
        await connection.execute(
            "VACUUM ANALYZE events, snapshots, projection_positions, snapshot_policies, "
            "snapshots_due, snapshot_failures, archived_aggregates, archived_event_ids, "
            "archive_months, archive_state, event_counts, largest_aggregates"
        )
        await connection.close()

    run_as_superuser(
        postgres_host, f"CREATE DATABASE {name} TEMPLATE {template_database} OWNER {OWNER}"
    )
    asyncio.run(seed())
    yield settings
    run_as_superuser(postgres_host, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def sql(seeded: Settings) -> AsyncIterator[Connection]:
    # Statements are prepared and deallocated here by name.
    connection = await connect(seeded, statement_cache_size=0)
    yield connection
    await connection.close()


@dataclass
class Plan:
    """An executed plan."""

    root: dict[str, Any]

    @property
    def buffers(self) -> int:
        """Pages that were touched, 8 KiB each."""
        touched: int = self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"]
        return touched

    @property
    def nodes(self) -> list[dict[str, Any]]:
        def below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
            yield node
            for child in node.get("Plans", ()):
                yield from below(child)

        return list(below(self.root))

    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    def scanned(self) -> set[str]:
        """Tables that were read from end to end, but for those of few rows, whatever happens."""
        scans = (node for node in self.nodes if node["Node Type"] == "Seq Scan")
        single = {"store_identity", "snapshot_progress", "statistics_progress", "archive_state"}
        single |= {"events_archive"}
        small = {"snapshot_policies", "event_counts", "largest_aggregates", "archive_months"}
        return {node["Relation Name"] for node in scans} - single - small

    def sorted_rows(self) -> int:
        """The most rows that any sort has taken in."""
        # A sort below a limit gives out few of those that it took in.
        sorted_ = (
            below["Actual Rows"]
            for node in self.nodes
            if node["Node Type"] == "Sort"
            for below in node["Plans"]
            if below["Parent Relationship"] == "Outer"
        )
        return max(sorted_, default=0)

    def __str__(self) -> str:
        wanted = ("Node Type", "Index Name", "Relation Name", "Actual Rows", "Actual Loops")
        lines = (" ".join(f"{node[key]}" for key in wanted if key in node) for node in self.nodes)
        return "\n".join((f"{self.buffers} buffers", *lines))

    def removed_by_filter(self) -> int:
        """The most rows that any scan has read and thrown away."""
        removed: int = max(node.get("Rows Removed by Filter", 0) for node in self.nodes)
        return removed


def literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        elements = ("NULL" if item is None else json.dumps(str(item)) for item in value)
        return literal("{" + ",".join(elements) + "}")
    if isinstance(value, bool | int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


async def explain(
    connection: Connection, text: str, parameters: Sequence[object], mode: str
) -> Plan:
    """Run a prepared statement, roll it back, and say how it was done."""
    await connection.execute(f"DEALLOCATE ALL; SET plan_cache_mode = {mode}")
    await connection.execute(f"PREPARE explained AS {text}")
    arguments = f"({', '.join(map(literal, parameters))})" if parameters else ""
    said = ""
    # The first time, catalogs are read too.
    for _ in range(2):
        transaction = connection.transaction()
        await transaction.start()
        said = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained{arguments}"
        )
        await transaction.rollback()
    return Plan(json.loads(said)[0]["Plan"])


# --- the fixed statements


@dataclass
class Case:
    """A fixed statement with parameters, and what it may cost.

    ``rows``: the most that it may sort or throw away. The indexes are those of its heading.
    """

    name: str
    parameters: Sequence[object]
    indexes: set[str]
    buffers: int
    rows: int = 0


def event_parameters(append: Append) -> list[object]:
    return [*append_statement.event_parameters(append), "1s"]


def event_each_parameters(*appends: Append) -> list[object]:
    return [*append_statement.event_each_parameters(appends), "1s"]


def append_parameters(append: Append) -> list[object]:
    return [*append_statement.append_parameters(append), "1s"]


def batch_parameters(*appends: Append) -> list[object]:
    return [*append_statement.batch_parameters(appends), "1s"]


AGGREGATE, SNAPSHOT = "idx_events_aggregate", "snapshots_pkey"
ARCHIVED, ARCHIVED_ID = "archived_aggregates_pkey", "archived_event_ids_pkey"
BY_POSITION_INDEX = "idx_events_global_position"
POLICY, FAILURE, DUE = "snapshot_policies_pkey", "snapshot_failures_pkey", "snapshots_due_pkey"
CASES = {
    "append one to a small aggregate": Case(
        "append_event",
        event_parameters(new_append("id-7")),
        {AGGREGATE, ARCHIVED, ARCHIVED_ID, SNAPSHOT},
        60,
        1,
    ),
    "append one to a large aggregate": Case(
        "append_event",
        event_parameters(new_append("large", expectation=Expectation(LARGE_AGGREGATE))),
        {AGGREGATE, ARCHIVED, ARCHIVED_ID, SNAPSHOT},
        60,
        1,
    ),
    "append one to each of many aggregates": Case(
        "append_event_each",
        event_each_parameters(*(new_append(f"id-{n}") for n in range(100))),
        {AGGREGATE, ARCHIVED, ARCHIVED_ID, SNAPSHOT, "events_pkey"},
        5_000,
        100,
    ),
    "append two to a small aggregate": Case(
        "append_events",
        append_parameters(new_append("id-7", *[new_event()] * 2, event_ids=new_ids(2))),
        {AGGREGATE, ARCHIVED, SNAPSHOT},
        80,
        2,
    ),
    "append many to a large aggregate": Case(
        "append_events",
        append_parameters(
            new_append(
                "large",
                *[new_event()] * 100,
                event_ids=new_ids(100),
                expectation=Expectation(LARGE_AGGREGATE),
            )
        ),
        {AGGREGATE, ARCHIVED, SNAPSHOT},
        4_000,
        100,
    ),
    "append many": Case(
        "append_events",
        append_parameters(new_append("new", *[new_event()] * 100, event_ids=new_ids(100))),
        {AGGREGATE, ARCHIVED, SNAPSHOT},
        4_000,
        100,
    ),
    "append to many aggregates": Case(
        "append_batch",
        batch_parameters(*(new_append(f"id-{n}") for n in range(100))),
        {AGGREGATE, ARCHIVED, SNAPSHOT, "events_pkey"},
        5_000,
        100,
    ),
    "append many times to one aggregate": Case(
        "append_batch",
        batch_parameters(*(new_append("large") for _ in range(100))),
        {AGGREGATE, ARCHIVED, SNAPSHOT, "events_pkey"},
        5_000,
        100,
    ),
    "look up an append of many events": Case(
        "look_up_appends",
        [["Order"], ["id-7"], [uuid4()], [0] * 100, list(range(100)), ["Order"] * 100]
        + [["id-7"] * 100, [uuid4() for _ in range(100)], ["A"] * 100, ["{}"] * 100]
        + [[None] * 100] * 4,
        {AGGREGATE, ARCHIVED, SNAPSHOT, "events_pkey", ARCHIVED_ID},
        600,
        101,
    ),
    "look up many appends": Case(
        "look_up_appends",
        [["Order"] * 100, [f"id-{n}" for n in range(100)], [uuid4() for _ in range(100)]]
        + [list(range(100)), [0] * 100, ["Order"] * 100, [f"id-{n}" for n in range(100)]]
        + [[uuid4() for _ in range(100)], ["A"] * 100, ["{}"] * 100]
        + [[None] * 100] * 4,
        {AGGREGATE, ARCHIVED, SNAPSHOT, "events_pkey", ARCHIVED_ID},
        2_000,
        200,
    ),
    "look up a chunk of an import": Case(
        "look_up_import",
        [[uuid4() for _ in range(100)], ["Order"] * 100, [f"id-{n}" for n in range(100)], "1s"],
        {AGGREGATE, ARCHIVED, "events_pkey", ARCHIVED_ID},
        1_600,
        100,
    ),
    "compare a chunk of an import": Case(
        "compare_import",
        [list(range(100)), [None] * 50 + [uuid4() for _ in range(50)], ["Order"] * 100]
        + [["large"] * 100, list(range(1, 101)), ["A"] * 100, ["{}"] * 100]
        + [[None] * 100] * 4,
        {AGGREGATE, "events_pkey"},
        1_600,
        100,
    ),
    "position of an imported event": Case("imported_position", [UUID(int=0)], {"events_pkey"}, 10),
    "JSON of large events": Case(
        "large_json",
        [list(range(5_000, 5_100)), 2**23],
        {"idx_events_global_position"},
        500,
        100,
    ),
    "read events": Case(
        "read_events", ["Order", "large", 9_000, 9_099], {AGGREGATE, ARCHIVED}, 150, 100
    ),
    "read events backward": Case(
        "read_events_backward",
        ["Order", "large", 2**31 - 1, 1, 100],
        {AGGREGATE, ARCHIVED},
        150,
        100,
    ),
    "read events of an unknown aggregate": Case(
        "read_events", ["Order", "unknown", 1, 100], {AGGREGATE, ARCHIVED}, 12, 1
    ),
    "load a large aggregate": Case(
        "load_aggregate",
        ["Order", "large", True, None, None, PAGE, None],
        {AGGREGATE, ARCHIVED, SNAPSHOT},
        # The large one's events are 20 positions apart: about two to a page of the table.
        PAGE,
        PAGE + 1,
    ),
    "load a small aggregate": Case(
        "load_aggregate",
        ["Order", "id-7", True, None, None, PAGE, None],
        {AGGREGATE, ARCHIVED, SNAPSHOT},
        60,
        20,
    ),
    "load with the snapshot of a reducer": Case(
        "load_aggregate",
        ["Order", "id-7", True, None, None, PAGE, "0" * 64],
        {AGGREGATE, ARCHIVED, SNAPSHOT},
        60,
        20,
    ),
    "load as of a time": Case(
        "load_aggregate",
        ["Order", "large", True, None, at(40_000), PAGE, None],
        {AGGREGATE, ARCHIVED, SNAPSHOT},
        2 * PAGE,
        2 * PAGE + 1,
    ),
    "version of a large aggregate": Case(
        "load_aggregate",
        ["Order", "large", True, None, None, 0, None],
        {AGGREGATE, ARCHIVED, SNAPSHOT},
        15,
        1,
    ),
    "save a snapshot": Case(
        "save_snapshot",
        ["Order", "large", 7, "{}", OCCURRED_AT, "1s"],
        {AGGREGATE, ARCHIVED, SNAPSHOT, POLICY, DUE},
        45,
    ),
    "get a snapshot": Case("get_snapshot", ["Order", "id-7"], {SNAPSHOT}, 10),
    "delete a snapshot": Case(
        "delete_snapshot", ["Order", "id-7", "1s"], {SNAPSHOT, AGGREGATE, ARCHIVED}, 30
    ),
    "save a policy": Case(
        "save_policy", ["Order", 50, None, None, OCCURRED_AT, "1s"], {FAILURE}, 60
    ),
    "get a policy": Case("get_policy", ["T7"], {POLICY}, 10),
    "delete a policy": Case("delete_policy", ["T7", "1s"], {POLICY, FAILURE}, 20),
    "all policies": Case("list_policies", [], {POLICY}, 1_010),
    "look at a window of the feed": Case(
        "note_due",
        [100, 0, 2_000, UUID(int=0)],
        {BY_POSITION_INDEX, SNAPSHOT, POLICY, FAILURE},
        200,
        2_000,
    ),
    "look at a type once more": Case(
        "scan_due",
        [100, "Order", "id-99", 100],
        {AGGREGATE, ARCHIVED, SNAPSHOT, POLICY, FAILURE},
        2_600,
        100,
    ),
    "end of a look at a type": Case(
        "advance_scan", ["T7", UUID(int=0), None], {"snapshot_scans_pkey"}, 15
    ),
    "bring the list of due aggregates up to date": Case(
        "sweep_due",
        [100, "Invoice", "id-3", 100],
        {DUE, SNAPSHOT, POLICY, FAILURE},
        2_600,
        100,
    ),
    "due aggregates of all types": Case(
        "list_due",
        [100, 15_000, "Order", "id-3", 100],
        {"idx_snapshots_due_largest", SNAPSHOT, POLICY},
        2_000,
        100,
    ),
    "due aggregates of a type": Case(
        "list_due_of_type",
        [100, "Seldom", 15_000, "id-3", 100],
        {"idx_snapshots_due_largest_of_type", SNAPSHOT, POLICY},
        1_000,
        100,
    ),
    "save snapshots that were made": Case(
        "save_made_snapshots",
        [
            "Order",
            "no hash",
            [f"id-{n}" for n in range(50)],
            [7] * 50,
            ["{}"] * 50,
            OCCURRED_AT,
            "1s",
        ],
        {POLICY, DUE, FAILURE},
        400,
        50,
    ),
    "save a failure": Case(
        "save_failure",
        ["Order", "id-7", "no hash", 7, UUID(int=0), "A", "message", OCCURRED_AT, "1s"],
        {POLICY, DUE},
        20,
    ),
    "failures of all types": Case("list_failures", [None, "T2", "id-3", 100], {FAILURE}, 250, 100),
    "failures of one type": Case("list_failures", ["T2", "T2", "id-3", 100], {FAILURE}, 250, 100),
    "another hash of a reducer": Case(
        "rename_reducer", ["T7", "no hash", "hash"], {POLICY, FAILURE}, 20
    ),
    "count a window of the feed in the kept figures": Case(
        "keep_statistics", [EVENTS - PAGE, EVENTS, 1_000], {BY_POSITION_INDEX}, 6_000, 2_000
    ),
    "counts of events": Case("event_counts", [EVENTS, 20_000], {BY_POSITION_INDEX}, 100, PAGE),
    "counts of events that are kept": Case(
        "event_counts", [EVENTS - PAGE, 20_000], {BY_POSITION_INDEX}, 30, PAGE
    ),
    "count the events of a window": Case("count_events", [0, 2_000], {BY_POSITION_INDEX}, 200),
    "largest aggregates": Case(
        "largest_aggregates", [EVENTS, 20_000, 100], {BY_POSITION_INDEX}, 150, 2_000
    ),
    "largest aggregates in a window": Case(
        "largest_in_window", [0, 2_000, 100, 1], {BY_POSITION_INDEX}, 200, 2_000
    ),
    "slow aggregates": Case(
        "slow_aggregates",
        [100, 100, 100],
        {"idx_snapshots_due_largest", FAILURE, AGGREGATE, ARCHIVED, SNAPSHOT, POLICY},
        20_000,
        1_000,
    ),
    "audit a page of versions": Case(
        "audit_versions",
        ["Order", "id-3", 2, 2_000, 20_000],
        {AGGREGATE, BY_POSITION_INDEX, ARCHIVED},
        2_500,
        2_000,
    ),
    "audit a page of snapshots": Case(
        "audit_snapshots", ["Order", "id-3", 100], {SNAPSHOT, AGGREGATE, ARCHIVED}, 600, 100
    ),
    "audit a page of archived aggregates": Case(
        "audit_archived_aggregates", ["Old", "id-3", 100], {ARCHIVED, AGGREGATE}, 600, 100
    ),
    "audit a page of archived ids": Case(
        "audit_archived_ids", [UUID(int=0), 100], {ARCHIVED_ID, "events_pkey"}, 600, 100
    ),
    "audit a page of positions": Case(
        "audit_positions", ["p7", 100], {"projection_positions_pkey"}, 110
    ),
    "audit the largest aggregates": Case("audit_largest", [], {AGGREGATE}, 6_000, 1_000),
    "audit the types that are kept": Case("audit_kept_types", [], {AGGREGATE}, 60, 100),
    "get an event": Case("get_event", [UUID(int=0)], {"events_pkey"}, 10),
    "number of versions of an aggregate": Case(
        "count_versions", ["Order", "large", 1, 500], {AGGREGATE, ARCHIVED}, 60, 0
    ),
    "position of an archived event": Case("archived_position", [UUID(int=0)], {ARCHIVED_ID}, 10),
    "first page of aggregates": Case(
        "list_aggregates", ["Order", "", 100], {AGGREGATE, ARCHIVED}, 1_200, 100
    ),
    "last page of aggregates": Case(
        "list_aggregates", ["Order", "id-99", 100], {AGGREGATE, ARCHIVED}, 1_200, 100
    ),
    "aggregate types": Case("list_aggregate_types", [], {AGGREGATE, ARCHIVED}, 60, 10),
    "position of a projection": Case(
        "get_position",
        ["p7", EVENTS, OCCURRED_AT],
        {"projection_positions_pkey", "idx_events_global_position"},
        15,
        2,
    ),
    "positions of all projections": Case(
        "list_positions",
        [EVENTS, OCCURRED_AT],
        {"projection_positions_pkey", "idx_events_global_position"},
        5_000,
        2,
    ),
    "awaited positions": Case(
        "awaited_positions", [["p7", "p800", "unknown"]], {"projection_positions_pkey"}, 15
    ),
    "save a position": Case(
        "save_position",
        ["p7", 800, 700, False, OCCURRED_AT, "1s", None],
        {"projection_positions_pkey"},
        40,
    ),
    "delete a position": Case("delete_position", ["p7", "1s"], {"projection_positions_pkey"}, 15),
}
# Without an index of ours.
NOT_EXPLAINED = {
    *("last_position", "lock_new_events", "lock_out_readers", "feed_status", "lock_aggregates"),
    "schema_state",
    # Once, after a restore; to explain it would leave its mark on the sequence.
    "new_identity",
    # They read all of what is due, or of what is a row a type.
    *("archive_months", "archivable"),
    # test_archive_plans.py looks at these, and at what is read of the archive. Some are functions.
    *("archive_bounds", "months_to_make"),
    *("archive_batch", "claim_archive_run", "make_month"),
    *("snapshot_coverage", "coverage_sizes", "due_summary"),
    *("statistics_progress", "table_statistics", "oldest_snapshot"),
    # They read all projections, see below, and catalogs.
    *("projection_lags", "table_figures"),
    # Of one month, or of a row a month: test_months_of_the_archive.py explains the page.
    *("list_archive_months", "lock_archive", "lock_archive_month", "read_month", "check_month"),
    *("make_month", "attach_month", "detach_month", "drop_month", "analyze_month"),
    *("note_attached", "note_detached"),
    *("policy_intervals", "lead_snapshots", "resign_snapshots", "due_progress", "scan_default"),
}


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_fixed_statements_use_the_index_of_their_heading(sql: Connection, mode: str) -> None:
    for title, case in CASES.items():
        plan = await explain(sql, statement(case.name), case.parameters, mode)
        explained = f"{title}: {plan}"
        assert plan.indexes() == case.indexes, explained
        assert plan.scanned() == set(), explained
        assert plan.sorted_rows() <= case.rows, explained
        assert plan.removed_by_filter() <= max(case.rows, 1), explained
        assert plan.buffers <= case.buffers, explained


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_projection_lags_look_at_one_event_for_each_that_they_tell(
    sql: Connection, mode: str
) -> None:
    told = 100
    plan = await explain(sql, statement("projection_lags"), [EVENTS, OCCURRED_AT, told], mode)
    assert plan.indexes() == {"idx_events_global_position"}
    assert plan.scanned() == {"projection_positions"}
    assert (plan.root["Actual Rows"], plan.buffers <= 6 * told) == (told, True), str(plan)


def test_every_statement_is_explained_with_the_indexes_that_its_heading_names() -> None:
    indexes_of: dict[str, set[str]] = {}
    for case in CASES.values():
        indexes_of.setdefault(case.name, set()).update(case.indexes)
    # Its plan is that of a function: test_safe_position_is_one_probe explains the query inside.
    indexes_of["safe_position"] = {"idx_events_global_position"}
    assert indexes_of.keys() | NOT_EXPLAINED == {path.stem for path in SQL_DIR.glob("*.sql")}
    for name, indexes in indexes_of.items():
        heading = _heading(name)["Index"]
        assert set(re.findall(r"\b(?:idx_\w+|\w+_pkey)\b", heading)) == indexes, name


@pytest.mark.parametrize("mode", PLAN_MODES)
@pytest.mark.parametrize("bound", [0, 1, EVENTS // 2, EVENTS, EVENTS + 1_000])
async def test_safe_position_is_one_probe(sql: Connection, mode: str, bound: int) -> None:
    source = await sql.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'events_safe_position'")
    pattern = r"SELECT \(SELECT (max\(event\.global_position\).*?)\),\n"
    [query] = re.findall(pattern, source, re.DOTALL)
    text = f"SELECT {query}".replace("bound", "$1::bigint")
    plan = await explain(sql, text, [bound], mode)
    assert plan.indexes() == {"idx_events_global_position"}
    assert plan.buffers <= 8


# --- the feed


async def explain_feed(
    connection: Connection,
    mode: str,
    feed_filter: FeedFilter,
    *,
    after: int = 0,
    backward: bool = False,
) -> Plan:
    start, stop = (after, 1) if backward else (after, EVENTS)
    text, parameters = feed_statement(
        feed_filter, start=start, stop=stop, limit=PAGE, backward=backward
    )
    return await explain(connection, text, parameters, mode)


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_page_of_the_whole_feed_costs_the_same_everywhere(sql: Connection, mode: str) -> None:
    plans = [
        await explain_feed(sql, mode, FeedFilter(), after=after)
        for after in (0, EVENTS // 2, EVENTS - PAGE)
    ]
    plans.append(await explain_feed(sql, mode, FeedFilter(), after=EVENTS + 1, backward=True))
    for plan in plans:
        assert [node["Node Type"] for node in plan.nodes] == [
            # The months of the archive are not looked at.
            *("Subquery Scan", "Seq Scan", "Aggregate", "Seq Scan", "Limit", "Index Scan")
        ]
        assert [node["Actual Loops"] for node in plan.nodes] == [1, 1, 0, 0, 1, 1]
        assert plan.indexes() == {"idx_events_global_position"}
        assert plan.root["Actual Rows"] == PAGE
        assert plan.removed_by_filter() == 0
    assert max(plan.buffers for plan in plans) <= min(plan.buffers for plan in plans) + 10
    at_the_end = await explain_feed(sql, mode, FeedFilter(), after=EVENTS)
    assert (at_the_end.root["Actual Rows"], at_the_end.sorted_rows()) == (0, 0)
    assert at_the_end.buffers <= 5


@dataclass
class FilterCase:
    """A filter of the feed, the index that serves it, and its price behind three positions.

    ``rows``: the most that it may sort or throw away for a page of a thousand.
    """

    feed_filter: FeedFilter
    indexes: set[str]
    buffers: int
    rows: int


BY_POSITION = {"idx_events_global_position"}
FILTERS = {
    "an event type": FilterCase(
        FeedFilter(event_types=["Type3"]), BY_POSITION | {"idx_events_type"}, 500, 15 * PAGE
    ),
    "a rare event type": FilterCase(FeedFilter(event_types=["Rare"]), {"idx_events_type"}, 60, 20),
    "an event type that has died out": FilterCase(
        FeedFilter(event_types=["Extinct"]), {"idx_events_type"}, 200, PAGE
    ),
    "an unknown event type": FilterCase(
        FeedFilter(event_types=["Unknown"]), {"idx_events_type"}, 5, 0
    ),
    "several event types": FilterCase(
        FeedFilter(event_types=["Type3", "Type4", "Rare"]), BY_POSITION, 500, 10 * PAGE
    ),
    "several rare event types": FilterCase(
        FeedFilter(event_types=["Rare", "Unknown"]), {"idx_events_type"}, 60, 20
    ),
    "an aggregate": FilterCase(
        FeedFilter(aggregate_types=["Order"], aggregate_id="id-7"),
        {"idx_events_aggregate"},
        60,
        20,
    ),
    "an aggregate type": FilterCase(
        FeedFilter(aggregate_types=["Order"]), BY_POSITION, 300, 10 * PAGE
    ),
    "a seldom aggregate type": FilterCase(
        FeedFilter(aggregate_types=["Seldom"]), {"idx_events_aggregate"}, 100, 40
    ),
    "a period": FilterCase(
        FeedFilter(occurred_from=at(150_000), occurred_to=at(151_000)),
        {"idx_events_occurred"},
        60,
        PAGE,
    ),
}


@pytest.mark.parametrize("case", FILTERS.values(), ids=FILTERS)
async def test_filtered_page_of_the_feed(sql: Connection, case: FilterCase) -> None:
    for after in (0, EVENTS // 2):
        plan = await explain_feed(sql, "force_custom_plan", case.feed_filter, after=after)
        explained = str(plan)
        assert plan.indexes() <= case.indexes, explained
        assert plan.scanned() == set(), explained
        assert plan.sorted_rows() <= min(case.rows, PAGE), explained
        assert plan.removed_by_filter() <= case.rows, explained
        assert plan.buffers <= case.buffers, explained
    # A follower at the end of the feed reads what is new, whatever it filters.
    behind = 100
    plan = await explain_feed(sql, "force_custom_plan", case.feed_filter, after=EVENTS - behind)
    assert plan.scanned() == set()
    assert plan.sorted_rows() <= behind
    assert plan.buffers <= 30


async def test_page_of_a_large_aggregates_feed_sorts_that_aggregate_and_no_more(
    sql: Connection,
) -> None:
    """idx_events_aggregate has its events by version; read_events is the way to read one."""
    feed_filter = FeedFilter(aggregate_types=["Order"], aggregate_id="large")
    plan = await explain_feed(sql, "force_custom_plan", feed_filter)
    assert plan.scanned() == set()
    assert plan.sorted_rows() <= LARGE_AGGREGATE


async def test_filtered_feed_is_planned_for_its_values_each_time(seeded: Settings) -> None:
    """PostgreSQL would turn to a plan for any values, which reads all events for a rare type."""
    database = Database(seeded.model_copy(update={"database_pool_max_size": 1}))
    await database.open()
    reader = EventReader(database)
    for case in FILTERS.values():
        for _ in range(8):
            await reader.read_feed(case.feed_filter, after=0, limit=PAGE)
    for _ in range(8):
        await reader.read_feed(FeedFilter(), after=0, limit=PAGE)
    async with database.connection() as connection:
        prepared = await connection.fetch(
            "SELECT statement FROM pg_prepared_statements "
            "WHERE statement ~ 'ORDER BY events.global_position'"
        )
    await database.close(timeout_s=5)
    whole_feed, _ = feed_statement(FeedFilter(), start=0, stop=0, limit=0, backward=False)
    texts = [row["statement"] for row in prepared if "pg_prepared_" not in row["statement"]]
    assert texts == [whole_feed], "only this one is served by the same plan whatever its values"


# --- the files


@pytest.mark.parametrize("name", sorted(path.stem for path in SQL_DIR.glob("*.sql")))
def test_heading_says_purpose_parameters_rows_zero_rows_and_index(name: str) -> None:
    heading = _heading(name)
    assert {"Purpose", "Parameters", "Rows", "Zero rows", "Index"} <= heading.keys()
    assert all(heading.values())
    body = "".join(
        line for line in statement(name).splitlines() if not line.lstrip().startswith("--")
    )
    in_body = {int(number) for number in re.findall(r"\$(\d+)", body)}
    described = {int(number) for number in re.findall(r"\$(\d+)", heading["Parameters"])}
    assert in_body == described == set(range(1, len(in_body) + 1))


def test_each_file_is_used() -> None:
    modules = (
        *(
            append_statement,
            archive_store,
            archived_months,
            due_store,
            event_reader,
            event_store,
            feed_scan,
            feed_status,
            identity,
        ),
        *(
            import_store,
            made_snapshot_store,
            month_store,
            policy_store,
            position_store,
            rows,
            schema,
            feed_figures,
            snapshot_statistics,
            snapshot_store,
            table_figures,
        ),
        *(audit_reader, slow_aggregates, statistics_store, table_statistics),
    )
    source = "".join(inspect.getsource(module) for module in modules)
    for path in SQL_DIR.glob("*.sql"):
        assert f'"{path.stem}"' in source, path.stem


def _heading(name: str) -> dict[str, str]:
    """The lines of a statement's heading by their words, continuation lines joined."""
    said: dict[str, str] = {}
    word = ""
    for line in statement(name).splitlines():
        if not line.startswith("--"):
            break
        if match := re.match(r"-- (\w[\w ]*): (.*)", line):
            word, said[match[1]] = match[1], match[2]
        else:
            said[word] += " " + line.removeprefix("--").strip()
    return said

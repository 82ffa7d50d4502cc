"""GET /v1/stats/tables: sizes and vacuum, from a symptom to the advice that cures it."""

import re
from typing import Any

import httpx

from app.settings import Settings
from tests.acceptance.conftest import client_of
from tests.conftest import connect, running_service
from tests.factories import append, new_aggregate, new_events, problem
from tests.integration.support import until

ROWS = 12_000


async def tables(client: httpx.AsyncClient, **params: Any) -> dict[str, dict[str, Any]]:
    answer = await client.get("/v1/stats/tables", params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    for each in body["tables"]:
        parts = (each["table_bytes"], each["index_bytes"], each["toast_bytes"])
        assert each["total_bytes"] == sum(parts)
    assert body["total_bytes"] == sum(each["total_bytes"] for each in body["tables"])
    return {each["table_name"]: each for each in body["tables"]}


async def test_all_tables_are_told_with_what_inherits_from_events(
    client: httpx.AsyncClient, sql: Any
) -> None:
    await append(client, new_aggregate(), *new_events(3))
    await sql.execute("CREATE TABLE aside () INHERITS (events)")
    await sql.execute("CREATE TABLE aside_2024_03 () INHERITS (aside)")
    await sql.execute("INSERT INTO aside_2024_03 OVERRIDING SYSTEM VALUE SELECT * FROM events")
    found = await tables(client, exact=True)
    assert {"events", "snapshots", "projection_positions", "snapshots_due"} <= found.keys()
    assert "aside_2024_03" not in found
    assert {name: found[name]["rows"] for name in ("events", "aside", "snapshots")} == {
        "events": 3,
        "aside": 3,
        "snapshots": 0,
    }
    assert (found["aside"]["tables"], found["events"]["tables"]) == (2, 1)
    assert found["events"]["exact"]
    assert not (await tables(client))["events"]["exact"]
    size = await sql.fetchval("SELECT pg_total_relation_size('events')")
    assert found["events"]["total_bytes"] == size
    age = await sql.fetchval("SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'events'")
    assert 0 < found["events"]["xid_age"] <= age
    assert {each["warning"] for each in found.values()} == {"none"}


async def test_dead_rows_that_somebody_keeps(
    client: httpx.AsyncClient, sql: Any, settings: Settings
) -> None:
    billing = await connect(settings, server_settings={"application_name": "billing"})
    pid = billing.get_server_pid()
    await sql.execute(
        "INSERT INTO snapshots SELECT 'Order', n::text, 1, '{}', now() "
        "FROM generate_series(1, $1) AS n",
        ROWS,
    )
    # Somebody has begun to read, and then has forgotten it.
    await billing.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM snapshots")
    await sql.execute("UPDATE snapshots SET created_at = now()")
    await sql.execute("VACUUM ANALYZE snapshots")
    await sql.execute("SELECT pg_stat_force_next_flush()")

    # The symptom.
    found: dict[str, Any] = {}

    async def warns() -> bool:
        nonlocal found
        found = (await tables(client))["snapshots"]
        return bool(found["warning"] != "none")

    await until(warns)
    [concern] = found["concerns"]
    # Half of the rows are dead, or a little less by what PostgreSQL estimates.
    assert found["warning"] == concern["level"]
    assert found["dead_rows"] >= ROWS
    assert "rows are dead" in concern["why"]
    assert f"pid {pid}, billing, actor_user, idle in transaction" in concern["advice"]
    oldest = (await client.get("/v1/stats/tables")).json()["oldest_snapshot"]
    assert (oldest["kind"], oldest["pid"], oldest["state"]) == (
        "transaction",
        pid,
        "idle in transaction",
    )
    assert oldest["age_seconds"] > 0

    # The advice.
    [ending] = re.findall(r"SELECT pg_terminate_backend\(\d+\)", concern["advice"])
    [vacuum] = re.findall(r"VACUUM \w+$", concern["advice"])
    assert await sql.fetchval(ending) is True

    async def is_clean() -> bool:
        await sql.execute(vacuum)
        await sql.execute("SELECT pg_stat_force_next_flush()")
        return bool((await tables(client))["snapshots"]["warning"] == "none")

    await until(is_clean)
    assert (await tables(client))["snapshots"]["dead_rows"] == 0
    billing.terminate()


async def test_statistics_of_a_database_that_is_not_migrated(empty_database: Settings) -> None:
    names = ("aggregate-types", "event-types", "largest-aggregates", "slow-aggregates", "tables")
    paths = [*(f"/v1/stats/{name}" for name in names), "/v1/stats/snapshot-coverage", "/v1/audit"]
    with running_service(empty_database) as url:
        async with client_of(url) as client:
            for path in paths:
                refused = problem(await client.get(path), 503, "database-unreachable")
                assert "eventstore migrate" in refused["detail"], path

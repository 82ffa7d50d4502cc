"""GET /health/live and /health/ready, as an orchestrator."""

from typing import Any

import httpx

from app.migrations import head_revision
from app.settings import Settings
from tests.conftest import running_service
from tests.factories import append, new_aggregate, problem


async def test_a_service_on_a_migrated_database_is_live_and_ready(
    api: httpx.AsyncClient,
) -> None:
    live = await api.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    ready = await api.get("/health/ready")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "schema_revision": head_revision()},
    )


async def test_on_a_database_without_a_schema_it_is_live_but_not_ready(
    empty_database: Settings,
) -> None:
    with running_service(empty_database) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/health/live")).status_code == 200
            answer = await client.get("/health/ready")
            assert "migrate" in problem(answer, 503, "database-unreachable")["detail"]
            answer = await append(client, new_aggregate())
            assert "migrate" in problem(answer, 503, "database-unreachable")["detail"]
            assert int(answer.headers["retry-after"]) >= 1


async def test_on_an_older_schema_it_is_not_ready(client: httpx.AsyncClient, sql: Any) -> None:
    await sql.execute("UPDATE alembic_version SET version_num = '0000'")
    details = problem(await client.get("/health/ready"), 503, "database-unreachable")
    assert "0000" in details["detail"]
    assert head_revision() in details["detail"]
    await sql.execute("DELETE FROM alembic_version")
    details = problem(await client.get("/health/ready"), 503, "database-unreachable")
    assert "migrate" in details["detail"]


async def test_on_a_newer_schema_it_is_ready(client: httpx.AsyncClient, sql: Any) -> None:
    """A newer version of the service has migrated already, and is rolled out one by one."""
    await sql.execute("UPDATE alembic_version SET version_num = '9999'")
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["schema_revision"]) == (200, "9999")


async def test_on_a_database_that_does_not_exist_it_is_not_ready(settings: Settings) -> None:
    absent = settings.model_copy(update={"database_name": "no_such_database"})
    with running_service(absent) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/health/live")).status_code == 200
            problem(await client.get("/health/ready"), 503, "database-unreachable")
            problem(await append(client, new_aggregate()), 503, "database-unreachable")

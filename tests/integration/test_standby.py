"""A standby has the events but not the in-flight marks, so it has no safe position to tell."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from app.embedded import EmbeddedPostgres
from app.settings import Settings
from tests.conftest import OWNER, connect, running_service
from tests.factories import append, new_aggregate, problem
from tests.integration.support import OwnServer, insert_event, running_server


@pytest.fixture
def standby() -> Iterator[Settings]:
    """A copy of a server that had one event, in recovery for ever."""
    with running_server() as server:
        asyncio.run(_insert_one(server))
        server.stop()
        home = Path(tempfile.mkdtemp(prefix="eventstore-test-")).resolve()
        home.chmod(0o711)
        copy = home / "data"
        shutil.copytree(server.data_dir, copy, ignore=shutil.ignore_patterns(".s.PGSQL*"))
        owner = server.data_dir.stat()
        for path in (copy, *copy.rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)
        (copy / "standby.signal").touch()
        postgres = EmbeddedPostgres(copy, database="eventstore", user=OWNER)
        try:
            yield Settings(_env_file=None, database_host=str(postgres.start()))
        finally:
            postgres.stop()
            shutil.rmtree(home)
            server.start()


async def _insert_one(server: OwnServer) -> None:
    connection = await connect(server.settings)
    await insert_event(connection, "o")
    await connection.close()


async def test_standby_refuses_the_safe_position_and_is_not_ready(standby: Settings) -> None:
    connection = await connect(standby)
    assert await connection.fetchval("SELECT count(*) FROM events") == 1
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match="not known on a standby"):
        await connection.fetchval("SELECT events_safe_position()")
    await connection.close()
    with running_service(standby) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            not_ready = problem(await client.get("/health/ready"), 503, "database-unreachable")
            assert "standby" in not_ready["detail"]
            problem(await client.get("/v1/events"), 503, "database-unreachable")
            problem(await client.get("/v1/feed/status"), 503, "database-unreachable")
            problem(await append(client, new_aggregate()), 503, "database-unreachable")
            # What is stored can be read.
            loaded = await client.get("/v1/aggregates/Order/o")
            assert loaded.json()["version"] == 1

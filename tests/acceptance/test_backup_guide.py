"""The commands of the guide, as printed: what they restore is the store, at that moment."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.embedded import EmbeddedPostgres, bin_dir
from app.settings import Settings
from app.store.identity import new_identity
from tests.acceptance.conftest import client_of
from tests.acceptance.tour import ROOT, Step, steps_of
from tests.conftest import OWNER, connect, run_as_superuser, running_service
from tests.factories import (
    Aggregate,
    append,
    new_aggregate,
    new_event,
    new_events,
    position_path,
    problem,
    stored_events,
)
from tests.integration.support import OwnServer, as_superuser, running_server, until

GUIDE = (ROOT / "docs" / "operations" / "backup.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE))
# Every command of the two sections, in order.
DUMP, *LOAD_DUMP = steps_of(SECTIONS["A dump"])
MAKE_ARCHIVE, ARCHIVE, BASE_BACKUP, VERIFY, *PUT_BACK, AWAIT_RECOVERY = steps_of(
    SECTIONS["Base backup and log"]
)
EVENTSTORE = Path(sys.executable).with_name("eventstore")
ARCHIVED = "SELECT last_archived_wal >= $1 FROM pg_stat_archiver"
DATABASE = "eventstore"
PROJECTION = "order-totals"
POLICY = {"every": 5, "reducer": {"kind": "merge"}}
# Of the server and the process, not of what is stored.
ELSEWHERE = re.compile(r"/v1/stats/|/metrics|/health/|/docs|/openapi|/problems")


@dataclass
class Backup:
    """A server that is backed up, and where the guide's commands find everything."""

    server: OwnServer
    home: Path

    def run(self, *steps: Step, **environment: str) -> None:
        """Run commands as PostgreSQL's user; they print what the guide says."""
        owner = self.server.data_dir.stat()
        as_owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            as_owner = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        for step in steps:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", step.command],
                cwd=self.home,
                env=self.environment | environment,
                capture_output=True,
                text=True,
                check=False,
                **as_owner,
            )
            assert done.returncode == 0, f"{step.command}: {done.stderr}"
            assert done.stdout.strip() == step.output.strip(), step.command

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{bin_dir()}:/usr/bin:/bin",
            "PGHOST": str(self.server.settings.database_host),
            "PGUSER": "postgres",
            "BACKUP": str(self.home / "backup"),
            "PGDATA": str(self.home / "restored"),
            "OLD_PGDATA": str(self.server.data_dir),
        }


@pytest.fixture(scope="module")
def backup() -> Iterator[Backup]:
    """A server with its log archived from the beginning."""
    with running_server() as server:
        owner, home = server.data_dir.stat(), server.data_dir.parent / "operator"
        home.mkdir()
        shutil.chown(home, owner.st_uid, owner.st_gid)
        backup = Backup(server, home)
        backup.run(MAKE_ARCHIVE, ARCHIVE)
        # Processes are killed here, not machines.
        server.configure(fsync="off")
        server.restart()
        yield backup


async def fill(client: httpx.AsyncClient, permit_lines: list[bytes]) -> None:
    """Something of everything that can be stored."""
    answer = await client.put("/v1/snapshot-policies/Order", json=POLICY)
    assert answer.status_code == 201, answer.text
    imported = await client.post("/v1/import", content=b"".join(permit_lines))
    assert imported.json()["done"], imported.text
    aggregate = Aggregate("Order", "a/ü ")
    await append(client, aggregate, *(new_event(event_data={"n": 1.50}) for _ in range(4)))
    permit = Aggregate("PermitApplication", "case-891")
    saved = await client.put(permit.snapshot_path, json={"version": 3, "state": {"x": 1.0}})
    assert saved.status_code == 201, saved.text
    last = (await client.get("/v1/feed/status")).json()["last_position"]
    body = {"last_processed_position": last}
    assert (await client.put(position_path(PROJECTION), json=body)).status_code == 201


async def everything(client: httpx.AsyncClient) -> dict[str, bytes]:
    """What each GET of the service answers, of several aggregates, and the feed in each form."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    feed = (await client.get("/v1/events", params={"limit": 10_000})).json()["events"]
    aggregates = [Aggregate("Order", "a/ü "), Aggregate("PermitApplication", "case-891")]
    asked = {"/v1/events?limit=10000", "/v1/events?direction=backward&limit=9"}
    asked |= {f"/v1/events/{event['event_id']}" for event in feed[::50]}
    for path, operations in paths.items():
        if "get" in operations and not ELSEWHERE.match(path):
            for aggregate in aggregates:
                asked.add(
                    path.replace("{aggregate_type}/{aggregate_id}", aggregate.path[15:])
                    .replace("{aggregate_type}", aggregate.type)
                    .replace("{projection_name}", PROJECTION)
                    .replace("{event_id}", feed[0]["event_id"])
                )
    assert not any("{" in path for path in asked), asked
    told = {path: (await client.get(path)).content for path in sorted(asked)}
    lines = await client.get("/v1/events", headers={"Accept": "application/x-ndjson"})
    return told | {"NDJSON": lines.content}


@pytest.fixture
def new_database(postgres_host: str) -> Iterator[Settings]:
    """Where the guide restores a dump to: a database that it makes, in another server."""
    yield Settings(_env_file=None, database_host=postgres_host, database_name=DATABASE)
    run_as_superuser(postgres_host, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


async def expect_refusals(client: httpx.AsyncClient, read: dict[str, Any]) -> None:
    """Who has ``read`` this page of the store that was lost gets nothing more."""
    after, store_id = read["next_after"], read["store_id"]
    for members in ({"after": after}, {"after": 1, "store_id": store_id}):
        for headers in ({}, {"Accept": "text/event-stream"}, {"Accept": "application/x-ndjson"}):
            answer = await client.get("/v1/events", params=members, headers=headers)
            problem(answer, 409, "store-changed")
    for members in ({"last_processed_position": after}, {"store_id": store_id}):
        body = {"last_processed_position": 1, "reset": True, **members}
        problem(await client.put(position_path(PROJECTION), json=body), 409, "store-changed")


async def test_a_dump_is_the_same_store_and_a_new_identity_makes_it_another(
    backup: Backup, new_database: Settings, permit_lines: list[bytes]
) -> None:
    late = new_aggregate()
    with running_service(backup.server.settings) as url:
        async with client_of(url) as client:
            await fill(client, permit_lines)
            backup.run(DUMP)
            before = await everything(client)
            # What the dump does not have, and a consumer has read.
            await append(client, late, new_event(), new_event())
            read = (await client.get("/v1/events", params={"after": 601})).json()
    assert [event["global_position"] for event in read["events"]] == [602, 603]
    backup.run(*LOAD_DUMP, PGHOST=str(new_database.database_host))
    with running_service(new_database) as url:
        async with client_of(url) as client:
            assert await everything(client) == before
            made = await new_identity(new_database, read["next_after"])
            assert made.positions_after == 603
            await expect_refusals(client, read)
            assert (await client.get(late.path)).status_code == 404
            appended = (await append(client, late, new_event())).json()
            assert [event["global_position"] for event in appended["events"]] == [604]
            await expect_refusals(client, read)
            # Who had not come as far as what is lost, and tells no store, misses nothing.
            page = (await client.get("/v1/events", params={"after": 601})).json()
            assert page["events"] == [await _stored(client, late)]
            position = (await client.get(position_path(PROJECTION))).json()
            assert position["last_processed_position"] == 601


async def _stored(client: httpx.AsyncClient, aggregate: Aggregate) -> Any:
    [event] = await stored_events(client, aggregate)
    return event


async def test_base_backup_and_log_bring_back_each_moment_before_a_crash(backup: Backup) -> None:
    server, kept, undone = backup.server, new_aggregate(), new_aggregate()
    backup.run(BASE_BACKUP, VERIFY)
    sql = await connect(as_superuser(server.settings))
    with running_service(server.settings) as url:
        async with client_of(url) as client:
            for _ in range(20):
                await append(client, kept, new_event())
            segment = await sql.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
            await append(client, kept, *new_events(30))
            moment = await sql.fetchval("SELECT clock_timestamp()::text")
            await append(client, undone, new_event())
            before = await stored_events(client, kept)
            read = (
                await client.get("/v1/events", params={"after": before[0]["global_position"]})
            ).json()
            await until(lambda: sql.fetchval(ARCHIVED, segment))
    sql.terminate()
    server.kill()
    backup.run(*PUT_BACK, MOMENT=moment)
    with restored_server(backup) as restored:
        backup.run(AWAIT_RECOVERY, PGHOST=str(restored.database_host))
        positions_after = new_identity_by_command(restored)
        with running_service(restored) as url:
            async with client_of(url) as client:
                assert await stored_events(client, kept) == before
                assert len(before) == 50
                assert (await client.get(undone.path)).status_code == 404
                await expect_refusals(client, read)
                appended = (await append(client, undone, new_event())).json()
                [event] = appended["events"]
                assert event["global_position"] == positions_after + 1
                assert event["global_position"] > read["next_after"]


def new_identity_by_command(settings: Settings) -> int:
    """Run it as an operator does; the position after which the store's positions go on."""
    told = subprocess.run(
        [EVENTSTORE, "new-identity"],
        env={**os.environ, "DATABASE_HOST": str(settings.database_host)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stdout.split()[-1])


@contextmanager
def restored_server(backup: Backup) -> Iterator[Settings]:
    """The restored files, served where the guide starts PostgreSQL."""
    postgres = EmbeddedPostgres(backup.home / "restored", database=DATABASE, user=OWNER)
    try:
        yield Settings(_env_file=None, database_host=str(postgres.start()))
    finally:
        postgres.stop()

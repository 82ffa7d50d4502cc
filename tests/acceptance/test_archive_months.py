"""Months of the archive: exported, detached, dropped, attached; what is answered meanwhile."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from app.cli.commands import cli
from app.client import EventStoreClient
from app.client.errors import EventsDetached
from app.errors import MonthRefused
from app.month_files.errors import MonthFileError
from app.settings import Settings
from tests.acceptance.event_stream import subscribed
from tests.archiving import archive
from tests.factories import (
    Aggregate,
    Event,
    append,
    new_append,
    new_event,
    problem,
    transact,
)
from tests.integration.client_sql import Connection
from tests.integration.support import until

EVENTSTORE = Path(sys.executable).with_name("eventstore")
NDJSON = {"Accept": "application/x-ndjson, application/problem+json"}
EVENT_STREAM = {"Accept": "text/event-stream, application/problem+json"}
PERMIT_MONTH = "2011-01"
PERMITS_BEFORE = datetime(2011, 3, 1, tzinfo=UTC)
ARCHIVED_BEFORE = datetime(2024, 5, 1, tzinfo=UTC)
MARCH = "2024-03"


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leads the command line to the test's database, also in a process of its own."""
    monkeypatch.setenv("DATABASE_HOST", str(settings.database_host))
    monkeypatch.setenv("DATABASE_NAME", settings.database_name)


async def run(*arguments: object) -> str:
    """Run a command in this process, which starts no other for it; what it prints.

    Raises: what the console script tells in a line on stderr.
    """
    done = await asyncio.to_thread(
        CliRunner().invoke, cli, [*map(str, arguments)], catch_exceptions=False
    )
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def check_with_sha256sum(path: Path) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--quiet", f"{path.name}.sha256"], cwd=path.parent, check=True
    )


@contextmanager
def started(*arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that goes on; it is killed at the end of the block."""
    with subprocess.Popen([EVENTSTORE, *map(str, arguments)]) as process:
        try:
            yield process
        finally:
            process.kill()


async def everything(client: httpx.AsyncClient, sql: Connection) -> list[bytes | str]:
    """Every reading of the store, byte for byte."""
    answers = [
        await client.get("/v1/events", params={"limit": 10_000}),
        await client.get("/v1/events", params={"limit": 10_000, "direction": "backward"}),
        await client.get("/v1/events", headers=NDJSON),
        await client.get("/v1/events", params={"event_type": "Confirmation of receipt"}),
    ]
    found = await client.get("/v1/aggregates/PermitApplication")
    answers.append(found)
    for each in found.json()["aggregates"][:8]:
        case = Aggregate("PermitApplication", each["aggregate_id"])
        answers += [
            await client.get(case.path),
            await client.get(case.events_path, params={"direction": "backward"}),
            await client.get(case.events_path, headers=NDJSON),
        ]
    for event in answers[0].json()["events"][::50]:
        answers.append(await client.get(f"/v1/events/{event['event_id']}"))
    assert {answer.status_code for answer in answers} == {200}
    rows = await sql.fetch("SELECT events::text FROM events ORDER BY global_position")
    return [*(answer.content for answer in answers), *(row[0] for row in rows)]


@pytest.mark.parametrize("ending", ["parquet", "ndjson.gz"])
@pytest.mark.usefixtures("environment")
async def test_exported_dropped_and_attached_all_reads_are_as_before(
    client: httpx.AsyncClient,
    sql: Connection,
    permit_lines: list[bytes],
    tmp_path: Path,
    ending: str,
) -> None:
    await client.post("/v1/import", content=b"".join(permit_lines))
    assert await archive(sql, PERMITS_BEFORE) > 100
    before = await everything(client, sql)
    file = tmp_path / f"month.{ending}"

    exported = int((await run("archive-export", PERMIT_MONTH, "--to", file)).split()[1])
    assert 20 < exported < 100
    check_with_sha256sum(file)
    assert exported == await sql.fetchval("SELECT count(*) FROM events_archive_2011_01")

    other = tmp_path / f"other.{ending}"
    await run("archive-export", "2011-02", "--to", other)
    with pytest.raises(MonthRefused, match=r"2011-01 is not what .*other"):
        await run("archive-detach", PERMIT_MONTH, "--drop", "--exported", other)
    assert "detached" not in await run("archive-months")

    told = await run("archive-detach", PERMIT_MONTH, "--drop", "--exported", file)
    assert told == f"detached {PERMIT_MONTH} and dropped its table\n"
    listed = (await run("archive-months")).splitlines()
    assert [line.split()[0] for line in listed if "dropped" in line] == [PERMIT_MONTH]
    assert problem(await client.get("/v1/events", headers=NDJSON), 410, "events-detached")

    damaged = tmp_path / f"damaged.{ending}"
    damaged.write_bytes(file.read_bytes()[:-1] + b"!")
    (tmp_path / f"damaged.{ending}.sha256").write_text(
        (tmp_path / f"month.{ending}.sha256").read_text()
    )
    for source, error in ((damaged, MonthFileError), (other, MonthRefused)):
        with pytest.raises(error):
            await run("archive-attach", PERMIT_MONTH, "--from", source)
    told = await run("archive-attach", PERMIT_MONTH, "--from", file)
    assert told == f"attached {PERMIT_MONTH}: {exported} events\n"
    assert await everything(client, sql) == before


@pytest.mark.usefixtures("environment")
async def test_killed_while_it_attaches_the_month_is_detached_as_before(
    client: httpx.AsyncClient,
    sql: Connection,
    tmp_path: Path,
) -> None:
    for version, month in enumerate((2, 3, 3), start=1):
        await append_old(client, OLD, month, version)
    await archive(sql, ARCHIVED_BEFORE)
    lines = (await client.get("/v1/events", headers=NDJSON)).content.splitlines(keepends=True)
    file = tmp_path / "march.ndjson"
    await run("archive-export", MARCH, "--to", file)
    # What `eventstore export` writes.
    assert file.read_bytes() == b"".join(lines[1:])
    await run("archive-detach", MARCH)
    await run("archive-detach", MARCH, "--drop", "--exported", file)
    attach = ("archive-attach", MARCH, "--from", file)

    transaction = sql.transaction()
    await transaction.start()
    # Meets the check of what was copied.
    await sql.execute("LOCK TABLE archived_aggregates IN ACCESS EXCLUSIVE MODE")
    with started(*attach) as attaching:

        async def waits() -> bool:
            return bool(
                await sql.fetchval(
                    "SELECT count(*) FROM pg_locks "
                    "WHERE relation = 'archived_aggregates'::regclass AND NOT granted"
                )
            )

        await until(waits)
    assert attaching.returncode == -signal.SIGKILL
    await transaction.rollback()

    async def is_over() -> bool:
        return not await sql.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND state <> 'idle' AND query LIKE '%unknown_versions%'"
        )

    await until(is_over)
    assert await sql.fetchval("SELECT to_regclass('events_archive_2024_03')") is None
    problem(await client.get("/v1/events", headers=NDJSON), 410, "events-detached")
    assert await run(*attach) == "attached 2024-03: 2 events\n"
    assert (await client.get("/v1/events", headers=NDJSON)).content == b"".join(lines)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["archive-export", "2024-3", "--to", "x.ndjson"], "no month such as 2024-03"),
        (["archive-export", "2024-13", "--to", "x.ndjson"], "no month such as 2024-03"),
        (["archive-detach", MARCH, "--drop"], "--drop needs --exported"),
        (["archive-detach", MARCH, "--exported", "x.ndjson"], "--drop needs --exported"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(cli, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert told in done.stderr


# --- what is answered while a month is detached

OLD = Aggregate("Order", "old")
WHOLE = Aggregate("Order", "whole")


def old_event(month: int, version: int, aggregate: Aggregate) -> Event:
    return new_event(
        event_id=event_id(aggregate, version),
        occurred_at=f"2024-{month:02}-07T12:30:00.00000{version}Z",
        event_data={"number": version},
    )


def event_id(aggregate: Aggregate, version: int) -> str:
    return f"0190d6f4-1c2b-7a3e-8d4f-{aggregate.id.encode().hex():0>10}{version:02}"


async def append_old(
    client: httpx.AsyncClient, aggregate: Aggregate, month: int, version: int
) -> None:
    answer = await append(client, aggregate, old_event(month, version, aggregate))
    assert answer.status_code == 201, answer.text


@pytest.fixture
async def detached(client: httpx.AsyncClient, sql: Connection, environment: None) -> None:
    """Positions 1 to 6, of which 2, 3 and 4 are of the detached month."""
    await append_old(client, OLD, 2, 1)
    await append_old(client, OLD, 3, 2)
    await append_old(client, WHOLE, 3, 1)
    await append_old(client, WHOLE, 3, 2)
    await append_old(client, OLD, 4, 3)
    await append_old(client, OLD, 6, 4)
    assert await archive(sql, ARCHIVED_BEFORE) == 5
    assert await run("archive-detach", MARCH) == "detached 2024-03\n"


def refused(answer: httpx.Response, resume_after: int | None = None) -> dict[str, Any]:
    details = problem(answer, 410, "events-detached")
    assert (details["months"], details["resume_after"]) == ([MARCH], resume_after)
    return details


def versions(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [event["version"] for event in answer.json()["events"]]


def positions(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [event["global_position"] for event in answer.json()["events"]]


@pytest.mark.usefixtures("detached")
async def test_what_needs_the_events_is_gone_and_all_else_goes_on(
    client: httpx.AsyncClient,
    sql: Connection,
    service_url: str,
) -> None:
    await _reads_of_aggregates(client)
    await _reads_of_the_feed(client)
    await _writes(client)
    await _statistics(client)
    await _states(client)
    await _python_client(service_url)
    assert len(await sql.fetch("SELECT FROM events WHERE aggregate_id = 'whole'")) == 1
    assert await run("archive-attach", MARCH) == "attached 2024-03: 3 events\n"
    assert len(versions(await client.get(OLD.events_path))) == 5
    # What waited for the events is made now.
    path = f"{WHOLE.path}/snapshot"

    async def is_made() -> bool:
        return (await client.get(path)).status_code == 200

    await until(is_made)
    failed = (await client.get("/v1/snapshots/failed")).json()
    assert failed["failures"] == []


async def _reads_of_aggregates(client: httpx.AsyncClient) -> None:
    refused(await client.get(OLD.events_path))
    refused(await client.get(OLD.events_path, params={"direction": "backward"}))
    refused(await client.get(OLD.events_path, headers=NDJSON))
    refused(await client.get(OLD.events_path, headers=EVENT_STREAM))
    refused(await client.get(WHOLE.events_path))
    assert versions(await client.get(OLD.events_path, params={"to_version": 1})) == [1]
    assert versions(await client.get(OLD.events_path, params={"from_version": 3})) == [3, 4]
    last: dict[str, Any] = {"direction": "backward", "limit": 2}
    assert versions(await client.get(OLD.events_path, params=last)) == [4, 3]
    refused(await client.get(OLD.path))
    refused(await client.get(OLD.path, params={"as_of": "2024-05-01T00:00:00Z"}))
    as_of = await client.head(OLD.path, params={"as_of": "2024-05-01T00:00:00Z"})
    assert as_of.status_code == 410
    assert (await client.head(OLD.path)).headers["etag"] == '"4"'
    assert versions(await client.get(OLD.path, params={"at_version": 1})) == [1]
    # Behind the gap.
    saved = await client.put(OLD.snapshot_path, json={"version": 2, "state": {"n": 2}})
    assert saved.status_code == 201, saved.text
    assert versions(await client.get(OLD.path)) == [3, 4]
    refused(await client.get(OLD.path, params={"snapshot": "false"}))
    refused(await client.get(f"/v1/events/{event_id(WHOLE, 1)}"))
    assert (await client.get(f"/v1/events/{event_id(OLD, 3)}")).status_code == 200
    listed = (await client.get("/v1/aggregates/Order")).json()["aggregates"]
    assert [(each["aggregate_id"], each["version"]) for each in listed] == [
        ("old", 4),
        ("whole", 2),
    ]


async def _reads_of_the_feed(client: httpx.AsyncClient) -> None:
    first = await client.get("/v1/events")
    assert positions(first) == [1]
    assert first.json()["up_to_date"] is False
    after = first.json()["next_after"]
    assert after == 1
    resume_after = refused(await client.get("/v1/events", params={"after": after}), 4)[
        "resume_after"
    ]
    refused(await client.get("/v1/events", params={"after": after, "wait": 5}), 4)
    refused(await client.get("/v1/events", params={"after": after, "aggregate_id": "old"}), 4)
    refused(await client.get("/v1/events", params={"after": 3}), 4)
    refused(await client.get("/v1/events", params={"after": after}, headers=EVENT_STREAM), 4)
    refused(await client.get("/v1/events", headers=NDJSON), 4)
    one = await client.get("/v1/events", params={"limit": 1}, headers=NDJSON)
    assert len(one.content.splitlines()) == 1
    behind = await client.get("/v1/events", params={"after": resume_after})
    assert positions(behind) == [5, 6]
    rest = await client.get("/v1/events", params={"after": resume_after}, headers=NDJSON)
    assert len(rest.content.splitlines()) == 2
    backward = await client.get("/v1/events", params={"direction": "backward"})
    assert positions(backward) == [6, 5]
    before: dict[str, Any] = {"direction": "backward", "after": backward.json()["next_after"]}
    refused(await client.get("/v1/events", params=before))
    assert positions(await client.get("/v1/events", params={**before, "after": 2})) == [1]
    async with subscribed(client, "/v1/events") as stream:
        [event] = await stream.events(1)
        assert event["global_position"] == 1
        # Ends without a word; who comes back is told.
        assert await stream.ended()
    comes_back = {**EVENT_STREAM, "Last-Event-ID": "1"}
    refused(await client.get("/v1/events", headers=comes_back), 4)


async def _writes(client: httpx.AsyncClient) -> None:
    repeated = await append(client, OLD, old_event(4, 3, OLD))
    assert repeated.status_code == 200, repeated.text
    refused(await append(client, OLD, old_event(3, 2, OLD)))
    refused(await transact(client, new_append(WHOLE, old_event(3, 1, WHOLE))))
    conflict = await append(
        client, WHOLE, expected_version=0, params={"include": "conflicting_events"}
    )
    details = problem(conflict, 409, "version-conflict")
    assert details["actual_version"] == 2
    assert "conflicting_events" not in details
    added = await append(client, WHOLE, expected_version=2)
    assert (added.status_code, added.json()["version"]) == (201, 3)
    added = await append(client, OLD, expected_version=4)
    assert (added.status_code, added.json()["version"]) == (201, 5)
    lines = [
        {"aggregate_type": "Order", "aggregate_id": each.id, **old_event(month, version, each)}
        for each, month, version in ((OLD, 2, 1), (OLD, 4, 3), (OLD, 3, 2))
    ]
    there = await client.post("/v1/import", content="\n".join(map(json.dumps, lines[:2])))
    assert there.json()["already_there"] == 2, there.text
    stopped = problem(
        await client.post("/v1/import", content="\n".join(map(json.dumps, lines))),
        410,
        "events-detached",
    )
    assert (stopped["months"], stopped["stored"]) == ([MARCH], 0)


async def _statistics(client: httpx.AsyncClient) -> None:
    for name in ("aggregate-types", "largest-aggregates", "slow-aggregates", "tables"):
        answer = await client.get(f"/v1/stats/{name}")
        assert answer.status_code == 200, answer.text
    after = None
    while True:
        step = await client.get("/v1/audit", params={} if after is None else {"after": after})
        assert step.status_code == 200, step.text
        # What is detached is no hole.
        assert step.json()["findings"] == []
        after = step.json()["next_after"]
        if after is None:
            break


async def _states(client: httpx.AsyncClient) -> None:
    policy = {"every": 1, "reducer": {"kind": "merge"}}
    saved = await client.put("/v1/snapshot-policies/Order", json=policy)
    assert saved.status_code == 201, saved.text
    refused(await client.get(f"{WHOLE.path}/state"))
    preview = {"aggregate_id": "whole", "reducer": {"kind": "merge"}}
    refused(await client.post("/v1/snapshot-policies/Order/preview", json=preview))
    listed = await client.get("/v1/aggregates/Order", params={"include": "state"})
    [old, whole] = listed.json()["aggregates"]
    for each in (old, whole):
        assert "2024-03 are detached" in each["failure"]["reason"]
        assert each["failure"]["event_id"] is None
        assert "state" not in each

    async def is_noted() -> bool:
        return len((await client.get("/v1/snapshots/failed")).json()["failures"]) == 2

    await until(is_noted)
    for failure in (await client.get("/v1/snapshots/failed")).json()["failures"]:
        assert (failure["version"], failure["event_id"], failure["event_type"]) == (1, None, None)
        assert "2024-03 are detached" in failure["message"]
    due = (await client.get("/v1/snapshots/due")).json()
    assert due["aggregates"] == []


async def _python_client(url: str) -> None:
    with EventStoreClient(url) as client:
        with pytest.raises(EventsDetached) as caught:
            client.load("Order", "whole")
        assert (caught.value.months, caught.value.resume_after) == ([MARCH], None)
        with client.subscribe() as events:
            assert next(iter(events)).global_position == 1
            with pytest.raises(EventsDetached) as caught:
                next(iter(events))
        assert caught.value.resume_after == 4

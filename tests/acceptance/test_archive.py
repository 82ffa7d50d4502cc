"""Whatever has moved to the archive: clients are answered as before, and appends are judged so."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from app.commands.archive_events import archive_events
from app.settings import Settings
from app.store import archive_store
from app.store.archive_store import Archivable, ArchiveStore
from app.store.connection import Database
from tests.acceptance.conftest import client_of
from tests.conftest import running_service
from tests.factories import (
    Aggregate,
    append,
    new_aggregate,
    new_append,
    new_event,
    new_events,
    problem,
    stored_versions,
    transact,
)

EVENTSTORE = Path(sys.executable).with_name("eventstore")
ALL = datetime(2100, 1, 1, tzinfo=UTC)
OLD = "2020-01-01T00:00:00Z"
NDJSON = {"Accept": "application/x-ndjson"}
Archive = Callable[..., Coroutine[Any, Any, int]]


@pytest.fixture
async def archive(settings: Settings) -> AsyncIterator[Archive]:
    """Archives what is older than a time (default: all); how many events have moved."""
    database = Database(settings)
    await database.open()

    async def run(older_than: datetime = ALL, **more: Any) -> int:
        moved = 0
        store = ArchiveStore(database)
        async for progress in archive_events(store, Archivable(older_than, **more)):
            moved = progress.moved
        return moved

    yield run
    await database.close(timeout_s=5)


# --- every read


async def every_read(client: httpx.AsyncClient, cases: list[Aggregate]) -> dict[str, Any]:
    """What the store answers to reads of all kinds, by request."""
    [newest] = (await client.get("/v1/events?direction=backward&limit=1")).json()["events"]
    middle = newest["global_position"] // 2
    event_id = (await client.get(f"/v1/events?after={middle}&limit=1")).json()["events"][0]
    paths = [
        f"/v1/events?limit={limit}&after={after}{more}"
        for limit in (7, 10_000)
        for after in (0, middle)
        for more in (
            *("", "&event_type=Confirmation of receipt", "&event_type=Unknown"),
            *("&aggregate_type=PermitApplication", f"&aggregate_id={cases[3].id}"),
            *("&occurred_from=2011-01-01T00:00:00Z&occurred_to=2011-05-01T00:00:00Z",),
        )
    ]
    paths += [
        *(f"/v1/events?direction=backward&after={after}&limit=9" for after in (40, middle)),
        *("/v1/events?direction=backward&limit=10000", f"/v1/events/{event_id['event_id']}"),
        *("/v1/aggregates", "/v1/aggregates/PermitApplication?limit=1000"),
        f"/v1/aggregates/PermitApplication?limit=10&after={cases[5].id}",
    ]
    for case in cases:
        paths += [
            *(case.path, f"{case.path}?snapshot=false", case.events_path),
            *(f"{case.events_path}?from_version=2&to_version=3", f"{case.path}?at_version=2"),
            f"{case.events_path}?direction=backward&limit=2",
            *(f"{case.path}?as_of=2011-03-01T00:00:00Z", f"{case.path}/state"),
        ]
    answers = [await client.get(path) for path in paths]
    streams = ["/v1/events", f"/v1/events?after={middle}", *(case.events_path for case in cases)]
    answers += [await client.get(path, headers=NDJSON) for path in streams]
    answers += [await client.head(case.path) for case in cases]
    return {
        f"{index} {answer.request.method} {answer.url}": (
            answer.status_code,
            answer.headers.get("etag"),
            answer.content,
        )
        for index, answer in enumerate(answers)
    }


async def test_every_read_of_the_permit_process_answers_as_before_byte_for_byte(
    client: httpx.AsyncClient, archive: Archive, permit_lines: list[bytes], sql: Any
) -> None:
    answer = await client.post("/v1/import", content=b"".join(permit_lines), headers=IMPORT)
    assert answer.status_code == 200, answer.text
    ids = [each["aggregate_id"] for each in (await _cases(client))["aggregates"]]
    cases = [Aggregate("PermitApplication", case) for case in ids[:8]]
    for case in cases[:5]:
        body = {"version": 1, "state": {"of": case.id}}
        assert (await client.put(case.snapshot_path, json=body)).status_code == 201
    before = await every_read(client, cases)
    total = moved = 0
    for older_than in (datetime(2011, 1, 1, tzinfo=UTC), datetime(2011, 6, 1, tzinfo=UTC), ALL):
        moved = await archive(older_than)
        assert moved > 0
        total += moved
        assert await sql.fetchval("SELECT count(*) FROM events_archive") == total
        after = await every_read(client, cases)
        assert after.keys() == before.keys()
        assert [name for name, answer in after.items() if answer != before[name]] == []
    assert total == len(permit_lines)
    assert await sql.fetchval("SELECT count(*) FROM ONLY events") == 0
    # Once more, every line is there already.
    answer = await client.post("/v1/import", content=b"".join(permit_lines), headers=IMPORT)
    told = json.loads(answer.content.splitlines()[-1])
    assert told["already_there"] == len(permit_lines), told
    assert await archive() == 0


IMPORT = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "permits"}


async def _cases(client: httpx.AsyncClient) -> Any:
    return (await client.get("/v1/aggregates/PermitApplication?limit=1000")).json()


async def test_large_events_are_read_from_the_archive(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    aggregate = new_aggregate()
    text = "x" * 100_000
    await append(client, aggregate, *(new_event(event_data={"n": n, "t": text}) for n in range(4)))
    paths = (aggregate.path, aggregate.events_path, "/v1/events", "/v1/events?direction=backward")
    before = [(await client.get(path)).content for path in paths]
    assert await archive() == 4
    assert [(await client.get(path)).content for path in paths] == before
    assert all(content.count(text.encode()) == 4 for content in before)


# --- appends


@pytest.fixture
async def archived(client: httpx.AsyncClient, archive: Archive) -> Aggregate:
    """An aggregate of three events, all of which are archived."""
    aggregate = new_aggregate()
    assert (await append(client, aggregate, *new_events(3))).status_code == 201
    assert await archive() == 3
    return aggregate


async def test_wholly_archived_aggregate_goes_on_at_its_version(
    client: httpx.AsyncClient, archived: Aggregate
) -> None:
    answer = await append(client, archived, expected_version=3)
    assert (answer.status_code, answer.json()["version"]) == (201, 4)
    answer = await append(client, archived, new_event(), new_event())
    assert (answer.status_code, answer.json()["version"]) == (201, 6)
    answer = await append(client, archived, headers={"If-Match": "*"})
    assert (answer.status_code, answer.headers["etag"]) == (201, '"7"')
    assert await stored_versions(client, archived) == [1, 2, 3, 4, 5, 6, 7]


async def test_wholly_archived_aggregate_refuses_what_it_refused_before(
    client: httpx.AsyncClient, archived: Aggregate
) -> None:
    for expected in (0, 1, 2, 4):
        answer = await append(client, archived, expected_version=expected)
        details = problem(answer, 409, "version-conflict")
        assert (details["expected_version"], details["actual_version"]) == (expected, 3)
    answer = await append(client, archived, headers={"If-None-Match": "*"})
    assert problem(answer, 412, "version-conflict")["actual_version"] == 3
    answer = await append(
        client, archived, expected_version=1, params={"include": "conflicting_events"}
    )
    conflicting = problem(answer, 409, "version-conflict")["conflicting_events"]
    assert [event["version"] for event in conflicting] == [2, 3]
    answer = await transact(client, new_append(archived, expected_version=2))
    assert problem(answer, 409, "version-conflict")["actual_version"] == 3
    assert await stored_versions(client, archived) == [1, 2, 3]


async def test_repeated_append_is_answered_like_the_first_time_after_it_was_archived(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    aggregate, keyed = new_aggregate(), new_aggregate()
    events = new_events(3)
    first = await append(client, aggregate, *events, expected_version=0)
    key = {"Idempotency-Key": "import-7"}
    first_keyed = await append(client, keyed, headers=key)
    transaction = [new_append(new_aggregate(), *new_events(2)) for _ in range(2)]
    first_transaction = await transact(client, *transaction)
    assert first_transaction.status_code == 201
    assert await archive() == 8
    again = await append(client, aggregate, *events, expected_version=0)
    assert (again.status_code, again.json()) == (200, first.json())
    again = await append(client, keyed, headers=key)
    assert (again.status_code, again.json()["events"]) == (200, first_keyed.json()["events"])
    again = await transact(client, *transaction)
    assert (again.status_code, again.json()) == (200, first_transaction.json())
    # And when the aggregate has gone on since, and when some of many at once are repetitions.
    await append(client, aggregate)
    answers = await asyncio.gather(
        *(append(client, aggregate, *events) for _ in range(3)),
        *(append(client, new_aggregate()) for _ in range(20)),
    )
    assert [answer.status_code for answer in answers] == [200] * 3 + [201] * 20
    assert [answer.json()["events"] for answer in answers[:3]] == [first.json()["events"]] * 3
    assert await stored_versions(client, aggregate) == [1, 2, 3, 4]


async def test_ids_of_archived_events_are_taken(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    aggregate = new_aggregate()
    events = new_events(2)
    await append(client, aggregate, *events)
    assert await archive() == 2
    changed = {**events[0], "event_data": {"amount": "1.00"}}
    for refused in (
        await append(client, aggregate, changed, events[1]),
        await append(client, aggregate, events[1], events[0]),
        await append(client, aggregate, *events, *new_events(1)),
        await append(client, new_aggregate(), *events),
        await transact(client, new_append(new_aggregate()), new_append(new_aggregate(), *events)),
    ):
        problem(refused, 409, "event-id-conflict")
    assert await stored_versions(client, aggregate) == [1, 2]
    feed = (await client.get("/v1/events")).json()["events"]
    assert len(feed) == 2


async def test_snapshots_of_archived_aggregates_are_saved_loaded_and_deleted(
    client: httpx.AsyncClient, archived: Aggregate
) -> None:
    body = {"version": 3, "state": {"total": 7}}
    assert (await client.put(archived.snapshot_path, json=body)).status_code == 201
    loaded = (await client.get(archived.path)).json()
    assert (loaded["version"], loaded["snapshot"]["version"], loaded["events"]) == (3, 3, [])
    answer = await client.put(archived.snapshot_path, json={"version": 4, "state": {}})
    problem(answer, 422, "snapshot-beyond-aggregate")
    assert (await client.delete(archived.snapshot_path)).status_code == 204
    assert len((await client.get(archived.path)).json()["events"]) == 3


# --- what moves


async def test_only_the_first_events_of_an_aggregate_move_up_to_one_that_is_not_old(
    client: httpx.AsyncClient, archive: Archive, sql: Any
) -> None:
    old, new = {"occurred_at": OLD}, {"occurred_at": "2026-01-01T00:00:00Z"}
    mixed, young = new_aggregate(), new_aggregate()
    await append(client, mixed, *(new_event(**time) for time in (old, old, new, old)))
    await append(client, young, *(new_event(**time) for time in (new, old)))
    assert await archive(datetime(2025, 1, 1, tzinfo=UTC)) == 2
    assert await archive(datetime(2025, 1, 1, tzinfo=UTC)) == 0
    rows = await sql.fetch("SELECT aggregate_id, version FROM ONLY events ORDER BY 1, 2")
    live = [(mixed.id, 3), (mixed.id, 4), (young.id, 1), (young.id, 2)]
    assert [tuple(row) for row in rows] == sorted(live)
    assert await stored_versions(client, mixed) == [1, 2, 3, 4]
    assert await archive() == 4
    assert await stored_versions(client, young) == [1, 2]


async def test_only_the_types_that_are_named_and_what_snapshots_cover_move(
    client: httpx.AsyncClient, archive: Archive, sql: Any
) -> None:
    order, invoice = new_aggregate("Order"), new_aggregate("Invoice")
    for aggregate in (order, invoice):
        await append(client, aggregate, *new_events(3))
    await client.put(order.snapshot_path, json={"version": 2, "state": {}})
    assert await archive(only_snapshotted=True) == 2
    assert await archive(aggregate_types=["Invoice"]) == 3
    [left] = await sql.fetch("SELECT aggregate_id, version FROM ONLY events")
    assert tuple(left) == (order.id, 3)


async def test_events_lie_in_the_month_in_which_they_occurred(
    client: httpx.AsyncClient, archive: Archive, sql: Any
) -> None:
    times = ("2024-01-31T23:59:59.999999Z", "2024-02-01T00:30:00+01:00", "2024-02-01T00:00:00Z")
    await append(client, new_aggregate(), *(new_event(occurred_at=time) for time in times))
    assert await archive() == 3
    rows = await sql.fetch("SELECT tableoid::regclass::text, version FROM events_archive")
    tables = ["events_archive_2024_01"] * 2 + ["events_archive_2024_02"]
    assert sorted(map(tuple, rows)) == list(zip(tables, (1, 2, 3), strict=True))


# --- while it moves


async def test_readers_and_writers_notice_nothing_of_a_run(
    client: httpx.AsyncClient, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of five events; pages, loads, repetitions and a live stream go on meanwhile."""
    monkeypatch.setattr("app.commands.archive_events.BATCH", 5)
    aggregates = [new_aggregate() for _ in range(20)]
    appends = [(aggregate, new_events(5)) for aggregate in aggregates for _ in range(3)]
    for aggregate, events in appends:
        assert (await append(client, aggregate, *events)).status_code == 201
    feed = (await client.get("/v1/events?limit=1000")).json()["events"]
    running = asyncio.create_task(archive())
    passes = 0
    while not running.done() or passes == 0:
        found: list[Any] = []
        while len(found) < len(feed):
            after = found[-1]["global_position"] if found else 0
            page = (await client.get(f"/v1/events?after={after}&limit=17")).json()["events"]
            assert page, "the feed ends early"
            found += page
        assert found == feed
        aggregate, events = appends[passes % len(appends)]
        assert (await append(client, aggregate, *events)).status_code == 200
        loaded = (await client.get(aggregate.path)).json()
        assert [event["version"] for event in loaded["events"]] == list(range(1, 16))
        passes += 1
    assert await running == len(feed)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service with these settings."""
    with running_service(settings) as url:
        async with client_of(url) as client:
            yield client


async def test_schedule_archives_by_itself_what_is_old_enough(settings: Settings, sql: Any) -> None:
    scheduled = settings.model_copy(update={"archive_after_days": 365.0})
    async with running(scheduled) as client:
        aggregate = new_aggregate()
        await append(client, aggregate, new_event(occurred_at=OLD), new_event())
    # Stopped in the midst or before: the first run of that hour is over in any case.
    await sql.execute("UPDATE archive_state SET next_run_at = '-infinity'")
    async with running(scheduled) as client:
        for _ in range(1_000):
            if await sql.fetchval("SELECT count(*) FROM events_archive") == 1:
                break
            await asyncio.sleep(0.01)
        assert await sql.fetchval("SELECT count(*) FROM events_archive") == 1
        assert await stored_versions(client, aggregate) == [1, 2]
    next_run_at = await sql.fetchval("SELECT next_run_at FROM archive_state")
    assert 3_000 < (next_run_at - datetime.now(UTC)).total_seconds() <= 3_600


async def test_one_process_of_all_archives_in_an_hour(settings: Settings) -> None:
    database = Database(settings)
    await database.open()
    store = ArchiveStore(database)
    claims = await asyncio.gather(*(store.claim_run(3_600) for _ in range(8)))
    assert sorted(claims) == [False] * 7 + [True]
    await database.close(timeout_s=5)


async def test_killed_command_goes_on_where_it_was_and_nothing_is_lost_or_double(
    client: httpx.AsyncClient, settings: Settings, sql: Any
) -> None:
    """Killed in its first batch, and between two; the last run comes to the end."""
    for _ in range(2):
        aggregate = new_aggregate()
        for _ in range(3):
            answer = await append(client, aggregate, *(new_event() for _ in range(1_000)))
            assert answer.status_code == 201
    before = (await client.get("/v1/events", headers=NDJSON)).content
    positions = []
    for waited_s in (0.0, 0.1):
        begin = await sql.fetchval("SELECT count(*) FROM events_archive")
        process = await asyncio.create_subprocess_exec(
            *(EVENTSTORE, "archive", "--older-than", "2100-01-01", "--pace", "8000"),
            env=environment_of(settings),
        )
        while process.returncode is None:
            if await sql.fetchval("SELECT count(*) FROM events_archive") > begin:
                break
            # In the midst of a batch, as what it has locked tells.
            if waited_s == 0 and await sql.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'archive_state'::regclass "
                "AND mode = 'RowShareLock' AND granted)"
            ):
                break
        await asyncio.sleep(waited_s)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        # The database ends what its client has begun, or finds out that nobody is there.
        for _ in range(1_000):
            if not await sql.fetchval(RUNNING):
                break
            await asyncio.sleep(0.01)
        live, archived = await _counts(sql)
        assert live + archived == 6_000
        positions.append(archived)
        assert (await client.get("/v1/events", headers=NDJSON)).content == before
    assert positions == sorted(positions)
    told = await eventstore(settings, "--older-than", "2100-01-01")
    assert told.stdout.startswith(f"archived {6_000 - positions[-1]} events of before 2100-01-01")
    assert await _counts(sql) == (0, 6_000)
    assert (await client.get("/v1/events", headers=NDJSON)).content == before
    assert await sql.fetchval("SELECT count(DISTINCT event_id) FROM events") == 6_000


RUNNING = """
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE query ~ 'events_archive_batch' AND state <> 'idle'
                 AND pid <> pg_backend_pid() AND datname = current_database())
"""


async def _counts(sql: Any) -> tuple[int, int]:
    live = await sql.fetchval("SELECT count(*) FROM ONLY events")
    return live, await sql.fetchval("SELECT count(*) FROM events_archive")


def environment_of(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_HOST": str(settings.database_host),
        "DATABASE_NAME": settings.database_name,
    }


async def eventstore(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [EVENTSTORE, "archive", *arguments],
            env=environment_of(settings),
            capture_output=True,
            text=True,
            check=False,
        )

    return await asyncio.to_thread(run)


async def test_dry_run_tells_what_then_moves(client: httpx.AsyncClient, settings: Settings) -> None:
    order, invoice = new_aggregate("Order"), new_aggregate("Invoice")
    times = ("2024-01-31T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")
    for aggregate in (order, invoice):
        await append(client, aggregate, *(new_event(occurred_at=time) for time in times))
    options = ("--older-than", "2024-02-15", "--aggregate-type", "Order")
    told = await eventstore(settings, *options, "--dry-run")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines() == [
        "2024-01  1 events of 1 aggregates",
        "2024-02  1 events of 1 aggregates",
        "would archive 2 events",
    ]
    told = await eventstore(settings, *options)
    assert told.stdout.startswith("archived 2 events of before 2024-02-15T00:00:00+00:00 in ")


async def test_run_waits_its_turn_for_a_writer_that_is_slow_to_commit(
    client: httpx.AsyncClient, archive: Archive, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run enables the guard, for which no insert may be under way; others do not wait."""
    monkeypatch.setattr(archive_store, "TURN_PAUSE_S", 0.02)
    await append(client, new_aggregate())
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, "
        "event_data, occurred_at) VALUES ($1, 'Order', 'slow', 1, 'A', '{}', now())",
        uuid4(),
    )
    running = asyncio.create_task(archive())
    for _ in range(5):
        assert (await append(client, new_aggregate())).status_code == 201
    assert not running.done()
    await transaction.commit()
    assert await running >= 1
    with pytest.raises(asyncpg.UniqueViolationError):
        await sql.execute(
            "INSERT INTO events SELECT gen_random_uuid(), aggregate_type, aggregate_id, version, "
            "event_type, event_data, metadata, occurred_at FROM events_archive LIMIT 1"
        )

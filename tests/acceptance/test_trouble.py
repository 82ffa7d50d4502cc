"""The database is gone, busy, frozen or cut off: 503, in time, and never half an append."""

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from app.embedded import EmbeddedPostgres
from app.migrations import upgrade
from app.settings import Settings
from app.store import connection as store_connection
from tests.acceptance.conftest import client_of
from tests.acceptance.exposition import scrape
from tests.acceptance.postgres_proxy import Break, PostgresProxy, postgres_proxy
from tests.conftest import (
    OWNER,
    connect,
    directory_for_postgres,
    run_as_superuser,
    running_service,
)
from tests.factories import (
    Aggregate,
    append,
    new_aggregate,
    new_append,
    new_event,
    new_events,
    position_path,
    problem,
    stored_events,
    stored_versions,
    transact,
)

ORDER = Aggregate("Order", "ord-1")
OPERATIONS: list[tuple[str, str, Any]] = [
    ("POST", ORDER.events_path, {"events": [new_event()]}),
    ("POST", "/v1/transactions", {"appends": [new_append(ORDER), new_append(new_aggregate())]}),
    ("POST", "/v1/import", {"aggregate_type": "Imported", "aggregate_id": "1", **new_event()}),
    ("PUT", ORDER.snapshot_path, {"version": 1, "state": {}}),
    ("PUT", position_path("totals"), {"last_processed_position": 0}),
    ("GET", ORDER.events_path, None),
    ("GET", ORDER.path, None),
    ("HEAD", ORDER.path, None),
    ("GET", ORDER.snapshot_path, None),
    ("GET", "/v1/aggregates", None),
    ("GET", "/v1/aggregates/Order", None),
    ("GET", "/v1/events", None),
    ("GET", f"/v1/events/{uuid4()}", None),
    ("GET", "/v1/feed/status", None),
    ("GET", "/v1/projections", None),
    ("GET", position_path("totals"), None),
    ("DELETE", ORDER.snapshot_path, None),
    ("DELETE", position_path("totals"), None),
    ("GET", "/health/ready", None),
]

Sql = Any
"""A connection of asyncpg."""


@contextmanager
def answers_within(seconds: float) -> Iterator[None]:
    """The machine may be busy with other things, so a test asks for twice the time at most."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 2 * seconds + 1


def unavailable(answer: httpx.Response, *slugs: str) -> dict[str, Any]:
    """The problem details of a 503 of one of these kinds."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    if answer.request.method == "HEAD":
        return {}
    slug = answer.json()["type"].rpartition("/")[2]
    assert slug in slugs, answer.text
    return problem(answer, 503, slug)


async def answers_of_all_operations(client: httpx.AsyncClient) -> list[httpx.Response]:
    return await asyncio.gather(
        *[client.request(method, path, json=body) for method, path, body in OPERATIONS]
    )


@asynccontextmanager
async def client_of_service(settings: Settings, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service with these settings, changed."""
    with running_service(settings.model_copy(update=changes)) as url:
        async with client_of(url) as client:
            yield client


async def until_waiting_for_a_lock(sql: Sql) -> list[int]:
    """Wait until a backend of the service waits for a lock; the process ids of all that do."""
    async with asyncio.timeout(10):
        while True:
            # Inside a transaction, the view would stay as it was at first sight.
            await sql.execute("SELECT pg_stat_clear_snapshot()")
            rows = await sql.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'eventstore' AND wait_event_type = 'Lock'"
            )
            if rows:
                return [row["pid"] for row in rows]
            await asyncio.sleep(0.01)


async def until_stored(client: httpx.AsyncClient, *events: Any) -> httpx.Response:
    """Repeat an append, as a client would, until it is told anything but 503."""
    async with asyncio.timeout(20):
        while True:
            answer = await append(client, ORDER, *events)
            if answer.status_code != 503:
                return answer
            unavailable(answer, "database-unreachable", "database-busy", "outcome-unknown")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def version_held(sql: Sql, order: Aggregate, version: int) -> AsyncIterator[None]:
    """Hold a version of an aggregate in a transaction that does not commit."""
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) VALUES (gen_random_uuid(), $1, $2, $3, 'Held', '{}', now())",
        order.type,
        order.id,
        version,
    )
    try:
        yield
    finally:
        await transaction.rollback()


# --- a cluster of its own, to be stopped, killed and frozen


class Cluster:
    """A PostgreSQL that a test may ill-treat."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._postgres = EmbeddedPostgres(data_dir, database="eventstore", user=OWNER)
        self.settings = Settings(
            _env_file=None,
            database_host=str(self._postgres.start()),
            database_connect_timeout_s=1,
            database_statement_timeout_s=0.5,
            database_lock_timeout_s=0.5,
        )
        upgrade(self.settings)

    def start(self) -> None:
        self._postgres.start()

    def stop(self) -> None:
        self._postgres.stop()

    def _processes(self) -> list[psutil.Process]:
        pid = int((self._data_dir / "postmaster.pid").read_text().splitlines()[0])
        postmaster = psutil.Process(pid)
        return [postmaster, *postmaster.children(recursive=True)]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process where it is; its sockets stay open and answer nothing."""
        processes = self._processes()
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[Cluster]:
    with directory_for_postgres() as home:
        cluster = Cluster(home / "data")
        yield cluster
        cluster.stop()


@pytest.fixture
def cluster(module_cluster: Cluster) -> Cluster:
    """The cluster, running and without data."""
    module_cluster.start()
    host = module_cluster.settings.database_host
    assert host is not None
    run_as_superuser(
        host,
        "ALTER TABLE events DISABLE TRIGGER USER;"
        " TRUNCATE ONLY events, snapshots, projection_positions;"
        " ALTER TABLE events ENABLE ALWAYS TRIGGER events_refuse_change;"
        " ALTER TABLE events ENABLE ALWAYS TRIGGER events_mark_in_flight",
        database="eventstore",
    )
    return module_cluster


async def test_a_stopped_database_is_503_for_every_operation_and_recovers_without_a_restart(
    cluster: Cluster,
) -> None:
    async with client_of_service(cluster.settings) as client:
        assert (await append(client, ORDER)).status_code == 201
        await asyncio.to_thread(cluster.stop)
        with answers_within(2):
            answers = await answers_of_all_operations(client)
        for answer in answers:
            unavailable(answer, "database-unreachable")
        assert (await client.get("/health/live")).status_code == 200
        await asyncio.to_thread(cluster.start)
        answers = await answers_of_all_operations(client)
        assert {answer.status_code for answer in answers} <= {200, 201, 204, 404}
        assert (await client.get("/health/ready")).status_code == 200
        # What was refused with "unreachable" was not stored.
        assert await stored_versions(client, ORDER) == [1, 2, 3]


async def test_a_service_may_start_before_its_database(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.stop)
    async with client_of_service(cluster.settings) as client:
        unavailable(await append(client, ORDER), "database-unreachable")
        await asyncio.to_thread(cluster.start)
        assert (await append(client, ORDER)).status_code == 201


async def test_a_restart_between_two_requests_is_not_noticed(cluster: Cluster) -> None:
    async with client_of_service(cluster.settings) as client:
        for expected_version in range(3):
            # Several connections, all of them stale after the restart.
            reads = await asyncio.gather(*[client.get("/v1/events") for _ in range(5)])
            assert {read.status_code for read in reads} == {200}
            answer = await append(client, ORDER, expected_version=expected_version)
            assert answer.status_code == 201
            await asyncio.to_thread(cluster.stop)
            await asyncio.to_thread(cluster.start)
        assert await stored_versions(client, ORDER) == [1, 2, 3]


async def test_a_crash_of_the_database_is_recovered_from(cluster: Cluster) -> None:
    async with client_of_service(cluster.settings) as client:
        events = new_events(3)
        assert (await append(client, ORDER, *events)).status_code == 201
        sql = await connect(cluster.settings)
        pid = await sql.fetchval("SELECT pg_backend_pid()")
        # PostgreSQL then ends all other processes, and recovers from its log.
        os.kill(pid, signal.SIGKILL)
        sql.terminate()
        assert (await until_stored(client, *events)).status_code == 200
        assert await stored_versions(client, ORDER) == [1, 2, 3]


async def test_a_frozen_database_does_not_hang_requests(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_connection, "UNRESPONSIVE_AFTER_S", 0.5)
    async with client_of_service(cluster.settings) as client:
        events = new_events(2)
        assert (await append(client, ORDER, events[0])).status_code == 201
        reads = await asyncio.gather(*[client.get("/v1/events") for _ in range(10)])
        assert {read.status_code for read in reads} == {200}
        with cluster.frozen(), answers_within(6):
            answers = await asyncio.gather(
                append(client, ORDER, events[1]), answers_of_all_operations(client)
            )
            assert (await client.get("/health/live")).status_code == 200
            with answers_within(0.5):
                told = await scrape(client)
            assert told.get("eventstore_database_up") == 0
            assert told("eventstore_problems_total", kind="database-unreachable") > 0
        for answer in (answers[0], *answers[1]):
            unavailable(answer, "database-unreachable", "database-busy", "outcome-unknown")
        again = await until_stored(client, events[1])
        assert again.status_code in {200, 201}
        stored = await stored_events(client, ORDER)
        assert [event["version"] for event in stored] == list(range(1, len(stored) + 1))
        ids = [event["event_id"] for event in stored]
        assert ids.count(events[1]["event_id"]) == 1


async def alter_database(settings: Settings, what: str) -> None:
    statement = f"ALTER DATABASE {settings.database_name} {what}"
    await asyncio.to_thread(run_as_superuser, str(settings.database_host), statement)


async def test_connections_that_are_refused_are_503(settings: Settings) -> None:
    await alter_database(settings, "CONNECTION LIMIT 0")
    async with client_of_service(settings) as client:
        with answers_within(1):
            for answer in await answers_of_all_operations(client):
                unavailable(answer, "database-busy")
        await alter_database(settings, "CONNECTION LIMIT -1")
        assert (await append(client, ORDER)).status_code == 201


async def test_a_database_that_became_read_only_refuses_appends_and_can_be_read(
    settings: Settings,
) -> None:
    async with client_of_service(settings) as client:
        await append(client, ORDER)
    await alter_database(settings, "SET default_transaction_read_only = on")
    async with client_of_service(settings) as client:
        for answer in (
            await append(client, ORDER),
            await transact(client, new_append(ORDER)),
            await client.put(ORDER.snapshot_path, json={"version": 1, "state": 1}),
        ):
            unavailable(answer, "database-unreachable")
        assert await stored_versions(client, ORDER) == [1]


# --- waiting for others


async def test_an_exhausted_pool_is_503_after_the_connect_timeout(
    settings: Settings, sql: Sql
) -> None:
    async with client_of_service(
        settings, database_pool_max_size=1, database_connect_timeout_s=0.5
    ) as client:
        async with sql.transaction():
            await sql.execute("LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE")
            waiting = asyncio.create_task(client.get(ORDER.snapshot_path))
            await until_waiting_for_a_lock(sql)
            with answers_within(0.5):
                answers = await answers_of_all_operations(client)
            for answer in answers:
                details = unavailable(answer, "database-busy")
                assert not details or "in use" in details["detail"]
            assert not waiting.done()
        assert (await waiting).status_code == 404
        assert (await append(client, ORDER)).status_code == 201


@pytest.mark.parametrize("expected_version", [None, 0])
async def test_a_version_that_another_transaction_holds_is_503_after_the_lock_timeout(
    settings: Settings, sql: Sql, expected_version: int | None
) -> None:
    event = new_event(event_id=str(uuid4()))
    async with client_of_service(settings, database_lock_timeout_s=0.3) as client:
        async with version_held(sql, ORDER, 1):
            with answers_within(0.3):
                answers = await asyncio.gather(
                    append(client, ORDER, event, expected_version=expected_version),
                    transact(
                        client,
                        new_append(new_aggregate()),
                        new_append(ORDER, expected_version=expected_version),
                    ),
                )
            for answer in answers:
                unavailable(answer, "database-busy")
        assert (await client.get("/v1/events")).json()["events"] == []
        answer = await append(client, ORDER, event, expected_version=expected_version)
        assert answer.status_code == 201


async def test_an_event_id_that_another_transaction_holds_is_503_after_the_lock_timeout(
    settings: Settings, sql: Sql
) -> None:
    async with client_of_service(settings, database_lock_timeout_s=0.3) as client:
        async with version_held(sql, ORDER, 1):
            held = await sql.fetchval("SELECT event_id::text FROM events")
            order = new_aggregate()
            with answers_within(0.3):
                answer = await append(client, order, new_event(event_id=held))
            unavailable(answer, "database-busy")
        assert (await append(client, order, new_event(event_id=held))).status_code == 201


async def test_an_append_waits_for_another_transaction_and_is_judged_by_its_outcome(
    settings: Settings, sql: Sql
) -> None:
    async with client_of_service(settings) as client:
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute(
            "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
            " event_data, occurred_at) VALUES (gen_random_uuid(), 'Order', 'ord-1', 1, 'Held',"
            " '{}', now())"
        )
        exact = asyncio.create_task(append(client, ORDER, expected_version=0))
        whichever = asyncio.create_task(append(client, ORDER))
        await until_waiting_for_a_lock(sql)
        await transaction.commit()
        assert problem(await exact, 409, "version-conflict")["actual_version"] in {1, 2}
        answer = await whichever
        assert (answer.status_code, answer.json()["version"]) == (201, 2)
        assert await stored_versions(client, ORDER) == [1, 2]


async def test_an_aggregate_that_another_transaction_holds_holds_up_no_other(
    settings: Settings, sql: Sql
) -> None:
    """However many appends wait for it: ten connections, thirty of them."""
    async with client_of_service(settings, database_lock_timeout_s=30) as client:
        async with version_held(sql, ORDER, 1):
            waiting = [asyncio.create_task(append(client, ORDER)) for _ in range(30)]
            await until_waiting_for_a_lock(sql)
            for number in range(20):
                answer = await append(client, new_aggregate(), expected_version=0)
                assert answer.status_code == 201, number
                assert (await client.get("/health/ready")).status_code == 200
                assert len(await until_waiting_for_a_lock(sql)) == 1
        versions = [(await task).json()["version"] for task in waiting]
        assert sorted(versions) == list(range(1, 31))


async def test_a_right_that_was_taken_away_is_503(settings: Settings, sql: Sql) -> None:
    async with client_of_service(settings) as client:
        await sql.execute("REVOKE INSERT ON events FROM CURRENT_USER")
        details = unavailable(await append(client, ORDER), "database-unreachable")
        assert details is not None
        assert "right" in details["detail"]
        await sql.execute("GRANT INSERT ON events TO CURRENT_USER")
        assert (await append(client, ORDER)).status_code == 201


async def test_a_constraint_that_the_operator_has_added_is_503_and_named_in_the_log(
    settings: Settings, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of_service(settings) as client:
        await sql.execute("ALTER TABLE events ADD CHECK (event_type <> 'OrderPaid')")
        details = unavailable(await append(client, ORDER), "database-unreachable")
        assert details is not None
        assert "23514" in details["detail"]
        assert "23514" in caplog.text


async def test_a_position_that_a_direct_writer_has_taken_is_left_out(
    settings: Settings, sql: Sql
) -> None:
    """INSERT with OVERRIDING SYSTEM VALUE, ahead of the sequence: the append takes the next."""
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at, global_position) OVERRIDING SYSTEM VALUE"
        " SELECT gen_random_uuid(), 'Order', 'x' || n, 1, 'Held', '{}', now(), n"
        " FROM generate_series(1, 3) AS n"
    )
    async with client_of_service(settings) as client:
        for expected_version in range(2):
            answer = await append(client, ORDER, expected_version=expected_version)
            assert answer.status_code == 201
        assert [e["global_position"] for e in await stored_events(client, ORDER)] == [4, 5]


async def test_a_transaction_of_many_aggregates_leaves_locks_for_others(
    client: httpx.AsyncClient, sql: Sql
) -> None:
    # Locks are in memory that all databases of a server share: about 7,000 by default.
    last = new_aggregate()
    appends = [new_append(new_aggregate()) for _ in range(2_000)] + [new_append(last)]
    async with version_held(sql, last, 1):
        sending = asyncio.create_task(transact(client, *appends))
        [pid] = await until_waiting_for_a_lock(sql)
        locks = await sql.fetch("SELECT locktype, classid FROM pg_locks WHERE pid = $1", pid)
        assert len(locks) < 300
        # "EVST", in ASCII: no key of another service is taken by accident.
        classes = {row["classid"] for row in locks if row["locktype"] == "advisory"}
        assert classes == {0x45565354}
    assert (await sending).status_code == 201


async def test_a_locked_table_is_503_after_the_lock_timeout(settings: Settings, sql: Sql) -> None:
    async with client_of_service(settings, database_lock_timeout_s=0.3) as client:
        async with sql.transaction():
            await sql.execute(
                "LOCK TABLE events, snapshots, projection_positions, alembic_version"
                " IN ACCESS EXCLUSIVE MODE"
            )
            with answers_within(1):
                answers = await answers_of_all_operations(client)
            for answer in answers:
                unavailable(answer, "database-busy")
        assert (await append(client, ORDER)).status_code == 201


async def test_a_statement_that_takes_too_long_is_503_and_stores_nothing(
    settings: Settings, sql: Sql
) -> None:
    await sql.execute(
        "CREATE FUNCTION wait_long() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$;"
        " CREATE TRIGGER wait_long AFTER INSERT ON events"
        " FOR EACH STATEMENT EXECUTE FUNCTION wait_long()"
    )
    async with client_of_service(settings, database_statement_timeout_s=0.3) as client:
        with answers_within(0.3):
            unavailable(await append(client, ORDER), "database-busy")
            unavailable(await transact(client, new_append(ORDER)), "database-busy")
        assert await stored_events(client, ORDER) == []


# --- connections that are lost


@pytest.fixture
async def commits_wait(sql: Sql) -> Sql:
    """Every commit of events waits for a lock that the connection of this fixture holds."""
    await sql.execute(
        "CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;"
        " CREATE CONSTRAINT TRIGGER wait_for_test AFTER INSERT ON events"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_test();"
        " SELECT pg_advisory_lock(4711)"
    )
    return sql


@pytest.mark.parametrize("kind", ["append", "transaction"])
async def test_a_connection_killed_during_commit_leaves_the_outcome_unknown(
    client: httpx.AsyncClient, commits_wait: Sql, kind: str
) -> None:
    # The service makes the ids, and tells them.
    event = new_event(event_data={"number": 1})

    async def send(*events: Any) -> httpx.Response:
        if kind == "append":
            return await append(client, ORDER, *events, expected_version=0)
        return await transact(client, new_append(ORDER, *events, expected_version=0))

    sending = asyncio.create_task(send(event, event))
    [pid] = await until_waiting_for_a_lock(commits_wait)
    assert await commits_wait.fetchval("SELECT pg_terminate_backend($1)", pid)
    details = unavailable(await sending, "outcome-unknown")
    assert details["outcome"] == "unknown"
    assert len(set(details["event_ids"])) == 2
    await commits_wait.execute("SELECT pg_advisory_unlock(4711)")

    named = [{**event, "event_id": event_id} for event_id in details["event_ids"]]
    assert [(await send(*named)).status_code for _ in range(2)] == [201, 200]
    stored = await stored_events(client, ORDER)
    assert [each["event_id"] for each in stored] == details["event_ids"]


@pytest.fixture
async def proxied(settings: Settings) -> AsyncIterator[tuple[PostgresProxy, httpx.AsyncClient]]:
    """A service with one connection to the database, which a test can cut."""
    assert settings.database_host is not None
    # A socket's path is short: that of pytest's own directory may be too long.
    with (
        tempfile.TemporaryDirectory(prefix="es-") as listening_dir,
        postgres_proxy(Path(settings.database_host), Path(listening_dir)) as proxy,
    ):
        one = {"database_host": listening_dir, "database_pool_max_size": 1}
        async with client_of_service(settings, **one) as client:
            # So that the statement is prepared, and an append one request to the database.
            assert (await append(client, new_aggregate())).status_code == 201
            yield proxy, client


@pytest.mark.parametrize(
    ("when", "status_of_repetition"), [(Break.BEFORE_REQUEST, 201), (Break.AFTER_EXECUTION, 200)]
)
async def test_an_append_whose_answer_was_lost_is_safe_to_repeat(
    proxied: tuple[PostgresProxy, httpx.AsyncClient], when: Break, status_of_repetition: int
) -> None:
    proxy, client = proxied
    events = new_events(3)
    proxy.break_at(ORDER.id.encode(), when)
    details = unavailable(await append(client, ORDER, *events), "outcome-unknown")
    assert details["event_ids"] == [event["event_id"] for event in events]
    again = await append(client, ORDER, *events)
    assert again.status_code == status_of_repetition
    assert again.json()["version"] == 3
    assert await stored_versions(client, ORDER) == [1, 2, 3]


@pytest.mark.parametrize(
    ("when", "status_of_repetition"), [(Break.BEFORE_REQUEST, 201), (Break.AFTER_EXECUTION, 200)]
)
async def test_a_transaction_whose_commit_was_cut_is_safe_to_repeat(
    proxied: tuple[PostgresProxy, httpx.AsyncClient], when: Break, status_of_repetition: int
) -> None:
    proxy, client = proxied
    appends = [new_append(ORDER, *new_events(2)), new_append(new_aggregate(), *new_events(1))]
    proxy.break_at(b"COMMIT", when)
    details = unavailable(await transact(client, *appends), "outcome-unknown")
    assert details["event_ids"] == [
        event["event_id"] for each in appends for event in each["events"]
    ]
    assert (await transact(client, *appends)).status_code == status_of_repetition
    assert await stored_versions(client, ORDER) == [1, 2]


@pytest.mark.parametrize("when", Break)
async def test_a_transaction_cut_before_its_commit_has_stored_nothing(
    proxied: tuple[PostgresProxy, httpx.AsyncClient], when: Break
) -> None:
    proxy, client = proxied
    other = new_aggregate()
    appends = [new_append(ORDER, *new_events(2)), new_append(other, *new_events(1))]
    # The aggregate's name is in the request for its lock, and then in that of its events.
    proxy.break_at(other.id.encode(), when, passes=1)
    unavailable(await transact(client, *appends), "database-unreachable")
    assert await stored_events(client, ORDER) == await stored_events(client, other) == []
    assert (await transact(client, *appends)).status_code == 201


async def test_a_snapshot_or_position_whose_answer_was_lost_is_safe_to_repeat(
    proxied: tuple[PostgresProxy, httpx.AsyncClient],
) -> None:
    proxy, client = proxied
    await append(client, ORDER)
    for path, body in (
        (ORDER.snapshot_path, {"version": 1, "state": {"paid": True}}),
        (position_path("totals"), {"last_processed_position": 1}),
    ):
        assert (await client.put(path, json=body)).status_code == 201
        assert (await client.delete(path)).status_code == 204
        proxy.break_at(b"ord-1" if "ord-1" in path else b"totals", Break.AFTER_EXECUTION)
        details = unavailable(await client.put(path, json=body), "outcome-unknown")
        assert details["outcome"] == "unknown"
        assert (await client.put(path, json=body)).status_code == 200


@pytest.mark.parametrize("as_stream", [True, False])
async def test_a_stream_that_breaks_is_not_taken_for_a_whole_one(
    proxied: tuple[PostgresProxy, httpx.AsyncClient], as_stream: bool
) -> None:
    proxy, client = proxied
    await append(client, ORDER, *new_events(2_500))
    path = ORDER.events_path if as_stream else ORDER.path
    headers = {"Accept": "application/x-ndjson" if as_stream else "application/json"}
    assert (await client.get(path, headers=headers)).status_code == 200
    proxy.break_at(ORDER.id.encode(), Break.BEFORE_REQUEST, passes=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(path, headers=headers)
    whole = await client.get(path, headers=headers)
    assert whole.content.count(b'"event_id"') == 2_500


async def http_1_0(url: httpx.URL, path: str, headers: dict[str, str]) -> tuple[str, bytes]:
    """Head and body of what a client of HTTP/1.0 reads until the connection is closed."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {path} HTTP/1.0\r\n{fields}\r\n".encode())
    try:
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return head.decode().lower(), body


@pytest.mark.parametrize("as_stream", [True, False])
async def test_a_stream_that_breaks_is_not_taken_for_a_whole_one_by_http_1_0(
    proxied: tuple[PostgresProxy, httpx.AsyncClient], as_stream: bool
) -> None:
    """The end of such a stream is the end of the connection: only a reset tells it is broken."""
    proxy, client = proxied
    await append(client, ORDER, *new_events(2_500))
    path = ORDER.events_path if as_stream else ORDER.path
    headers = {"Accept": "application/x-ndjson" if as_stream else "application/json"}
    whole = await client.get(path, headers=headers)
    for _ in range(3):
        proxy.break_at(ORDER.id.encode(), Break.BEFORE_REQUEST, passes=1)
        with pytest.raises(ConnectionResetError):
            await http_1_0(client.base_url, path, headers)
        head, body = await http_1_0(client.base_url, path, headers)
        assert "transfer-encoding" not in head
        assert body == whole.content


async def test_http_1_0_reads_answers_of_known_length_and_of_none(
    client: httpx.AsyncClient,
) -> None:
    await append(client, ORDER)
    for path, headers, status, length in (
        (ORDER.path, {}, 200, True),
        (ORDER.path, {"If-None-Match": '"1"'}, 304, False),
        ("/v1/nowhere", {}, 404, True),
    ):
        over_1_1 = await client.get(path, headers=headers)
        head, body = await http_1_0(client.base_url, path, headers)
        assert head.startswith(f"http/1.1 {status} ")
        assert (f"content-length: {len(body)}" in head) is length
        assert "transfer-encoding" not in head
        assert body == over_1_1.content


async def test_a_read_whose_connection_is_lost_is_503_and_the_next_one_works(
    proxied: tuple[PostgresProxy, httpx.AsyncClient],
) -> None:
    proxy, client = proxied
    await append(client, ORDER)
    before = (await client.get(ORDER.path)).json()
    for when in Break:
        proxy.break_at(ORDER.id.encode(), when)
        unavailable(await client.get(ORDER.path), "database-unreachable")
        assert (await client.get(ORDER.path)).json() == before


async def test_a_connection_that_is_killed_while_idle_is_not_noticed(
    client: httpx.AsyncClient, sql: Sql
) -> None:
    await append(client, ORDER)
    killed = await sql.fetch(
        "SELECT pg_terminate_backend(pid, 5000) AS is_gone FROM pg_stat_activity"
        " WHERE application_name = 'eventstore' AND datname = current_database()"
    )
    assert killed
    assert all(row["is_gone"] for row in killed)
    # The service hears of it at its next turn of the event loop.
    assert (await client.get("/health/live")).status_code == 200
    assert (await append(client, ORDER, expected_version=1)).status_code == 201


async def test_a_client_that_goes_away_in_the_middle_of_its_body_does_no_harm(
    client: httpx.AsyncClient, service_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = service_url.removeprefix("http://").split(":")
    body = json.dumps({"events": [new_event()]}).encode()
    for sent in (0, 10, len(body) - 1):
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {ORDER.events_path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
        writer.write(f"{head}\r\n\r\n".encode() + body[:sent])
        await writer.drain()
        writer.close()
    assert (await append(client, ORDER, expected_version=0)).status_code == 201
    assert not caplog.records

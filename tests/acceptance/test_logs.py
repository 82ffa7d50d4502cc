"""What the service logs of requests, what it never logs, and that logging harms no request."""

import asyncio
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from app.api import direct_appends, short_way
from app.logs.line import MAX_LINE_BYTES
from app.logs.repetition import MAX_RECORDS
from app.logs.setup import formatter
from app.settings import Settings
from tests.acceptance.conftest import lasting_database
from tests.acceptance.test_crash import Service
from tests.conftest import connect, running_service
from tests.factories import new_event, problem

SECRET = "s3cret-payload"
NUMBER = "748159263748"
PASSWORD = "s3cret-password"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = {
    "X-Request-ID": "mine-1",
    "X-Correlation-ID": str(uuid4()),
    "traceparent": f"00-{TRACE}-{SPAN}-01",
}
MAX_BODY_BYTES = 20_000
# Whose records are more than the 64 KiB that a pipe holds (pipe(7)).
LONG_ID, LONG_RECORDS = "x" * 250, 150
PATIENCE_S = 30

Record = dict[str, Any]


class LoggingService(Service):
    """A service whose standard error goes to a file, or to a pipe that nobody reads."""

    def __init__(self, settings: Settings, log: Path | None, **environment: str) -> None:
        environment = {"DATABASE_PASSWORD": PASSWORD, "LOG_LEVEL": "info", **environment}
        super().__init__(settings, **environment)
        self._log = log

    def start(self) -> None:
        with ExitStack() as stack:
            stderr = (
                subprocess.PIPE if self._log is None else stack.enter_context(self._log.open("wb"))
            )
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "serve"],
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def text(self) -> str:
        """The whole log, once the service has stopped."""
        assert self._log is not None
        return self._log.read_text("utf-8")


class Provoked(NamedTuple):
    """A request, and what becomes of it."""

    operation: str | None
    method: str
    path: str
    status: int
    content: object = None
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


def path_of(aggregate_id: str, end: str = "/events") -> str:
    return f"/v1/aggregates/Log/{aggregate_id}{end}"


def one_event(event_type: str = "E", **members: object) -> dict[str, object]:
    """The body of an append, with secrets wherever there may be some."""
    return {"events": [new_event(event_type, **PAYLOAD | members)]}


PAYLOAD: dict[str, object] = {"event_data": {"s": SECRET}, "metadata": {"m": SECRET}}
FIRST = path_of("first")
ID = str(uuid4())
POLICY = "/v1/snapshot-policies/Fold"
SUM = {"kind": "jsonata", "initial": {"sum": 0}, "on": {"*": "{'sum': event.event_data.s + 1}"}}
PROVOKED = {
    "stored": Provoked("append_events", "POST", FIRST, 201, one_event(event_id=ID)),
    "version": Provoked("append_events", "POST", FIRST, 409, one_event() | {"expected_version": 7}),
    "header": Provoked("append_events", "POST", FIRST, 412, one_event(), {"If-Match": '"7"'}),
    "taken id": Provoked("append_events", "POST", path_of("x"), 409, one_event(event_id=ID)),
    "malformed": Provoked("append_events", "POST", FIRST, 400, f'{{"events": ["{SECRET}'),
    "shape": Provoked("append_events", "POST", FIRST, 422, one_event(event_data=SECRET)),
    "key": Provoked("append_events", "POST", FIRST, 422, one_event() | {SECRET: 1}),
    "NUL": Provoked(
        "append_events", "POST", FIRST, 422, one_event(event_data={"s": SECRET + "\0"})
    ),
    "number": Provoked(
        "append_events",
        "POST",
        FIRST,
        422,
        f'{{"events": [{{"event_type": "E", "event_data": {{"s": {NUMBER}e999999}}}}]}}',
    ),
    "time": Provoked("append_events", "POST", FIRST, 422, one_event(occurred_at=SECRET)),
    "size": Provoked("append_events", "POST", FIRST, 413, SECRET * MAX_BODY_BYTES),
    "bad id": Provoked(
        "append_events", "POST", FIRST, 422, one_event(), {"X-Causation-ID": SECRET}
    ),
    "query": Provoked("load_aggregate", "GET", path_of("first", f"?at_version={SECRET}"), 422),
    "last id": Provoked(
        "read_feed",
        "GET",
        "/v1/events",
        422,
        None,
        {"Last-Event-ID": SECRET, "Accept": "text/event-stream"},
    ),
    "no route": Provoked(None, "GET", f"/v1/nothing?token={SECRET}", 404),
    "no method": Provoked(None, "DELETE", f"/v1/events?token={SECRET}", 405),
    "no UTF-8": Provoked("load_aggregate", "GET", path_of("%ff", ""), 422),
    "snapshot": Provoked(
        "save_snapshot", "PUT", path_of("first", "/snapshot"), 422, {"version": 9, "state": SECRET}
    ),
    "position": Provoked(
        "save_position",
        "PUT",
        "/v1/projections/p/position",
        422,
        {"last_processed_position": int(NUMBER)},
    ),
    "transaction": Provoked(
        "append_transaction",
        "POST",
        "/v1/transactions",
        409,
        {
            "appends": [
                {
                    "aggregate_type": "Log",
                    "aggregate_id": "first",
                    "expected_version": 7,
                    **one_event(),
                }
            ]
        },
    ),
    "import": Provoked(
        "import_events",
        "POST",
        "/v1/import",
        422,
        json.dumps(
            {"aggregate_type": "Log", "aggregate_id": "i", "event_type": "E"}
            | {"event_data": SECRET}
        ),
    ),
    "expression": Provoked(
        "save_snapshot_policy",
        "PUT",
        POLICY,
        422,
        {"every": 9, "reducer": SUM | {"on": {"*": f"{SECRET}((("}}},
    ),
    "policy": Provoked(
        "save_snapshot_policy", "PUT", POLICY, 201, {"every": 10_000, "reducer": SUM}
    ),
    "to fold": Provoked("append_events", "POST", "/v1/aggregates/Fold/f/events", 201, one_event()),
    "fold": Provoked("get_state", "GET", "/v1/aggregates/Fold/f/state", 422),
}


class Services:
    """Three at once: each takes its time to start."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.debug = LoggingService(
            settings,
            directory / "debug",
            LOG_LEVEL="debug",
            LOG_FORMAT="json",
            MAX_BODY_BYTES=str(MAX_BODY_BYTES),
            DATABASE_LOCK_TIMEOUT_S="0.1",
        )
        self.text = LoggingService(
            settings, directory / "text", LOG_FORMAT="text", LOG_SLOW_REQUEST_MS="0.001"
        )
        self.unread = LoggingService(settings, None, LOG_SLOW_REQUEST_MS="0")


@pytest.fixture(scope="module")
def services(
    postgres_host: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    with lasting_database(postgres_host, template_database, "logs") as settings:
        services = Services(settings, tmp_path_factory.mktemp("logs"))
        all_three = (services.debug, services.text, services.unread)
        for service in all_three:
            service.start()
        for service in all_three:
            until_ready(service)
        yield services
        with ThreadPoolExecutor() as threads:
            list(threads.map(stop, all_three))


def until_ready(service: Service) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if httpx.get(f"{service.url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
        assert time.monotonic() < deadline, "the service did not start"


def stop(service: Service) -> None:
    if service.process is not None and service.process.returncode is None:
        service.stop()
    if service.process is not None and service.process.stderr is not None:
        service.process.stderr.close()


def client_of(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, timeout=60, verify=False)


def of_request(records: list[Record], answer: httpx.Response) -> list[Record]:
    request_id = answer.headers["x-request-id"]
    return [record for record in records if record.get("request_id") == request_id]


def ask(client: httpx.Client, provoked: Provoked) -> httpx.Response:
    content = provoked.content
    if content is not None and not isinstance(content, str):
        content = json.dumps(content)
    return client.request(provoked.method, provoked.path, content=content, headers=provoked.headers)


async def refused_by_the_database(url: str, settings: Settings) -> list[httpx.Response]:
    """Appends that it refuses on an operator's behalf, quoting rows and whatever else it likes."""
    sql = await connect(settings)
    await sql.execute("ALTER TABLE events ADD CHECK (event_type <> 'Checked')")
    await sql.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE 'I refuse %', NEW.event_data; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW
          WHEN (NEW.event_type = 'Raised') EXECUTE FUNCTION refuse();
        """
    )
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
        answers = [
            await client.post(path_of(name), json=one_event(name), headers=SENT)
            for name in ("Checked", "Raised")
        ]
        await sql.execute("DROP TRIGGER refuse ON events; DROP FUNCTION refuse()")
        async with sql.transaction():
            await sql.execute("LOCK TABLE events")
            answers.append(await client.post(path_of("Locked"), json=one_event()))
    await sql.close()
    return answers


def test_every_refusal_and_failure_is_logged_without_what_was_sent(
    services: Services,
) -> None:
    with client_of(services.debug) as client:
        answers = {name: ask(client, provoked) for name, provoked in PROVOKED.items()}
        failures = asyncio.run(refused_by_the_database(services.debug.url, services.settings))
        assert client.get(path_of("first", "")).status_code == 200
    assert {name: answer.status_code for name, answer in answers.items()} == {
        name: provoked.status for name, provoked in PROVOKED.items()
    }
    assert [answer.status_code for answer in failures] == [503, 503, 503]
    services.debug.stop()
    text = services.debug.text()
    assert [secret for secret in (SECRET, NUMBER, PASSWORD) if secret in text] == []
    lines = text.splitlines()
    assert max(map(len, lines)) < MAX_LINE_BYTES
    records = [json.loads(line) for line in lines]

    for name, provoked in PROVOKED.items():
        if provoked.status >= 400:
            [told] = of_request(records, answers[name])
            assert told["event"] == "request refused", name
            assert told["status"] == provoked.status
            assert told["problem"] == answers[name].json()["type"].removeprefix("/problems/")
            assert told.get("operation") == provoked.operation, name
            assert told["path"] == provoked.path.partition("?")[0]
    assert of_request(records, answers["version"])[0].items() >= {
        ("level", "info"),
        ("aggregate_type", "Log"),
        ("aggregate_id", "first"),
        ("method", "POST"),
    }
    [loaded] = [
        each
        for each in records
        if (each.get("path"), each.get("status")) == (path_of("first", ""), 200)
    ]
    assert (loaded["level"], loaded["event"]) == ("debug", "request answered")
    assert [each["level"] for each in records if each.get("path") == POLICY] == ["info", "info"]
    check_failures(records)


def check_failures(records: list[Record]) -> None:
    """What is told of appends that the database has refused."""
    for name in ("Checked", "Raised"):
        told = [each for each in records if each.get("aggregate_id") == name]
        assert {each["level"] for each in told} == {"warning"}
        assert [each["event"] for each in told][-1] == "request failed"
        for each in told:
            assert each["request_id"] == SENT["X-Request-ID"]
            assert each["correlation_id"] == SENT["X-Correlation-ID"]
            assert (each["trace_id"], each["parent_id"]) == (TRACE, SPAN)
    # Of a batch, which is of no request, or of many.
    of_batches = [each for each in records if each["logger"] == "app.store.driver_errors"]
    assert of_batches
    for each in of_batches:
        assert each["component"] == "group commit"
        assert "request_id" not in each
        assert "asyncpg.exceptions." in each["exception"]


def test_a_client_in_a_loop_does_not_fill_the_log_and_ends_no_line(services: Services) -> None:
    nasty = "a%0Ab%0D%E2%80%A8c%1B%5B31m"
    with client_of(services.text) as client:
        for _ in range(3 * MAX_RECORDS):
            problem(client.get(path_of("nobody", "")), 404, "aggregate-not-found")
        problem(client.get(path_of(nasty, "/snapshot")), 404, "snapshot-not-found")
        # Slow, as things are there; but who asks to wait has to.
        assert client.get("/v1/projections").status_code == 200
        assert client.get("/v1/events?after=0&wait=0.01").status_code == 200
    services.text.stop()
    lines = services.text.text().split("\n")
    assert all(line.isprintable() for line in lines)
    refused = [line for line in lines if "problem=aggregate-not-found" in line]
    assert len(refused) == MAX_RECORDS + 1
    assert refused[-1].endswith(
        "app.api.request_log: left out: request refused "
        f"problem=aggregate-not-found left_out={2 * MAX_RECORDS}"
    )
    [told] = [line for line in lines if "problem=snapshot-not-found" in line]
    [slow] = [line for line in lines if "path=/v1/projections " in line]
    assert " info     app.api.request_log: request was slow request_id=" in slow
    assert not [line for line in lines if "path=/v1/events " in line]
    assert ' aggregate_id="a\\nb\\r\\u2028c\\u001b[31m" ' in told


def test_a_log_that_nobody_reads_holds_nobody_up(services: Services) -> None:
    process = services.unread.process
    assert process is not None
    assert process.stderr is not None
    with client_of(services.unread) as client:
        for _ in range(LONG_RECORDS):
            assert client.get(path_of(LONG_ID, "")).status_code == 404
        assert client.post(path_of("unread"), json=one_event()).status_code == 201
        # Nor one whose reader has gone.
        process.stderr.close()
        for _ in range(3):
            assert client.post(path_of("unread"), json=one_event()).status_code == 201
    services.unread.stop()


class Lines(logging.Handler):
    """Keeps each record as the service would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(formatter(is_json=True))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


DEFECT_EVENTS = {
    "direct": "an append was answered as a defect",
    "short": "Exception in ASGI application",
}


@pytest.mark.parametrize("way", DEFECT_EVENTS)
def test_a_defect_is_told_with_its_place_and_the_id_that_its_client_has(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def defective(*_: object) -> None:
        raise ValueError(SECRET)

    async def defective_too(*_: object) -> None:
        defective()

    monkeypatch.setattr(direct_appends, "requested_append", defective)
    monkeypatch.setattr(short_way, "answer_load", defective_too)
    lines = Lines()
    loggers = logging.getLogger(), logging.getLogger("uvicorn.error")
    try:
        with running_service(settings) as url, httpx.Client(base_url=url, verify=False) as client:
            for logger in loggers:
                logger.addHandler(lines)
            if way == "direct":
                answer = client.post(path_of("x"), json=one_event())
            else:
                answer = client.get(path_of("x", ""))
    finally:
        # Behind the end of the service, which logs a defect after it has answered.
        for logger in loggers:
            logger.removeHandler(lines)
    problem(answer, 500, "unexpected-error")
    told = of_request([json.loads(line) for line in lines.lines], answer)
    assert {each["event"] for each in told} == {"request failed", DEFECT_EVENTS[way]}
    assert {each["level"] for each in told} == {"error"}
    [exception] = [each["exception"] for each in told if "exception" in each]
    assert exception.startswith("ValueError at tests/acceptance/test_logs.py:")
    assert not any(SECRET in line for line in lines.lines)


async def id_of_answer(
    api: httpx.AsyncClient, method: str, target: str, **headers: str
) -> str | None:
    content = json.dumps(one_event()) if method == "POST" else None
    answer = await api.request(method, target, content=content, headers=headers)
    assert answer.is_success
    found: str | None = answer.headers.get("x-request-id")
    return found


async def test_an_answer_has_an_id_where_one_was_sent_or_something_is_wrong(
    api: httpx.AsyncClient,
) -> None:
    path = path_of("ids")
    for method, target in (("POST", path), ("GET", path), ("GET", path_of("ids", ""))):
        assert await id_of_answer(api, method, target) is None
        assert await id_of_answer(api, method, target, **{"X-Request-ID": "mine"}) == "mine"
        # What cannot be sent back, or stands for nothing, is replaced.
        for wrong in ("x" * 129, "a b"):
            made = await id_of_answer(api, method, target, **{"X-Request-ID": wrong})
            assert re.fullmatch("[0-9a-f]{32}", str(made))
    problems = [await api.get(path_of("nobody", "")) for _ in range(2)]
    refused = await api.post(path, json=one_event() | {"expected_version": 0})
    ids = {answer.headers["x-request-id"] for answer in (*problems, refused)}
    assert len(ids) == 3

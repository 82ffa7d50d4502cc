"""The console script as a process, against a real service."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli import main
from app.migrations import upgrade
from app.settings import Settings
from tests.conftest import directory_for_postgres, running_service
from tests.factories import Aggregate, new_event

EVENTSTORE = Path(sys.executable).with_name("eventstore")
LINE = '{"aggregate_type":"T","aggregate_id":"1","event_type":"e","event_data":{}}\n'

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def run_at(
    url: str, *arguments: object, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [EVENTSTORE, *(a if isinstance(a, bytes) else str(a) for a in arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "EVENTSTORE_URL": url},
    )


@pytest.fixture
def postgres_home() -> Iterator[Path]:
    """Where a PostgreSQL of the test's own may keep its data."""
    with directory_for_postgres() as home:
        yield home


@pytest.fixture
def run(service_url: str) -> Run:
    def run(*arguments: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return run_at(service_url, *arguments, stdin=stdin)

    return run


@contextmanager
def started(*arguments: object, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that goes on; it is killed at the end of the block, if need be."""
    with subprocess.Popen(
        [EVENTSTORE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "EVENTSTORE_URL": url},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def append(url: str, aggregate_type: str, event_type: str) -> None:
    """Give a command something to be found."""
    path = Aggregate(aggregate_type, "1").events_path
    body = {"events": [new_event(event_type)]}
    httpx.post(f"{url}{path}", json=body, verify=False).raise_for_status()


def until_feed_has(events: int, url: str) -> None:
    while len(feed(url)) < events:
        time.sleep(0.01)


def succeeded(done: "subprocess.CompletedProcess[bytes]") -> bytes:
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def failed(done: "subprocess.CompletedProcess[bytes]") -> str:
    """Demand a failure in one line; return the line."""
    assert done.returncode == 1
    assert done.stdout == b""
    message = done.stderr.decode()
    assert message.startswith("eventstore: ")
    assert message.count("\n") == 1
    return message


def feed(url: str) -> list[dict[str, Any]]:
    # Without certificates: to load them for each look takes longer than the look.
    answer = httpx.get(f"{url}/v1/events", params={"limit": 10_000}, verify=False).json()
    assert answer["up_to_date"]
    return list(answer["events"])


def by_aggregate(events: list[dict[str, Any]]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for event in events:
        grouped[event["aggregate_id"]].append((event["event_type"], event["event_data"]))
    return grouped


@pytest.fixture
def permits(tmp_path: Path, permit_lines: list[bytes]) -> Path:
    path = tmp_path / "permits.ndjson"
    path.write_bytes(b"".join(permit_lines))
    return path


# --- import


def test_a_file_is_imported_once_however_often_it_is_run(
    run: Run, service_url: str, permits: Path, permit_lines: list[bytes]
) -> None:
    lines = [json.loads(line) for line in permit_lines]
    aggregates = len({line["aggregate_id"] for line in lines})
    told = succeeded(run("import", permits)).decode()
    assert told.startswith(
        f"imported {len(lines)} events of {aggregates} aggregates (0 already there) in "
    )
    assert by_aggregate(feed(service_url)) == by_aggregate(lines)

    renamed = permits.rename(permits.with_name("renamed.ndjson"))
    with renamed.open("ab") as file:
        file.write(LINE.encode() * 2)
    told = succeeded(run("import", renamed, "--batch", 300)).decode()
    assert told.startswith(
        f"imported 2 events of {aggregates + 1} aggregates ({len(lines)} already there) in "
    )
    assert len(feed(service_url)) == len(lines) + 2


@pytest.mark.parametrize("batch", [7, 500])
def test_a_killed_import_goes_on_where_it_was(
    run: Run, service_url: str, permits: Path, permit_lines: list[bytes], batch: int
) -> None:
    with started("import", permits, "--batch=2", url=service_url) as importing:
        until_feed_has(20, service_url)
        importing.kill()
        assert importing.communicate() == (b"", b"")
    told = succeeded(run("import", permits, "--batch", batch)).decode()
    counts = re.match(r"imported (\d+) events of \d+ aggregates \((\d+) already there\) in ", told)
    assert counts
    imported, already_there = map(int, counts.groups())
    assert already_there >= 20
    assert imported + already_there == len(permit_lines)
    assert by_aggregate(feed(service_url)) == by_aggregate(list(map(json.loads, permit_lines)))


def test_ctrl_c_tells_how_far_it_came(service_url: str, permits: Path) -> None:
    with started("import", permits, "--batch=1", url=service_url) as importing:
        until_feed_has(20, service_url)
        importing.send_signal(signal.SIGINT)
        told = importing.communicate()[1].decode()
    assert importing.returncode == 130
    assert told.startswith("eventstore: interrupted (imported ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"nonsense", "JSON is malformed"),
        (LINE.encode().replace(b"event_data", b"data"), "unknown field `data`"),
        (LINE.encode().replace(b"{}", b'"\xff"'), "is not UTF-8"),
        (LINE.encode().replace(b"{}", b"[]"), "event_data"),
        (LINE.encode().replace(b"{}", b'{"a":"\\u0000"}'), "$.event_data.a"),
        (LINE.encode().replace(b"}\n", b',"occurred_at":"noon"}\n'), "occurred_at"),
        (LINE.encode().replace(b"}\n", b',"version":3}\n'), "is at version 5"),
    ],
)
def test_a_bad_line_is_named_and_what_is_before_it_stored(
    run: Run, service_url: str, tmp_path: Path, bad: bytes, reason: str
) -> None:
    path = tmp_path / "bad.ndjson"
    path.write_bytes(LINE.encode() * 5 + bad.strip() + b"\n" + LINE.encode())
    message = failed(run("import", path))
    assert f"{path}:6: " in message
    assert reason in message
    assert "imported 5 events before" in message
    assert len(feed(service_url)) == 5


def test_payloads_ids_and_stdin_pass_through(run: Run, service_url: str) -> None:
    data = '{"n": 1.10, "big": 123456789012345678901234567890}'
    line = LINE.replace("{}", data).replace('"1"', '"a/b ü.. %2F"')
    assert b"imported 1 events" in succeeded(run("import", "-", stdin=line.encode()))
    body = httpx.get(f"{service_url}/v1/events").text
    assert "1.10" in body
    assert "123456789012345678901234567890" in body
    assert feed(service_url)[0]["aggregate_id"] == "a/b ü.. %2F"


# --- export


def test_an_export_makes_the_same_store_elsewhere(
    run: Run, service_url: str, permits: Path, tmp_path: Path, empty_database: Settings
) -> None:
    succeeded(run("import", permits))
    exported = tmp_path / "exported.ndjson"
    assert succeeded(run("export", "-o", exported)) == b""
    assert succeeded(run("export")) == exported.read_bytes()
    assert list(tmp_path.glob("*.part")) == []
    assert [json.loads(line) for line in exported.read_bytes().splitlines()] == feed(service_url)

    assert b"imported 0 events" in succeeded(run("import", exported))
    upgrade(empty_database)
    with running_service(empty_database) as other_url:
        succeeded(run_at(other_url, "import", exported))
        copies = feed(other_url)
    # In the same order, each with its id, version and time; only positions are the store's own.
    positions = [event.pop("global_position") for event in copies]
    assert positions == sorted(positions)
    for event in (originals := feed(service_url)):
        del event["global_position"]
    assert copies == originals


def test_an_export_of_one_type(run: Run, service_url: str) -> None:
    append(service_url, "T", "e")
    append(service_url, "U", "e")
    (line,) = succeeded(run("export", "--type", "U")).splitlines()
    assert json.loads(line)["aggregate_type"] == "U"


def test_an_export_that_fails_leaves_no_file(run: Run, tmp_path: Path) -> None:
    assert "No such file" in failed(run("export", "-o", tmp_path / "nowhere" / "file"))
    assert "connection refused" in failed(run_at(NOWHERE, "export", "-o", tmp_path / "f")).lower()
    assert list(tmp_path.iterdir()) == []


# --- append, load, tail


def test_append_and_load(run: Run) -> None:
    aggregate = ("Order", "a/b ü?#.. %2F")
    data = '{"amount": 1.10}'
    told = json.loads(succeeded(run("append", *aggregate, "OrderPaid", data)))
    assert told["version"] == 1
    succeeded(
        run(
            *("append", *aggregate, "OrderShipped", "-"),
            *("--expected-version", 1, "--metadata", '{"by": "me"}'),
            stdin=b'{"n": 123456789012345678901234567890}',
        )
    )
    loaded = succeeded(run("load", *aggregate))
    assert b"1.10" in loaded
    assert b"123456789012345678901234567890" in loaded
    assert [event["metadata"] for event in json.loads(loaded)["events"]] == [None, {"by": "me"}]
    past = json.loads(succeeded(run("load", *aggregate, "--at-version", 1, "--no-snapshot")))
    assert [event["event_type"] for event in past["events"]] == ["OrderPaid"]
    assert "no state" in failed(run("load", *aggregate, "--as-of", "2001-01-01T00:00:00Z"))
    conflict = failed(run("append", *aggregate, "OrderPaid", "--expected-version", 1))
    assert "Optimistic concurrency check failed: " in conflict


def test_an_append_with_an_id_is_stored_once(run: Run) -> None:
    event_id = "0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f"
    once = succeeded(run("append", "T", "1", "e", "--event-id", event_id))
    assert succeeded(run("append", "T", "1", "e", "--event-id", event_id)) == once
    other = failed(run("append", "T", "1", "other", "--event-id", event_id))
    assert event_id in other or "ids" in other


def test_tail_begins_with_the_last_and_filters(run: Run, service_url: str) -> None:
    for n in range(4):
        append(service_url, f"T{n % 2}", f"e{n}")

    def types(*options: object) -> list[str]:
        lines = succeeded(run("tail", "--no-follow", *options)).splitlines()
        return [json.loads(line)["event_type"] for line in lines]

    assert types() == ["e0", "e1", "e2", "e3"]
    assert types("-n", 2) == ["e2", "e3"]
    assert types("-n", 0) == []
    assert types("--type", "T1") == ["e1", "e3"]
    assert types("--event-type", "e0", "--event-type", "e3") == ["e0", "e3"]
    assert types("--after", 0, "--type", "T0") == ["e0", "e2"]


def test_tail_follows_and_stops_at_ctrl_c(service_url: str) -> None:
    append(service_url, "T", "first")
    with started("tail", url=service_url) as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["event_type"] == "first"
        append(service_url, "T", "second")
        assert json.loads(following.stdout.readline())["event_type"] == "second"
        following.send_signal(signal.SIGINT)
        assert following.communicate() == (b"", b"")
        assert following.returncode == 130


def test_a_tail_ends_with_its_reader_though_nothing_happens(service_url: str) -> None:
    append(service_url, "T", "e")
    with started("tail", url=service_url) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert following.stdout.readline()
        following.stdout.close()
        assert following.stderr.read() == b""
        assert following.wait() == 141


def test_a_reader_that_goes_away_ends_it_quietly(service_url: str) -> None:
    for n in range(3):
        append(service_url, "T", f"e{n}")
    with started("export", url=service_url) as exporting:
        assert exporting.stdout is not None
        assert exporting.stderr is not None
        exporting.stdout.close()
        assert exporting.stderr.read() == b""
        assert exporting.wait() == 141


# --- errors

NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("load", "T", "1", "--url", NOWHERE), "Connection refused (is the service running?"),
        (("tail", "--url", NOWHERE), "Connection refused"),
        (("load", "T", "1", "--url", "localhost:8000"), "not the URL of a service"),
        (("load", "T", "none"), "The aggregate has no events: "),
        (("load", "T", "none", "--as-of", "noon"), "as_of"),
        (("append", "T", "1", "e", "{'a': 1}"), "DATA is not JSON"),
        (("append", "T", "1", "e", "{}", "--metadata", "{"), "--metadata is not JSON"),
        (("append", "T", "1", "e", "[]"), "event_data"),
        (("append", "T", "", "e"), ""),
        (("append", "T", b"\xff", "e"), "not valid text"),
        (("import", "/nowhere.ndjson"), "/nowhere.ndjson: No such file or directory"),
        (("import", "/"), "cannot read /: Is a directory"),
    ],
)
def test_an_error_is_one_line(run: Run, arguments: tuple[object, ...], told: str) -> None:
    assert told in failed(run(*arguments))


def test_help_and_version(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    told = succeeded(run("--help")).decode()
    for command in ("serve", "migrate", "import", "export", "append", "load", "tail", "version"):
        assert f" {command} " in told
        # What the script does, in this process: eight more would only take time to start.
        monkeypatch.setattr(sys, "argv", [str(EVENTSTORE), command, "--help"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        out, err = capfd.readouterr()
        assert f"Usage: eventstore {command} " in out
        assert err == ""
    assert succeeded(run("version")).startswith(b"eventstore ")
    assert run("append").returncode == 2


# --- serve, migrate


class Served:
    """`eventstore serve` with an embedded database of its own, and the same port each time."""

    def __init__(self, data_dir: Path, *options: str, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = data_dir
        self._options = options
        self._environment = embedded_in(data_dir) | environment
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [EVENTSTORE, "serve", f"--port={self.port}", *self._options],
            stdout=subprocess.PIPE,
            env=self._environment,
        )
        assert self.process.stdout is not None
        self.told = self.process.stdout.readline().decode()
        assert self.told, "the service did not start"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def has_postgres(self) -> bool:
        return (self.data_dir / "postmaster.pid").exists()


def embedded_in(data_dir: Path) -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if "DATABASE_" not in key}
    return {**environment, "EMBEDDED_DATA_DIR": str(data_dir), "LOG_LEVEL": "error"}


@contextmanager
def served(data_dir: Path, *options: str, **environment: str) -> Iterator[Served]:
    service = Served(data_dir, *options, **environment)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            assert service.stop() == 0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """The data of a PostgreSQL that each test leaves stopped; the first one makes them.

    To make them takes longer than most tests; who wants an empty store has a database of his own.
    """
    with directory_for_postgres() as home:
        yield home / "data"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_tells_where_it_is_and_stops_all_it_has_started(
    cluster: Path, workers: int, number: signal.Signals
) -> None:
    with served(cluster, f"--workers={workers}") as service:
        assert service.told == (
            f"eventstore is up: {service.url} (docs: {service.url}/docs, data: {cluster})\n"
        )
        assert httpx.get(f"{service.url}/health/ready", verify=False).status_code == 200
        assert service.has_postgres()
        assert service.stop(number) == 0
        assert not service.has_postgres()
        with pytest.raises(httpx.ConnectError):
            httpx.get(service.url, verify=False)


@pytest.mark.slow
def test_serve_on_a_port_in_use_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = subprocess.run(
            [EVENTSTORE, "serve", f"--port={port}"],
            capture_output=True,
            check=False,
            env=embedded_in(tmp_path / "data"),
        )
    assert failed(done) == (
        f"eventstore: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_an_import_outlives_restarts_of_the_service(
    cluster: Path, permits: Path, permit_lines: list[bytes]
) -> None:
    with served(cluster, "--workers=2", DATABASE_NAME="imported") as service:
        with started("import", permits, "--batch=4", url=service.url) as importing:
            for number in (signal.SIGKILL, signal.SIGTERM):
                until_feed_has(len(feed(service.url)) + 30, service.url)
                assert service.stop(number) in {0, -signal.SIGKILL}
                service.start()
            told = importing.communicate()[0].decode()
        assert told.startswith(f"imported {len(permit_lines)} events of ")
        assert "(0 already there)" in told
        events = feed(service.url)
    assert by_aggregate(events) == by_aggregate(list(map(json.loads, permit_lines)))


@pytest.mark.slow
def test_a_tail_outlives_a_restart_of_the_service(cluster: Path) -> None:
    with (
        served(cluster, DATABASE_NAME="tailed") as service,
        started("tail", url=service.url) as following,
    ):
        assert following.stdout is not None
        for number in range(3):
            append(service.url, "T", f"e{number}")
            assert json.loads(following.stdout.readline())["event_type"] == f"e{number}"
            assert service.stop() == 0
            service.start()


@pytest.mark.slow
def test_migrate_up_and_down(postgres_home: Path) -> None:
    def migrate(*options: str) -> bytes:
        return subprocess.run(
            [EVENTSTORE, "migrate", *options],
            stdout=subprocess.PIPE,
            check=True,
            env=embedded_in(postgres_home / "data"),
        ).stdout

    assert migrate() == b"migrated eventstore to head\n"
    assert migrate() == b"migrated eventstore to head\n"
    assert migrate("--down-to", "base") == b"migrated eventstore to base\n"
    assert migrate() == b"migrated eventstore to head\n"
    assert not (postgres_home / "data" / "postmaster.pid").exists()


def test_a_migration_that_fails_says_why_in_one_line(run: Run, settings: Settings) -> None:
    def migrate(*options: str, **environment: str) -> str:
        return failed(
            subprocess.run(
                [EVENTSTORE, "migrate", *options],
                capture_output=True,
                check=False,
                env={
                    **os.environ,
                    "DATABASE_HOST": str(settings.database_host),
                    "DATABASE_NAME": settings.database_name,
                    **environment,
                },
            )
        )

    assert "nonsense" in migrate("--revision", "nonsense")
    assert "cannot migrate: " in migrate(DATABASE_HOST="127.0.0.1", DATABASE_PORT="1")
    assert "PORT: " in migrate(PORT="eighty")

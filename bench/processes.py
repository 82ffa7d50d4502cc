"""The servers that are measured, each a process of its own on a free port of this machine."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import psutil

from bench.http_load import Address

ROOT: Final = Path(__file__).resolve().parent.parent
HOST: Final = "127.0.0.1"
STARTS_WITHIN_S: Final = 30.0
STOPS_WITHIN_S: Final = 30.0


class DidNotStart(Exception):
    """A server that was to be measured; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Server:
    address: Address
    pid: int

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def memory_bytes(self) -> int:
        """Resident memory of the process and those that it has started."""
        return sum(process.memory_info().rss for process in _family(self.pid))

    def connections(self) -> int:
        """How many clients are connected to it."""
        return sum(
            connection.status == psutil.CONN_ESTABLISHED
            and connection.laddr[1] == self.address.port
            for process in _family(self.pid)
            for connection in process.net_connections("tcp")
        )


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and those that it has started have used so far."""
    used = 0.0
    for process in _family(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        # Those of its ended children included.
        used += times.user + times.system + times.children_user + times.children_system
    return used


@contextmanager
def running_service(
    database_host: str, database: str, more: Mapping[str, str], program: str = "app.cli"
) -> Iterator[Server]:
    """The service as its users start it, with its default settings and ``more``.

    ``program``: a module that is run instead of the service's own.
    """
    settings = {"DATABASE_HOST": database_host, "DATABASE_NAME": database, **more}
    command = ["-m", program, "serve", "--host", HOST, "--port"]
    with _running(command, settings, "/health/ready") as server:
        yield server


@contextmanager
def running_echo(answer: Path, *, to: Literal["GET", "POST"] = "GET") -> Iterator[Server]:
    """bench/echo.py under the same HTTP server as the service, set up in the same way."""
    options = "--loop uvloop --http httptools --ws none --no-access-log --no-server-header"
    command = ["-m", "uvicorn", "bench.echo:app", *options.split(), "--host", HOST, "--port"]
    with _running(command, {f"ANSWER_TO_{to}": str(answer)}, "/") as server:
        yield server


@contextmanager
def _running(command: Sequence[str], settings: Mapping[str, str], path: str) -> Iterator[Server]:
    """Run ``python <command> <port>``; yields when ``path`` answers."""
    # Only these: neither the caller's variables nor an .env file decide what is measured.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
    with TemporaryDirectory(prefix="eventstore-bench-") as directory:
        log = Path(directory, "log")
        port = _free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command, str(port)],
                cwd=directory,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _await_answer(process, f"http://{HOST}:{port}{path}", log)
            yield Server(Address(HOST, port), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await_answer(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise DidNotStart(f"{url} does not answer:\n{log.read_text(errors='replace')[-2000:]}")

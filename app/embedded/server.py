"""The server's processes: their launch and their end."""

import re
import time
from contextlib import suppress
from typing import Final

from app.embedded.cluster import initialise
from app.embedded.configuration import write_settings
from app.embedded.data_dir import DataDir
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.locks import PATIENCE_S, server_lock, try_lock
from app.embedded.pid_file import PID_FILE, find_postmaster
from app.embedded.programs import complaint, run
from app.embedded.socket_dir import PORT, make_socket_dir, remove_socket_dir

_STARTUP_LOG: Final = "startup.log"


def launch_if_gone(data_dir: DataDir) -> None:
    """Start the server, unless a process of one is left.

    Raises:
        EmbeddedPostgresError: it does not start.
    """
    with server_lock(data_dir) as lock:
        # Free and yet running: somebody has started it by hand.
        if try_lock(lock) and find_postmaster(data_dir) is None:
            _launch(data_dir, lock)


def shut_down(data_dir: DataDir) -> None:
    """Stop the server, and wait until none of its processes is left.

    Raises:
        EmbeddedPostgresError: it does not stop within PATIENCE_S.
    """
    deadline = time.monotonic() + PATIENCE_S
    with server_lock(data_dir) as lock:
        # The lock is held, too, by a server whose start was interrupted before it was a
        # postmaster, and after the postmaster's end, for a moment, by the one that logs.
        while (postmaster := find_postmaster(data_dir)) or not try_lock(lock):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL in {data_dir.path} does not stop within {PATIENCE_S} s: "
                    f"see its log there (process {postmaster.pid if postmaster else '?'})"
                )
            if postmaster:
                run(data_dir, "pg_ctl", "stop", "--mode=fast", "-w", f"-t{PATIENCE_S}")
                remove_socket_dir(data_dir)
            time.sleep(0.01)


def _launch(data_dir: DataDir, lock: int) -> None:
    if not data_dir.has_cluster:
        initialise(data_dir, lock)
    socket_dir = make_socket_dir(data_dir)
    write_settings(data_dir, socket_dir)
    # The first two are left by a killed server. Where another process, or a zombie, has the id
    # in them, PostgreSQL takes that for a server and does not start.
    stale = (data_dir.path / PID_FILE, socket_dir / f".s.PGSQL.{PORT}.lock")
    for path in (*stale, data_dir.path / _STARTUP_LOG):
        path.unlink(missing_ok=True)
    for log in data_dir.path.glob("log/postgresql-*.log"):
        # Only a server that runs at midnight overwrites last week's.
        if time.time() - log.stat().st_mtime > 6 * 86_400:
            log.unlink()
    # pg_ctl gives the server a session of its own: Ctrl-C in a terminal does not reach it.
    done = run(data_dir, "pg_ctl", "start", "-w", f"-t{PATIENCE_S}", f"-l{_STARTUP_LOG}", lock=lock)
    # With a living server, the time was too short: whoever waits for it sees what becomes of it.
    if done.returncode != 0 and find_postmaster(data_dir) is None:
        said = _last_words(data_dir) or done.stderr
        raise EmbeddedPostgresError(
            f"PostgreSQL in {data_dir.path} did not start: {complaint(said)}"
        )


def _last_words(data_dir: DataDir) -> str:
    """What a server that has not started said of it."""
    # In startup.log until the server opens its log: there, after what earlier starts said.
    logs = sorted(data_dir.path.glob("log/*.log"), key=lambda path: path.stat().st_mtime)
    text = "".join(path.read_text(errors="replace") for path in logs[-1:])
    startup = ""
    with suppress(FileNotFoundError):
        startup = (data_dir.path / _STARTUP_LOG).read_text(errors="replace")
        text = startup + text[max(text.rfind("LOG:  starting PostgreSQL"), 0) :]
    fatal = [line for line in text.splitlines() if re.search("FATAL:|PANIC:", line)]
    return "\n".join(fatal) or startup

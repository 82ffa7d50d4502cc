"""The embedded PostgreSQL as its users see it: start, and stop."""

import atexit
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from app.embedded.cluster import refuse_foreign_directory
from app.embedded.data_dir import DataDir
from app.embedded.database import create_database
from app.embedded.errors import EmbeddedPostgresError, NotReadyYet
from app.embedded.locks import PATIENCE_S, Use, start_lock
from app.embedded.ownership import settle_owner
from app.embedded.pid_file import read_pid_file
from app.embedded.programs import bin_dir
from app.embedded.server import launch_if_gone, shut_down


class EmbeddedPostgres:
    """One use of the PostgreSQL cluster in ``data_dir``, by this process.

    Any number of processes may use one data directory at a time: the first starts the server, and
    the last to stop stops it. A server left over by killed processes is taken over. The database
    and the role ``user`` that owns it are created where missing; the role is not a superuser.

    All methods block, and one object is not for several threads at a time. A process forked after
    ``start()`` can connect, but the use is not its own: there, ``stop()`` does nothing.
    """

    def __init__(self, data_dir: Path, *, database: str, user: str) -> None:
        self._data_dir = DataDir(data_dir.expanduser().resolve())
        self._database = database
        self._user = user
        self._use = Use(self._data_dir)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> Path:
        """Start the server, or join the running one; return the directory of its UNIX socket.

        Returns once the server answers and the database exists: after a crash, that takes as long
        as PostgreSQL's recovery. Called again, it makes sure of the same once more. A process that
        forgets to ``stop()`` does so when it exits.

        Raises:
            EmbeddedPostgresError: it cannot run here; or recovery takes longer than PATIENCE_S (it
                goes on, and another start waits for it again).
        """
        bin_dir()
        with self._os_errors_explained():
            self._data_dir.path.mkdir(parents=True, exist_ok=True)
            refuse_foreign_directory(self._data_dir)
            with start_lock(self._data_dir):
                settle_owner(self._data_dir)
                if not self._use.is_held:
                    self._use.begin()
                    atexit.register(self.stop)
                try:
                    return self._ensure_running()
                except BaseException as error:
                    self._end_use(last_one_stops=not isinstance(error, NotReadyYet))
                    raise

    def stop(self) -> None:
        """End this use; the last one shuts the server down (open transactions are rolled back).

        Returns when the server is gone. Without a use, it does nothing.

        Raises:
            EmbeddedPostgresError: the server does not stop within PATIENCE_S.
        """
        if self._use.is_held:
            with self._os_errors_explained(), start_lock(self._data_dir):
                self._end_use()

    def _end_use(self, *, last_one_stops: bool = True) -> None:
        atexit.unregister(self.stop)
        with self._use.ending() as is_last:
            if is_last and last_one_stops:
                shut_down(self._data_dir)

    def _ensure_running(self) -> Path:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            launch_if_gone(self._data_dir)
            server = read_pid_file(self._data_dir)
            if (
                server
                and server.status == "ready"
                and create_database(
                    self._data_dir, server.socket_dir, database=self._database, user=self._user
                )
            ):
                return server.socket_dir
            # It is recovering, or shutting down, or the rest of a killed one is about to end.
            if time.monotonic() > deadline:
                raise NotReadyYet(
                    f"PostgreSQL in {self._data_dir.path} (process {server.pid if server else '?'})"
                    f" does not answer after {PATIENCE_S} s: see its log there, then start again"
                )
            time.sleep(0.05)

    @contextmanager
    def _os_errors_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL cannot use {self._data_dir.path}: {error}"
            ) from error

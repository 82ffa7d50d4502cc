"""What the server says of itself in its ``postmaster.pid``, and whether that is still true."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from app.embedded.data_dir import DataDir

if TYPE_CHECKING:
    import psutil

PID_FILE: Final = "postmaster.pid"


class PidFile(NamedTuple):
    """What the server says in it; the status is empty before it is known."""

    pid: int
    socket_dir: Path
    status: str


def read_pid_file(data_dir: DataDir) -> PidFile | None:
    """None where there is none, or a torn one."""
    try:
        lines = os.fsdecode((data_dir.path / PID_FILE).read_bytes()).splitlines()
        lines += [""] * (8 - len(lines))
        return PidFile(int(lines[0]), Path(lines[4]), lines[7].strip())
    except (FileNotFoundError, ValueError):
        return None


def find_postmaster(data_dir: DataDir) -> "psutil.Process | None":
    """The server's main process: never another one that has come by its id."""
    import psutil  # noqa: PLC0415 (comes with the wheel)

    try:
        if server := read_pid_file(data_dir):
            process = psutil.Process(server.pid)
            # PostgreSQL works in its data directory; a zombie works in none.
            if process.name() == "postgres" and data_dir.path.samefile(process.cwd()):
                return process
    except (psutil.Error, OSError, ValueError):
        pass
    return None

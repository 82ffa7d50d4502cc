"""The database cluster: the files that initdb makes in the data directory."""

import os
import shutil
from pathlib import Path
from typing import Final

from app.embedded.data_dir import DataDir
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.locks import SERVER_LOCK, START_LOCK, USERS_LOCK
from app.embedded.programs import MAJOR_VERSION, complaint, run

_MAKING: Final = ".initdb"
_COMPLETE: Final = ".initdb-complete"
_FILES_BEFORE_CLUSTER: Final = {START_LOCK, USERS_LOCK, SERVER_LOCK, _MAKING}


def refuse_foreign_directory(data_dir: DataDir) -> None:
    """Change nothing in a directory that is neither new nor a cluster of this version.

    Raises:
        EmbeddedPostgresError: it is such a directory.
    """
    names = {path.name for path in data_dir.path.iterdir()}
    if "PG_VERSION" in names:
        version = (data_dir.path / "PG_VERSION").read_text().strip()
        if version != str(MAJOR_VERSION):
            raise EmbeddedPostgresError(
                f"{data_dir.path} holds PostgreSQL {version or '(PG_VERSION is empty)'}, but "
                f"this service brings {MAJOR_VERSION}: set EMBEDDED_DATA_DIR to another "
                "directory and move the data there with the old version's pg_dump"
            )
    elif _COMPLETE not in names and names - _FILES_BEFORE_CLUSTER:
        raise EmbeddedPostgresError(
            f"{data_dir.path} is not empty and has no PostgreSQL in it: "
            "set EMBEDDED_DATA_DIR to a directory of its own"
        )


def initialise(data_dir: DataDir, lock: int) -> None:
    """Make the cluster aside and move it into place, PG_VERSION last.

    If initdb is killed, what it left in ``.initdb`` has never been a server's, and is made
    anew; if the move is killed, the next start goes on with it. All of it is inside the data
    directory, which may be a mount point.
    """
    making, complete = data_dir.path / _MAKING, data_dir.path / _COMPLETE
    if not complete.exists():
        if making.exists():
            shutil.rmtree(making)
        options = ("--encoding=UTF8", "--auth=trust", "--username=postgres", "-D", _MAKING)
        # Not the machine's locale, or each cluster would sort in its own way.
        done = run(data_dir, "initdb", "--locale=C.UTF-8", *options, lock=lock)
        if "invalid locale name" in done.stderr:  # older macOS
            done = run(data_dir, "initdb", "--locale=C", *options, lock=lock)
        if done.returncode != 0:
            raise EmbeddedPostgresError(
                f"no database cluster could be made in {data_dir.path}: {complaint(done.stderr)}"
            )
        making.rename(complete)
    version = complete / "PG_VERSION"
    for path in complete.iterdir():
        if path != version:
            path.rename(data_dir.path / path.name)
    _sync(data_dir.path)
    version.rename(data_dir.path / version.name)
    complete.rmdir()
    _sync(data_dir.path)


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

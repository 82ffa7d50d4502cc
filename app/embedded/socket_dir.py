"""Where the server's UNIX socket is."""

import os
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from app.embedded.data_dir import DataDir
from app.embedded.errors import EmbeddedPostgresError

PORT: Final = 5432
"""The number in the name of its socket; it listens on no TCP port."""

# 107 on Linux, 103 on macOS.
_SOCKET_PATH_MAX_BYTES: Final = 103


def socket_dir_of(data_dir: DataDir) -> Path:
    """The data directory, or one under /tmp where the path is too long for a socket."""
    path = os.fsencode(data_dir.path)
    # A comma would be the end of a host name for PostgreSQL's clients.
    if len(path) + len(f"/.s.PGSQL.{PORT}") <= _SOCKET_PATH_MAX_BYTES and b"," not in path:
        return data_dir.path
    return Path("/tmp", f"eventstore-{sha256(path).hexdigest()[:16]}")  # noqa: S108


def make_socket_dir(data_dir: DataDir) -> Path:
    """Make it where missing, for PostgreSQL's user alone.

    Raises:
        EmbeddedPostgresError: somebody else was there first.
    """
    socket_dir = socket_dir_of(data_dir)
    uid, gid = data_dir.run_as or (os.geteuid(), -1)
    try:
        socket_dir.mkdir(mode=0o700)
        os.chown(socket_dir, uid, gid)
    except FileExistsError:
        info = socket_dir.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != uid or info.st_mode & 0o077:
            raise EmbeddedPostgresError(
                f"{socket_dir}, meant for PostgreSQL's socket, is not its own: remove "
                "it, or set EMBEDDED_DATA_DIR to a shorter path, which does without it"
            ) from None
    return socket_dir


def remove_socket_dir(data_dir: DataDir) -> None:
    """Remove what ``make_socket_dir`` has made, which is empty without a server."""
    socket_dir = socket_dir_of(data_dir)
    if socket_dir != data_dir.path:
        with suppress(OSError):
            socket_dir.rmdir()

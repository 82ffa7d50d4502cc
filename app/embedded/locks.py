"""Who lives: locks on files in the data directory.

The kernel drops them with their holder, however that one dies:

``.lock-start``   exclusive, by a process while it starts or stops the server;
``.lock-users``   shared, by every process that uses the server: the last one stops it;
``.lock-server``  exclusive, inherited by all processes of the server: free when none is left.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.embedded.data_dir import DataDir
from app.embedded.errors import EmbeddedPostgresError

PATIENCE_S: Final = 300
"""The longest wait for crash recovery, for a shutdown, and for another process that does either."""

START_LOCK: Final = ".lock-start"
USERS_LOCK: Final = ".lock-users"
SERVER_LOCK: Final = ".lock-server"


def try_lock(file: int) -> bool:
    """Lock the open file exclusively, unless somebody else has a lock on it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def start_lock(data_dir: DataDir) -> Iterator[None]:
    """Be the only one that starts or stops the server.

    Raises:
        EmbeddedPostgresError: another process has been at it for PATIENCE_S.
    """
    lock, deadline = data_dir.open(START_LOCK), time.monotonic() + PATIENCE_S
    try:
        while not try_lock(lock):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"another process has been starting or stopping PostgreSQL in "
                    f"{data_dir.path} for {PATIENCE_S} s: wait for it, or end it"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(lock)


@contextmanager
def server_lock(data_dir: DataDir) -> Iterator[int]:
    """The server's lock, open and not tried yet."""
    lock = data_dir.open(SERVER_LOCK)
    try:
        yield lock
    finally:
        # Not unlocked: where a server has inherited it, now it is the server's.
        os.close(lock)


class Use:
    """One use of the server by this process; begun and ended under the start lock."""

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._lock: int | None = None
        self._pid = os.getpid()

    @property
    def is_held(self) -> bool:
        """False, too, in a process forked while it was held."""
        return self._lock is not None and self._pid == os.getpid()

    def begin(self) -> None:
        """Hold it."""
        self._lock, self._pid = self._data_dir.open(USERS_LOCK), os.getpid()
        # Never waits: it is held exclusively only while a use ends, under the start lock.
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    @contextmanager
    def ending(self) -> Iterator[bool]:
        """Let go of it at the end of the block; True when nobody else has one."""
        lock, self._lock = self._lock, None
        if lock is None:
            yield False
            return
        try:
            yield try_lock(lock)
        finally:
            # To close it is not enough where a forked process has inherited it.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

"""The data directory, and as whom PostgreSQL works in it."""

import os
from pathlib import Path


class DataDir:
    """An absolute path, which may not exist yet, and PostgreSQL's uid and gid if not our own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_as: tuple[int, int] | None = None

    @property
    def has_cluster(self) -> bool:
        """Whether initdb's work is complete: PG_VERSION is put there last."""
        return (self.path / "PG_VERSION").exists()

    def open(self, name: str) -> int:
        """Open a file of PostgreSQL's user, made where missing, for reading and writing."""
        # Root does not follow a link that the owner of the directory may have put there.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self.path / name, flags, 0o600)
        if self.run_as:
            os.fchown(file, *self.run_as)
        return file

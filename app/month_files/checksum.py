"""Checksums: of a file, beside it, as sha256sum writes and checks them; and of what is in it."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from app.complete_file import complete_or_absent
from app.events import RecordedEvent
from app.month_files.errors import MonthFileError

# https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html
_LINE = re.compile(r"([0-9a-f]{64}) [ *].+\n?")

encoder = msgspec.json.Encoder()


class HashingFile:
    """A file that is written from its beginning to its end, and hashed meanwhile."""

    # What pyarrow asks a file for.
    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._written = 0

    def write(self, data: bytes) -> int:
        """Write all of ``data``."""
        self._file.write(data)
        self._hash.update(data)
        size = memoryview(data).nbytes
        self._written += size
        return size

    def tell(self) -> int:
        """How many bytes have been written."""
        return self._written

    def flush(self) -> None:
        """Nothing: the file is flushed when it is complete."""

    def close(self) -> None:
        """Nothing: the file is closed by who has opened it."""

    def hexdigest(self) -> str:
        """The SHA-256 of what was written so far, in hexadecimal digits."""
        return self._hash.hexdigest()


class ContentDigest:
    """The SHA-256 of events as lines of NDJSON: the same for each format of a file of them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.events = 0

    def update(self, events: Sequence[RecordedEvent]) -> None:
        """Take the next events in, by rising position."""
        self._hash.update(encoder.encode_lines(events))
        self.events += len(events)

    def hexdigest(self) -> str:
        """As of the events so far, in hexadecimal digits."""
        return self._hash.hexdigest()


def checksum_path(path: Path) -> Path:
    """Where the checksum of a file is found."""
    return path.with_name(f"{path.name}.sha256")


def write_checksum(path: Path, hexdigest: str) -> None:
    """Write the checksum of a file beside it: ``sha256sum --check`` takes it.

    Raises:
        OSError: It cannot be written.
    """
    with complete_or_absent(checksum_path(path)) as file:
        file.write(f"{hexdigest}  {path.name}\n".encode())


def verify_checksum(path: Path) -> None:
    """Make sure that a file is what its checksum says.

    Raises:
        MonthFileError: It is not, or one of the two files cannot be read.
    """
    beside = checksum_path(path)
    try:
        with path.open("rb") as file:
            hexdigest = hashlib.file_digest(file, "sha256").hexdigest()
        found = _LINE.fullmatch(beside.read_bytes().decode(errors="replace"))
    except OSError as error:
        raise MonthFileError(f"cannot read {error.filename}: {error.strerror}") from error
    if found is None:
        raise MonthFileError(f"{beside} is no checksum of one file, as sha256sum writes it")
    if found[1] != hexdigest:
        raise MonthFileError(
            f"{path} is not what {beside} says: it has changed since it was exported"
        )

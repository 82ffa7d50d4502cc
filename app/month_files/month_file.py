"""A file of a month: its format is told by the end of its name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from app.complete_file import complete_or_absent
from app.events import RecordedEvent
from app.month_files.checksum import HashingFile, write_checksum
from app.month_files.errors import MonthFileError
from app.month_files.ndjson import NdjsonWriter, read_ndjson

PARQUET, NDJSON, NDJSON_GZ = ".parquet", ".ndjson", ".ndjson.gz"


class MonthWriter(Protocol):
    """Writes events in one of the formats."""

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Write the next events."""

    def close(self) -> None:
        """Write what is left."""


@contextmanager
def writing(path: Path) -> Iterator[MonthWriter]:
    """Write a file, and its checksum beside it, so that the file is there whole or not at all.

    Where the file is, its checksum is, too: it comes first.

    Raises:
        MonthFileError: It is there already or cannot be written, its name tells no format, or
            Parquet is not installed.
    """
    ending = _ending(path)
    if path.exists():
        raise MonthFileError(f"{path} exists already")
    try:
        with complete_or_absent(path) as file:
            hashing = HashingFile(file)
            writer = _writer(hashing, ending)
            try:
                yield writer
            finally:
                writer.close()
            write_checksum(path, hashing.hexdigest())
    except OSError as error:
        raise MonthFileError(f"cannot write {path}: {error.strerror or error}") from error


def read_month_file(path: Path) -> Iterator[list[RecordedEvent]]:
    """The events of a file, in its order, by batches that fit in memory.

    Raises:
        MonthFileError: It cannot be read, is no file of events, or Parquet is not installed.
    """
    ending = _ending(path)
    if ending == PARQUET:
        try:
            from app.month_files.parquet import read_parquet
        except ImportError as error:
            raise _no_pyarrow() from error
        return read_parquet(path)
    return read_ndjson(path, is_compressed=ending == NDJSON_GZ)


def _ending(path: Path) -> str:
    for ending in (PARQUET, NDJSON, NDJSON_GZ):
        if path.name.endswith(ending):
            return ending
    raise MonthFileError(f"{path.name!r} ends neither in {PARQUET} nor in {NDJSON} or {NDJSON_GZ}")


def _writer(file: HashingFile, ending: str) -> MonthWriter:
    if ending == PARQUET:
        try:
            from app.month_files.parquet import ParquetWriter
        except ImportError as error:
            raise _no_pyarrow() from error
        return ParquetWriter(file)
    return NdjsonWriter(file, is_compressed=ending == NDJSON_GZ)


def _no_pyarrow() -> MonthFileError:
    return MonthFileError("Parquet needs pyarrow: pip install 'eventstore[parquet]'")

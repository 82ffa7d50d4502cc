"""Events as NDJSON, plain or compressed by gzip: lines as `eventstore export` writes them."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import msgspec

from app.events import RecordedEvent
from app.month_files.checksum import HashingFile, encoder
from app.month_files.errors import MonthFileError

BATCH_EVENTS = 2_000
BATCH_BYTES = 4 * 1024 * 1024
COMPRESS_LEVEL = 6


class NdjsonWriter:
    """Writes lines; the same events make the same file, byte for byte."""

    def __init__(self, file: HashingFile, *, is_compressed: bool) -> None:
        self._file: HashingFile | gzip.GzipFile = file
        if is_compressed:
            self._file = gzip.GzipFile(
                filename="",
                mode="wb",
                compresslevel=COMPRESS_LEVEL,
                fileobj=cast("IO[bytes]", file),
                mtime=0,
            )

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Write the next events."""
        self._file.write(encoder.encode_lines(events))

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A `RecordedEvent` with any names: direct SQL writers have stored some that HTTP refuses."""

    event_id: str
    aggregate_type: str
    aggregate_id: str
    version: int
    event_type: str
    event_data: msgspec.Raw
    metadata: msgspec.Raw
    occurred_at: str
    correlation_id: str | None
    causation_id: str | None
    global_position: int


_decoder = msgspec.json.Decoder(_Line)


def read_ndjson(path: Path, *, is_compressed: bool) -> Iterator[list[RecordedEvent]]:
    """The events of a file, in its order, by batches that fit in memory.

    Raises:
        MonthFileError: It cannot be read, or a line is no event.
    """
    batch: list[RecordedEvent] = []
    size = number = 0
    try:
        with gzip.open(path) if is_compressed else path.open("rb") as file:
            for line in file:
                number += 1
                found = _decoder.decode(line)
                batch.append(RecordedEvent(*msgspec.structs.astuple(found)))
                size += len(line)
                if len(batch) == BATCH_EVENTS or size >= BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MonthFileError(f"{path}, line {number}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise MonthFileError(f"cannot read {path}: {error}") from error
    if batch:
        yield batch

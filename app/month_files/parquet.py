"""Events as Parquet, column by column, in types that tell what they are.

UUIDs and JSON are logical types of Parquet
(https://github.com/apache/parquet-format/blob/master/LogicalTypes.md). JSON stays the text that it
is, so numbers keep their digits.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
from msgspec import Raw
from pyarrow import parquet

from app.events import NULL, RecordedEvent
from app.month_files.checksum import HashingFile
from app.month_files.errors import MonthFileError

# A row group is what is held in memory, here and by who reads it.
GROUP_EVENTS = 50_000
GROUP_BYTES = 16 * 1024 * 1024
BATCH_EVENTS = 1_000
COMPRESSION = "zstd"

SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.uuid(), nullable=False),
        pa.field("aggregate_type", pa.string(), nullable=False),
        pa.field("aggregate_id", pa.string(), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("event_data", pa.json_(pa.string()), nullable=False),
        pa.field("metadata", pa.json_(pa.string())),
        pa.field("occurred_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("correlation_id", pa.uuid()),
        pa.field("causation_id", pa.uuid()),
        pa.field("global_position", pa.int64(), nullable=False),
    ]
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ParquetWriter:
    """Writes row groups of at most ``GROUP_EVENTS`` events, or about ``GROUP_BYTES`` of JSON."""

    def __init__(self, file: HashingFile) -> None:
        self._writer = parquet.ParquetWriter(file, SCHEMA, compression=COMPRESSION)
        self._group: list[RecordedEvent] = []
        self._group_bytes = 0

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Write the next events."""
        for event in events:
            self._group.append(event)
            self._group_bytes += (
                memoryview(event.event_data).nbytes + memoryview(event.metadata).nbytes
            )
            if len(self._group) == GROUP_EVENTS or self._group_bytes >= GROUP_BYTES:
                self._write_group()

    def close(self) -> None:
        """Write what is left, and the footer."""
        try:
            if self._group:
                self._write_group()
        finally:
            self._writer.close()

    def _write_group(self) -> None:
        group, self._group, self._group_bytes = self._group, [], 0
        columns = zip(*map(_values, group), strict=True)
        arrays = [_array(field.type, values) for field, values in zip(SCHEMA, columns, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))


def read_parquet(path: Path) -> Iterator[list[RecordedEvent]]:
    """The events of a file, in its order, by batches that fit in memory.

    Raises:
        MonthFileError: It cannot be read, or is no file of events.
    """
    try:
        with parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise MonthFileError(f"{path} does not have the columns of a month's events")
            for batch in file.iter_batches(batch_size=BATCH_EVENTS):
                columns = [_list(column) for column in batch.columns]
                yield [_event(*row) for row in zip(*columns, strict=True)]
    except (OSError, pa.ArrowException, ValueError) as error:
        raise MonthFileError(f"cannot read {path}: {error}") from error


def _values(event: RecordedEvent) -> tuple[Any, ...]:
    return (
        _uuid_bytes(event.event_id),
        event.aggregate_type,
        event.aggregate_id,
        event.version,
        event.event_type,
        str(event.event_data, "utf-8"),
        None if event.metadata == NULL else str(event.metadata, "utf-8"),
        (datetime.fromisoformat(event.occurred_at) - _EPOCH) // _MICROSECOND,
        _uuid_bytes(event.correlation_id),
        _uuid_bytes(event.causation_id),
        event.global_position,
    )


def _array(kind: Any, values: Sequence[Any]) -> Any:
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(values, kind)


def _list(column: Any) -> list[Any]:
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values


def _event(
    event_id: bytes,
    aggregate_type: str,
    aggregate_id: str,
    version: int,
    event_type: str,
    event_data: str,
    metadata: str | None,
    occurred_at: int,
    correlation_id: bytes | None,
    causation_id: bytes | None,
    global_position: int,
) -> RecordedEvent:
    time = (_EPOCH + occurred_at * _MICROSECOND).replace(tzinfo=None)
    return RecordedEvent(
        str(UUID(bytes=event_id)),
        aggregate_type,
        aggregate_id,
        version,
        event_type,
        Raw(event_data),
        NULL if metadata is None else Raw(metadata),
        f"{time.isoformat(timespec='microseconds')}Z",
        None if correlation_id is None else str(UUID(bytes=correlation_id)),
        None if causation_id is None else str(UUID(bytes=causation_id)),
        global_position,
    )


def _uuid_bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text.replace("-", ""))

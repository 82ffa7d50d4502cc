"""Files of months: what goes in comes out, and what is not whole is not there."""

import gzip
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from msgspec import Raw
from pyarrow import parquet

from app.events import NULL, RecordedEvent
from app.month_files import ndjson
from app.month_files import parquet as month_parquet
from app.month_files.checksum import ContentDigest, checksum_path, verify_checksum
from app.month_files.errors import MonthFileError
from app.month_files.month_file import read_month_file, writing

ENDINGS = (".parquet", ".ndjson", ".ndjson.gz")
ONE = "0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f"
OTHER = "ffffffff-ffff-ffff-ffff-ffffffffffff"
# Digits beyond a double, text beyond ASCII, the bounds of time and of positions.
EVENTS = [
    RecordedEvent(
        ONE,
        "Order",
        "ord-1",
        1,
        "OrderPlaced",
        Raw('{"total": 45.480000000000000000000001, "n": 123456789012345678901234567890}'),
        Raw('{"by": "Ä \\"𝄞\\u2028", "e": 1e-7}'),
        "2024-03-01T00:00:00.000001Z",
        OTHER,
        ONE,
        1,
    ),
    RecordedEvent(
        OTHER,
        "",
        "a/b\tc",
        2_147_483_647,
        "",
        Raw("[]"),
        NULL,
        "0001-01-01T00:00:00.000000Z",
        None,
        None,
        9_223_372_036_854_775_807,
    ),
]


def write(path: Path, events: Sequence[RecordedEvent]) -> None:
    with writing(path) as file:
        file.write(events[:1])
        file.write(events[1:])


def read(path: Path) -> list[RecordedEvent]:
    return [event for events in read_month_file(path) for event in events]


@pytest.fixture(params=ENDINGS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"2024-03{request.param}"


def test_what_is_written_is_read_digit_by_digit(path: Path) -> None:
    write(path, EVENTS)
    assert read(path) == EVENTS
    assert sorted(each.name for each in path.parent.iterdir()) == [
        path.name,
        f"{path.name}.sha256",
    ]


def test_the_checksum_is_one_of_sha256sum(path: Path) -> None:
    write(path, EVENTS)
    verify_checksum(path)
    subprocess.run(
        ["sha256sum", "--check", "--strict", checksum_path(path).name],
        cwd=path.parent,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_the_same_events_make_the_same_file(path: Path) -> None:
    write(path, EVENTS)
    again = path.with_name(f"again-{path.name}")
    write(again, EVENTS)
    assert again.read_bytes() == path.read_bytes()


def test_the_content_digest_is_that_of_the_plain_lines(tmp_path: Path) -> None:
    write(tmp_path / "m.ndjson", EVENTS)
    write(tmp_path / "m.parquet", EVENTS)
    content = ContentDigest()
    for events in read_month_file(tmp_path / "m.parquet"):
        content.update(events)
    assert content.events == len(EVENTS)
    assert checksum_path(tmp_path / "m.ndjson").read_text().startswith(content.hexdigest())


def test_a_month_without_events_is_a_file_too(path: Path) -> None:
    with writing(path):
        pass
    assert read(path) == []


def test_an_interrupted_export_leaves_nothing(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _write_and_interrupt(path)
    assert list(path.parent.iterdir()) == []


def _write_and_interrupt(path: Path) -> None:
    with writing(path) as file:
        file.write(EVENTS)
        raise KeyboardInterrupt


def test_what_is_there_is_not_replaced(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(MonthFileError, match="exists already"), writing(path):
        pass
    assert path.read_bytes() == b"precious"


def test_a_folder_that_is_not_there_is_told(path: Path) -> None:
    with (
        pytest.raises(MonthFileError, match="No such file"),
        writing(path.parent / "no" / path.name),
    ):
        pass


def test_a_name_tells_the_format(tmp_path: Path) -> None:
    with pytest.raises(MonthFileError, match="ends neither in"), writing(tmp_path / "m.csv"):
        pass
    with pytest.raises(MonthFileError, match="ends neither in"):
        read_month_file(tmp_path / "m.csv")


def test_a_changed_file_is_not_what_its_checksum_says(path: Path) -> None:
    write(path, EVENTS)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(MonthFileError, match="has changed since"):
        verify_checksum(path)


@pytest.mark.parametrize("text", ["", "no checksum", "0" * 64, f"{'0' * 64}  a\n{'0' * 64}  b\n"])
def test_a_checksum_is_one_line_of_sha256sum(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.ndjson").write_bytes(b"")
    (tmp_path / "m.ndjson.sha256").write_text(text)
    with pytest.raises(MonthFileError, match="is no checksum"):
        verify_checksum(tmp_path / "m.ndjson")


def test_a_missing_checksum_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.ndjson").write_bytes(b"")
    with pytest.raises(MonthFileError, match=r"cannot read .*m\.ndjson\.sha256: No such file"):
        verify_checksum(tmp_path / "m.ndjson")


def test_a_part_of_a_file_cannot_be_read(path: Path) -> None:
    write(path, EVENTS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MonthFileError):
        read(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.ndjson", b"{}\n"),
        ("m.ndjson", b"\xff\n"),
        ("m.ndjson.gz", b"no gzip"),
        ("m.ndjson.gz", gzip.compress(b'{"event_id": 1}\n', mtime=0)),
        ("m.parquet", b"no parquet"),
    ],
)
def test_what_is_no_file_of_events_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MonthFileError, match=name):
        read(tmp_path / name)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    other = pa.table({"event_id": ["one"]})
    parquet.write_table(other, tmp_path / "m.parquet")
    with pytest.raises(MonthFileError, match="does not have the columns"):
        read(tmp_path / "m.parquet")


def test_large_events_end_a_batch_and_a_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ndjson, "BATCH_BYTES", 100)
    monkeypatch.setattr(month_parquet, "GROUP_BYTES", 50)
    for ending in ENDINGS:
        write(tmp_path / f"m{ending}", EVENTS)
        assert read(tmp_path / f"m{ending}") == EVENTS
    assert len(list(read_month_file(tmp_path / "m.ndjson"))) == 2
    assert parquet.ParquetFile(tmp_path / "m.parquet").num_row_groups == 2


def test_without_pyarrow_parquet_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "app.month_files.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for use in (lambda: read_month_file(tmp_path / "m.parquet"), lambda: _open(tmp_path)):
        with pytest.raises(MonthFileError, match=r"pip install 'eventstore\[parquet\]'"):
            use()
    write(tmp_path / "m.ndjson", EVENTS)
    assert [each.name for each in tmp_path.iterdir() if "parquet" in each.name] == []


def _open(folder: Path) -> None:
    with writing(folder / "m.parquet"):
        pass


def test_memory_does_not_grow_with_the_month(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB of events, of which a MiB at most is at hand, and what comes with it."""
    monkeypatch.setattr(ndjson, "BATCH_BYTES", 1024 * 1024)
    monkeypatch.setattr(month_parquet, "GROUP_BYTES", 1024 * 1024)
    monkeypatch.setattr(month_parquet, "BATCH_EVENTS", 100)
    [event] = EVENTS[:1]
    large = msgspec.structs.replace(event, event_data=Raw(f'"{"x" * 10_000}"'))
    tracemalloc.start()
    try:
        with writing(path) as file:
            for _ in range(160):
                file.write([large] * 10)
        assert sum(map(len, read_month_file(path))) == 1_600
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak + pa.default_memory_pool().max_memory() < 12 * 1024 * 1024

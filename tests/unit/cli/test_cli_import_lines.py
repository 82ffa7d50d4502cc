import io
from collections import defaultdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.import_lines import BadLine, Window, read_windows
from app.cli.line_ids import FileMemory

GOOD = b'{"aggregate_type":"T","aggregate_id":"1","event_type":"e","event_data":{}}\n'


def read(content: bytes, max_lines: int = 100, max_bytes: int = 10**9) -> list[Window]:
    with FileMemory() as memory:
        return list(read_windows(io.BytesIO(content), "f", memory, max_lines, max_bytes))


def event_of(content: bytes) -> dict[str, msgspec.Raw]:
    (((line,),),) = read(content)
    return msgspec.json.decode(line.event, type=dict[str, msgspec.Raw])


@given(
    st.lists(st.sampled_from("abcd"), max_size=60),
    st.integers(min_value=1, max_value=70),
)
def test_each_aggregate_keeps_its_order_and_no_line_is_lost(ids: list[str], max_lines: int) -> None:
    content = b"".join(
        b'{"aggregate_type":"T","aggregate_id":"%s","event_type":"e","event_data":{"n":%d}}\n'
        % (aggregate_id.encode(), n)
        for n, aggregate_id in enumerate(ids)
    )
    expected: dict[str, list[int]] = defaultdict(list)
    for number, aggregate_id in enumerate(ids, start=1):
        expected[aggregate_id].append(number)
    found: dict[str, list[int]] = defaultdict(list)
    for window in read(content, max_lines):
        assert sum(map(len, window)) <= max_lines
        for lines in window:
            assert len({line.aggregate_id for line in lines}) == 1
            found[lines[0].aggregate_id] += [line.number for line in lines]
    assert found == expected


def test_a_window_ends_at_its_bytes_too() -> None:
    assert len(read(GOOD * 10, max_bytes=2 * len(GOOD))) == 5


def test_payloads_pass_through_unparsed() -> None:
    data = b'{"n": 1.10, "big": 123456789012345678901234567890, "e": 1E400, "s": "\\u00e9"}'
    line = b'{"aggregate_type":"T","aggregate_id":"1","event_type":"e","event_data":%s}' % data
    assert bytes(event_of(line)["event_data"]) == data


def test_only_what_a_line_has_is_sent() -> None:
    assert set(event_of(GOOD)) == {"event_id", "event_type", "event_data"}


def test_an_exported_line_keeps_its_id_and_loses_its_place() -> None:
    event_id = "0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f"
    line = b"""{"event_id":"%s","aggregate_type":"T","aggregate_id":"1","version":3,
        "event_type":"e","event_data":{},"metadata":null,"occurred_at":"2026-01-01T00:00:00.1234567Z",
        "correlation_id":null,"causation_id":null,"global_position":77}"""
    event = event_of(line.replace(b"\n", b"") % event_id.encode())
    assert bytes(event["event_id"]) == f'"{event_id}"'.encode()
    assert bytes(event["occurred_at"]) == b'"2026-01-01T00:00:00.1234567Z"'
    assert not {"version", "global_position"} & set(event)


def test_empty_lines_and_a_byte_order_mark_are_skipped_and_lines_counted() -> None:
    ((lines,),) = read(b"\xef\xbb\xbf" + GOOD + b"\r\n\n" + GOOD)
    assert [line.number for line in lines] == [1, 4]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"nonsense\n", "is not JSON"),
        (b"[]\n", "Expected `object`"),
        (GOOD[:-3], "is not JSON"),
        (GOOD.replace(b"event_data", b"event_date"), "event_date"),
        (GOOD.replace(b'"1"', b'""'), "$.aggregate_id"),
        (GOOD.replace(b'"1"', b'"%s"' % (b"x" * 256)), "$.aggregate_id"),
        (GOOD.replace(b'"e"', b"7"), "$.event_type"),
        (GOOD.replace(b"{}", b'{"a":"\xff"}'), "is not UTF-8"),
        (GOOD.replace(b"{}", b"[" * 100_000 + b"]" * 100_000), "is nested too deeply"),
        (GOOD.replace(b"{}", b'{},"event_id":"7"'), "$.event_id"),
    ],
)
def test_a_bad_line_is_named_after_the_lines_before_it(bad: bytes, reason: str) -> None:
    with FileMemory() as memory:
        windows = read_windows(io.BytesIO(GOOD + GOOD + bad + GOOD), "f", memory, 100, 10**9)
        (lines,) = next(windows)
        assert [line.number for line in lines] == [1, 2]
        with pytest.raises(BadLine, match=r"^f:3: ") as caught:
            next(windows)
    assert reason in str(caught.value)

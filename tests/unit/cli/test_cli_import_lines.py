import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import import_lines
from app.cli.import_lines import BadLine, Part, read_parts
from app.cli.line_ids import FileMemory

GOOD = b'{"aggregate_type":"T","aggregate_id":"1","event_type":"e","event_data":{}}'
ID = "0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f"


def read(content: bytes, max_lines: int = 10**9, max_bytes: int = 10**9) -> list[Part]:
    with FileMemory() as memory:
        return list(read_parts(io.BytesIO(content), "f", memory, max_lines, max_bytes))


def sent(line: bytes) -> dict[str, object]:
    (part,) = read(line)
    decoded: dict[str, object] = msgspec.json.decode(part.body)
    return decoded


# Lines with and without an id, empty ones, and some that are none.
lines = st.lists(
    st.sampled_from(
        [GOOD, GOOD.replace(b"{}", b'{"n": 1.10}'), b"", b"nonsense", b"[]", b"\xff", b" "]
    )
)


@given(
    lines,
    st.integers(min_value=1, max_value=9),
    st.integers(min_value=1, max_value=500),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_parts_have_all_lines_with_their_numbers(
    lines: list[bytes], max_lines: int, max_bytes: int, end: bytes
) -> None:
    content = end.join(lines) + end * bool(lines)
    parts = read(content, max_lines, max_bytes)
    number = 1
    for part in parts:
        assert part.first_number == number
        assert 1 <= part.body.count(b"\n") <= max_lines
        for line in part.body.splitlines():
            given_line = lines[number - 1]
            if given_line.startswith(b"{"):
                assert line.startswith(given_line[:-1] + b',"event_id":"')
                msgspec.json.decode(line)
            else:
                assert line == given_line
            number += 1
    assert number == len(lines) + 1
    assert sum(part.size_bytes for part in parts) == len(content)


def test_the_last_line_needs_no_end() -> None:
    (part,) = read(GOOD)
    assert part.body.endswith(b"}\n")
    assert read(b"") == []


def test_a_line_that_has_an_id_keeps_it() -> None:
    line = GOOD.replace(b'"event_type"', f'"event_id":"{ID}","event_type"'.encode())
    (part,) = read(line)
    assert part.body == line + b"\n"


def test_an_id_that_is_null_is_none() -> None:
    assert (
        sent(GOOD.replace(b"{}", b'{},"event_id":null'))["event_id"]
        == sent(GOOD.replace(b"{}", b'{},"event_id":null'))["event_id"]
    )
    assert sent(GOOD.replace(b"{}", b'{},"event_id":null'))["event_id"] is not None


def test_a_byte_order_mark_is_dropped() -> None:
    assert sent(b"\xef\xbb\xbf" + GOOD) == sent(GOOD)


def test_a_line_that_is_too_long_is_named_after_the_lines_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_lines, "MAX_LINE_BYTES", 100)
    with FileMemory() as memory:
        parts = read_parts(io.BytesIO(GOOD + b"\n" + b"x" * 101), "f", memory, 10**9, 10**9)
        assert next(parts).body.count(b"\n") == 1
        with pytest.raises(BadLine, match=r"^f:2: is longer than"):
            next(parts)

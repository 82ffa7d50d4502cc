from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.client.sse import Message, SseParser

# Everything that means something in the format, and what looks like it.
pieces = st.lists(
    st.sampled_from(
        [
            *(b"data", b"event", b"id", b"retry", b":", b" ", b"x", b"\0", b"\xef\xbb\xbf"),
            *(b"\r\n", b"\n", b"\r", b"\n\n", b"data: 1\n", b"id: 7\r", b"event: checkpoint\r\n"),
            "\u2028\x85\x0b".encode(),
        ]
    ),
    max_size=40,
)


def reference(stream: bytes) -> list[Message]:
    """The messages of a whole stream, by the letter of the standard."""
    text = stream.decode(errors="surrogateescape").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    messages, last_id, event, data = [], "", "", ""
    for line in text.split("\n")[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                kind = event or "message"
                parts = (
                    part.encode(errors="surrogateescape") for part in (last_id, kind, data[:-1])
                )
                messages.append(Message(*parts))
            event = data = ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            event = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return messages


@given(pieces.map(b"".join), st.lists(st.integers(min_value=0, max_value=120)))
@example(b"data: 1\r\n\r\ndata: 2\r\r", [8, 9, 10, 11])
@example(b"\xef\xbb\xbfdata: 1\n\n", [1, 2])
def test_any_chunking_gives_the_same_messages(stream: bytes, cuts: list[int]) -> None:
    parser = SseParser()
    bounds = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    found = [
        message for start, end in pairwise(bounds) for message in parser.feed(stream[start:end])
    ]
    assert found == reference(stream)


def test_a_message_that_is_cut_off_is_none() -> None:
    assert SseParser().feed(b"id: 1\ndata: 1\n") == []


@pytest.mark.parametrize("size", [1, 1000])
def test_long_lines_cost_no_more_than_their_length(size: int) -> None:
    parser = SseParser()
    chunk = b"x" * size
    parser.feed(b"data: ")
    for _ in range(100_000):
        assert parser.feed(chunk) == []
    (message,) = parser.feed(b"\n\n")
    assert len(message.data) == 100_000 * size

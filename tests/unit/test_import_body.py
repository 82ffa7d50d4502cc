"""app.api.import_body: from pieces of NDJSON to chunks of lines."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from app.api import import_body
from app.api.bodies_in_flight import BODY_BYTES
from app.api.body import MalformedBodyError
from app.api.import_body import LineReader, read_chunks
from app.api.services import now
from app.commands.import_events import Chunk, Imports, LineMaker
from app.errors import ServiceBusy

LINE = b'{"aggregate_type":"T","aggregate_id":"1","event_type":"e","event_data":{"n":%d}}'
MAX_LINE_BYTES = 1_000


def data_of(chunk: Chunk) -> list[tuple[int, int]]:
    """Number of each line, and the number in its data."""
    return [(line.number, msgspec.json.decode(line.event.event_data)["n"]) for line in chunk.lines]


@given(
    st.lists(st.sampled_from([b"", b" \t\r", b"{", b"event"]) | st.just(b"event"), max_size=12),
    st.lists(st.integers(min_value=1, max_value=200), max_size=8),
    st.booleans(),
)
def test_however_the_body_is_cut_the_lines_before_the_first_wrong_one_come_out(
    kinds: list[bytes], cuts: list[int], ends_with_line_feed: bool
) -> None:
    lines = [LINE % n if kind == b"event" else kind for n, kind in enumerate(kinds, start=1)]
    body = b"\n".join(lines) + b"\n" * ends_with_line_feed
    reader = LineReader(LineMaker(now), MAX_LINE_BYTES)
    for cut in cuts:
        reader.take(body[:cut])
        body = body[cut:]
    reader.take(body)
    reader.end()
    chunk, _ = reader.chunk()
    good = kinds[: kinds.index(b"{")] if b"{" in kinds else kinds
    assert data_of(chunk) == [(n, n) for n, kind in enumerate(good, start=1) if kind == b"event"]
    assert (chunk.refusal is not None) == (b"{" in kinds)
    if chunk.refusal is not None:
        assert chunk.last_line == len(good)
        assert isinstance(chunk.refusal, MalformedBodyError)


class Body:
    """A body whose pieces are told one by one; None: nothing comes any more."""

    def __init__(self, *pieces: bytes | None, is_broken_off: bool = False) -> None:
        self._pieces = list(pieces)
        self._is_broken_off = is_broken_off
        self.held_bytes = 0
        self.most_held_bytes = 0
        self.room_bytes = 10**9
        self.scope = {BODY_BYTES: self}

    def hold(self, count: int, _: int) -> None:
        if self.held_bytes + count > self.room_bytes:
            raise ServiceBusy("full")
        self.held_bytes += count
        self.most_held_bytes = max(self.most_held_bytes, self.held_bytes)

    def release(self, count: int) -> None:
        self.held_bytes -= count

    async def receive(self) -> dict[str, Any]:
        if not self._pieces:
            return {"type": "http.disconnect"}
        if self._pieces[0] is None:
            await asyncio.sleep(60)
        piece = self._pieces.pop(0)
        more_body = bool(self._pieces) or self._is_broken_off
        return {"type": "http.request", "body": piece, "more_body": more_body}

    async def chunks(self, imports: Imports | None = None) -> list[Chunk]:
        maker = LineMaker(now)
        imports = imports or Imports(1)
        return [
            chunk
            async for chunk in read_chunks(self.scope, self.receive, maker, imports, MAX_LINE_BYTES)
        ]


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_body, "CHUNK_LINES", 10)
    monkeypatch.setattr(import_body, "FULL_AFTER_S", 0.01)


async def test_what_is_held_does_not_grow_with_the_body() -> None:
    piece = b"".join(LINE % n + b"\n" for n in range(10))
    body = Body(*[piece] * 100)
    chunks = await body.chunks()
    assert sum(len(chunk.lines) for chunk in chunks) == 1_000
    assert body.most_held_bytes <= 3 * len(piece)


async def test_lines_do_not_wait_for_others_to_come() -> None:
    body = Body(LINE % 1 + b"\n", None)
    chunks = read_chunks(body.scope, body.receive, LineMaker(now), Imports(1), MAX_LINE_BYTES)
    assert data_of(await anext(chunks)) == [(1, 1)]
    await chunks.aclose()


async def test_a_client_that_has_gone_is_told() -> None:
    with pytest.raises(ClientDisconnect):
        await Body(LINE % 1, is_broken_off=True).chunks()


async def test_a_client_that_is_silent_for_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_body, "STALLED_AFTER_S", 0.02)
    chunks = await Body(LINE % 1 + b"\n", None, LINE % 2).chunks()
    assert len(chunks[0].lines) == 1
    assert isinstance(chunks[-1].refusal, MalformedBodyError)


async def test_a_service_that_stops_ends_it_behind_what_is_complete() -> None:
    imports = Imports(1)
    imports.stop()
    [chunk] = await Body(LINE % 1 + b"\n" + LINE % 2, None).chunks(imports)
    assert data_of(chunk) == [(1, 1)]
    assert isinstance(chunk.refusal, ServiceBusy)


async def test_no_room_for_more_ends_it_behind_what_is_complete() -> None:
    body = Body(LINE % 1 + b"\n", LINE % 2)
    body.room_bytes = len(LINE) + 10
    chunks = await body.chunks()
    assert [len(chunk.lines) for chunk in chunks] == [1]
    assert isinstance(chunks[-1].refusal, ServiceBusy)

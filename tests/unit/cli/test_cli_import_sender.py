import asyncio
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.errors import CliError
from app.cli.import_lines import BadLine, read_windows
from app.cli.import_sender import Sender
from app.cli.line_ids import FileMemory
from app.client import AsyncEventStoreClient
from app.client.backoff import Backoff

encode = msgspec.json.encode


@pytest.fixture(autouse=True, scope="module")
def no_waiting() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backoff, "longest_delay_s", 0.0)
        patch.setattr(Backoff, "first_delay_s", 0.0)
        yield


class FakeStore:
    """The part of DESIGN.md section 4 that an import rests on: transactions of events with ids.

    ``trouble`` is asked once per request: "" is none; "busy" is a 503 and "lost" a broken
    connection before anything is stored, "unknown" a broken connection after it was.
    """

    def __init__(self, trouble: Callable[[], str] = lambda: "") -> None:
        self.trouble = trouble
        self.aggregates: dict[tuple[str, str], list[str]] = {}
        self.places: dict[str, tuple[tuple[str, str], int, bytes]] = {}
        self.position = 0
        self.requests = 0

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        kind = self.trouble()
        if kind == "busy":
            return httpx.Response(503, json={"title": "busy"}, headers={"retry-after": "0"})
        if kind == "lost":
            raise httpx.ReadError("gone", request=request)
        self.requests += 1
        response = self._append(msgspec.json.decode(request.content)["appends"])
        if kind == "unknown":
            raise httpx.ReadError("gone", request=request)
        return response

    def _append(self, appends: list[dict[str, Any]]) -> httpx.Response:
        events = [
            (append["aggregate_type"], append["aggregate_id"], event)
            for append in appends
            for event in append["events"]
        ]
        ids = [event["event_id"] for _, _, event in events]
        if len(set(ids)) < len(ids):
            return _problem(422, "id-twice", [])
        if any(event["event_data"] == {"bad": True} for _, _, event in events):
            return _problem(422, "unstorable-value", [])
        known = [event_id for event_id in ids if event_id in self.places]
        if not known:
            for aggregate_type, aggregate_id, event in events:
                aggregate = aggregate_type, aggregate_id
                self.position += 1
                self.aggregates.setdefault(aggregate, []).append(event["event_id"])
                self.places[event["event_id"]] = aggregate, self.position, encode(event)
            return self._stored(201, appends)
        if len(known) == len(ids) and all(map(self._is_repeated, appends)):
            return self._stored(200, appends)
        return _problem(409, "event-id-conflict", known)

    def _is_repeated(self, append: dict[str, Any]) -> bool:
        versions = self.aggregates.get((append["aggregate_type"], append["aggregate_id"]), [])
        ids = [event["event_id"] for event in append["events"]]
        first = versions.index(ids[0]) if ids[0] in versions else -1
        return versions[first : first + len(ids)] == ids and all(
            self.places[event["event_id"]][2] == encode(event) for event in append["events"]
        )

    def _stored(self, status: int, appends: list[dict[str, Any]]) -> httpx.Response:
        body = [
            {"events": [{"global_position": self.places[e["event_id"]][1]} for e in a["events"]]}
            for a in appends
        ]
        return httpx.Response(status, json={"appends": body})


def _problem(status: int, slug: str, event_ids: list[str]) -> httpx.Response:
    return httpx.Response(
        status,
        json={"type": f"/problems/{slug}", "title": slug, "event_ids": event_ids},
        headers={"content-type": "application/problem+json"},
    )


class Stopped(BaseException):
    """Ends a run as kill -9 does: without a word."""


def line(aggregate_id: str, data: str) -> bytes:
    return (
        f'{{"aggregate_type":"T","aggregate_id":"{aggregate_id}","event_type":"e",'
        f'"event_data":{data}}}\n'
    ).encode()


async def run(
    content: bytes, store: FakeStore, batch: int = 5, connections: int = 1, window: int = 1000
) -> Sender:
    async with httpx.AsyncClient(transport=store.transport()) as http:
        client = AsyncEventStoreClient("http://store", retry_for_s=0.05, http=http)
        sender = Sender(client, "f", batch, connections, store.position, lambda size, lines: None)
        with FileMemory() as memory:
            for read in read_windows(io.BytesIO(content), "f", memory, window, 10**9):
                await sender.send(read)
    return sender


file_lines = st.lists(
    st.tuples(st.sampled_from(["1", "2", "a/b ü"]), st.sampled_from(['{"n":1}', '{"n":2}'])),
    max_size=40,
)
attempts = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=12),
        st.integers(min_value=1, max_value=3),
        st.integers(min_value=1, max_value=50),
        st.integers(min_value=0, max_value=15),
    ),
    max_size=4,
)
troubles = st.lists(st.sampled_from(["", "", "busy", "lost", "unknown"]), max_size=30)


@given(file_lines, attempts, troubles)
def test_interrupted_runs_with_whatever_batches_add_up_to_the_file(
    lines: list[tuple[str, str]], attempts: list[tuple[int, int, int, int]], troubles: list[str]
) -> None:
    content = b"".join(line(*entry) for entry in lines)
    store = FakeStore()
    for batch, connections, window, stop_after in attempts:
        calls = iter(range(stop_after))

        def stop(calls: Iterator[int] = calls) -> str:
            if next(calls, None) is None:
                raise Stopped
            return ""

        store.trouble = stop
        with suppress(Stopped):
            asyncio.run(run(content, store, batch, connections, window))
    had_before = store.position
    trouble = chain(troubles, repeat(""))
    store.trouble = lambda: next(trouble)
    sender = asyncio.run(run(content, store, batch=7, connections=2))
    assert sender.already_there == had_before
    assert sender.imported == len(lines) - had_before
    expected: dict[tuple[str, str], list[str]] = defaultdict(list)
    with FileMemory() as memory:
        for aggregate_id, data in lines:
            expected["T", aggregate_id].append(str(memory.event_id(line(aggregate_id, data))))
    assert store.aggregates == expected


async def test_a_file_that_has_grown_adds_only_its_new_lines() -> None:
    store = FakeStore()
    await run(line("1", "{}") * 3, store)
    sender = await run(line("1", "{}") * 3 + line("1", '{"n":1}') + line("1", "{}"), store)
    assert (sender.imported, sender.already_there) == (2, 3)


async def test_few_requests_tell_what_is_there() -> None:
    store = FakeStore()
    content = b"".join(line("1", f'{{"n":{n}}}') for n in range(1000))
    await run(content[: content.index(b'"n":300}')].rsplit(b"\n", 1)[0], store, batch=300)
    before = store.requests
    sender = await run(content, store, batch=1000)
    assert (sender.imported, sender.already_there) == (700, 300)
    assert store.requests - before == 3


async def test_a_line_that_the_service_refuses_is_named_and_all_before_it_stored() -> None:
    store = FakeStore()
    content = line("1", '{"n":1}') * 3 + line("1", '{"bad":true}') + line("1", '{"n":2}')
    with pytest.raises(BadLine, match=r"^f:4: unstorable-value$"):
        await run(content, store)
    assert store.position == 3


async def test_an_id_that_another_event_has_is_named() -> None:
    store = FakeStore()
    event_id = b'"event_id":"0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f","event_data"'
    one, other = (
        line("1", data).replace(b'"event_data"', event_id) for data in ('{"n":1}', '{"n":2}')
    )
    with pytest.raises(BadLine, match=r"^f:3: event-id-conflict$"):
        await run(one + one + other, store)
    assert store.position == 1


async def test_giving_up_names_the_line_to_go_on_from() -> None:
    store = FakeStore()
    lines = b"".join(line("1", f'{{"n":{n}}}') for n in range(10))
    calls = chain(["", ""], repeat("busy"))
    store.trouble = lambda: next(calls)
    with pytest.raises(CliError, match=r"gave up after .* all lines before f:7 are stored"):
        await run(lines, store, batch=3)

"""POST /v1/import: a stream of lines; what is stored is always a prefix of it, each line once."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import psutil
import pytest

from app.api import import_body, imports
from app.settings import Settings
from tests.acceptance.conftest import client_of
from tests.acceptance.test_crash import Service
from tests.conftest import running_service
from tests.factories import (
    Aggregate,
    append,
    new_aggregate,
    new_append,
    new_event,
    problem,
    stored_events,
    stored_versions,
    transact,
)

NDJSON = "application/x-ndjson"
Line = dict[str, Any]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Few lines to a chunk, and pieces that end in the middle of one, as in a long file."""
    monkeypatch.setattr(import_body, "CHUNK_LINES", 4)
    monkeypatch.setattr(import_body, "PIECE_BYTES", 300)
    return 4


def new_line(aggregate: Aggregate, number: int = 1, **members: Any) -> Line:
    """A line without an id."""
    return {
        "aggregate_type": aggregate.type,
        "aggregate_id": aggregate.id,
        "event_type": "Counted",
        "event_data": {"number": number},
        **members,
    }


def new_lines(aggregate: Aggregate, count: int) -> list[Line]:
    """Lines with ids of their own."""
    return [new_line(aggregate, n + 1, event_id=str(uuid4())) for n in range(count)]


def body_of(lines: Sequence[Line | bytes]) -> bytes:
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )


async def import_(
    client: httpx.AsyncClient, *lines: Line | bytes, key: str | None = None, **params: Any
) -> httpx.Response:
    headers = {"Content-Type": NDJSON} | ({} if key is None else {"Idempotency-Key": key})
    return await client.post("/v1/import", content=body_of(lines), headers=headers, params=params)


def last_line(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == NDJSON, answer.text
    told: dict[str, Any] = json.loads(answer.content.splitlines()[-1])
    return told


def imported(answer: httpx.Response, stored: int, already_there: int = 0) -> dict[str, Any]:
    """The last line of an import that is complete."""
    assert answer.status_code == 200, answer.text
    told = last_line(answer)
    assert (told.get("done"), told.get("stored"), told.get("already_there")) == (
        True,
        stored,
        already_there,
    ), told
    return told


class LongWinded:
    """Encodes a line as one of 64 KiB."""

    def encode(self, value: object) -> bytes:
        return msgspec.json.encode(value).ljust(64 * 1024)


@asynccontextmanager
async def bare_import(
    url: str, receive_buffer: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which an import has begun, to be sent by `send_chunk`."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 17)
    if receive_buffer is not None:
        # What is not read stays where it is.
        writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(
        b"POST /v1/import HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    try:
        yield reader, writer
    finally:
        writer.close()


async def send_chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(content), content))
    await writer.drain()


async def next_line(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next line of the answer that is JSON: there are headers and lengths between them."""
    async with asyncio.timeout(20):
        while not (line := await reader.readline()).startswith(b"{"):
            assert line, "the answer has ended"
    told: dict[str, Any] = json.loads(line)
    return told


async def numbers(client: httpx.AsyncClient, aggregate: Aggregate) -> list[int]:
    return [event["event_data"]["number"] for event in await stored_events(client, aggregate)]


async def until_stored(client: httpx.AsyncClient, aggregate: Aggregate, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await stored_versions(client, aggregate)) < count:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.02)


# --- what is stored


async def test_lines_are_stored_in_their_order_with_all_they_say(api: httpx.AsyncClient) -> None:
    one, other = new_aggregate(), new_aggregate("Invoice")
    full: Line = {
        "event_id": str(uuid4()),
        "metadata": {"user": "ann"},
        "occurred_at": "2026-11-23T11:15:30.5+01:00",
        "correlation_id": str(uuid4()),
        "causation_id": str(uuid4()),
    }
    lines = [new_line(one), new_line(other, **full), new_line(one, 2, version=2), new_line(one, 3)]
    told = imported(await import_(api, *lines), 4)
    assert told["line"] == 4
    first, *more = events = await stored_events(api, one)
    assert [event["version"] for event in events] == [1, 2, 3]
    [between] = await stored_events(api, other)
    positions = [each["global_position"] for each in (first, between, *more)]
    assert positions == sorted(positions)
    assert told["last_position"] == positions[-1]
    assert {name: between[name] for name in full} == {
        **full,
        "occurred_at": "2026-11-23T10:15:30.500000Z",
    }
    assert (first["metadata"], first["correlation_id"]) == (None, None)


async def test_events_continue_what_is_stored(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    await append(api, order, new_event(), new_event())
    imported(await import_(api, new_line(order, 3, version=3), new_line(order, 4)), 2)
    assert await stored_versions(api, order) == [1, 2, 3, 4]
    assert (await append(api, order, expected_version=4)).status_code == 201


async def test_json_passes_through_as_it_is(api: httpx.AsyncClient) -> None:
    order = new_aggregate('a/b ü\\ "\t')
    line = (
        json.dumps(new_line(order))
        .replace('{"number": 1}', '{"n":\t1.10, "s": "\\\\N\\t\\n", "b": 123456789012345678901}')
        .encode()
    )
    imported(await import_(api, line + b"\r"), 1)
    text = (await api.get(order.events_path)).text
    assert '"n": 1.10' in text
    assert "123456789012345678901" in text
    assert json.loads(text)["events"][0]["event_data"]["s"] == "\\N\t\n"


async def test_empty_lines_count_and_the_last_needs_no_end(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    body = b"\xef\xbb\xbf" + body_of([new_line(order), b"", b" \r", new_line(order, 2)])[:-1]
    answer = await api.post("/v1/import", content=body)
    assert imported(answer, 2)["line"] == 4
    assert await numbers(api, order) == [1, 2]
    nothing = imported(await api.post("/v1/import", content=b"\n\n"), 0)
    assert (nothing["line"], nothing["last_position"]) == (2, 0)
    assert imported(await api.post("/v1/import"), 0)["line"] == 0
    bad = await import_(api, new_line(order, 3), b"", b"{", b"")
    assert problem(bad, 400, "malformed-body")["line"] == 3


async def test_headers_fill_ids_of_correlation(api: httpx.AsyncClient) -> None:
    order, ids = new_aggregate(), [str(uuid4()) for _ in range(3)]
    lines = [new_line(order), new_line(order, 2, correlation_id=ids[2])]
    headers = {"X-Correlation-ID": ids[0], "X-Causation-ID": ids[1]}
    imported(await api.post("/v1/import", content=body_of(lines), headers=headers), 2)
    events = await stored_events(api, order)
    assert [event["correlation_id"] for event in events] == [ids[0], ids[2]]
    assert [event["causation_id"] for event in events] == [ids[1], ids[1]]


async def test_live_subscribers_are_woken(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    imported(await import_(api, new_line(order)), 1)
    [first] = await stored_events(api, order)
    query = {"aggregate_id": order.id, "wait": 20, "after": first["global_position"]}
    waiting = asyncio.create_task(api.get("/v1/events", params=query))
    await asyncio.sleep(0.05)
    imported(await import_(api, new_line(order, 2)), 1)
    [event] = (await waiting).json()["events"]
    assert event["version"] == 2


# --- repetitions


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("members", ["event_id", "version", "both"])
async def test_a_repetition_stores_nothing(
    api: httpx.AsyncClient, small_chunks: int, members: str, key: str | None
) -> None:
    order = new_aggregate()
    lines = new_lines(order, 10)
    for version, line in enumerate(lines, start=1):
        if members != "event_id":
            line["version"] = version
        if members == "version":
            del line["event_id"]
    first = imported(await import_(api, *lines[:5], key=key), 5)
    again = imported(await import_(api, *lines, key=key), 5, already_there=5)
    assert again["last_position"] > first["last_position"]
    assert (
        imported(await import_(api, *lines, key=key), 0, 10)["last_position"]
        == (again["last_position"])
    )
    assert await numbers(api, order) == list(range(1, 11))


async def test_a_key_makes_ids_and_without_one_a_repetition_stores_again(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    lines = [new_line(order, n) for n in (1, 1, 2)]
    key = str(uuid4())
    imported(await import_(api, *lines, key=key), 3)
    imported(await import_(api, *lines, new_line(order, 3), key=key), 1, already_there=3)
    imported(await import_(api, *lines), 3)
    assert await numbers(api, order) == [1, 1, 2, 3, 1, 1, 2]
    other = await import_(api, lines[0], new_line(order, 7), key=key)
    details = problem(other, 409, "event-id-conflict")
    assert (details["line"], details["stored"], details["already_there"]) == (2, 0, 1)
    assert "Idempotency-Key" in details["detail"]


async def test_an_append_is_a_repetition_of_its_import_and_the_other_way_round(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    lines = new_lines(order, 2)
    events = [
        {name: value for name, value in line.items() if not name.startswith("aggregate_")}
        for line in lines
    ]
    imported(await import_(api, lines[0]), 1)
    assert (await append(api, order, events[0])).status_code == 200
    assert (await append(api, order, events[1])).status_code == 201
    imported(await import_(api, *lines), 0, 2)


async def test_exported_lines_can_be_imported_here_and_elsewhere(
    api: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    for aggregate in (order, invoice, order):
        await append(api, aggregate, new_event(metadata={"a": 1}), new_event())
    query = {"aggregate_id": [order.id]}
    exported = (await api.get("/v1/events", params=query, headers={"Accept": NDJSON})).content
    imported(await api.post("/v1/import", content=exported), 0, 4)
    imported(await client.post("/v1/import", content=exported), 4)
    there = await stored_events(client, order)
    here = [json.loads(line) for line in exported.splitlines()]
    for event in (*here, *there):
        del event["global_position"]
    assert there == here


async def test_events_behind_a_position_count_as_new(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    lines = new_lines(order, 3)
    position = imported(await import_(api, *lines[:1]), 1)["last_position"]
    imported(await import_(api, *lines[:2]), 1, 1)
    imported(await import_(api, *lines, new_after=position), 2, 1)


async def test_a_line_twice_in_a_file_is_stored_once(
    api: httpx.AsyncClient, small_chunks: int
) -> None:
    order = new_aggregate()
    [one, two, three] = new_lines(order, 3)
    versioned = {**new_line(order, 4), "version": 4}
    # The same content, in other words.
    reworded = json.dumps({**two, "event_data": 0}).replace(": 0", ': {"number": 2.0}').encode()
    lines = (one, one, two, reworded, three, one, versioned, versioned)
    imported(await import_(api, *lines), 4, 4)
    assert await numbers(api, order) == [1, 2, 3, 4]


# --- lines that are refused

GOOD = new_aggregate()
HELD_ID = str(uuid4())


def bad_line(members: str = "", data: str = "{}") -> bytes:
    return (
        '{"aggregate_type": "Order", "aggregate_id": "bad", "event_type": "e", "event_data": '
        f"{data}{members}}}"
    ).encode()


REFUSED: dict[str, tuple[bytes, int, str, str]] = {
    "no JSON": (b"nonsense", 400, "malformed-body", "malformed"),
    "half a line": (b'{"aggregate_type": "Order"', 400, "malformed-body", ""),
    "no UTF-8": (
        bad_line(data='{"a": "?"}').replace(b"?", b"\xff"),
        400,
        "malformed-body",
        "UTF-8",
    ),
    "no object": (b"[]", 422, "invalid-input", "object"),
    "a key missing": (b'{"aggregate_type": "Order"}', 422, "invalid-input", "missing required"),
    "an unknown key": (bad_line(', "x": 1'), 422, "invalid-input", "unknown field `x`"),
    "data that is no object": (bad_line(data="[]"), 422, "invalid-input", "$.event_data"),
    "a name that is too long": (
        bad_line().replace(b"bad", b"b" * 256),
        422,
        "invalid-input",
        "$.aggregate_id",
    ),
    "a name with NUL": (
        bad_line().replace(b"bad", b"\\u0000"),
        422,
        "invalid-input",
        "$.aggregate_id",
    ),
    "no name": (bad_line().replace(b"bad", b""), 422, "invalid-input", "$.aggregate_id"),
    "no id": (bad_line(', "event_id": "7"'), 422, "invalid-input", "$.event_id"),
    "no time": (bad_line(', "occurred_at": "noon"'), 422, "invalid-input", "$.occurred_at"),
    "a time beyond all times": (
        bad_line(', "occurred_at": "9999-12-31T23:59:59-05:00"'),
        422,
        "invalid-input",
        "$.occurred_at",
    ),
    "no version": (bad_line(', "version": 0'), 422, "invalid-input", "$.version"),
    "a version that is not the next": (bad_line(', "version": 2'), 409, "version-conflict", ""),
    "an id that is taken": (
        bad_line(f', "event_id": "{HELD_ID}"'),
        409,
        "event-id-conflict",
        "other content",
    ),
    "NUL in a string": (
        bad_line(data='{"a": ["\\u0000"]}'),
        422,
        "unstorable-value",
        "$.event_data.a[0]",
    ),
    "NUL in metadata": (
        bad_line(', "metadata": {"a": "\\u0000"}'),
        422,
        "unstorable-value",
        "$.metadata.a",
    ),
    "half a surrogate pair": (
        bad_line(data='{"a": "\\ud800"}'),
        422,
        "unstorable-value",
        "$.event_data.a",
    ),
    "a number that is too large": (
        bad_line(data='{"a": 1e200000}'),
        422,
        "unstorable-value",
        "$.event_data.a",
    ),
    "numbers that expand": (
        bad_line(data='{"a": [' + "1e131071," * 8 + "1]}"),
        422,
        "unstorable-value",
        "",
    ),
    "deep nesting": (
        bad_line(data='{"a":' * 2_000 + "1" + "}" * 2_000),
        422,
        "invalid-input",
        "deep",
    ),
}


@pytest.fixture(scope="module")
def held_id(shared_url: str) -> None:
    """An id that another event has; made again, it is a repetition."""
    event = new_event(event_id=HELD_ID)
    with httpx.Client(base_url=shared_url) as client:
        path = Aggregate("Order", "holds-an-id").events_path
        client.post(path, json={"events": [event]}).raise_for_status()


@pytest.mark.parametrize("title", REFUSED)
@pytest.mark.usefixtures("held_id")
async def test_the_lines_before_one_that_is_refused_are_stored_and_none_after(
    api: httpx.AsyncClient, title: str
) -> None:
    line, status, slug, detail = REFUSED[title]
    order = new_aggregate()
    lines = new_lines(order, 4)
    answer = await import_(api, *lines[:2], line, *lines[2:])
    details = problem(answer, status, slug)
    assert detail in details["detail"]
    assert (details["line"], details["stored"], details["already_there"]) == (3, 2, 0)
    assert await numbers(api, order) == [1, 2]
    # Mended, the rest is imported.
    imported(await import_(api, *lines), 2, 2)
    assert await stored_events(api, Aggregate("Order", "bad")) == []


@pytest.mark.parametrize("at", range(10))
@pytest.mark.parametrize("title", ["no JSON", "NUL in a string", "a version that is not the next"])
async def test_what_is_stored_ends_before_the_line_wherever_it_is(
    api: httpx.AsyncClient, small_chunks: int, title: str, at: int
) -> None:
    line, status, slug, _ = REFUSED[title]
    order = new_aggregate()
    lines: list[Line | bytes] = [*new_lines(order, 9)]
    lines.insert(at, line)
    details = problem(await import_(api, *lines), status, slug)
    assert (details["line"], details["stored"]) == (at + 1, at)
    assert await numbers(api, order) == list(range(1, at + 1))


async def test_a_value_that_only_the_database_refuses_is_found(
    client: httpx.AsyncClient, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """What it is, the text does not tell: the lines are tried in ever smaller parts."""
    await sql.execute(
        "CREATE FUNCTION refuse_13() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.event_data->>'number' = '13' THEN"
        " RAISE EXCEPTION 'unlucky' USING ERRCODE = 'data_exception'; END IF;"
        " RETURN NEW; END $$;"
        " CREATE TRIGGER refuse_13 BEFORE INSERT ON events"
        " FOR EACH ROW EXECUTE FUNCTION refuse_13()"
    )
    order = new_aggregate()
    details = problem(await import_(client, *new_lines(order, 20)), 422, "unstorable-value")
    assert (details["line"], details["stored"]) == (13, 12)
    assert "unlucky" in details["detail"]
    assert await numbers(client, order) == list(range(1, 13))


async def test_a_version_conflict_tells_the_versions(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    await append(api, order, new_event(), new_event())
    an_id: Line = {"event_id": str(uuid4())}
    for version, members in ((5, {}), (2, {}), (2, an_id)):
        answer = await import_(api, new_line(order, version=version, **members))
        details = problem(answer, 409, "version-conflict")
        assert (
            details["aggregate_id"],
            details["expected_version"],
            details["actual_version"],
        ) == (
            order.id,
            version - 1,
            2,
        )


async def test_an_id_that_stands_for_another_place_is_a_conflict(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    [one, two] = new_lines(order, 2)
    imported(await import_(api, one, two), 2)
    for changed in (
        {**two, "event_data": {"number": 7}},
        {**two, "aggregate_id": new_aggregate().id},
        {**two, "version": 1},
        {**two, "metadata": {}},
        {**two, "correlation_id": str(uuid4())},
        {**two, "occurred_at": "2001-01-01T00:00:00Z"},
    ):
        details = problem(await import_(api, one, changed), 409, "event-id-conflict")
        assert (details["line"], details["event_ids"]) == (2, [two["event_id"]])


async def test_preconditions_and_a_bad_key_are_refused(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/import", content=b"", headers={"If-Match": "*"})
    assert "line" not in problem(answer, 400, "bad-precondition")
    answer = await api.post("/v1/import", content=b"", headers={"Idempotency-Key": "k" * 256})
    problem(answer, 422, "invalid-input")


# --- bounds


class TestBounds:
    MAX_BODY_BYTES = 4_000

    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"max_body_bytes": self.MAX_BODY_BYTES, "database_pool_max_size": 4}

    async def test_a_line_may_be_as_large_as_a_body_and_no_larger(
        self, client: httpx.AsyncClient
    ) -> None:
        order = new_aggregate()
        line = new_line(order)
        line["event_data"]["text"] = ""
        line["event_data"]["text"] = "x" * (self.MAX_BODY_BYTES - len(json.dumps(line)))
        imported(await import_(client, new_line(order), line, new_line(order)), 3)
        line["event_data"]["text"] += "x"
        answer = await import_(client, new_line(order), line, new_line(order))
        details = problem(answer, 413, "body-too-large")
        assert (details["line"], details["stored"]) == (2, 1)
        assert "line is over" in details["detail"]
        assert len(await stored_versions(client, order)) == 4
        endless = await client.post("/v1/import", content=b"x" * 1_000_000)
        assert problem(endless, 413, "body-too-large")["line"] == 1

    async def test_a_file_may_be_larger_than_all_bodies_in_flight(
        self, client: httpx.AsyncClient
    ) -> None:
        order = new_aggregate()
        lines = new_lines(order, 1_000)
        assert len(body_of(lines)) > 30 * self.MAX_BODY_BYTES
        imported(await import_(client, *lines), 1_000)

    async def test_one_more_import_than_may_be_is_refused_until_there_is_room(
        self, client: httpx.AsyncClient
    ) -> None:
        order = new_aggregate()
        is_answered = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield body_of([new_line(order)])
            await is_answered.wait()

        first = asyncio.create_task(client.post("/v1/import", content=slowly()))
        # What a slow client has sent does not wait for more.
        await until_stored(client, order, 1)
        second = await import_(client, new_line(order, 2))
        details = problem(second, 503, "service-busy")
        assert int(second.headers["retry-after"]) >= 1
        assert "line" not in details
        is_answered.set()
        imported(await first, 1)
        imported(await import_(client, new_line(order, 2)), 1)


# --- progress, and clients that go or do not read


async def test_progress_is_told_while_lines_are_sent(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, shared_url: str
) -> None:
    monkeypatch.setattr(imports, "TELL_EVERY_S", 0.05)
    monkeypatch.setattr(import_body, "FULL_AFTER_S", 0.02)
    order = new_aggregate()
    async with bare_import(shared_url) as (reader, writer):
        for number in (1, 2):
            await send_chunk(writer, body_of([new_line(order, number)]))
            told = await next_line(reader)
            assert (told["line"], told["stored"], "done" in told) == (number, number, False)
            # Told only when it is there.
            assert await numbers(api, order) == list(range(1, number + 1))
        await send_chunk(writer, b"{\n")
        told = await next_line(reader)
        assert (told["status"], told["line"], told["stored"]) == (400, 3, 2)
        assert told["type"] == "/problems/malformed-body"


async def test_a_client_that_goes_away_leaves_a_prefix(
    api: httpx.AsyncClient, shared_url: str, small_chunks: int
) -> None:
    order = new_aggregate()
    lines = new_lines(order, 30)
    async with bare_import(shared_url) as (_, writer):
        body = body_of(lines)
        await send_chunk(writer, body[: body.index(lines[21]["event_id"].encode())])
        await until_stored(api, order, 4)
    found = await numbers(api, order)
    assert found == list(range(1, len(found) + 1))
    assert len(found) <= 21
    told = last_line(await import_(api, *lines))
    assert (told["done"], told["stored"] + told["already_there"]) == (True, 30)
    assert await numbers(api, order) == list(range(1, 31))


async def test_a_client_that_never_reads_before_it_has_sent_all_is_not_in_the_way(
    api: httpx.AsyncClient, shared_url: str, small_chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So much is told that it fills every buffer on the way, and still all is stored."""
    monkeypatch.setattr(imports, "TELL_EVERY_S", 0.001)
    monkeypatch.setattr(imports, "encoder", LongWinded())
    order = new_aggregate()
    lines = new_lines(order, 400)
    async with bare_import(shared_url, receive_buffer=4096) as (reader, writer):
        for start in range(0, 400, 4):
            await send_chunk(writer, body_of(lines[start : start + 4]))
        await until_stored(api, order, 400)
        writer.write(b"0\r\n\r\n")
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        told: dict[str, Any] = {}
        while "done" not in told:
            told = await next_line(reader)
        assert told["stored"] == 400


# --- races


async def test_appends_to_the_same_aggregates_go_on_meanwhile(
    api: httpx.AsyncClient, small_chunks: int
) -> None:
    orders = [new_aggregate() for _ in range(3)]
    lines = [new_line(orders[n % 3], n, event_id=str(uuid4())) for n in range(60)]
    is_over = asyncio.Event()

    async def keep_appending(order: Aggregate) -> int:
        count = 0
        while not is_over.is_set():
            answer = await append(api, order, new_event("Live", event_data={"number": -1}))
            assert answer.status_code == 201, answer.text
            count += 1
        return count

    appending = [asyncio.create_task(keep_appending(order)) for order in orders * 2]
    imported(await import_(api, *lines), 60)
    is_over.set()
    counts = await asyncio.gather(*appending)
    assert sum(counts) > 0
    found = [await stored_events(api, order) for order in orders]
    for n, events in enumerate(found):
        assert [event["version"] for event in events] == list(range(1, len(events) + 1))
        own = [event["event_data"]["number"] for event in events]
        assert [number for number in own if number >= 0] == list(range(n, 60, 3))
    assert sum(map(len, found)) == 60 + sum(counts)


async def test_transactions_in_another_order_do_not_end_an_import(
    api: httpx.AsyncClient, small_chunks: int
) -> None:
    orders = [new_aggregate() for _ in range(4)]
    lines = [new_line(orders[n % 4], n) for n in range(24)]
    is_over = asyncio.Event()

    async def keep_transacting() -> None:
        while not is_over.is_set():
            answer = await transact(api, *[new_append(order) for order in reversed(orders)])
            assert answer.status_code == 201, answer.text

    transacting = [asyncio.create_task(keep_transacting()) for _ in range(2)]
    imported(await import_(api, *lines), 24)
    is_over.set()
    await asyncio.gather(*transacting)


async def test_a_version_that_somebody_else_took_is_a_conflict_of_its_line(
    api: httpx.AsyncClient, small_chunks: int, shared_url: str
) -> None:
    order = new_aggregate()
    async with bare_import(shared_url) as (reader, writer):
        await send_chunk(writer, body_of([new_line(order, n, version=n) for n in (1, 2, 3, 4)]))
        await until_stored(api, order, 4)
        assert (await append(api, order)).status_code == 201
        await send_chunk(writer, body_of([new_line(order, 5, version=5)]))
        writer.write(b"0\r\n\r\n")
        details = await next_line(reader)
    assert (details["status"], details["line"], details["actual_version"]) == (409, 5, 5)


async def test_two_imports_of_the_same_file_at_the_same_time_store_it_once(
    api: httpx.AsyncClient, small_chunks: int, permit_lines: list[bytes]
) -> None:
    suffix = uuid4()
    lines: list[Line | bytes] = []
    for text in permit_lines[:200]:
        line = json.loads(text)
        lines.append({**line, "aggregate_id": f"{line['aggregate_id']}-{suffix}"})
    answers = await asyncio.gather(*[import_(api, *lines, key=str(suffix)) for _ in range(2)])
    told = [last_line(answer) for answer in answers]
    assert all(each["done"] for each in told), told
    assert sum(each["stored"] for each in told) == 200
    assert sum(each["already_there"] for each in told) == 200


async def test_a_lock_that_is_not_given_up_ends_the_import_at_its_line(
    settings: Settings, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    order, held = new_aggregate(), new_aggregate()
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) VALUES (gen_random_uuid(), $1, $2, 1, 'Held', '{}', now())",
        *held,
    )
    changed = settings.model_copy(update={"database_lock_timeout_s": 0.3})
    with running_service(changed) as url:
        async with client_of(url) as client:
            lines = new_lines(order, 2)
            answer = await import_(client, *lines, new_line(held))
            details = problem(answer, 503, "database-busy")
            assert int(answer.headers["retry-after"]) >= 1
            # Its chunk is stored as a whole or not at all.
            assert (details["line"], details["stored"]) == (1, 0)
            await transaction.rollback()
            imported(await import_(client, *lines, new_line(held)), 3)


# --- the process


async def test_memory_is_flat_and_after_kill_9_a_repetition_stores_each_line_once(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    """A service in a process of its own is killed; `client` is one of another on its database."""
    orders = [new_aggregate() for _ in range(100)]
    lines = [
        new_line(orders[n % 100], n, event_id=str(uuid4()), metadata={"text": "x" * 3_000})
        for n in range(8_000)
    ]
    body = body_of(lines)
    service = Service(settings)
    service.start()
    try:
        async with client_of(service.url) as other:
            await until_ready(other)
            assert service.process is not None
            process = psutil.Process(service.process.pid)
            imported(await import_(other, *lines[:2_000]), 2_000)
            warm_bytes = process.memory_info().rss
        async with bare_import(service.url) as (_, writer):
            for start in range(0, len(body), 1 << 16):
                await send_chunk(writer, body[start : start + (1 << 16)])
            # Twenty-five megabytes have gone through it, or wait at its door.
            assert process.memory_info().rss < warm_bytes + 15 * 1024 * 1024
            service.kill()
    except BaseException:
        service.kill()
        raise
    told = last_line(await import_(client, *lines))
    assert (told["done"], told["line"]) == (True, 8_000)
    assert told["stored"] + told["already_there"] == 8_000
    assert told["already_there"] >= 2_000
    for n in (0, 99):
        assert await numbers(client, orders[n]) == list(range(n, 8_000, 100))


async def until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                if (await client.get("/health/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.05)

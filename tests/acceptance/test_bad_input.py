"""What cannot be meant, kept or answered: a 4xx that tells the place, and a store as it was."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from app.settings import Settings
from tests.acceptance.conftest import client_of, lasting_database
from tests.conftest import connect, running_service
from tests.factories import (
    PROBLEM_MEDIA_TYPE,
    Aggregate,
    append,
    new_append,
    new_event,
    new_events,
    position_path,
    problem,
    refused_places,
)

ORDER = Aggregate("Order", "ord-1")
"""At version 2, with a snapshot of version 1."""
POSITION_PATH = position_path("totals")


@pytest.fixture(scope="module")
def stored_settings(postgres_host: str, template_database: str) -> Iterator[Settings]:
    """Settings of a database that has a little of everything."""
    with lasting_database(postgres_host, template_database, "acceptance_bad_input") as settings:
        yield settings


@pytest.fixture(scope="module")
def url(stored_settings: Settings) -> Iterator[str]:
    """A service whose store no test of this module may change."""
    with (
        running_service(stored_settings) as url,
        httpx.Client(base_url=url) as client,
    ):
        body = {"events": [new_event(metadata={"user": "ann"}), new_event()]}
        assert client.post(ORDER.events_path, json=body).status_code == 201
        snapshot = {"version": 1, "state": {"paid": True}}
        assert client.put(ORDER.snapshot_path, json=snapshot).status_code == 201
        position = {"last_processed_position": 1}
        assert client.put(POSITION_PATH, json=position).status_code == 201
        yield url


@pytest.fixture
async def api(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(url) as client:
        yield client


@pytest.fixture
async def stored_sql(
    stored_settings: Settings,
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await connect(stored_settings)
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
async def the_store_stays_as_it_was(api: httpx.AsyncClient, stored_sql: Any) -> AsyncIterator[None]:
    """Compare the feed and all rows of the three tables before and after each test."""

    async def everything() -> Any:
        rows = {
            table: await stored_sql.fetch(f"SELECT {table}::text FROM {table} ORDER BY 1")
            for table in ("events", "snapshots", "projection_positions")
        }
        return rows, (await api.get("/v1/events")).json()

    before = await everything()
    yield
    assert await everything() == before


BODY_OPERATIONS = [
    ("POST", ORDER.events_path),
    ("POST", "/v1/transactions"),
    ("PUT", ORDER.snapshot_path),
    ("PUT", POSITION_PATH),
]


def append_body(event_members: str) -> str:
    """The text of an append of one event."""
    return f'{{"events": [{{"event_type": "Paid", {event_members}}}]}}'


# --- no JSON: 400


@pytest.mark.parametrize(("method", "path"), BODY_OPERATIONS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b'{"events',
        b"nonsense",
        b"{'events': []}",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'{"\xff": 1}',
        b"\x00",
        b"<events/>",
    ],
)
async def test_what_is_no_json_is_malformed(
    api: httpx.AsyncClient, method: str, path: str, content: bytes
) -> None:
    problem(await api.request(method, path, content=content), 400, "malformed-body")


@pytest.mark.parametrize(
    "data",
    [
        b'"event_data": {"a": NaN}',
        b'"event_data": {"a": Infinity}',
        b'"event_data": {"a": -Infinity}',
        b'"event_data": {"a": 01}',
        b'"event_data": {"a": 1.}',
        b'"event_data": {"a": .5}',
        b'"event_data": {"a": +1}',
        b'"event_data": {"a": 0x10}',
        b'"event_data": {"a": 1e}',
        b'"event_data": {"a": tru}',
        b'"event_data": {"a": 1,}',
        b'"event_data": {"a": [1,]}',
        b'"event_data": {"a" 1}',
        b'"event_data": {a: 1}',
        b'"event_data": {"a": "\\q"}',
        b'"event_data": {"a": "\\u12"}',
        b'"event_data": {"a": "line\nbreak"}',
        b'"event_data": {"a": "tab\tulator"}',
        b'"event_data": {"a": "nul\x00"}',
        b'"event_data": {"a": 1} // a comment',
        b'"event_data": {"a": "\xff"}',
        b'"event_data": {"\xc3\x28": 1}',
        b'"event_data": {"a": "\xc0\x80"}',
        b'"event_data": {"a": "\xed\xa0\x80"}',
        b'"event_data": {"a": "\xf4\x90\x80\x80"}',
        b'"event_data": {"a": "\xe2\x82"}',
        b'"event_data": {}, "metadata": {"a": NaN}',
        b'"event_data": {}, "metadata": {"a": "\xff"}',
    ],
)
async def test_data_that_is_no_json_or_no_utf8_is_malformed(
    api: httpx.AsyncClient, data: bytes
) -> None:
    event = b'{"event_type": "Paid", %b}' % data
    aggregate = b'"aggregate_type": "Order", "aggregate_id": "1"'
    for path, content in (
        (ORDER.events_path, b'{"events": [%b]}' % event),
        ("/v1/transactions", b'{"appends": [{%b, "events": [%b]}]}' % (aggregate, event)),
    ):
        problem(await api.post(path, content=content), 400, "malformed-body")
    if b"metadata" not in data:
        content = b'{"version": 1, "state": %b}' % data.removeprefix(b'"event_data": ')
        problem(await api.put(ORDER.snapshot_path, content=content), 400, "malformed-body")


# --- another shape: 422


@pytest.mark.parametrize(("method", "path"), BODY_OPERATIONS)
@pytest.mark.parametrize("content", ["null", "[]", "1", '"{}"', "true", "{}", '{"x": 1}'])
async def test_json_of_another_shape_is_refused(
    api: httpx.AsyncClient, method: str, path: str, content: str
) -> None:
    assert refused_places(await api.request(method, path, content=content)) == ["$"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"events": []}, "$.events"),
        ({"events": {}}, "$.events"),
        ({"events": None}, "$.events"),
        ({"events": [None]}, "$.events[0]"),
        ({"events": [new_event(), {}]}, "$.events[1]"),
        ({"events": [{"event_type": "Paid"}]}, "$.events[0]"),
        ({"events": [{"event_data": {}}]}, "$.events[0]"),
        ({"events": [new_event(colour="red")]}, "$.events[0]"),
        ({"events": [new_event(version=3)]}, "$.events[0]"),
        ({"events": [new_event(**{"x - at `$.events[7]`": 1})]}, "$.events[0]"),
        ({"events": [new_event()], "expectedVersion": 2}, "$"),
        ({"events": [new_event()], "aggregate_id": "ord-1"}, "$"),
        ({"events": [new_event(event_type=None)]}, "$.events[0].event_type"),
        ({"events": [new_event(event_type=5)]}, "$.events[0].event_type"),
        ({"events": [new_event(event_type="")]}, "$.events[0].event_type"),
        ({"events": [new_event(event_data=None)]}, "$.events[0].event_data"),
        ({"events": [new_event(event_data=[])]}, "$.events[0].event_data"),
        ({"events": [new_event(event_data="{}")]}, "$.events[0].event_data"),
        ({"events": [new_event(event_data=1)]}, "$.events[0].event_data"),
        ({"events": [new_event(metadata=[])]}, "$.events[0].metadata"),
        ({"events": [new_event(metadata="")]}, "$.events[0].metadata"),
        ({"events": [new_event(metadata=False)]}, "$.events[0].metadata"),
        ({"events": [new_event(event_id="1")]}, "$.events[0].event_id"),
        ({"events": [new_event(event_id=1)]}, "$.events[0].event_id"),
        ({"events": [new_event(event_id="")]}, "$.events[0].event_id"),
        ({"events": [new_event(correlation_id="trace")]}, "$.events[0].correlation_id"),
        ({"events": [new_event(causation_id="\0")]}, "$.events[0].causation_id"),
    ],
)
async def test_a_wrong_shape_of_an_append_is_refused_with_its_place(
    api: httpx.AsyncClient, body: Any, place: str
) -> None:
    assert refused_places(await api.post(ORDER.events_path, json=body)) == [place]


@pytest.mark.parametrize(
    "expected_version",
    ["-1", "2147483648", "1e3", "1.0", "2.5", '"3"', "true", "[]", "{}", "-0.0", "1" + "0" * 5000],
)
async def test_an_expected_version_that_is_none_is_refused(
    api: httpx.AsyncClient, expected_version: str
) -> None:
    event = json.dumps(new_event())
    content = f'{{"expected_version": {expected_version}, "events": [{event}]}}'
    answer = await api.post(ORDER.events_path, content=content)
    assert refused_places(answer) == ["$.expected_version"]


# --- values that PostgreSQL cannot hold: 422


@pytest.mark.parametrize(
    ("event_members", "place"),
    [
        ('"event_data": {"a": "\\u0000"}', "event_data.a"),
        ('"event_data": {"a": {"b": [1, "x\\u0000y"]}}', "event_data.a.b[1]"),
        ('"event_data": {"\\u0000": 1}', "event_data.<key>"),
        ('"event_data": {"a": {"b\\u0000": 1}}', "event_data.a.<key>"),
        ('"event_data": {"a": "\\u0000", "a": 1}', "event_data.a"),
        ('"event_data": {}, "metadata": {"a": "\\u0000"}', "metadata.a"),
        ('"event_data": {}, "metadata": {"\\u0000": 1}', "metadata.<key>"),
        ('"event_data": {"a": "\\ud800"}', "event_data.a"),
        ('"event_data": {"a": "\\udc00"}', "event_data.a"),
        ('"event_data": {"a": "\\udc00\\ud800"}', "event_data.a"),
        ('"event_data": {"a": "\\ud83d\\u0041"}', "event_data.a"),
        ('"event_data": {"\\udfff": 1}', "event_data.<key>"),
        ('"event_data": {}, "metadata": {"a": ["\\ud800"]}', "metadata.a[0]"),
    ],
)
async def test_text_that_cannot_be_stored_is_refused_with_its_place(
    api: httpx.AsyncClient, event_members: str, place: str
) -> None:
    answer = await api.post(ORDER.events_path, content=append_body(event_members))
    assert refused_places(answer, "unstorable-value") == [f"$.events[0].{place}"]


@pytest.mark.parametrize(
    ("number", "is_located"),
    [
        ("1e131072", True),
        ("-1e131072", True),
        ("10e131071", True),
        ("1e-16384", True),
        ("0." + "0" * 16_383 + "1", True),
        ("1" * 131_073, True),
        ("1e999999", True),
        ("1e99999999999999999999", False),
        ("1E+1000001", False),
        ("1e-1000001", False),
    ],
)
async def test_a_number_that_cannot_be_stored_is_refused_with_its_place(
    api: httpx.AsyncClient, number: str, is_located: bool
) -> None:
    for members, place in (
        ('"event_data": {"a": [0, %s]}', "$.events[0].event_data"),
        ('"event_data": {}, "metadata": {"a": [0, %s]}', "$.events[0].metadata"),
    ):
        answer = await api.post(ORDER.events_path, content=append_body(members % number))
        expected = f"{place}.a[1]" if is_located else place
        assert refused_places(answer, "unstorable-value") == [expected]


@pytest.mark.parametrize(
    "event_data", ['{"a": "x\x1fy"}', '{"a": 1}\x1f{"b": 2}', "{\x1f}", '{"a\x1fb": 1}']
)
async def test_an_unescaped_control_character_is_malformed(
    api: httpx.AsyncClient, event_data: str
) -> None:
    """This one separates the texts of events on their way to the database."""
    for members in (f'"event_data": {event_data}', f'"event_data": {{}}, "metadata": {event_data}'):
        problem(
            await api.post(ORDER.events_path, content=append_body(members)), 400, "malformed-body"
        )


async def test_numbers_that_would_grow_without_bound_are_refused(api: httpx.AsyncClient) -> None:
    numbers = ",".join(["1e131071"] * 10_000)
    answer = await api.post(
        ORDER.events_path, content=append_body(f'"event_data": {{"a": [{numbers}]}}')
    )
    assert refused_places(answer, "unstorable-value") == ["$.events[0].event_data"]


@pytest.mark.parametrize("depth", [1_500, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
async def test_what_is_nested_too_deeply_is_refused(
    api: httpx.AsyncClient, depth: int, opening: str, closing: str
) -> None:
    deep = opening * depth + "1" + closing * depth
    event = f'{{"event_type": "a", "event_data": {{"a": {deep}}}}}'
    aggregate = '"aggregate_type": "a", "aggregate_id": "b"'
    for method, path, content in (
        ("POST", ORDER.events_path, append_body(f'"event_data": {{"a": {deep}}}')),
        (
            "POST",
            ORDER.events_path,
            append_body(f'"metadata": {{"a": {deep}}}, "event_data": {{}}'),
        ),
        ("POST", "/v1/transactions", f'{{"appends": [{{{aggregate}, "events": [{event}]}}]}}'),
        ("PUT", ORDER.snapshot_path, f'{{"version": 2, "state": {deep}}}'),
    ):
        answer = await api.request(method, path, content=content)
        [place] = refused_places(answer)
        assert place.startswith("$")
        assert "deep" in answer.json()["detail"]


@pytest.mark.parametrize(
    "occurred_at",
    [
        "2026-01-01T00:00:00",
        "2026-01-01",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        # The driver would store these two as -infinity and infinity, to be read as null.
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:59:60Z",
        "2026-01-01T00:00:00+25:00",
        "infinity",
        "now",
        "",
        "\0",
        1_770_000_000,
        {},
    ],
)
async def test_a_time_that_is_none_or_out_of_range_is_refused(
    api: httpx.AsyncClient, occurred_at: Any
) -> None:
    answer = await append(api, ORDER, new_event(), new_event(occurred_at=occurred_at))
    assert refused_places(answer) == ["$.events[1].occurred_at"]


# --- names


@pytest.mark.parametrize("name", ["x" * 256, "🔑" * 256, "", "a\0b", "\0"])
async def test_a_name_that_is_too_long_empty_or_with_nul_is_refused_wherever_it_stands(
    api: httpx.AsyncClient, name: str
) -> None:
    assert refused_places(await append(api, Aggregate(name, "x"))) == ["path.aggregate_type"]
    assert refused_places(await append(api, Aggregate("x", name))) == ["path.aggregate_id"]
    assert refused_places(await append(api, ORDER, new_event(name))) == ["$.events[0].event_type"]
    both = Aggregate(name, name)
    for answer in (
        await api.get(both.path),
        await api.head(both.path),
        await api.get(both.events_path),
        await api.get(both.snapshot_path),
        await api.put(both.snapshot_path, json={"version": 1, "state": 1}),
        await api.delete(both.snapshot_path),
    ):
        assert answer.status_code == 422
        if answer.request.method != "HEAD":
            assert refused_places(answer) == ["path.aggregate_type", "path.aggregate_id"]
    for key in ("aggregate_type", "aggregate_id"):
        body = {"appends": [{**new_append(ORDER), key: name}]}
        answer = await api.post("/v1/transactions", json=body)
        assert refused_places(answer) == [f"$.appends[0].{key}"]


@pytest.mark.parametrize("encoded", ["%FF", "a%C3%28", "%ED%A0%80", "%C0%AF"])
async def test_a_path_that_is_no_utf8_is_refused(api: httpx.AsyncClient, encoded: str) -> None:
    for path in (
        f"/v1/aggregates/{encoded}",
        f"/v1/aggregates/{encoded}/x",
        f"/v1/aggregates/x/{encoded}/events",
        f"/v1/aggregates/x/{encoded}/snapshot",
        f"/v1/projections/{encoded}/position",
    ):
        assert refused_places(await api.get(path)) == ["path"]


@pytest.mark.parametrize("encoded", ["%FF", "a%C3%28", "%ED%A0%80"])
async def test_a_query_that_is_no_utf8_is_refused(api: httpx.AsyncClient, encoded: str) -> None:
    for path in (
        f"/v1/events?event_type={encoded}",
        f"/v1/events?aggregate_id={encoded}",
        f"/v1/aggregates/Order?after={encoded}",
    ):
        assert refused_places(await api.get(path)) == ["query"]


# --- too much


async def test_more_than_ten_thousand_events_are_refused(api: httpx.AsyncClient) -> None:
    bare = {"event_type": "Counted", "event_data": {}}
    answer = await append(api, ORDER, *[bare] * 10_001)
    assert refused_places(answer) == ["$.events"]
    assert "10000" in answer.json()["detail"]


async def raw_answer(url: str, *chunks: bytes) -> tuple[int, Any, bytes]:
    """Send bytes and no end; the answer's status, problem details and head."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(10):
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            assert length is not None, head
            body = await reader.readexactly(int(length[1]))
    finally:
        writer.close()
    assert PROBLEM_MEDIA_TYPE.encode() in head
    return int(head.split(maxsplit=2)[1]), json.loads(body), head


@pytest.mark.parametrize(("method", "path"), BODY_OPERATIONS)
async def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(
    url: str, method: str, path: str
) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {16 * 1024 * 1024 + 1}\r\n\r\n"
    for chunks in ([head], [head, '{"events": ']):
        status, details, _ = await raw_answer(url, *[part.encode() for part in chunks])
        assert status == details["status"] == 413
        assert details["type"].endswith("/body-too-large")
        assert details["max_body_bytes"] == 16 * 1024 * 1024


async def test_who_asks_before_sending_too_large_a_body_is_not_told_to_continue(url: str) -> None:
    request = (
        f"POST {ORDER.events_path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        "Content-Length: 999999999999\r\n\r\n"
    )
    status, _, head = await raw_answer(url, request.encode())
    assert status == 413
    assert b"100 Continue" not in head


@pytest.mark.parametrize(("method", "path"), BODY_OPERATIONS)
async def test_a_body_that_grows_too_large_is_refused_before_its_end(
    url: str, method: str, path: str
) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    mebibyte = b"%x\r\n%b\r\n" % (1024 * 1024, b" " * 1024 * 1024)
    # 17 MiB and no last chunk: an answer that waits for the end of the body never comes.
    status, details, _ = await raw_answer(url, head.encode(), *[mebibyte] * 17)
    assert status == details["status"] == 413


async def test_a_client_that_sends_too_large_a_body_to_its_end_gets_the_answer(
    api: httpx.AsyncClient,
) -> None:
    # Not a connection that is reset; it even takes the next request.
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 1024 * 1024

    for content in (b" " * 40 * 1024 * 1024, chunks()):
        answer = await api.post(ORDER.events_path, content=content)
        problem(answer, 413, "body-too-large")
    assert (await api.get("/health/live")).status_code == 200


async def test_the_bound_of_the_body_is_inclusive(settings: Settings) -> None:
    content = json.dumps({"events": [new_event()]}).encode()
    bounded = settings.model_copy(update={"max_body_bytes": len(content)})
    with running_service(bounded) as url:
        async with client_of(url) as client:
            exactly = await client.post(ORDER.events_path, content=content)
            assert exactly.status_code == 201
            problem(
                await client.post(ORDER.events_path, content=content + b" "), 413, "body-too-large"
            )

            async def chunks() -> AsyncIterator[bytes]:
                yield content
                yield b" "

            answer = await client.post(ORDER.events_path, content=chunks())
            problem(answer, 413, "body-too-large")
            assert len((await client.get(ORDER.events_path)).json()["events"]) == 1


async def test_the_bound_of_events_is_a_setting(settings: Settings) -> None:
    with running_service(settings.model_copy(update={"max_events_per_append": 2})) as url:
        async with client_of(url) as client:
            assert (await append(client, ORDER, *new_events(2))).status_code == 201
            assert refused_places(await append(client, ORDER, *new_events(3))) == ["$.events"]


# --- routes and methods


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v2/events",
        "/v1/nothing",
        "/V1/events",
        "//v1/events",
        "/v1//events",
        "/v1/events/",
        "/v1/transactions/",
        "/v1/projections/",
        "/v1/projections/totals",
        "/v1/projections/totals/position/",
        "/health/live/",
        "/health",
        f"{ORDER.path}/",
        f"{ORDER.events_path}/",
        f"{ORDER.events_path}/1",
        f"{ORDER.snapshot_path}/",
        f"{ORDER.path}/nothing",
        "/v1/aggregates/a/b/c/d",
        "/v1/events/%2e%2e/events",
        "/%00",
        "/%FF",
    ],
)
async def test_an_unknown_route_is_404_whatever_the_method(
    api: httpx.AsyncClient, path: str
) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        problem(await api.request(method, path), 404, "route-not-found")
    assert (await api.head(path)).status_code == 404


async def test_a_trailing_slash_is_a_name_that_is_empty(api: httpx.AsyncClient) -> None:
    assert refused_places(await api.get("/v1/aggregates/")) == ["path.aggregate_type"]
    assert refused_places(await api.get("/v1/aggregates/Order/")) == ["path.aggregate_id"]
    answer = await api.post("/v1/aggregates//ord-1/events", json={"events": [new_event()]})
    assert refused_places(answer) == ["path.aggregate_type"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (ORDER.events_path, {"GET", "POST"}),
        (ORDER.path, {"GET", "HEAD"}),
        (ORDER.snapshot_path, {"GET", "PUT", "DELETE"}),
        ("/v1/aggregates", {"GET"}),
        ("/v1/aggregates/Order", {"GET"}),
        ("/v1/transactions", {"POST"}),
        ("/v1/events", {"GET"}),
        ("/v1/events/01a20b03-a68a-77ed-99a6-caa66080658f", {"GET"}),
        ("/v1/projections", {"GET"}),
        (POSITION_PATH, {"GET", "PUT", "DELETE"}),
        ("/health/live", {"GET"}),
        ("/health/ready", {"GET"}),
    ],
)
async def test_another_method_is_405_and_tells_which_there_are(
    api: httpx.AsyncClient, path: str, allowed: set[str]
) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - allowed:
        answer = await api.request(method, path)
        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) == allowed
        if method == "HEAD":
            assert answer.content == b""
        else:
            problem(answer, 405, "method-not-allowed")


# --- below HTTP's syntax


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /v1/\xff HTTP/1.1",
        b"GET /v1/events?event_type=\xc3\xa4 HTTP/1.1",
        "GET /v1/aggregates/Größe HTTP/1.1".encode("latin-1"),
        b"GET /v1/\x00 HTTP/1.1",
        b"GET v1/events HTTP/1.1",
        b"GET",
        b"BREW /v1/events HTTP/1.1",
        b"GET /v1/events HTTP/9.9",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1",
    ],
)
async def test_what_is_no_http_request_is_400(url: str, request_line: bytes) -> None:
    request = request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    status, details, _ = await raw_answer(url, request)
    assert status == details["status"] == 400
    assert details["type"]
    assert details["title"]
    assert details["detail"]


@pytest.mark.parametrize(
    "header",
    [
        b"Idempotency-Key: a\x00b",
        b"X-Correlation-ID: \x00",
        b"Content-Length: -1",
        b"Content-Length: 1e3",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"No colon",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    ],
)
async def test_a_header_that_is_none_is_400(url: str, header: bytes) -> None:
    request = b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b\r\n\r\n" % (
        ORDER.events_path.encode(),
        header,
    )
    status, details, _ = await raw_answer(url, request)
    assert status == details["status"] == 400


async def test_a_path_of_sixty_thousand_characters_is_refused_for_its_name(
    api: httpx.AsyncClient,
) -> None:
    answer = await append(api, Aggregate("Order", "x" * 60_000))
    assert refused_places(answer) == ["path.aggregate_id"]
    answer = await api.get("/v1/events", params={"event_type": "x" * 60_000})
    assert refused_places(answer) == ["query.event_type.0"]


async def test_what_a_problem_is_called_can_be_looked_up(api: httpx.AsyncClient, url: str) -> None:
    answers = [
        (await api.get("/nothing")).json(),
        (await api.patch("/v1/events")).json(),
        (await api.post(ORDER.events_path, content=b"{")).json(),
        (await append(api, ORDER, expected_version=9)).json(),
        (await append(api, ORDER, headers={"If-Match": '"9"'})).json(),
        (await append(api, ORDER, expected_version=-1)).json(),
        (await raw_answer(url, b"nonsense\r\n\r\n"))[1],
    ]
    for details in answers:
        page = await api.get(details["type"])
        assert page.status_code == 200, details
        assert details["title"] in page.text


async def test_an_unknown_parameter_of_the_query_is_ignored(api: httpx.AsyncClient) -> None:
    answer = await api.get("/v1/events?limit=1&no_such_parameter=%00&&=&;")
    assert answer.status_code == 200
    assert len(answer.json()["events"]) == 1


# --- too much at once


@pytest.mark.parametrize("item", [b"1,", b'"a",', b"[" * 450 + b"]" * 450 + b","])
async def test_a_large_body_that_is_no_json_or_has_half_a_pair_is_refused_like_a_small_one(
    api: httpx.AsyncClient, item: bytes
) -> None:
    many = item * (15 * 1024 * 1024 // len(item))
    event = b'{"events": [{"event_type": "Paid", "event_data": {"a": [%b"\\ud800"]}}%b}'
    malformed = await api.post(ORDER.events_path, content=event % (many, b","))
    problem(malformed, 400, "malformed-body")
    answer = await api.post(ORDER.events_path, content=event % (many, b"]"))
    [place] = refused_places(answer, "unstorable-value")
    # Where the search for the exact place would take too long, it is the body as a whole.
    assert place == "$" or place.startswith("$.events[0].event_data.a[")


class Upload:
    """A request whose body comes in parts, over a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def begin(cls, url: str, path: str, length: int, first_part: bytes) -> "Upload":
        host, port = url.removeprefix("http://").split(":")
        upload = cls(*await asyncio.open_connection(host, int(port)))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        await upload.send(head.encode() + first_part)
        return upload

    async def send(self, part: bytes) -> None:
        self._writer.write(part)
        await self._writer.drain()

    async def answer(self) -> tuple[int, httpx.Headers, Any]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode().strip().split("\r\n")
        headers = httpx.Headers(dict(line.split(": ", 1) for line in lines))
        body = await self._reader.readexactly(int(headers["content-length"]))
        return int(status_line.split()[1]), headers, json.loads(body)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def unfinished_uploads(
    url: str, count: int, body: bytes
) -> AsyncIterator[dict[asyncio.Task[Any], Upload]]:
    """Uploads that lack the last byte, by the tasks that wait for their answers."""
    uploads = [
        await Upload.begin(url, f"/v1/aggregates/Order/{number}/events", len(body), body[:-1])
        for number in range(count)
    ]
    waiting = {asyncio.create_task(upload.answer()): upload for upload in uploads}
    try:
        yield waiting
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for upload in uploads:
            await upload.close()


async def test_more_bodies_at_once_than_there_is_memory_for_are_refused(settings: Settings) -> None:
    # As large as a body may be; a ninth of them has no room beside eight.
    body = json.dumps({"events": [new_event()]}).encode().ljust(100_000)
    with running_service(settings.model_copy(update={"max_body_bytes": len(body)})) as url:
        async with (
            asyncio.timeout(30),
            client_of(url) as client,
            unfinished_uploads(url, 9, body) as waiting,
        ):
            [refused], _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            status, headers, details = refused.result()
            assert status == details["status"] == 503
            assert details["type"].endswith("/service-busy")
            assert int(headers["retry-after"]) > 0
            assert headers["content-type"] == PROBLEM_MEDIA_TYPE
            # Nothing but bodies is bounded, and the others go on as if nothing had happened.
            assert (await client.get("/v1/events")).status_code == 200
            accepted = [task for task in waiting if task is not refused]
            for task in accepted:
                await waiting[task].send(body[-1:])
            assert [status for status, _, _ in await asyncio.gather(*accepted)] == [201] * 8
            again = await client.post(f"/v1/aggregates/Order/{uuid4()}/events", content=body)
            assert again.status_code == 201


async def test_bodies_that_never_come_to_their_end_keep_no_room_once_they_are_given_up(
    settings: Settings,
) -> None:
    body = json.dumps({"events": [new_event()]}).encode().ljust(100_000)
    with running_service(settings.model_copy(update={"max_body_bytes": len(body)})) as url:
        async with asyncio.timeout(30), client_of(url) as client:
            async with unfinished_uploads(url, 9, body) as waiting:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            # The service may learn of the ends of those connections a little later.
            for _ in range(100):
                if (await client.post(ORDER.events_path, content=body)).status_code == 201:
                    break
                await asyncio.sleep(0.05)
            async with unfinished_uploads(url, 8, body) as waiting:
                for upload in waiting.values():
                    await upload.send(body[-1:])
                answers = await asyncio.gather(*waiting)
                assert [status for status, _, _ in answers] == [201] * 8


async def test_what_is_only_declared_takes_no_room(settings: Settings) -> None:
    body = json.dumps({"events": [new_event()]}).encode().ljust(100_000)
    with running_service(settings.model_copy(update={"max_body_bytes": len(body)})) as url:
        async with contextlib.AsyncExitStack() as stack, client_of(url) as client:
            for _ in range(20):
                silent = await Upload.begin(url, ORDER.events_path, len(body), b"")
                stack.push_async_callback(silent.close)
            answer = await client.post(ORDER.events_path, content=body)
            assert answer.status_code == 201

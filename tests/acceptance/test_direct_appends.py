"""Appends that are answered without ASGI, among other requests of a connection."""

import asyncio
import gc
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager

import httpx
import pytest

from app.api.direct_appends import DirectAppend
from app.http_protocol import ProblemProtocol
from app.settings import Settings
from tests.acceptance.conftest import lasting_database
from tests.conftest import connect, running_service
from tests.integration.client_sql import INSERT, event_row
from tests.integration.support import until

MAX_BODY_BYTES = 1_000
# What bodies may take together: see app/api/bodies_in_flight.py.
MAX_BODIES = 8
EVENT = b'{"event_type":"E","event_data":{"n":1}}'


def append(aggregate_id: str, *, filler: int = 0, headers: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    body = b'{"events":[%b]%b}' % (EVENT, b" " * filler)
    return (
        b"POST /v1/aggregates/Order/%b/events HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b"
        % (aggregate_id.encode(), headers, len(body), body)
    )


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.fixture(scope="module")
def small_service(postgres_host: str, template_database: str) -> Iterator[str]:
    """The host and port of a service that takes small bodies only."""
    with ExitStack() as stack:
        settings = stack.enter_context(lasting_database(postgres_host, template_database, "direct"))
        small = settings.model_copy(update={"max_body_bytes": MAX_BODY_BYTES})
        yield stack.enter_context(running_service(small))


@contextmanager
def connection_to(url: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def answers(connection: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """The next answers of a connection: status, headers, body."""
    found: list[tuple[int, dict[str, str], bytes]] = []
    received = b""
    while len(found) < count:
        head, separator, rest = received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", 0))
        if separator and len(rest) >= length:
            found.append((int(lines[0].split()[1]), headers, rest[:length]))
            received = rest[length:]
            continue
        part = connection.recv(65536)
        assert part, f"the connection has ended behind {found} and {received!r}"
        received += part
    assert received == b""
    return found


def test_what_is_tested_here_goes_without_asgi(
    small_service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(ProblemProtocol, "_start_asgi_task", lambda *_: begun.append(_))
    with connection_to(small_service) as connection:
        connection.sendall(append("without-asgi"))
        assert answers(connection, 1)[0][0] == 201
    assert begun == []


def test_appends_sent_before_the_first_is_answered_are_answered_in_their_order(
    small_service: str,
) -> None:
    with connection_to(small_service) as connection:
        connection.sendall(
            append("first")
            + append("first")
            + get("/v1/aggregates/Order/first")
            + append("second")
            + get("/v1/aggregates/Order/second")
        )
        got = answers(connection, 5)
        assert [status for status, _, _ in got] == [201, 201, 200, 201, 200]
        told = [json.loads(body) for _, _, body in got]
        assert [answer["version"] for answer in told] == [1, 2, 2, 1, 1]
        assert [answer["aggregate_id"] for answer in told] == ["first"] * 3 + ["second"] * 2
        # And the connection goes on.
        connection.sendall(append("first"))
        assert json.loads(answers(connection, 1)[0][2])["version"] == 3


@pytest.mark.parametrize("size", [1, 7, 100])
def test_an_append_may_come_in_pieces(small_service: str, size: int) -> None:
    request = append(f"pieces-{size}")
    with connection_to(small_service) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(request), size):
            connection.sendall(request[start : start + size])
            time.sleep(0.0005)
        [(status, headers, body)] = answers(connection, 1)
    assert status == 201
    assert headers["etag"] == '"1"'
    assert json.loads(body)["version"] == 1


def test_a_client_that_goes_away_in_the_middle_of_its_append_has_appended_nothing(
    small_service: str,
) -> None:
    # More bytes than all bodies together may take: they are given back.
    request = append("left", filler=MAX_BODY_BYTES - 100)
    for _ in range(2 * MAX_BODIES):
        with connection_to(small_service) as connection:
            connection.sendall(request[:-10])
    with connection_to(small_service) as connection:
        connection.sendall(get("/v1/aggregates/Order/left") + request)
        assert [status for status, _, _ in answers(connection, 2)] == [404, 201]


def test_an_append_whose_body_finds_no_room_is_refused_and_those_beside_it_are_stored(
    small_service: str,
) -> None:
    request = append("crowd", filler=MAX_BODY_BYTES - 100)
    head, body = request.split(b"\r\n\r\n")
    with ExitStack() as stack:
        held = [stack.enter_context(connection_to(small_service)) for _ in range(MAX_BODIES)]
        for connection in held:
            connection.sendall(request[:-10])
        # Held by the service when it has answered somebody who came later.
        with connection_to(small_service) as other:
            other.sendall(get("/health/live"))
            answers(other, 1)
            while True:
                other.sendall(head + b"\r\n\r\n")
                other.sendall(body)
                [(status, headers, refusal)] = answers(other, 1)
                if status == 503:
                    break
                assert status == 201, "those before it have not come yet"
            assert headers["content-type"] == "application/problem+json"
            assert headers["retry-after"]
            assert json.loads(refusal)["type"] == "/problems/service-busy"
            # The connection is as good as before.
            other.sendall(get("/health/live"))
            assert answers(other, 1)[0][0] == 200
        for connection in held:
            connection.sendall(request[-10:])
            assert answers(connection, 1)[0][0] == 201


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", 201),
        (b"If-None-Match: *\r\n", 412),
        (b"If-Match: x\r\n", 400),
    ],
)
def test_a_body_is_gone_when_its_request_is_answered_not_when_garbage_is_collected(
    small_service: str, headers: bytes, status: int
) -> None:
    with connection_to(small_service) as connection:
        connection.sendall(append("gone"))
        answers(connection, 1)
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                connection.sendall(append("gone", headers=headers))
                assert answers(connection, 1)[0][0] == status
            # The last one may be on its way back from the answer.
            assert sum(isinstance(thing, DirectAppend) for thing in gc.get_objects()) <= 1
        finally:
            gc.enable()


def test_an_append_over_a_connection_that_is_to_be_closed_is_answered_before(
    small_service: str,
) -> None:
    with connection_to(small_service) as connection:
        connection.sendall(append("closing", headers=b"Connection: close\r\n"))
        [(status, headers, _)] = answers(connection, 1)
        assert (status, headers["connection"]) == (201, "close")
        assert connection.recv(1) == b""


async def test_a_service_that_stops_answers_the_appends_that_it_has_begun(
    settings: Settings,
) -> None:
    async with AsyncExitStack() as stack:
        # An observer in a transaction sees the activity of its first look.
        stranger, observer = [await connect(settings) for _ in range(2)]
        stack.push_async_callback(stranger.close)
        stack.push_async_callback(observer.close)
        transaction = stranger.transaction()
        await transaction.start()
        await stranger.execute(INSERT, *event_row("held", 1))
        service = running_service(settings)
        url = await asyncio.to_thread(service.__enter__)
        connection = stack.enter_context(connection_to(url))
        connection.sendall(append("held"))

        async def is_waiting() -> bool:
            waiting: bool = await observer.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database())"
            )
            return waiting

        await until(is_waiting)
        stopping = asyncio.create_task(asyncio.to_thread(service.__exit__, None, None, None))
        await asyncio.sleep(0.3)
        await transaction.commit()
        [(status, headers, body)] = await asyncio.to_thread(answers, connection, 1)
        assert (status, headers["connection"]) == (201, "close")
        assert json.loads(body)["version"] == 2
        assert await asyncio.to_thread(connection.recv, 1) == b""
        await stopping


def test_an_append_tells_the_date_as_other_answers_do(small_service: str) -> None:
    with httpx.Client(base_url=small_service) as client:
        answer = client.post(
            "/v1/aggregates/Order/dated/events", content=b'{"events":[%b]}' % EVENT
        )
        other = client.get("/v1/aggregates/Order/dated")
    date = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
    assert date.fullmatch(answer.headers["date"])
    assert date.fullmatch(other.headers["date"])

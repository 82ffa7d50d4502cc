"""The short ways in answer what the long way answers, whatever the request."""

import json
import re
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from app import main
from app.api import direct_appends, short_way
from app.api.direct_appends import DirectAppends
from app.api.short_way import ShortWay
from tests.acceptance.conftest import lasting_database
from tests.acceptance.exposition import Scrape
from tests.conftest import running_service

IDS = [str(UUID(int=number)) for number in range(1, 5)]
# A UUIDv7: the service has made it.
MADE_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
MADE_REQUEST_ID = re.compile("^[0-9a-f]{32}$")
TIME = "2026-11-24T10:00:00Z"


class Ask(NamedTuple):
    """A request as it goes over the wire."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def append_body(**more: Any) -> bytes:
    event = {"event_type": "E", "event_data": {"n": 1}, "occurred_at": TIME}
    return json.dumps({"events": [event], **more}).encode()


NAMES = st.sampled_from(
    [
        *("Order", "o", "p", "a%20b", "a%2Fb", "a+b", "%C3%A4", "%41", "..", "%2E", "x" * 255),
        *("", "%00", "%ff", "%zz", "%", "x" * 256, "%C3%A4" * 255, "%C3%A4" * 256, "a;b", "a?b"),
    ]
)
EVENT = st.fixed_dictionaries(
    {"event_type": st.sampled_from(["E", "F"]), "event_data": st.just({"n": 1})},
    optional={
        "event_id": st.sampled_from(IDS),
        "metadata": st.sampled_from([None, {"m": 1.50}, "none"]),
        "correlation_id": st.sampled_from([IDS[0], "x"]),
    },
).map(lambda event: {**event, "occurred_at": TIME})
BODIES = st.one_of(
    st.fixed_dictionaries(
        {"events": st.lists(EVENT, min_size=1, max_size=2)},
        optional={"expected_version": st.sampled_from([None, 0, 1, 2, -1, "1"])},
    ).map(lambda body: json.dumps(body).encode()),
    st.sampled_from(
        [
            *(b"", b"{}", b"[]", b"{", b'{"events": []}', b"\xff", b'{"events": [{}]}'),
            *(append_body(unknown=1), append_body(expected_version=2**31)),
            b'{"events": [{"event_type": "E", "event_data": {"n": "\\u0000"}}]}',
            b'{"events": [{"event_type": "E", "event_data": [1]}]}',
        ]
    ),
)
APPEND_HEADERS = st.lists(
    st.sampled_from(
        [
            *(("If-Match", '"1"'), ("If-Match", "*"), ("If-Match", "1"), ("If-Match", 'W/"1"')),
            *(("If-None-Match", "*"), ("If-None-Match", '"1"')),
            *(("Idempotency-Key", "k"), ("Idempotency-Key", ""), ("Idempotency-Key", "k k")),
            *(("Idempotency-Key", "k" * 255), ("Idempotency-Key", "k" * 256)),
            *(("X-Correlation-ID", IDS[1]), ("X-Correlation-ID", IDS[1].replace("-", ""))),
            *(("X-Causation-ID", IDS[2].upper()), ("X-Causation-ID", "x")),
            *(("Content-Type", "text/plain"), ("X-Other", "1")),
            *(("X-Request-ID", "mine"), ("X-Request-ID", "not mine"), ("traceparent", "x")),
        ]
    ),
    max_size=2,
).map(tuple)
READ_HEADERS = st.lists(
    st.sampled_from(
        [
            *(("If-None-Match", '"1"'), ("If-None-Match", "*"), ("Accept", "*/*")),
            *(("Accept", "application/json"), ("Accept", "application/json;q=0.5")),
            *(("Accept", "application/x-ndjson"), ("Accept", "text/html"), ("Accept", "")),
            *(("Last-Event-ID", "1"), ("Last-Event-ID", "x"), ("X-Request-ID", "mine")),
        ]
    ),
    max_size=2,
).map(tuple)
FEED_QUERIES = st.sampled_from(
    [
        *("", "?", "?after=0", "?limit=2", "?after=1&limit=2", "?limit=2&after=1", "?after=1&"),
        *("?limit=0", "?limit=10000", "?limit=10001", "?limit=x", "?limit=", "?after="),
        *("?after=1&after=2", "?&limit=2", "?after=1limit=2", "?after=1&&limit=2", "?after=%31"),
        *(f"?after={10**18}", f"?after={10**17}", "?after=01", "?direction=backward&limit=1"),
        *("?aggregate_type=Order", "?limit=+2", "?after=1%26limit=2", "?unknown=1", "?%ff=1"),
        *("?after=-1", "?limit=2&limit=3"),
    ]
)
LOAD_QUERIES = st.sampled_from(["", "", "?", "?at_version=1", "?snapshot=false", "?unknown=1"])
APPEND_QUERIES = st.sampled_from(["", "", "", "?", "?include=conflicting_events", "?include=x"])

ASKS = st.one_of(
    st.builds(
        lambda a, b, query, headers, body: Ask(
            "POST", f"/v1/aggregates/{a}/{b}/events{query}", headers, body
        ),
        *(NAMES, NAMES, APPEND_QUERIES, APPEND_HEADERS, BODIES),
    ),
    st.builds(
        lambda a, b, query, headers: Ask("GET", f"/v1/aggregates/{a}/{b}{query}", headers),
        *(NAMES, NAMES, LOAD_QUERIES, READ_HEADERS),
    ),
    st.builds(
        lambda query, headers: Ask("GET", f"/v1/events{query}", headers),
        *(FEED_QUERIES, READ_HEADERS),
    ),
    st.builds(
        lambda method, target: Ask(method, target),  # noqa: PLW0108 - without a body
        st.sampled_from(["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
        st.sampled_from(["/v1/events", "/v1/aggregates/Order/o", "/v1/aggregates/Order/o/events"]),
    ),
)
# Two to work with, in every example.
FIRST = [
    Ask("POST", "/v1/aggregates/Order/o/events", (), append_body(expected_version=0)),
    Ask("POST", "/v1/aggregates/Order/o/events", (), append_body()),
    Ask("GET", "/v1/aggregates/Order/o"),
    Ask("GET", "/v1/aggregates/Order/absent"),
    Ask("GET", "/v1/events?after=0&limit=1", (("Accept", "application/json"),)),
]


@pytest.fixture(scope="module")
def both_ways(
    postgres_host: str, template_database: str
) -> Iterator[tuple[HTTPConnection, HTTPConnection]]:
    """Clients of a service, and of one that has only the long way, each on its own store."""

    def straight_on(app: ASGIApp) -> ASGIApp:
        return app

    def take_nothing(*_: object) -> None:
        return None

    with ExitStack() as stack:
        clients = []
        for name, way, take in (
            ("short_way", ShortWay, DirectAppends.take),
            ("long_way", straight_on, take_nothing),
        ):
            store = stack.enter_context(lasting_database(postgres_host, template_database, name))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(main, "ShortWay", way)
                patch.setattr(DirectAppends, "take", take)
                url = stack.enter_context(running_service(store))
            clients.append(stack.enter_context(closing(client_of(url))))
        yield clients[0], clients[1]


def answer_of(client: HTTPConnection, ask: Ask) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body; sent as it is, which most clients would not do."""
    client.putrequest(ask.method, ask.target, skip_accept_encoding=True)
    for name, value in (*ask.headers, ("Content-Length", str(len(ask.body)))):
        client.putheader(name, value)
    client.endheaders(ask.body)
    answer = client.getresponse()
    headers = sorted(
        (name, MADE_REQUEST_ID.sub("an id", value))
        for name, value in answer.getheaders()
        if name != "date"
    )
    return answer.status, headers, MADE_ID.sub(b"an id", answer.read())


def client_of(url: str) -> HTTPConnection:
    return HTTPConnection(url.removeprefix("http://"), timeout=60)


@settings(max_examples=100, deadline=None)
@given(st.lists(ASKS, min_size=1, max_size=6))
@example(FIRST)
def test_both_ways_give_the_same_answers(
    both_ways: tuple[HTTPConnection, HTTPConnection], asks: list[Ask]
) -> None:
    short_client, long_client = both_ways
    for ask in asks:
        assert answer_of(short_client, ask) == answer_of(long_client, ask), ask


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (Ask("POST", "/v1/aggregates/Order/o/events", (), append_body()), 201),
        (
            Ask(
                "POST",
                "/v1/aggregates/a%2Fb/%C3%A4/events",
                (
                    *(("If-None-Match", "*"), ("Idempotency-Key", "request 1")),
                    *(("X-Correlation-ID", IDS[0]), ("X-Causation-ID", IDS[1])),
                ),
                append_body(),
            ),
            201,
        ),
        (Ask("GET", "/v1/aggregates/Order/absent"), 404),
        (Ask("GET", "/v1/events"), 200),
        (Ask("GET", "/v1/events?after=0&limit=10"), 200),
        (Ask("GET", "/v1/events?limit=10", (("Accept", "application/json"),)), 200),
    ],
)
def test_plain_requests_go_the_short_way(
    shared_settings: Any, monkeypatch: pytest.MonkeyPatch, ask: Ask, status: int
) -> None:
    """What is usual is not slow: the framework is not asked at all."""
    create_api = main.create_api

    def without_routes(settings: Any) -> ASGIApp:
        api = create_api(settings)

        async def lifespan_only(scope: Scope, receive: Receive, send: Send) -> None:
            assert scope["type"] == "lifespan", "the request went the long way"
            await api(scope, receive, send)

        return lifespan_only

    monkeypatch.setattr(main, "create_api", without_routes)
    with running_service(shared_settings) as url, closing(client_of(url)) as client:
        assert answer_of(client, ask)[0] == status


def test_a_defect_on_the_short_way_is_a_problem_without_a_trace(
    shared_settings: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def defective(*_: object) -> None:
        raise ValueError("the cause")

    monkeypatch.setattr(short_way, "answer_load", defective)
    with running_service(shared_settings) as url, closing(client_of(url)) as client:
        assert_is_answered_as_a_defect(client, Ask("GET", "/v1/aggregates/Order/o"))
        assert_is_counted_as_a_defect(url, "load_aggregate")
    assert "ValueError: the cause" in capfd.readouterr().err


@pytest.mark.parametrize("where", ["requested_append", "answer_appended", "answer_attempt"])
def test_a_defect_on_the_way_of_an_append_is_a_problem_without_a_trace(
    shared_settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    def defective(*arguments: object) -> None:
        for argument in arguments:
            if isinstance(argument, Coroutine):
                argument.close()
        raise ValueError("the cause")

    monkeypatch.setattr(direct_appends, where, defective)
    # One that is refused is answered by another function.
    body = append_body(expected_version=7 if where == "answer_attempt" else None)
    path = f"/v1/aggregates/Order/{where}/events"
    with running_service(shared_settings) as url, closing(client_of(url)) as client:
        assert_is_answered_as_a_defect(client, Ask("POST", path, (), body))
        assert_is_counted_as_a_defect(url, "append_events")
    assert "ValueError: the cause" in caplog.text


def assert_is_answered_as_a_defect(client: HTTPConnection, ask: Ask) -> None:
    status, headers, body = answer_of(client, ask)
    assert status == 500
    assert ("content-type", "application/problem+json") in headers
    assert json.loads(body)["type"] == "/problems/unexpected-error"
    assert b"the cause" not in body


def assert_is_counted_as_a_defect(url: str, operation: str) -> None:
    with closing(client_of(url)) as client:
        told = Scrape(answer_of(client, Ask("GET", "/metrics"))[2].decode())
    answers = "eventstore_http_answers_total"
    assert told(answers, operation=operation, status_class="5xx") == 1
    assert told("eventstore_problems_total", kind="unexpected-error") == 1

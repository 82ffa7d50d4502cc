"""app.api.path_segments: names in paths, percent-decoded one by one."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from app.api.path_segments import RawPath, SegmentConvertor
from app.errors import InvalidInput
from app.metrics import Metrics

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(name=TEXT)
def test_every_name_survives_its_encoding(name: str) -> None:
    assert SegmentConvertor().convert(quote(name, safe="")) == name


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        ("", ""),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a+b", "a+b"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("%00", "\0"),
        ("%F0%9F%94%91", "🔑"),
    ],
)
def test_what_segments_mean(segment: str, name: str) -> None:
    assert SegmentConvertor().convert(segment) == name


@pytest.mark.parametrize("segment", ["%FF", "%C3", "%ED%A0%80", "%C0%80", "a%80b"])
def test_a_segment_that_is_no_utf8_is_refused(segment: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        SegmentConvertor().convert(segment)
    assert raised.value.place == "path"


async def receive_nothing() -> Message:
    raise AssertionError("nothing of the body was to be read")


async def call(scope: dict[str, Any]) -> tuple[list[Scope], list[Message]]:
    """The scopes that the application behind the middleware sees, and what is answered."""
    seen: list[Scope] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def send(message: Message) -> None:
        sent.append(message)

    await RawPath(app)(scope, receive_nothing, send)
    return seen, sent


async def test_the_path_is_routed_as_it_was_sent() -> None:
    scope = {
        "type": "http",
        "path": "/v1/a/b",
        "raw_path": b"/v1/a%2Fb",
        "query_string": b"after=%C3%A4&limit=1",
    }
    [seen], sent = await call(scope)
    assert seen["path"] == "/v1/a%2Fb"
    assert scope["path"] == "/v1/a/b"
    assert sent == []


@pytest.mark.parametrize("query", [b"after=%FF", b"a=1&b=%ED%A0%80", b"%C3=1"])
async def test_a_query_that_is_no_utf8_is_answered_at_once(query: bytes) -> None:
    metrics = Metrics()
    seen, sent = await call(
        {
            "type": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": query,
            "headers": [],
            "state": {"metrics": metrics},
        }
    )
    assert seen == []
    assert sent[0]["status"] == 422
    assert metrics.http_answers.numbers() == [(("other", "4xx"), 1)]
    assert metrics.problems.numbers() == [(("invalid-input",), 1)]


async def test_what_is_not_http_passes_through() -> None:
    scope = {"type": "lifespan"}
    seen, _ = await call(scope)
    assert seen == [scope]

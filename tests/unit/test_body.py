"""app.api.body: from bytes to structs, and what is told of those that are none."""

from types import SimpleNamespace

import msgspec
import pytest
from starlette.requests import Request

from app.api.bodies_in_flight import BODY_BYTES
from app.api.body import BodyTooLargeError, MalformedBodyError, decode_body, read_body
from app.api.schemas import AppendRequest
from app.errors import InvalidInput, UnstorableValue

DECODER = msgspec.json.Decoder(AppendRequest)
UNCOUNTED = {BODY_BYTES: SimpleNamespace(hold=lambda count, max_body_bytes: None)}
"""What the middleware gives to a request; test_bodies_in_flight.py has it count."""


def request_of(*chunks: bytes, headers: dict[str, str] | None = None) -> tuple[Request, list[int]]:
    """A request whose body comes in chunks; and the numbers of the chunks that were read."""
    read: list[int] = []

    async def receive() -> dict[str, object]:
        number = len(read)
        read.append(number)
        return {
            "type": "http.request",
            "body": chunks[number],
            "more_body": number + 1 < len(chunks),
        }

    scope = {
        "type": "http",
        "method": "POST",
        **UNCOUNTED,
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    return Request(scope, receive), read


@pytest.mark.parametrize("chunks", [(b"",), (b"12345678",), (b"1234", b"", b"5678")])
async def test_a_body_within_the_bound_is_read_whole(chunks: tuple[bytes, ...]) -> None:
    request, _ = request_of(*chunks)
    assert await read_body(request, 8) == b"".join(chunks)


@pytest.mark.parametrize("length", ["9", "999999999999999999999"])
async def test_a_declared_length_over_the_bound_is_refused_unread(length: str) -> None:
    request, read = request_of(b"1", headers={"content-length": length})
    with pytest.raises(BodyTooLargeError) as raised:
        await read_body(request, 8)
    assert raised.value.max_body_bytes == 8
    assert read == []


async def test_a_body_that_grows_over_the_bound_is_not_read_on() -> None:
    request, read = request_of(b"1234", b"5678", b"9", b"never", headers={"content-length": "8"})
    with pytest.raises(BodyTooLargeError):
        await read_body(request, 8)
    assert read == [0, 1, 2]


async def test_a_client_that_goes_away_is_no_defect() -> None:
    messages: list[dict[str, object]] = [
        {"type": "http.request", "body": b"12", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    request = Request({"type": "http", "method": "POST", "headers": [], **UNCOUNTED}, receive)
    with pytest.raises(MalformedBodyError):
        await read_body(request, 8)


def test_a_body_is_decoded_and_its_data_passed_through() -> None:
    body = b'{"events": [{"event_type": "a", "event_data": { "b":1.10 }}]}'
    decoded = decode_body(body, DECODER)
    assert bytes(decoded.events[0].event_data) == b'{ "b":1.10 }'
    assert decoded.expected_version is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b"\xff", b"\xef\xbb\xbf{}", b'{"events": [NaN', b'{"e\x00": 1}'],
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        decode_body(body, DECODER)


@pytest.mark.parametrize(
    ("body", "place", "reason"),
    [
        (b"[]", "$", "Expected `object`"),
        (b"{}", "$", "missing required field `events`"),
        (b'{"events": []}', "$.events", "length >= 1"),
        (b'{"events": [], "x": 1}', "$.events", "length >= 1"),
        (b'{"x": 1}', "$", "unknown field `x`"),
        (b'{"x - at `y`": 1}', "$", "unknown field `x - at `y``"),
        (b'{"events": [{"x - at `$.y`": 1}]}', "$.events[0]", "unknown field `x - at `$.y``"),
        (b'{"events": [{"event_type": 1}]}', "$.events[0].event_type", "Expected `str`"),
    ],
)
def test_another_shape_is_refused_with_place_and_reason(
    body: bytes, place: str, reason: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_body(body, DECODER)
    assert raised.value.place == place
    assert reason in raised.value.reason


def test_half_of_a_surrogate_pair_is_json_that_cannot_be_stored() -> None:
    body = b'{"events": [{"event_type": "\\ud800", "event_data": {}}]}'
    with pytest.raises(UnstorableValue) as raised:
        decode_body(body, DECODER)
    assert raised.value.place == "$.events[0].event_type"


@pytest.mark.parametrize("depth", [1_500, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    data = b'{"a":' * depth + b"1" + b"}" * depth
    body = b'{"events": [{"event_type": "a", "event_data": %b}]}' % data
    with pytest.raises(InvalidInput, match="deep"):
        decode_body(body, DECODER)

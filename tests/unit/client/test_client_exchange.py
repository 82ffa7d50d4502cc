import asyncio
import inspect
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.client import (
    AsyncEventStoreClient,
    AsyncProjection,
    EventStoreClient,
    NewEvent,
    Projection,
    errors,
)
from app.client.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_waiting")

APPENDED = {
    "aggregate_type": "Order",
    "aggregate_id": "1",
    "version": 1,
    "events": [],
    "snapshot_due": False,
}
Outcome = httpx.Response | Exception


class Client:
    """Both clients on the same answers, one after the other, called the same way."""

    def __init__(self, *outcomes: Outcome, **options: Any) -> None:
        self._outcomes = outcomes
        self._options = options
        self.requests: list[httpx.Request] = []

    def call(self, operation: str, *arguments: object, **options: object) -> Any:
        results: list[Any] = []
        sync = EventStoreClient(
            "http://store/", http=httpx.Client(transport=self._transport()), **self._options
        )
        results.append(outcome_of(lambda: getattr(sync, operation)(*arguments, **options)))

        async def call_async() -> Any:
            async with httpx.AsyncClient(transport=self._transport()) as http:
                client = AsyncEventStoreClient("http://store/", http=http, **self._options)
                return await getattr(client, operation)(*arguments, **options)

        results.append(outcome_of(lambda: asyncio.run(call_async())))
        one, other = results
        if isinstance(one, Exception):
            assert (type(one), str(one)) == (type(other), str(other))
            raise one
        assert one == other
        return one

    def _transport(self) -> httpx.MockTransport:
        waiting = iter(self._outcomes)
        self.requests = []

        def answer(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            outcome = next(waiting)
            if isinstance(outcome, Exception):
                raise outcome
            return httpx.Response(
                outcome.status_code, headers=outcome.headers, content=outcome.content
            )

        return httpx.MockTransport(answer)


def outcome_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - compared
        return error


def problem(status: int, kind: str, **members: object) -> httpx.Response:
    return httpx.Response(status, json={"type": f"/problems/{kind}", "title": kind, **members})


def test_what_may_pass_is_tried_again() -> None:
    client = Client(
        httpx.Response(503),
        httpx.ReadError("gone"),
        httpx.ConnectError("no"),
        httpx.Response(200),
    )
    assert client.call("request", "GET", "v1").repeated
    assert len(client.requests) == 4


def test_an_append_is_tried_again_with_the_same_ids() -> None:
    client = Client(
        httpx.ReadError("gone"), problem(503, "outcome-unknown"), httpx.Response(200, json=APPENDED)
    )
    events = [NewEvent("a", {"n": Decimal("1.10")}), NewEvent("b")]
    correlation_id = uuid4()
    client.call("append", "Order", "1", events, expected_version=0, correlation_id=correlation_id)
    bodies = [request.content for request in client.requests]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert b'"event_data":{"n":1.10}' in bodies[0]
    sent = json.loads(bodies[0])
    assert [event["event_id"] for event in sent["events"]] == [str(e.event_id) for e in events]
    assert sent["expected_version"] == 0
    assert client.requests[0].headers["x-correlation-id"] == str(correlation_id)


def test_what_does_not_pass_is_not_tried_again() -> None:
    client = Client(problem(409, "version-conflict", actual_version=7))
    with pytest.raises(errors.VersionConflict) as caught:
        client.call("append", "Order", "1", [NewEvent("a")], expected_version=0)
    assert caught.value.actual_version == 7
    client = Client(httpx.Response(500))
    with pytest.raises(errors.Refused, match="HTTP status 500"):
        client.call("feed_status")


def test_giving_up_tells_the_last_trouble() -> None:
    client = Client(httpx.Response(503, json={"title": "Database busy"}), retry_for_s=0)
    with pytest.raises(Unavailable, match=r"^gave up after 0 s: Database busy$"):
        client.call("request", "GET")


def test_a_wait_that_is_over_is_no_trouble() -> None:
    client = Client(problem(504, "position-not-reached", wait_for=7, last_processed_position=None))
    with pytest.raises(errors.PositionNotReached):
        client.call("get_position", "totals", wait_for=7, wait_s=3)
    assert dict(client.requests[0].url.params) == {"wait_for": "7", "timeout": "3"}
    assert client.requests[0].extensions["timeout"]["read"] == 63


GONE = httpx.ReadError("gone")
REPEATED: list[tuple[str, tuple[object, ...], httpx.Response]] = [
    ("delete_snapshot", ("Order", "1"), problem(404, "snapshot-not-found")),
    ("delete_position", ("totals",), problem(404, "projection-not-found")),
    ("save_position", ("totals", 7), problem(409, "position-conflict", last_processed_position=7)),
]


@pytest.mark.parametrize(("operation", "arguments", "refusal"), REPEATED)
def test_a_repetition_that_finds_it_done_has_done_it(
    operation: str, arguments: tuple[object, ...], refusal: httpx.Response
) -> None:
    assert Client(GONE, refusal).call(operation, *arguments) is None
    with pytest.raises(errors.Refused):
        Client(refusal).call(operation, *arguments)


def test_a_repetition_that_finds_another_position_is_refused() -> None:
    other = problem(409, "position-conflict", last_processed_position=8)
    with pytest.raises(errors.PositionConflict) as caught:
        Client(GONE, other).call("save_position", "totals", 7)
    assert caught.value.last_processed_position == 8


def test_trouble_is_told_and_may_end_the_attempts() -> None:
    told: list[tuple[str, int]] = []

    def tell(error: Unavailable, failures: int) -> None:
        told.append((type(error).__name__, failures))
        if failures == 2:
            raise InterruptedError

    client = Client(httpx.ConnectError("no"), GONE, on_trouble=tell)
    with pytest.raises(InterruptedError):
        client.call("feed_status")
    assert told == [("Unreachable", 1), ("ConnectionLost", 2)] * 2


@pytest.mark.parametrize("hook", [None, Decimal])
def test_numbers_are_floats_unless_said_otherwise(hook: Callable[[str], Any] | None) -> None:
    numbers = '{"a":1.10,"b":12345678901234567890123}'
    snapshot = f'{{"version":1,"created_at":"2026-11-24T02:00:00Z","state":{numbers}}}'
    client = Client(httpx.Response(200, text=snapshot), float_hook=hook)
    state = client.call("get_snapshot", "Order", "1").state
    fraction = "Decimal('1.10')" if hook else "1.1"
    assert str(state) == f"{{'a': {fraction}, 'b': 12345678901234567890123}}"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"version": "1"}', b"\xff"])
def test_an_answer_that_is_none_is_told(body: bytes) -> None:
    with pytest.raises(errors.BadAnswer, match="not that of an event store"):
        Client(httpx.Response(200, content=body)).call("load", "Order", "1")


@pytest.mark.parametrize(
    ("one", "other"),
    [(EventStoreClient, AsyncEventStoreClient), (Projection, AsyncProjection)],
)
def test_both_kinds_have_the_same_operations_with_the_same_parameters(
    one: type, other: type
) -> None:
    def operations(kind: type) -> dict[str, list[tuple[str, object]]]:
        return {
            name: [
                (parameter.name, parameter.default)
                for parameter in inspect.signature(method).parameters.values()
                if parameter.name != "pause"
            ]
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    ours, theirs = operations(one), operations(other)
    if "aclose" in theirs:
        theirs["close"] = theirs.pop("aclose")
    assert ours == theirs

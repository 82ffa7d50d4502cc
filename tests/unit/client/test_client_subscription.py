import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain, islice, repeat
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client import AsyncEventStoreClient, Checkpoint, Event, EventStoreClient, errors
from app.client.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_waiting")

STORE = UUID("0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e0f")
EVENT_TEXT = (
    '{"event_id":"0190d6f4-1c2b-7a3e-8d4f-5a6b7c8d9e10","aggregate_type":"T","aggregate_id":"1",'
    '"version":1,"event_type":"e","event_data":{},"metadata":null,'
    '"occurred_at":"2026-11-24T02:00:00.000000Z","correlation_id":null,"causation_id":null,'
    '"global_position":%d}'
)


def event_frame(position: int) -> bytes:
    return b"id: %d\ndata: %b\n\n" % (position, (EVENT_TEXT % position).encode())


def checkpoint_frame(position: int, store_id: UUID = STORE) -> bytes:
    data = msgspec.json.encode({"safe_position": position, "store_id": store_id})
    return b"id: %d\nevent: checkpoint\ndata: %b\n\n" % (position, data)


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The bytes of an answer in chunks; then its end, or an error in place of it."""

    def __init__(self, chunks: list[bytes], error: Exception | None = None) -> None:
        self._chunks = chunks
        self._error = error
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._error:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


class Feed:
    """A feed of events and checkpoints whose connections break wherever a test wants it.

    ``breaks``: for each connection after how many bytes, cut into chunks of which size, and whether
    with an error. ``frames``: what is told at each position.
    """

    def __init__(
        self, frames: dict[int, bytes], breaks: Iterator[tuple[int, int, bool]] | None = None
    ) -> None:
        self.frames = frames
        self.breaks = repeat((10**9, 10**9, False)) if breaks is None else breaks
        self.requests: list[httpx.Request] = []
        self.bodies: list[Body] = []
        self.instead: list[httpx.Response | Exception] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.instead:
            outcome = self.instead.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        after = int(request.headers.get("last-event-id", request.url.params["after"]))
        told = b"retry: 1000\n\n" + b"".join(
            frame for position, frame in sorted(self.frames.items()) if position > after
        )
        length, size, fails = next(self.breaks)
        told = told[:length]
        chunks = [told[start : start + size] for start in range(0, len(told), size)]
        body = Body(chunks, httpx.ReadError("gone") if fails else None)
        self.bodies.append(body)
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        return httpx.Response(200, headers=headers, stream=body)

    def follow(self, items: int, **options: Any) -> list[Any]:
        """The first items that both kinds of client get, one after the other."""
        with (
            EventStoreClient("http://store", http=httpx.Client(transport=self._transport())) as one,
            one.subscribe(**options) as subscription,
        ):
            found = list(islice(subscription, items))
        assert all(body.is_closed for body in self.bodies)
        return found

    async def follow_async(self, items: int, **options: Any) -> list[Any]:
        async with httpx.AsyncClient(transport=self._transport()) as http:
            client = AsyncEventStoreClient("http://store", http=http)
            async with client.subscribe(**options) as subscription:
                found = [await anext(subscription) for _ in range(items)]
        assert all(body.is_closed for body in self.bodies)
        return found

    def _transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)


def follow(make: Callable[[], Feed], items: int, **options: Any) -> tuple[Feed, list[Any]]:
    """What both kinds of client do with the same feed."""
    one, other = make(), make()
    found = outcome_of(lambda: one.follow(items, **options))
    found_async = outcome_of(lambda: asyncio.run(other.follow_async(items, **options)))
    if isinstance(found, Exception):
        assert (type(found), str(found)) == (type(found_async), str(found_async))
        raise found
    assert found == found_async
    assert [str(request.url) for request in one.requests] == [
        str(request.url) for request in other.requests
    ]
    return one, found


def outcome_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - compared
        return error


def places(items: list[Event | Checkpoint]) -> list[tuple[str, int]]:
    return [
        ("event", item.global_position)
        if isinstance(item, Event)
        else ("checkpoint", item.safe_position)
        for item in items
    ]


histories = st.lists(st.sampled_from(["event", "event", "checkpoint", "hole"]), max_size=12)
breaks = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=3000),
        st.integers(min_value=1, max_value=500),
        st.booleans(),
    ),
    max_size=8,
)


@given(histories, breaks)
def test_wherever_connections_break_each_item_comes_once(
    history: list[str], breaks: list[tuple[int, int, bool]]
) -> None:
    made = {"event": event_frame, "checkpoint": checkpoint_frame}
    told = [(kind, position) for position, kind in enumerate(history, start=1) if kind != "hole"]
    told.append(("event", len(history) + 1))
    frames = {position: made[kind](position) for kind, position in told}

    def make() -> Feed:
        return Feed(frames, chain(breaks, repeat((10**9, 100, False))))

    assert places(follow(make, len(told), checkpoints=True)[1]) == told
    events = [place for place in told if place[0] == "event"]
    assert places(follow(make, len(events))[1]) == events


def test_it_comes_back_for_the_same_store_behind_what_it_has_seen() -> None:
    frames = {5: event_frame(5), 6: checkpoint_frame(6), 7: event_frame(7), 8: event_frame(8)}
    up_to_checkpoint = len(b"retry: 1000\n\n" + frames[5] + frames[6])

    def make() -> Feed:
        return Feed(
            frames,
            iter([(60, 10**9, True), (up_to_checkpoint, 10**9, False), (10**9, 10**9, False)]),
        )

    feed, found = follow(make, 3, after=4, aggregate_type=["T", "U"], aggregate_id="1")
    assert places(found) == [("event", 5), ("event", 7), ("event", 8)]
    first, second, third = feed.requests
    assert first.headers["accept"] == "text/event-stream"
    assert first.url.params.multi_items() == [
        ("aggregate_type", "T"),
        ("aggregate_type", "U"),
        ("aggregate_id", "1"),
        ("after", "4"),
    ]
    assert "last-event-id" not in first.headers
    assert "last-event-id" not in second.headers
    assert third.headers["last-event-id"] == "6"
    assert third.url.params["store_id"] == str(STORE)
    assert {request.extensions["timeout"]["read"] for request in feed.requests} == {45}


def test_an_event_that_comes_again_is_left_out() -> None:
    frames = {1: event_frame(1), 2: event_frame(1) + event_frame(2)}
    assert places(follow(lambda: Feed(frames), 2)[1]) == [("event", 1), ("event", 2)]


def problem(status: int, kind: str, **members: object) -> httpx.Response:
    return httpx.Response(status, json={"type": f"/problems/{kind}", "title": kind, **members})


def test_trouble_is_waited_out() -> None:
    def make() -> Feed:
        feed = Feed({1: event_frame(1)})
        feed.instead = [
            httpx.ConnectError("no"),
            problem(503, "too-many-subscribers", max_subscribers=1000),
            httpx.ReadTimeout("dead"),
        ]
        return feed

    assert places(follow(make, 1)[1]) == [("event", 1)]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            problem(409, "store-changed", store_id=str(uuid4()), expected_store_id=str(STORE)),
            errors.StoreChanged,
        ),
        (problem(422, "invalid-input", errors=[]), errors.InvalidInput),
        (httpx.Response(200, json={"events": []}), errors.BadAnswer),
        (httpx.Response(500), errors.Refused),
    ],
)
def test_a_refusal_ends_it(answer: httpx.Response, kind: type[Exception]) -> None:
    def make() -> Feed:
        feed = Feed({1: event_frame(1)})
        feed.instead = [
            httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        ]
        return feed

    with pytest.raises(kind):
        follow(make, 1)


@pytest.mark.parametrize("frame", [b"data: {}\n\n", b"id: 1\ndata: {}\n\n", b"id: x\ndata: 1\n\n"])
def test_what_is_no_event_ends_it(frame: bytes) -> None:
    with pytest.raises(errors.BadAnswer):
        follow(lambda: Feed({1: frame}), 1)


def test_delays_grow_until_something_comes() -> None:
    failures = []

    def note(_: Unavailable, failed: int) -> None:
        failures.append(failed)

    one_event = len(b"retry: 1000\n\n" + event_frame(1))
    breaks = iter([(0, 1, True), (20, 1, True), (one_event, 10, True), (10**9, 10**9, False)])
    feed = Feed({1: event_frame(1), 2: event_frame(2)}, breaks)
    http = httpx.Client(transport=httpx.MockTransport(feed.answer))
    client = EventStoreClient("http://store", http=http, on_trouble=note)
    with client.subscribe() as subscription:
        assert places(list(islice(subscription, 2))) == [("event", 1), ("event", 2)]
    assert failures == [1, 2, 1]


def test_raw_events_are_the_text_that_was_sent() -> None:
    feed = Feed({1: event_frame(1), 2: checkpoint_frame(2), 3: event_frame(3)})
    client = EventStoreClient(
        "http://store", http=httpx.Client(transport=httpx.MockTransport(feed.answer))
    )
    with client.subscribe_raw() as subscription:
        assert list(islice(subscription, 2)) == [
            (EVENT_TEXT % position).encode() for position in (1, 3)
        ]
        assert subscription.store_id == STORE


class Waiting(Body):
    """Has two events, and then nothing to tell for ever."""

    def __init__(self) -> None:
        super().__init__([])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield event_frame(1) + event_frame(2)
        await asyncio.sleep(3600)


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    feed = Feed({n: event_frame(n) for n in range(1, 6)})
    bodies: list[Body] = [Waiting()]

    def answer(request: httpx.Request) -> httpx.Response:
        if bodies:
            return httpx.Response(
                200, headers={"content-type": "text/event-stream"}, stream=bodies.pop()
            )
        return feed.answer(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = AsyncEventStoreClient("http://store", http=http)
        async with client.subscribe() as subscription:
            found = [await anext(subscription) for _ in range(2)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(subscription)
            found += [await anext(subscription) for _ in range(3)]
        assert [event.global_position for event in found] == [1, 2, 3, 4, 5]
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)


def test_closing_ends_the_iteration_at_once_even_between_events() -> None:
    feed = Feed({n: event_frame(n) for n in range(1, 6)})
    client = EventStoreClient(
        "http://store", http=httpx.Client(transport=httpx.MockTransport(feed.answer))
    )
    subscription = client.subscribe()
    found = []
    for event in subscription:
        found.append(event.global_position)
        if event.global_position == 2:
            subscription.close()
    assert found == [1, 2]
    assert all(body.is_closed for body in feed.bodies)

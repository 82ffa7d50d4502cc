"""app.api.bodies_in_flight: how many bytes of bodies are held at once, and for how long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.bodies_in_flight import MAX_BODIES, BodiesInFlight, BodyBudget
from app.api.body import BodyTooLargeError, MalformedBodyError, read_body
from app.errors import ServiceBusy

MAX_BODY_BYTES = 10


class Client:
    """A client that sends its body bit by bit, and gets its answer when it is told to."""

    def __init__(self, app: ASGIApp, budget: BodyBudget, headers: dict[bytes, bytes]) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self.may_be_answered = asyncio.Event()
        self.refusal: Exception | None = None
        scope = {
            "type": "http",
            "method": "POST",
            "headers": [*headers.items()],
            "client": self,
            "state": {"body_budget": budget},
        }
        self.answer = asyncio.ensure_future(app(scope, self._messages.get, ignore))

    async def sends(self, part: bytes, *, more_body: bool = True) -> None:
        self._messages.put_nowait({"type": "http.request", "body": part, "more_body": more_body})
        await self._settled()

    async def sends_all(self, body: bytes) -> None:
        await self.sends(body, more_body=False)

    async def goes_away(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})
        await self._settled()

    async def is_answered(self) -> None:
        self.may_be_answered.set()
        await self.answer

    async def _settled(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def ignore(_: Message) -> None:
    """Where answers go."""


async def endpoint(scope: Scope, receive: Receive, _: Send) -> None:
    client: Client = scope["client"]
    try:
        await read_body(Request(scope, receive), MAX_BODY_BYTES)
    except (ServiceBusy, BodyTooLargeError, MalformedBodyError) as error:
        client.refusal = error
    await client.may_be_answered.wait()


NewClient = Callable[..., Client]


@asynccontextmanager
async def service() -> AsyncIterator[NewClient]:
    app, budget = BodiesInFlight(endpoint), BodyBudget()
    clients: list[Client] = []

    def client(headers: dict[bytes, bytes] | None = None) -> Client:
        clients.append(Client(app, budget, headers or {}))
        return clients[-1]

    yield client
    for each in clients:
        each.answer.cancel()
    await asyncio.gather(*(each.answer for each in clients), return_exceptions=True)


@pytest.fixture
async def client() -> AsyncIterator[NewClient]:
    async with service() as client:
        yield client


async def fill(client: NewClient) -> list[Client]:
    """Let as many clients as are allowed have a whole body at the service, unanswered."""
    clients = [client() for _ in range(MAX_BODIES)]
    for each in clients:
        await each.sends_all(b"x" * MAX_BODY_BYTES)
    assert [each.refusal for each in clients] == [None] * MAX_BODIES
    return clients


async def assert_is_full(client: NewClient) -> None:
    refused = client()
    await refused.sends(b"x")
    assert isinstance(refused.refusal, ServiceBusy)


async def assert_is_empty(client: NewClient) -> None:
    await fill(client)
    await assert_is_full(client)


async def test_bodies_within_the_bound_are_accepted_and_a_byte_more_is_refused(
    client: NewClient,
) -> None:
    await fill(client)
    await assert_is_full(client)


async def test_a_body_that_grows_over_the_bound_gives_back_what_it_held_before_it_is_answered(
    client: NewClient,
) -> None:
    full = await fill(client)
    await full[0].is_answered()
    growing = client()
    await growing.sends(b"x" * 6)
    other = client()
    await other.sends(b"x" * 4)
    await growing.sends(b"x")
    assert isinstance(growing.refusal, ServiceBusy)
    await other.sends(b"x" * 6)
    assert other.refusal is None
    await assert_is_full(client)
    await growing.is_answered()
    await assert_is_full(client)


async def test_what_is_only_declared_takes_no_room(client: NewClient) -> None:
    for _ in range(2 * MAX_BODIES):
        client({b"content-length": b"%d" % MAX_BODY_BYTES})
    await asyncio.sleep(0)
    await assert_is_empty(client)


async def test_an_answered_request_gives_its_room_back(client: NewClient) -> None:
    for each in await fill(client):
        await each.is_answered()
    await assert_is_empty(client)


async def test_a_client_that_goes_away_gives_its_room_back(client: NewClient) -> None:
    for _ in range(MAX_BODIES):
        leaving = client()
        await leaving.sends(b"x" * MAX_BODY_BYTES)
        await leaving.goes_away()
        assert isinstance(leaving.refusal, MalformedBodyError)
        await leaving.is_answered()
    await assert_is_empty(client)


async def test_a_body_that_is_refused_gives_its_room_back(client: NewClient) -> None:
    for _ in range(MAX_BODIES):
        refused = client()
        await refused.sends(b"x" * MAX_BODY_BYTES)
        await refused.sends(b"x")
        assert isinstance(refused.refusal, BodyTooLargeError)
        await refused.is_answered()
    await assert_is_empty(client)


async def test_a_request_that_is_cancelled_gives_its_room_back(client: NewClient) -> None:
    for each in await fill(client):
        each.answer.cancel()
    await asyncio.sleep(0)
    await assert_is_empty(client)


async def test_each_application_counts_for_itself(client: NewClient) -> None:
    await fill(client)
    async with service() as other:
        await assert_is_empty(other)

"""Clients that append in every way, repeat until they are answered, and keep account of it."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from tests.acceptance.bare_client import BareClient
from tests.factories import Aggregate

AGGREGATE_TYPE = "Chaos"
SHARED = [Aggregate(AGGREGATE_TYPE, f"shared-{number}") for number in range(4)]
MAX_EVENTS = 5
APPENDS_OF_AN_AGGREGATE = 12
PATIENCE_S = 60
# How long a client waits before it sends a request again.
BACK_OFF_S = 0.02

Append = dict[str, Any]


class Place(NamedTuple):
    """Where an event is."""

    event_id: str
    aggregate_id: str
    version: int
    global_position: int


class Request(NamedTuple):
    """A request that can be sent again as it is."""

    path: str
    body: Append
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    status: int
    body: Any


class NotSent(Exception):
    """There was nobody to send the request to."""


class Cut(Exception):
    """The connection broke while the client waited for its answer."""


@dataclass
class Ledger:
    """What all clients together were told of their events, each known by the mark in its data."""

    acknowledged: dict[str, Place] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    # Of appends that cannot be repeated, and whose answers were lost: all of one, or none of it.
    unclear: list[list[str]] = field(default_factory=list)
    requests: int = 0
    repeated: int = 0
    # Requests that were repeated, and turned out to have been stored the first time.
    found_stored: int = 0
    cut: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def unavailable(self) -> int:
        """Answers that told the client to come again."""
        return sum(count for slug, count in self.answers.items() if slug.startswith("503 "))

    def acknowledge(self, append: Append, aggregate_id: str, answer: Any) -> None:
        """Note what was told of one append; what was told of it before must not differ."""
        assert answer["aggregate_id"] == aggregate_id
        assert len(answer["events"]) == len(append["events"])
        first = answer["version"] - len(answer["events"]) + 1
        position = 0
        for ordinal, (sent, told) in enumerate(
            zip(append["events"], answer["events"], strict=True)
        ):
            mark = sent["event_data"]["mark"]
            place = Place(told["event_id"], aggregate_id, told["version"], told["global_position"])
            assert place.event_id == sent.get("event_id", place.event_id)
            assert place.version == first + ordinal
            assert place.global_position > position
            assert self.acknowledged.setdefault(mark, place) == place
            position = place.global_position

    def refuse(self, *appends: Append) -> None:
        self.refused.update(mark for append in appends for mark in marks(append))


class ChaosClient:
    """One client with a connection of its own, aggregates of its own, and a chance of its own."""

    def __init__(self, url: str, seed: str, ledger: Ledger) -> None:
        self._address = url.removeprefix("http://").split(":")
        self._random = random.Random(seed)
        self._ledger = ledger
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._own = self._new_aggregate()
        self._version = 0
        self._left = APPENDS_OF_AN_AGGREGATE
        self._existing: list[Aggregate] = []
        self._last: tuple[Request, Any] | None = None
        self._kinds: dict[Callable[[], Awaitable[None]], int] = {
            self.append_at_the_expected_version: 40,
            self.append_to_a_shared_aggregate: 30,
            self.append_without_ids: 8,
            self.append_to_two_aggregates: 6,
            self.append_at_a_stale_version: 4,
            self.append_what_cannot_be_stored: 4,
            self.append_with_a_taken_id: 2,
            self.append_to_two_aggregates_at_a_stale_version: 2,
            self.repeat_what_was_acknowledged: 4,
        }

    async def run(self, end: asyncio.Event) -> None:
        """Append until the end."""
        kinds, weights = list(self._kinds), list(self._kinds.values())
        try:
            while not end.is_set():
                [kind] = self._random.choices(kinds, weights)
                await kind()
        finally:
            await self._disconnect()

    async def append_at_the_expected_version(self) -> None:
        """Go on with an aggregate that nobody else writes, so that nothing but success is right."""
        append = self._new_append(ids=True)
        answer = await self._until_stored(self._request(self._own, append, self._version))
        assert answer["version"] == self._version + len(append["events"])
        self._ledger.acknowledge(append, self._own.id, answer)
        self._go_on(answer["version"])

    async def append_to_a_shared_aggregate(self) -> None:
        """Append at any version, or at any but none, to an aggregate that all clients write."""
        shared, append = self._random.choice(SHARED), self._new_append(ids=True)
        request = self._request(shared, append)
        if shared in self._existing and self._random.random() < 0.2:
            request = request._replace(headers={"If-Match": "*"})
        self._ledger.acknowledge(append, shared.id, await self._until_stored(request))
        self._existing.append(shared)

    async def append_without_ids(self) -> None:
        """Append what only the service gives ids: repeated only as far as that is safe."""
        shared, append = self._random.choice(SHARED), self._new_append(ids=False)
        request = self._request(shared, append)
        self._ledger.requests += 1
        while True:
            try:
                answer = await self._try(request)
            except NotSent:
                pass
            except Cut:
                self._ledger.unclear.append(marks(append))
                return
            else:
                if answer.status == 201:
                    self._ledger.acknowledge(append, shared.id, answer.body)
                    return
                assert answer.status == 503, answer
                if answer.body.get("outcome") == "unknown":
                    # With the ids that the answer tells, the append is safe to repeat.
                    ids = answer.body["event_ids"]
                    events = [
                        {**event, "event_id": event_id}
                        for event, event_id in zip(append["events"], ids, strict=True)
                    ]
                    stored = await self._until_stored(self._request(shared, {"events": events}))
                    self._ledger.acknowledge({"events": events}, shared.id, stored)
                    return
                # Nothing was stored, or the event will be found twice.
            await asyncio.sleep(BACK_OFF_S)

    async def append_to_two_aggregates(self) -> None:
        """Append to the own and to a shared aggregate in one transaction, in any order."""
        appends = [
            self._part(self._own, expected_version=self._version),
            self._part(self._random.choice(SHARED)),
        ]
        self._random.shuffle(appends)
        answer = await self._until_stored(Request("/v1/transactions", {"appends": appends}))
        for append, told in zip(appends, answer["appends"], strict=True):
            self._ledger.acknowledge(append, append["aggregate_id"], told)
            if append["aggregate_id"] == self._own.id:
                assert told["version"] == self._version + len(append["events"])
                self._go_on(told["version"])

    async def append_at_a_stale_version(self) -> None:
        """Append where the aggregate was, or is not yet: refused."""
        append = self._new_append(ids=True)
        request = self._request(self._own, append, self._stale_version())
        answer = await self._until_refused(request, 412 if request.headers else 409)
        assert answer["type"].endswith("/version-conflict")
        assert answer["actual_version"] == self._version
        self._ledger.refuse(append)

    async def append_to_two_aggregates_at_a_stale_version(self) -> None:
        """Let the second append of a transaction be refused, and with it the first."""
        appends = [
            self._part(self._random.choice(SHARED)),
            self._part(self._own, expected_version=self._stale_version()),
        ]
        answer = await self._until_refused(Request("/v1/transactions", {"appends": appends}), 409)
        assert answer["append_index"] == 1
        self._ledger.refuse(*appends)

    async def append_what_cannot_be_stored(self) -> None:
        """Append a value that only the database finds out about, so that it spoils its batch."""
        append = self._new_append(ids=True)
        self._random.choice(append["events"])["event_data"]["nul"] = "\0"
        aggregate = self._random.choice([self._own, *SHARED])
        await self._until_refused(self._request(aggregate, append), 422)
        self._ledger.refuse(append)

    async def append_with_a_taken_id(self) -> None:
        """Append another event under the id of one that is stored."""
        if self._last is None:
            return
        _, told = self._last
        append = self._new_append(ids=True)
        append["events"][0]["event_id"] = told["events"][0]["event_id"]
        answer = await self._until_refused(self._request(self._own, append), 409)
        assert answer["type"].endswith("/event-id-conflict")
        self._ledger.refuse(append)

    async def repeat_what_was_acknowledged(self) -> None:
        """Append what is stored already: told what was told the first time."""
        if self._last is None:
            return
        request, told = self._last
        answer = await self._until_answered(request)
        assert answer.status == 200, answer
        assert answer.body["events"] == told["events"]

    def _go_on(self, version: int) -> None:
        """Note where the own aggregate is, and take up a new one now and then."""
        self._version = version
        self._left -= 1
        if self._left == 0:
            self._own, self._version = self._new_aggregate(), 0
            self._left = APPENDS_OF_AN_AGGREGATE

    def _stale_version(self) -> int:
        return self._version + 1 if self._version == 0 else self._version - 1

    def _new_aggregate(self) -> Aggregate:
        return Aggregate(AGGREGATE_TYPE, f"own-{uuid4()}")

    def _new_append(self, *, ids: bool) -> Append:
        name, events = str(uuid4()), []
        for _ in range(self._random.randint(1, MAX_EVENTS)):
            mark = str(uuid4())
            event = {"event_type": "Tried", "event_data": {"mark": mark, "request": name}}
            events.append({**event, "event_id": mark} if ids else event)
        return {"events": events}

    def _part(self, aggregate: Aggregate, **members: Any) -> Append:
        """One append of a transaction."""
        return {
            "aggregate_type": aggregate.type,
            "aggregate_id": aggregate.id,
            **members,
            **self._new_append(ids=True),
        }

    def _request(
        self, aggregate: Aggregate, append: Append, expected_version: int | None = None
    ) -> Request:
        """An append; what it expects is said in the body or, now and then, by a header."""
        if expected_version is None:
            return Request(aggregate.events_path, append)
        if self._random.random() < 0.8:
            body = {"expected_version": expected_version, **append}
            return Request(aggregate.events_path, body)
        header = (
            {"If-Match": f'"{expected_version}"'} if expected_version else {"If-None-Match": "*"}
        )
        return Request(aggregate.events_path, append, header)

    async def _until_stored(self, request: Request) -> Any:
        answer = await self._until_answered(request)
        assert answer.status in {200, 201}, answer
        if "events" in answer.body:
            self._last = request, answer.body
        return answer.body

    async def _until_refused(self, request: Request, status: int) -> Any:
        answer = await self._until_answered(request)
        assert answer.status == status, (status, answer)
        return answer.body

    async def _until_answered(self, request: Request) -> Answer:
        """Send the very same request until there is an answer, whatever becomes of the service."""
        self._ledger.requests += 1
        is_repeated = False
        while True:
            with suppress(NotSent, Cut):
                answer = await self._try(request)
                if answer.status != 503:
                    self._ledger.repeated += is_repeated
                    self._ledger.found_stored += is_repeated and answer.status == 200
                    return answer
            is_repeated = True
            await asyncio.sleep(BACK_OFF_S)

    async def _try(self, request: Request) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            try:
                if self._connection is None:
                    host, port = self._address
                    self._connection = await asyncio.open_connection(host, int(port))
            except OSError:
                raise NotSent from None
            try:
                answer = Answer(
                    *await BareClient(*self._connection).request(
                        "POST", request.path, request.body, request.headers
                    )
                )
            except (OSError, asyncio.IncompleteReadError):
                self._ledger.cut += 1
                await self._disconnect()
                raise Cut from None
        slug = str(answer.body.get("type", "stored")).rpartition("/")[2]
        self._ledger.answers[f"{answer.status} {slug}"] += 1
        return answer

    async def _disconnect(self) -> None:
        if self._connection is not None:
            _, writer = self._connection
            self._connection = None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def marks(append: Append) -> list[str]:
    """The marks of an append's events."""
    return [event["event_data"]["mark"] for event in append["events"]]

"""What tests of the HTTP interface are made of: aggregates, events, requests, and their answers."""

import json
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import httpx

PROBLEM_MEDIA_TYPE = "application/problem+json"

Json = Any
Event = dict[str, Any]


def segment(name: str) -> str:
    """A name as one segment of a path; a lone ``.`` or ``..`` is no way up the path."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


class Aggregate(NamedTuple):
    """An aggregate and where it is found."""

    type: str
    id: str

    @property
    def path(self) -> str:
        return f"/v1/aggregates/{segment(self.type)}/{segment(self.id)}"

    @property
    def events_path(self) -> str:
        return f"{self.path}/events"

    @property
    def snapshot_path(self) -> str:
        return f"{self.path}/snapshot"


def new_aggregate(aggregate_type: str = "Order") -> Aggregate:
    """An aggregate that no other test knows."""
    return Aggregate(aggregate_type, f"ord-{uuid4()}")


def aggregate_of(body: dict[str, Any]) -> Aggregate:
    """The aggregate that an answer, an event or a problem names."""
    return Aggregate(body["aggregate_type"], body["aggregate_id"])


def new_name(prefix: str) -> str:
    """A name that no other test knows."""
    return f"{prefix}-{uuid4()}"


def position_path(projection_name: str) -> str:
    """Where a projection's position is found."""
    return f"/v1/projections/{segment(projection_name)}/position"


def new_event(event_type: object = "OrderPaid", **members: Any) -> Event:
    """An event to append; without ``event_data`` it has some, without ``event_id`` it has none."""
    return {"event_type": event_type, "event_data": {"amount": "45.48"}, **members}


def new_events(count: int) -> list[Event]:
    """Events with ids of their own, and the number of each, from 1, as data."""
    return [
        new_event(event_id=str(uuid4()), event_data={"number": number + 1})
        for number in range(count)
    ]


def new_append(aggregate: Aggregate, *events: Event, **members: Any) -> dict[str, Any]:
    """One append of a transaction."""
    return {
        "aggregate_type": aggregate.type,
        "aggregate_id": aggregate.id,
        "events": list(events or [new_event()]),
        **members,
    }


async def append(
    client: httpx.AsyncClient,
    aggregate: Aggregate,
    *events: Event,
    headers: dict[str, str] | None = None,
    params: dict[str, str] | None = None,
    **members: Any,
) -> httpx.Response:
    """Append events (default: one); ``members`` are those of the body beside the events."""
    body = {"events": list(events or [new_event()]), **members}
    return await client.post(aggregate.events_path, json=body, headers=headers, params=params)


async def transact(
    client: httpx.AsyncClient, *appends: dict[str, Any], headers: dict[str, str] | None = None
) -> httpx.Response:
    """Send a transaction."""
    return await client.post("/v1/transactions", json={"appends": appends}, headers=headers)


async def stored_events(client: httpx.AsyncClient, aggregate: Aggregate) -> list[Event]:
    """All events of an aggregate, each as it is stored; none where it does not exist."""
    answer = await client.get(
        aggregate.events_path, headers={"Accept": "application/x-ndjson, application/problem+json"}
    )
    if answer.status_code == 404:
        return []
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.splitlines()]


async def stored_versions(client: httpx.AsyncClient, aggregate: Aggregate) -> list[int]:
    """The versions of all events of an aggregate."""
    return [event["version"] for event in await stored_events(client, aggregate)]


def exact(text: str | bytes) -> Json:
    """JSON with every number as it was written, digit by digit."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem details of an answer, which must be of this kind (RFC 9457)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    details: dict[str, Any] = answer.json()
    assert details["type"].endswith(f"/{slug}"), details
    assert details["status"] == status
    assert details["title"]
    assert details["detail"]
    return details


def refused_places(answer: httpx.Response, slug: str = "invalid-input") -> list[str]:
    """Where a request was refused with 422, as JSON paths or names of parameters."""
    details = problem(answer, 422, slug)
    assert all(error["reason"] for error in details["errors"])
    return [error["place"] for error in details["errors"]]

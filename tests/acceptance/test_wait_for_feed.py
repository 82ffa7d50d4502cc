"""GET /v1/events with `wait`, and as NDJSON; and whose positions they are."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories import append, new_aggregate, new_event, new_events, problem, refused_places

NDJSON = {"Accept": "application/x-ndjson"}
Sql = Any


async def test_an_empty_page_waits_for_the_first_event(client: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(client.get("/v1/events", params={"wait": 30}))
    rare = asyncio.create_task(client.get("/v1/events", params={"wait": 30, "event_type": "Rare"}))
    await asyncio.sleep(0.1)
    await append(client, new_aggregate())
    page = (await waiting).json()
    assert [event["global_position"] for event in page["events"]] == [1]
    assert (page["next_after"], page["safe_position"], page["up_to_date"]) == (1, 1, True)
    assert not rare.done()
    await append(client, new_aggregate(), new_event("Rare"), new_event("Rare"))
    page = (await rare).json()
    assert [event["global_position"] for event in page["events"]] == [2, 3]


async def test_waiting_ends_with_an_empty_page_that_moves_on(client: httpx.AsyncClient) -> None:
    await append(client, new_aggregate())
    began_at = time.monotonic()
    waiting = asyncio.create_task(
        client.get("/v1/events", params={"wait": 0.5, "after": 1, "event_type": "Rare"})
    )
    await asyncio.sleep(0.1)
    await append(client, new_aggregate(), *new_events(3))
    page = (await waiting).json()
    assert 0.4 < time.monotonic() - began_at < 10
    assert (page["events"], page["next_after"], page["up_to_date"]) == ([], 4, True)


async def test_a_page_with_events_does_not_wait(client: httpx.AsyncClient) -> None:
    await append(client, new_aggregate(), *new_events(3))
    async with asyncio.timeout(10):
        page = (await client.get("/v1/events", params={"wait": 60, "limit": 2})).json()
    assert (len(page["events"]), page["next_after"], page["up_to_date"]) == (2, 2, False)


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"wait": "61"}, "query.wait"),
        ({"wait": "-1"}, "query.wait"),
        ({"wait": "nan"}, "query.wait"),
        ({"wait": "5", "direction": "backward"}, "query.wait"),
    ],
)
async def test_waiting_is_bounded_and_forward(
    api: httpx.AsyncClient, params: dict[str, str], place: str
) -> None:
    assert refused_places(await api.get("/v1/events", params=params)) == [place]


async def test_ndjson_is_the_feed_up_to_its_start(client: httpx.AsyncClient) -> None:
    order = new_aggregate()
    for _ in range(5):
        await append(client, order, *new_events(1_000))
    answer = await client.get("/v1/events", headers=NDJSON)
    events = [json.loads(line) for line in answer.content.splitlines()]
    assert [event["global_position"] for event in events] == list(range(1, 5_001))
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    page = (await client.get("/v1/events", params={"limit": 1})).json()
    assert answer.headers["store-id"] == page["store_id"]
    assert page["events"] == events[:1]


async def test_ndjson_is_filtered_bounded_and_resumed(client: httpx.AsyncClient) -> None:
    order = new_aggregate()
    await append(client, order, *(new_event(f"Type{n % 3}") for n in range(30)))

    async def found(**params: Any) -> list[int]:
        answer = await client.get("/v1/events", params=params, headers=NDJSON)
        return [json.loads(line)["global_position"] for line in answer.content.splitlines()]

    assert await found(event_type="Type1") == list(range(2, 31, 3))
    assert await found(event_type="Type1", after=20, limit=2) == [23, 26]
    assert await found(after=30) == []
    for name, value in (("direction", "backward"), ("wait", "1")):
        answer = await client.get("/v1/events", params={name: value}, headers=NDJSON)
        assert refused_places(answer) == [f"query.{name}"]


async def test_ndjson_ends_before_what_is_in_flight(client: httpx.AsyncClient, sql: Sql) -> None:
    order = new_aggregate()
    await append(client, order)
    async with sql.transaction():
        await sql.execute(
            "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
            " event_data, occurred_at) VALUES (gen_random_uuid(), 'x', 'y', 1, 'z', '{}', now())"
        )
        await append(client, order)
        answer = await client.get("/v1/events", headers=NDJSON)
        assert len(answer.content.splitlines()) == 1
    answer = await client.get("/v1/events", headers=NDJSON)
    assert len(answer.content.splitlines()) == 3


@pytest.mark.parametrize(
    "accept", ["application/json", "application/x-ndjson", "text/event-stream"]
)
async def test_positions_of_another_store_are_refused(
    client: httpx.AsyncClient, sql: Sql, accept: str
) -> None:
    await append(client, new_aggregate(), *new_events(5))
    own = (await client.get("/v1/events")).json()["store_id"]
    stranger = str(uuid4())
    headers = {"Accept": accept}
    answer = await client.get("/v1/events", params={"store_id": stranger}, headers=headers)
    details = problem(answer, 409, "store-changed")
    assert (details["store_id"], details["expected_store_id"]) == (own, stranger)
    # A position that was never handed out tells it too: the store was restored to an earlier one.
    answer = await client.get("/v1/events", params={"after": 6}, headers=headers)
    details = problem(answer, 409, "store-changed")
    assert (details["store_id"], details["expected_store_id"]) == (own, None)
    if accept != "text/event-stream":
        params: dict[str, Any] = {"store_id": own, "after": 5}
        assert (await client.get("/v1/events", params=params, headers=headers)).status_code == 200
    answer = await client.get("/v1/events", params={"store_id": "x"}, headers=headers)
    assert refused_places(answer) == ["query.store_id"]


async def test_a_position_beyond_the_safe_one_that_was_handed_out_is_this_stores(
    client: httpx.AsyncClient, sql: Sql
) -> None:
    """Its transaction may have rolled back, or not ended yet: nobody has read it, but it may be."""
    await append(client, new_aggregate())
    async with sql.transaction():
        await sql.execute(
            "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
            " event_data, occurred_at) VALUES (gen_random_uuid(), 'x', 'y', 1, 'z', '{}', now())"
        )
        page = (await client.get("/v1/events", params={"after": 2})).json()
    assert (page["events"], page["next_after"], page["safe_position"]) == ([], 2, 1)

"""GET /v1/events/{event_id}, as a client."""

from uuid import uuid4

import httpx
import pytest

from tests.factories import (
    append,
    exact,
    new_aggregate,
    new_event,
    problem,
    refused_places,
    stored_events,
)


async def test_an_event_is_found_by_its_id_alone(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    await append(api, order, new_event("Placed"), new_event("Paid", metadata={"user": "ann"}))
    for stored in await stored_events(api, order):
        answer = await api.get(f"/v1/events/{stored['event_id']}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == stored


async def test_the_id_may_be_written_in_capitals(api: httpx.AsyncClient) -> None:
    event_id = str(uuid4())
    await append(api, new_aggregate(), new_event(event_id=event_id))
    answer = await api.get(f"/v1/events/{event_id.upper()}")
    assert answer.json()["event_id"] == event_id


async def test_numbers_keep_their_digits(api: httpx.AsyncClient) -> None:
    event_id = str(uuid4())
    amount = "0.12345678901234567890123456789"
    content = (
        f'{{"events": [{{"event_id": "{event_id}", "event_type": "Paid",'
        f' "event_data": {{"amount": {amount}}}}}]}}'
    )
    await api.post(new_aggregate().events_path, content=content)
    answer = await api.get(f"/v1/events/{event_id}")
    assert str(exact(answer.text)["event_data"]["amount"]) == amount


async def test_an_unknown_id_is_404(api: httpx.AsyncClient) -> None:
    event_id = str(uuid4())
    details = problem(await api.get(f"/v1/events/{event_id}"), 404, "event-not-found")
    assert details["event_id"] == event_id
    assert event_id in details["detail"]


@pytest.mark.parametrize("event_id", ["zz", "123", "%00", "null", "00000000-0000-0000-0000"])
async def test_what_is_no_uuid_is_refused(api: httpx.AsyncClient, event_id: str) -> None:
    assert refused_places(await api.get(f"/v1/events/{event_id}")) == ["path.event_id"]

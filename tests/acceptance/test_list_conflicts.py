"""GET /v1/stats/conflicts: which aggregates are fought over, and how that ends."""

from datetime import datetime
from typing import Any

import httpx

from tests.factories import (
    Aggregate,
    append,
    new_aggregate,
    new_append,
    new_event,
    new_events,
    new_name,
    problem,
    refused_places,
    transact,
)


async def conflicts_of(api: httpx.AsyncClient, order: Aggregate) -> dict[str, Any] | None:
    answer = await api.get("/v1/stats/conflicts", params={"limit": 1_000})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["scope"], body["exact"]) == ("process", True)
    assert body["conflicts"] == sum(each["conflicts"] for each in body["types"])
    counts = [each["conflicts"] for each in body["aggregates"]]
    assert counts == sorted(counts, reverse=True)
    for each in body["aggregates"]:
        if (each["aggregate_type"], each["aggregate_id"]) == order:
            found: dict[str, Any] = each
            assert body["since"] <= each["last_at"]
            return found
    return None


async def test_writers_that_decide_on_an_old_state(api: httpx.AsyncClient) -> None:
    order = new_aggregate(new_name("Order"))
    await append(api, order, *new_events(2))
    assert await conflicts_of(api, order) is None
    # The symptom: of two that have loaded version 2, one is refused; and so on, in every way.
    await append(api, order, expected_version=2)
    problem(await append(api, order, expected_version=2), 409, "version-conflict")
    problem(await append(api, order, headers={"If-Match": '"2"'}), 412, "version-conflict")
    refused = await transact(api, new_append(order, new_event(), expected_version=2))
    problem(refused, 409, "version-conflict")

    found = await conflicts_of(api, order)
    assert found is not None
    assert (found["conflicts"], found["creations"], found["exact"]) == (3, 0, True)
    assert datetime.fromisoformat(found["last_at"]).tzinfo is not None
    [of_type] = [
        each
        for each in (await api.get("/v1/stats/conflicts")).json()["types"]
        if each["aggregate_type"] == order.type
    ]
    assert of_type["conflicts"] == 3

    # The advice: load it again, and append with the version that was loaded.
    advice = found["advice"]
    assert "load it again" in advice["text"]
    assert advice["operation"]["operation_id"] == "load_aggregate"
    loaded = await api.request(advice["operation"]["method"], advice["operation"]["path"])
    answer = await append(api, order, expected_version=loaded.json()["version"])
    assert answer.status_code == 201
    after = await conflicts_of(api, order)
    assert after is not None
    assert after["conflicts"] == 3


async def test_creations_that_are_repeated(api: httpx.AsyncClient) -> None:
    order, other = (Aggregate(new_name("Order"), name) for name in ("1", "2"))
    for status in (201, 409, 409):
        assert (await append(api, order, expected_version=0)).status_code == status
    assert (await append(api, order, headers={"If-None-Match": "*"})).status_code == 412
    found = await conflicts_of(api, order)
    assert found is not None
    assert (found["conflicts"], found["creations"]) == (3, 3)

    # The advice: a key that tells a repetition.
    advice = found["advice"]
    assert "Idempotency-Key" in advice["text"]
    body = advice["operation"]["body"]
    path = advice["operation"]["path"].replace(order.path, other.path)
    for status in (201, 200):
        answer = await api.post(path, json=body, headers={"Idempotency-Key": "begin-2"})
        assert answer.status_code == status
    assert await conflicts_of(api, other) is None


async def test_limit(api: httpx.AsyncClient) -> None:
    for name in ("1", "2"):
        order = Aggregate(new_name("Order"), name)
        await append(api, order)
        await append(api, order, expected_version=0)
    body = (await api.get("/v1/stats/conflicts", params={"limit": 1})).json()
    assert len(body["aggregates"]) == 1
    assert len(body["types"]) >= 2
    assert refused_places(await api.get("/v1/stats/conflicts?limit=0")) == ["query.limit"]

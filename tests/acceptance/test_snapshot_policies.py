"""/v1/snapshot-policies, as a client: what is stored, what is refused, and what appends heed."""

import asyncio
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.acceptance.conftest import client_of
from tests.conftest import running_service
from tests.factories import (
    Aggregate,
    append,
    new_aggregate,
    new_append,
    new_events,
    new_name,
    problem,
    refused_places,
    segment,
    transact,
)
from tests.integration.support import until


def policy_path(aggregate_type: str) -> str:
    return f"/v1/snapshot-policies/{segment(aggregate_type)}"


async def save(api: httpx.AsyncClient, aggregate_type: str, **policy: Any) -> httpx.Response:
    return await api.put(policy_path(aggregate_type), json=policy)


@pytest.fixture
def order_type() -> str:
    """An aggregate type that no other test knows."""
    return new_name("Order")


async def test_put_answers_what_is_stored(api: httpx.AsyncClient, order_type: str) -> None:
    first = await save(api, order_type, every=50)
    assert first.status_code == 201
    policy = first.json()
    assert policy.pop("updated_at").endswith("Z")
    assert policy == {
        "aggregate_type": order_type,
        "every": 50,
        "reducer": None,
        "reducer_hash": None,
    }
    assert (await api.get(policy_path(order_type))).json() == first.json()
    second = await save(api, order_type, every=60, reducer=None)
    assert (second.status_code, second.json()["every"]) == (200, 60)
    assert second.json()["updated_at"] > first.json()["updated_at"]


async def test_every_is_by_default_that_of_the_setting(
    api: httpx.AsyncClient, order_type: str
) -> None:
    for policy in ({}, {"every": None}):
        assert (await save(api, order_type, **policy)).json()["every"] == 100


async def test_list_has_all_policies_and_the_default(
    api: httpx.AsyncClient, order_type: str
) -> None:
    types = [f"{order_type}-{n}" for n in (2, 1, 3)]
    for number, aggregate_type in enumerate(types):
        await save(api, aggregate_type, every=number + 1)
    answer = (await api.get("/v1/snapshot-policies")).json()
    assert answer["default_every"] == 100
    found = {
        policy["aggregate_type"]: policy["every"]
        for policy in answer["policies"]
        if policy["aggregate_type"].startswith(order_type)
    }
    assert list(found.items()) == [(types[1], 2), (types[0], 1), (types[2], 3)]


async def test_without_a_policy_get_and_delete_are_404_and_tell_the_default(
    api: httpx.AsyncClient, order_type: str
) -> None:
    for request in (api.get, api.delete):
        details = problem(await request(policy_path(order_type)), 404, "policy-not-found")
        assert (details["aggregate_type"], details["default_every"]) == (order_type, 100)


async def test_delete_lets_the_default_apply(api: httpx.AsyncClient, order_type: str) -> None:
    await save(api, order_type, every=1)
    order = new_aggregate(order_type)
    assert (await append(api, order)).json()["snapshot_due"]
    answer = await api.delete(policy_path(order_type))
    assert (answer.status_code, answer.content) == (204, b"")
    problem(await api.get(policy_path(order_type)), 404, "policy-not-found")
    assert not (await append(api, order)).json()["snapshot_due"]


@pytest.mark.parametrize("every", [1, 10_000])
async def test_bounds_of_every_are_inclusive(
    api: httpx.AsyncClient, order_type: str, every: int
) -> None:
    assert (await save(api, order_type, every=every)).json()["every"] == every


@pytest.mark.parametrize("every", [0, -1, 10_001, 2**31, 1.5, "100", True, [100]])
async def test_every_out_of_range_is_refused_with_its_place(
    api: httpx.AsyncClient, order_type: str, every: object
) -> None:
    assert refused_places(await save(api, order_type, every=every)) == ["$.every"]
    problem(await api.get(policy_path(order_type)), 404, "policy-not-found")


@pytest.mark.parametrize(
    ("body", "place"),
    [({"every": 5, "evry": 5}, "$"), ([], "$"), ("", "$"), (7, "$")],
)
async def test_a_body_of_another_shape_is_refused(
    api: httpx.AsyncClient, order_type: str, body: object, place: str
) -> None:
    answer = await api.put(policy_path(order_type), json=body)
    assert refused_places(answer) == [place]


async def test_a_body_that_is_no_json_is_refused(api: httpx.AsyncClient, order_type: str) -> None:
    problem(await api.put(policy_path(order_type), content=b"{"), 400, "malformed-body")


@pytest.mark.parametrize("name", ["", "x" * 256, "a\x00b"])
async def test_a_type_that_is_no_name_is_refused(api: httpx.AsyncClient, name: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await api.request(method, policy_path(name), json={"every": 5})
        assert refused_places(answer) == ["path.aggregate_type"], method


@pytest.mark.parametrize("name", ["a/b", "..", "🔑" * 255, "a%2Fb"])
async def test_policies_of_types_of_any_text(api: httpx.AsyncClient, name: str) -> None:
    assert (await save(api, name, every=7)).json()["aggregate_type"] == name
    assert (await api.get(policy_path(name))).json()["every"] == 7
    assert (await api.delete(policy_path(name))).status_code == 204


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
async def test_put_and_delete_refuse_any_precondition(
    api: httpx.AsyncClient, order_type: str, name: str
) -> None:
    await save(api, order_type, every=7)
    for method in ("PUT", "DELETE"):
        answer = await api.request(
            method, policy_path(order_type), json={"every": 8}, headers={name: "*"}
        )
        assert f"no {name}" in problem(answer, 400, "bad-precondition")["detail"]
    assert (await api.get(policy_path(order_type))).json()["every"] == 7


async def test_puts_at_once_leave_one_of_them(api: httpx.AsyncClient, order_type: str) -> None:
    answers = await asyncio.gather(*(save(api, order_type, every=n) for n in range(1, 21)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert 1 <= (await api.get(policy_path(order_type))).json()["every"] <= 20


# --- what appends tell


async def due(api: httpx.AsyncClient, order: Aggregate) -> tuple[bool, int]:
    answer = (await append(api, order)).json()
    return answer["snapshot_due"], answer["events_since_snapshot"]


async def test_append_heeds_the_policy_at_once(api: httpx.AsyncClient, order_type: str) -> None:
    order, other = new_aggregate(order_type), new_aggregate()
    await save(api, order_type, every=3)
    assert [await due(api, order) for _ in range(3)] == [(False, 1), (False, 2), (True, 3)]
    assert (await append(api, other, *new_events(3))).json()["snapshot_due"] is False
    await save(api, order_type, every=5)
    assert [await due(api, order) for _ in range(2)] == [(False, 4), (True, 5)]
    await api.put(order.snapshot_path, json={"version": 5, "state": {}})
    assert await due(api, order) == (False, 1)


async def test_transaction_heeds_the_policy_of_each_type(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await save(api, order_type, every=2)
    answer = await transact(
        api,
        new_append(new_aggregate(order_type), *new_events(2)),
        new_append(new_aggregate(), *new_events(2)),
    )
    told = [
        (each["snapshot_due"], each["events_since_snapshot"]) for each in answer.json()["appends"]
    ]
    assert told == [(True, 2), (False, 2)]


async def test_a_repetition_below_a_newer_snapshot_is_not_due(api: httpx.AsyncClient) -> None:
    order, events = new_aggregate(), new_events(2)
    await append(api, order, *events)
    await append(api, order, *new_events(2))
    await api.put(order.snapshot_path, json={"version": 4, "state": {}})
    answer = (await append(api, order, *events)).json()
    assert (answer["snapshot_due"], answer["events_since_snapshot"]) == (False, 0)


async def test_other_instances_heed_it_within_two_seconds(settings: Settings) -> None:
    with running_service(settings) as one_url, running_service(settings) as other_url:
        async with client_of(one_url) as one, client_of(other_url) as other:
            await save(one, "Order", every=1)

            async def is_heeded() -> bool:
                is_due, _ = await due(other, new_aggregate())
                return is_due

            async with asyncio.timeout(2.5):
                await until(is_heeded)

"""GET /v1/aggregates and GET /v1/aggregates/{aggregate_type}, as a client."""

from typing import Any

import httpx
import pytest

from tests.factories import (
    Aggregate,
    append,
    new_append,
    new_event,
    new_name,
    refused_places,
    segment,
    transact,
)


def list_path(aggregate_type: str) -> str:
    return f"/v1/aggregates/{segment(aggregate_type)}"


async def listed(api: httpx.AsyncClient, aggregate_type: str, **params: Any) -> Any:
    answer = await api.get(list_path(aggregate_type), params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["aggregate_type"] == aggregate_type
    return body


async def pages(api: httpx.AsyncClient, aggregate_type: str, limit: int) -> list[list[str]]:
    """The ids of all pages, one after the other."""
    found = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = await listed(api, aggregate_type, **params)
        found.append([aggregate["aggregate_id"] for aggregate in page["aggregates"]])
        if page["next_after"] is None:
            return found
        params["after"] = page["next_after"]


async def test_aggregates_of_a_type_are_listed_with_their_versions(
    api: httpx.AsyncClient,
) -> None:
    kind = new_name("Case")
    await append(api, Aggregate(kind, "b"), *[new_event()] * 3)
    await append(api, Aggregate(kind, "a"))
    await append(api, Aggregate(new_name("Case"), "c"))
    assert await listed(api, kind) == {
        "aggregate_type": kind,
        "aggregates": [
            {"aggregate_id": "a", "version": 1},
            {"aggregate_id": "b", "version": 3},
        ],
        "next_after": None,
    }


async def test_a_type_without_events_has_an_empty_list(api: httpx.AsyncClient) -> None:
    kind = new_name("Case")
    assert await listed(api, kind) == {
        "aggregate_type": kind,
        "aggregates": [],
        "next_after": None,
    }


@pytest.mark.parametrize("limit", [1, 3, 6, 7, 8, 1000])
async def test_pages_lead_through_all_aggregates_once(api: httpx.AsyncClient, limit: int) -> None:
    kind = new_name("Case")
    ids = ["a", "B", "ä", "a/b", "🔑", " ", "Z" * 255]
    await transact(api, *[new_append(Aggregate(kind, name)) for name in ids])
    found = await pages(api, kind, limit)
    flat = [name for page in found for name in page]
    assert sorted(flat) == sorted(ids)
    assert flat == (await pages(api, kind, 1000))[0]
    assert all(len(page) == limit for page in found[:-1])


async def test_a_page_has_a_thousand_aggregates_by_default(api: httpx.AsyncClient) -> None:
    kind = new_name("Case")
    ids = [f"{number:04}" for number in range(1_001)]
    await transact(api, *[new_append(Aggregate(kind, name)) for name in ids])
    page = await listed(api, kind)
    assert [aggregate["aggregate_id"] for aggregate in page["aggregates"]] == ids[:1_000]
    rest = await listed(api, kind, after=page["next_after"])
    assert rest["aggregates"] == [{"aggregate_id": "1000", "version": 1}]


async def test_an_aggregate_that_comes_while_paging_is_not_repeated_nor_hides_another(
    api: httpx.AsyncClient,
) -> None:
    kind = new_name("Case")
    await transact(api, *[new_append(Aggregate(kind, name)) for name in "bdf"])
    first = await listed(api, kind, limit=2)
    await append(api, Aggregate(kind, "a"))
    await append(api, Aggregate(kind, "e"))
    rest = await listed(api, kind, after=first["next_after"])
    assert [aggregate["aggregate_id"] for aggregate in rest["aggregates"]] == ["e", "f"]


async def test_after_need_not_be_an_aggregate(api: httpx.AsyncClient) -> None:
    kind = new_name("Case")
    await transact(api, *[new_append(Aggregate(kind, name)) for name in ("a", "c")])
    page = await listed(api, kind, after="b")
    assert page["aggregates"] == [{"aggregate_id": "c", "version": 1}]


async def test_types_are_listed_once_each(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/aggregates")).json() == {"aggregate_types": []}
    for kind in ("Order", "a/b", "Invoice", "🔑"):
        for name in ("1", "2"):
            await append(client, Aggregate(kind, name), new_event(), new_event())
    found = (await client.get("/v1/aggregates")).json()["aggregate_types"]
    names = [each["aggregate_type"] for each in found]
    assert sorted(names) == ["Invoice", "Order", "a/b", "🔑"]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "query.limit"),
        ("limit=10001", "query.limit"),
        ("limit=x", "query.limit"),
        ("after=%00", "query.after"),
        (f"after={'x' * 256}", "query.after"),
    ],
)
async def test_a_wrong_parameter_is_refused(api: httpx.AsyncClient, query: str, place: str) -> None:
    assert refused_places(await api.get(f"{list_path('Order')}?{query}")) == [place]

"""GET /v1/aggregates/{aggregate_type}/{aggregate_id}/events, as a client."""

import json
from typing import Any

import httpx
import pytest

from app.store.event_reader import EventReader
from tests.factories import (
    Aggregate,
    aggregate_of,
    append,
    new_aggregate,
    new_event,
    new_events,
    problem,
    refused_places,
    stored_events,
)

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
async def order(api: httpx.AsyncClient) -> Aggregate:
    """An aggregate at version 10."""
    aggregate = new_aggregate()
    await append(api, aggregate, *new_events(10))
    return aggregate


async def page(api: httpx.AsyncClient, order: Aggregate, **params: Any) -> Any:
    answer = await api.get(order.events_path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def versions(page: Any) -> list[int]:
    return [event["version"] for event in page["events"]]


async def test_all_events_and_the_aggregate_are_told(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    answer = await api.get(order.events_path)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["etag"] == '"10"'
    body = answer.json()
    assert body == {
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "version": 10,
        "events": body["events"],
        "next_from_version": None,
    }
    assert versions(body) == list(range(1, 11))


@pytest.mark.parametrize(
    ("params", "expected", "next_from_version"),
    [
        ({"from_version": 4}, range(4, 11), None),
        ({"to_version": 4}, range(1, 5), None),
        ({"from_version": 4, "to_version": 6}, range(4, 7), None),
        ({"from_version": 4, "to_version": 4}, [4], None),
        ({"from_version": 6, "to_version": 4}, [], None),
        ({"from_version": 10}, [10], None),
        ({"from_version": 11}, [], None),
        ({"from_version": 2**31 - 1}, [], None),
        ({"to_version": 2**31 - 1}, range(1, 11), None),
        ({"limit": 3}, range(1, 4), 4),
        ({"limit": 9}, range(1, 10), 10),
        ({"limit": 10}, range(1, 11), None),
        ({"limit": 11}, range(1, 11), None),
        ({"limit": 10_000}, range(1, 11), None),
        ({"from_version": 4, "limit": 3}, range(4, 7), 7),
        ({"from_version": 4, "to_version": 6, "limit": 3}, range(4, 7), None),
        ({"from_version": 4, "to_version": 7, "limit": 3}, range(4, 7), 7),
        ({"direction": "forward", "limit": 1}, [1], 2),
    ],
)
async def test_forward_pages(
    api: httpx.AsyncClient,
    order: Aggregate,
    params: dict[str, Any],
    expected: Any,
    next_from_version: int | None,
) -> None:
    found = await page(api, order, **params)
    assert versions(found) == list(expected)
    assert found["next_from_version"] == next_from_version
    assert found["version"] == 10


@pytest.mark.parametrize(
    ("params", "expected", "next_from_version"),
    [
        ({}, range(10, 0, -1), None),
        ({"from_version": 4}, range(4, 0, -1), None),
        ({"to_version": 4}, range(10, 3, -1), None),
        ({"from_version": 6, "to_version": 4}, range(6, 3, -1), None),
        ({"from_version": 4, "to_version": 6}, [], None),
        ({"from_version": 99, "limit": 2}, [10, 9], 8),
        ({"limit": 3}, [10, 9, 8], 7),
        ({"limit": 9}, range(10, 1, -1), 1),
        ({"limit": 10}, range(10, 0, -1), None),
        ({"from_version": 1}, [1], None),
        ({"from_version": 6, "to_version": 4, "limit": 3}, [6, 5, 4], None),
        ({"from_version": 6, "to_version": 3, "limit": 3}, [6, 5, 4], 3),
        ({"to_version": 11}, [], None),
    ],
)
async def test_backward_pages(
    api: httpx.AsyncClient,
    order: Aggregate,
    params: dict[str, Any],
    expected: Any,
    next_from_version: int | None,
) -> None:
    found = await page(api, order, direction="backward", **params)
    assert versions(found) == list(expected)
    assert found["next_from_version"] == next_from_version
    assert found["version"] == 10


@pytest.mark.parametrize("limit", [1, 3, 5, 9, 10, 11])
@pytest.mark.parametrize("direction", ["forward", "backward"])
async def test_pages_lead_through_the_whole_aggregate(
    api: httpx.AsyncClient, order: Aggregate, direction: str, limit: int
) -> None:
    everything = await stored_events(api, order)
    if direction == "backward":
        everything.reverse()
    read: list[Any] = []
    params: dict[str, Any] = {"direction": direction, "limit": limit}
    while True:
        found = await page(api, order, **params)
        assert 1 <= len(found["events"]) <= limit
        read += found["events"]
        if found["next_from_version"] is None:
            break
        params["from_version"] = found["next_from_version"]
    assert read == everything


async def test_a_page_has_a_thousand_events_by_default_and_ten_thousand_at_most(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    bare = {"event_type": "Counted", "event_data": {}}
    assert (await append(api, order, *[bare] * 10_000)).json()["version"] == 10_000
    await append(api, order)
    by_default = await page(api, order)
    assert (len(by_default["events"]), by_default["next_from_version"]) == (1_000, 1_001)
    largest = await page(api, order, limit=10_000)
    assert versions(largest) == list(range(1, 10_001))
    assert (largest["version"], largest["next_from_version"]) == (10_001, 10_001)
    backward = await page(api, order, direction="backward")
    assert (backward["events"][0]["version"], backward["next_from_version"]) == (10_001, 9_001)
    streamed = await stored_events(api, order)
    assert [event["version"] for event in streamed] == list(range(1, 10_002))
    positions = [event["global_position"] for event in streamed]
    assert positions == sorted(set(positions))


async def test_an_aggregate_without_events_is_404(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    for headers in ({}, NDJSON):
        answer = await api.get(order.events_path, headers=headers)
        details = problem(answer, 404, "aggregate-not-found")
        assert aggregate_of(details) == order
    answer = await api.get(order.events_path, params={"from_version": 5})
    problem(answer, 404, "aggregate-not-found")


# --- NDJSON


async def test_ndjson_is_the_same_events_one_a_line(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    await append(api, order, new_event(event_data={"text": "a\nb\u2028c\r\n"}))
    answer = await api.get(order.events_path, headers=NDJSON)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.content.endswith(b"\n")
    lines = answer.content.split(b"\n")[:-1]
    assert [json.loads(line) for line in lines] == (await page(api, order))["events"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"from_version": 4, "to_version": 6}, [4, 5, 6]),
        ({"limit": 2}, [1, 2]),
        ({"limit": 2, "direction": "backward"}, [10, 9]),
        ({"from_version": 3, "direction": "backward"}, [3, 2, 1]),
        ({"from_version": 11}, []),
    ],
)
async def test_ndjson_takes_the_same_parameters(
    api: httpx.AsyncClient, order: Aggregate, params: dict[str, Any], expected: list[int]
) -> None:
    answer = await api.get(order.events_path, params=params, headers=NDJSON)
    assert answer.status_code == 200
    assert [json.loads(line)["version"] for line in answer.content.splitlines()] == expected


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("limit", [None, 1_000, 1_001, 2_000, 2_500])
async def test_ndjson_has_no_seam_between_pages(
    api: httpx.AsyncClient, direction: str, limit: int | None
) -> None:
    order = new_aggregate()
    await append(api, order, *new_events(2_100))
    params: dict[str, Any] = {"direction": direction}
    if limit:
        params["limit"] = limit
    answer = await api.get(order.events_path, params=params, headers=NDJSON)
    expected = list(range(1, 2_101))
    if direction == "backward":
        expected.reverse()
    found = [json.loads(line)["version"] for line in answer.content.splitlines()]
    assert found == expected[:limit]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("APPLICATION/X-NDJSON", "application/x-ndjson"),
        ("text/html, application/x-ndjson;q=0.5", "application/x-ndjson"),
        ("application/json;q=0.4, application/x-ndjson;q=0.5", "application/x-ndjson"),
        ("application/json, application/x-ndjson", "application/json"),
        ("application/*, application/json;q=0", "application/x-ndjson"),
        ("application/json; charset=utf-8", "application/json"),
        ("", "application/json"),
    ],
)
async def test_accept_chooses(
    api: httpx.AsyncClient, order: Aggregate, accept: str, content_type: str
) -> None:
    answer = await api.get(order.events_path, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "image/*", "*/*;q=0", "nonsense"]
)
async def test_what_cannot_be_accepted_is_406(
    api: httpx.AsyncClient, order: Aggregate, accept: str
) -> None:
    answer = await api.get(order.events_path, headers={"Accept": accept})
    details = problem(answer, 406, "not-acceptable")
    assert "application/x-ndjson" in details["detail"]


@pytest.mark.parametrize(
    ("lines", "content_type"),
    [
        (["text/html", "application/x-ndjson"], "application/x-ndjson"),
        (["application/json;q=0.4", "application/x-ndjson;q=0.5"], "application/x-ndjson"),
        (["application/x-ndjson, */*"], "application/x-ndjson"),
        (["application/x-ndjson;q=nan", "*/*"], "application/json"),
    ],
)
async def test_accept_may_have_several_lines(
    api: httpx.AsyncClient, order: Aggregate, lines: list[str], content_type: str
) -> None:
    # Beside those of the request, httpx would send the client's own.
    del api.headers["accept"]
    answer = await api.get(order.events_path, headers=[("Accept", line) for line in lines])
    assert answer.headers["content-type"] == content_type


async def test_answers_that_accept_chooses_tell_caches_so(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    for headers, status in (
        ({}, 200),
        (NDJSON, 200),
        ({"If-None-Match": '"10"'}, 304),
        ({"Accept": "text/html"}, 406),
    ):
        answer = await api.get(order.events_path, headers=headers)
        assert (answer.status_code, answer.headers["vary"]) == (status, "Accept")


# --- 304


@pytest.mark.parametrize("tags", [['"10"'], ['W/"10"'], ["*"], ['"9", "10"'], ['"9"', '"10"']])
@pytest.mark.parametrize("query", ["", "?limit=3", "?from_version=4&direction=backward"])
async def test_a_page_that_the_client_has_is_304(
    api: httpx.AsyncClient, order: Aggregate, query: str, tags: list[str]
) -> None:
    headers = [("If-None-Match", tag) for tag in tags]
    answer = await api.get(order.events_path + query, headers=headers)
    assert (answer.status_code, answer.headers["etag"], answer.content) == (304, '"10"', b"")


@pytest.mark.parametrize("tags", [['"9"'], ['"11"'], ["10"], [""], ['"9"', '"8"']])
async def test_a_page_of_another_version_is_read(
    api: httpx.AsyncClient, order: Aggregate, tags: list[str]
) -> None:
    answer = await api.get(order.events_path, headers=[("If-None-Match", tag) for tag in tags])
    assert answer.status_code == 200
    assert versions(answer.json()) == list(range(1, 11))


async def test_a_page_is_read_again_after_an_append(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    await append(api, order)
    headers = {"If-None-Match": '"10"'}
    answer = await api.get(order.events_path, params={"from_version": 11}, headers=headers)
    assert (answer.status_code, versions(answer.json())) == (200, [11])


async def test_ndjson_has_no_tag_that_a_client_could_have(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    answer = await api.get(order.events_path, headers={**NDJSON, "If-None-Match": '"10"'})
    assert answer.status_code == 200
    assert "etag" not in answer.headers
    assert answer.content.count(b"\n") == 10


async def test_if_none_match_does_not_hide_a_404(api: httpx.AsyncClient) -> None:
    answer = await api.get(new_aggregate().events_path, headers={"If-None-Match": "*"})
    problem(answer, 404, "aggregate-not-found")


async def test_a_304_reads_no_events(
    api: httpx.AsyncClient, order: Aggregate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_none(*_: object, **__: object) -> None:
        raise AssertionError("events are read")

    monkeypatch.setattr(EventReader, "read_events", read_none)
    answer = await api.get(order.events_path, headers={"If-None-Match": '"10"'})
    assert answer.status_code == 304


# --- refusals


@pytest.mark.parametrize("name", ["from_version", "to_version", "limit"])
@pytest.mark.parametrize("value", ["0", "-1", "2147483648", "x", "", "1.5", "1e3", "null"])
async def test_a_number_out_of_range_is_refused(
    api: httpx.AsyncClient, order: Aggregate, name: str, value: str
) -> None:
    answer = await api.get(order.events_path, params={name: value})
    assert refused_places(answer) == [f"query.{name}"]


async def test_a_limit_over_ten_thousand_is_refused(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    for headers in ({}, NDJSON):
        answer = await api.get(order.events_path, params={"limit": "10001"}, headers=headers)
        assert refused_places(answer) == ["query.limit"]


async def test_a_direction_is_forward_or_backward(api: httpx.AsyncClient, order: Aggregate) -> None:
    answer = await api.get(order.events_path, params={"direction": "sideways"})
    assert refused_places(answer) == ["query.direction"]


async def test_of_a_parameter_that_is_repeated_the_last_counts(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    answer = await api.get(f"{order.events_path}?limit=5&limit=2")
    assert versions(answer.json()) == [1, 2]
    answer = await api.get(f"{order.events_path}?limit=2&limit=zero")
    assert refused_places(answer) == ["query.limit"]

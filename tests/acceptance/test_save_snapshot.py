"""PUT, GET and DELETE /v1/aggregates/{aggregate_type}/{aggregate_id}/snapshot, as a client."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.factories import (
    Aggregate,
    aggregate_of,
    append,
    exact,
    new_aggregate,
    new_events,
    problem,
    refused_places,
    stored_versions,
)


@pytest.fixture
async def order(api: httpx.AsyncClient) -> Aggregate:
    """An aggregate at version 10."""
    aggregate = new_aggregate()
    await append(api, aggregate, *new_events(10))
    return aggregate


async def save(
    api: httpx.AsyncClient, order: Aggregate, version: int, state: Any = None
) -> httpx.Response:
    return await api.put(order.snapshot_path, json={"version": version, "state": state})


async def test_the_first_snapshot_is_201_and_one_that_replaces_it_200(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    for version, status in ((4, 201), (4, 200), (10, 200)):
        answer = await save(api, order, version)
        assert answer.status_code == status
        assert answer.json() == {
            "aggregate_type": order.type,
            "aggregate_id": order.id,
            "version": version,
        }


async def test_a_snapshot_is_read_back(api: httpx.AsyncClient, order: Aggregate) -> None:
    before = datetime.now(UTC)
    await save(api, order, 4, {"total": "1.10"})
    after = datetime.now(UTC)
    answer = await api.get(order.snapshot_path)
    assert answer.status_code == 200
    body = answer.json()
    created_at = body.pop("created_at")
    assert created_at.endswith("Z")
    assert before <= datetime.fromisoformat(created_at) <= after
    assert body == {
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "version": 4,
        "state": {"total": "1.10"},
    }


@pytest.mark.parametrize(
    "state", ["null", "true", "0", '"text 🔑"', "[]", "{}", "[1, [2, {}]]", "1.10", '{"a": null}']
)
async def test_any_json_is_a_state(api: httpx.AsyncClient, order: Aggregate, state: str) -> None:
    content = f'{{"version": 1, "state": {state}}}'
    assert (await api.put(order.snapshot_path, content=content)).status_code == 201
    assert exact((await api.get(order.snapshot_path)).text)["state"] == exact(state)
    assert exact((await api.get(order.path)).text)["snapshot"]["state"] == exact(state)


async def test_the_same_version_replaces_state_and_time(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    await save(api, order, 4, "first")
    first = (await api.get(order.snapshot_path)).json()
    await save(api, order, 4, "second")
    second = (await api.get(order.snapshot_path)).json()
    assert second["state"] == "second"
    assert second["created_at"] > first["created_at"]


async def test_an_older_one_never_replaces_a_newer_one(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    await save(api, order, 7, "newer")
    stored = (await api.get(order.snapshot_path)).json()
    for version in (1, 6):
        answer = await save(api, order, version, "older")
        details = problem(answer, 409, "snapshot-conflict")
        assert details["stored_version"] == 7
    assert (await api.get(order.snapshot_path)).json() == stored


async def test_of_snapshots_that_race_the_newest_stays(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    versions = [*range(1, 11)] * 3
    answers = await asyncio.gather(*[save(api, order, version, version) for version in versions])
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    assert sum(answer.status_code == 201 for answer in answers) == 1
    for version, answer in zip(versions, answers, strict=True):
        if answer.status_code == 409:
            assert answer.json()["stored_version"] > version
    stored = (await api.get(order.snapshot_path)).json()
    assert (stored["version"], stored["state"]) == (10, 10)


async def test_a_version_that_is_not_reached_is_refused(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    answer = await save(api, order, 11)
    assert refused_places(answer, "snapshot-beyond-aggregate") == ["$.version"]
    assert answer.json()["aggregate_version"] == 10
    answer = await save(api, new_aggregate(), 1)
    assert refused_places(answer, "snapshot-beyond-aggregate") == ["$.version"]
    assert answer.json()["aggregate_version"] == 0
    problem(await api.get(order.snapshot_path), 404, "snapshot-not-found")


async def test_a_version_that_is_not_reached_is_refused_with_a_snapshot_too(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    await save(api, order, 10, "stored")
    refused_places(await save(api, order, 11, "beyond"), "snapshot-beyond-aggregate")
    assert (await api.get(order.snapshot_path)).json()["state"] == "stored"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('{"version": 0, "state": {}}', "$.version"),
        ('{"version": -1, "state": {}}', "$.version"),
        ('{"version": 2147483648, "state": {}}', "$.version"),
        ('{"version": "1", "state": {}}', "$.version"),
        ('{"version": 1.0, "state": {}}', "$.version"),
        ('{"version": null, "state": {}}', "$.version"),
        ('{"version": true, "state": {}}', "$.version"),
        ('{"version": 1}', "$"),
        ('{"state": {}}', "$"),
        ('{"version": 1, "state": {}, "created_at": "2026-01-01T00:00:00Z"}', "$"),
        ("[]", "$"),
    ],
)
async def test_a_wrong_shape_is_refused_with_its_place(
    api: httpx.AsyncClient, order: Aggregate, content: str, place: str
) -> None:
    assert refused_places(await api.put(order.snapshot_path, content=content)) == [place]
    assert (await api.get(order.snapshot_path)).status_code == 404


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ('"a\\u0000b"', "$.state"),
        ('{"a": ["\\u0000"]}', "$.state.a[0]"),
        ('{"\\u0000": 1}', "$.state.<key>"),
        ('{"a": "\\ud800"}', "$.state.a"),
        ("1e131072", "$.state"),
        ('{"a": [0, 1e-16384]}', "$.state.a[1]"),
        (f"[{','.join(['1e131071'] * 8)}]", "$.state"),
    ],
)
async def test_a_state_that_cannot_be_kept_is_refused_with_its_place(
    api: httpx.AsyncClient, order: Aggregate, state: str, place: str
) -> None:
    content = f'{{"version": 1, "state": {state}}}'
    answer = await api.put(order.snapshot_path, content=content)
    assert refused_places(answer, "unstorable-value") == [place]
    assert (await api.get(order.snapshot_path)).status_code == 404


async def test_malformed_json_is_400(api: httpx.AsyncClient, order: Aggregate) -> None:
    answer = await api.put(order.snapshot_path, content='{"version": 1, "state": {}')
    problem(answer, 400, "malformed-body")


# --- GET and DELETE


async def test_get_answers_304_to_who_has_it(api: httpx.AsyncClient, order: Aggregate) -> None:
    stored = (await save(api, order, 4)).headers["etag"]
    for tag, status in (
        (stored, 304),
        (f"W/{stored}", 304),
        (f'"3", {stored}', 304),
        ("*", 304),
        ('"4"', 200),
        (stored.strip('"'), 200),
    ):
        answer = await api.get(order.snapshot_path, headers={"If-None-Match": tag})
        assert answer.status_code == status, tag
        assert answer.headers["etag"] == stored
        assert bool(answer.content) == (status == 200)


async def test_get_reads_several_lines_of_tags_as_one_list(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    stored = (await save(api, order, 4)).headers["etag"]
    for tags, status in (([stored, '"3"'], 304), (['"3"', stored], 304), (['"3"', '"2"'], 200)):
        headers = [("If-None-Match", tag) for tag in tags]
        assert (await api.get(order.snapshot_path, headers=headers)).status_code == status, tags


async def test_a_replacement_of_the_same_version_has_another_tag(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    tags: set[str] = set()
    for state in ("first", "second"):
        saved = await save(api, order, 4, state)
        answer = await api.get(order.snapshot_path, headers={"If-None-Match": ", ".join(tags)})
        assert answer.status_code == 200
        assert answer.json()["state"] == state
        assert answer.headers["etag"] == saved.headers["etag"]
        tags.add(saved.headers["etag"])
    assert len(tags) == 2


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
async def test_put_and_delete_refuse_any_precondition(
    api: httpx.AsyncClient, order: Aggregate, name: str
) -> None:
    stored = await save(api, order, 4, "stored")
    for value in (stored.headers["etag"], '"3"', "*", ""):
        for method, body in (("PUT", {"version": 5, "state": "new"}), ("DELETE", None)):
            answer = await api.request(
                method, order.snapshot_path, json=body, headers={name: value}
            )
            assert f"no {name}" in problem(answer, 400, "bad-precondition")["detail"]
    assert (await api.get(order.snapshot_path)).json()["state"] == "stored"


async def test_without_a_snapshot_get_and_delete_are_404(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    for aggregate in (order, new_aggregate()):
        for request in (api.get, api.delete):
            details = problem(await request(aggregate.snapshot_path), 404, "snapshot-not-found")
            assert aggregate_of(details) == aggregate


async def test_delete_forgets_the_snapshot_and_keeps_the_events(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    await save(api, order, 7, "old")
    answer = await api.delete(order.snapshot_path)
    assert (answer.status_code, answer.content) == (204, b"")
    problem(await api.get(order.snapshot_path), 404, "snapshot-not-found")
    problem(await api.delete(order.snapshot_path), 404, "snapshot-not-found")
    assert await stored_versions(api, order) == list(range(1, 11))
    assert (await api.get(order.path)).json()["snapshot"] is None
    # Nothing is newer any more.
    assert (await save(api, order, 3)).status_code == 201


@pytest.mark.parametrize("aggregate_id", ["a/b", "..", "🔑" * 255, "a%2Fb", "snapshot"])
async def test_snapshots_of_ids_of_any_text(api: httpx.AsyncClient, aggregate_id: str) -> None:
    order = Aggregate(new_aggregate().id, aggregate_id)
    await append(api, order)
    assert (await save(api, order, 1, aggregate_id)).json()["aggregate_id"] == aggregate_id
    assert (await api.get(order.snapshot_path)).json()["state"] == aggregate_id
    assert (await api.delete(order.snapshot_path)).status_code == 204

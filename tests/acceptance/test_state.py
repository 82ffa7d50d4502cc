"""GET …/state, include=state and previews, as a client: what a reducer makes of events."""

import asyncio
import json
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.queries import get_state
from tests.factories import (
    Aggregate,
    aggregate_of,
    append,
    exact,
    new_aggregate,
    new_event,
    new_name,
    problem,
    refused_places,
    segment,
)
from tests.integration.client_sql import Connection

MERGE = {"kind": "merge"}
# How many tasks each resource has done, the last task, and when that was.
TASKS = {
    "kind": "jsonata",
    "initial": {"tasks": {}},
    "on": {
        "*": """(
            $resource := event.metadata.resource;
            {
                "tasks": $merge([state.tasks, {
                    $resource: ($lookup(state.tasks, $resource) ?? 0) + 1
                }]),
                "last_task": event.event_data.task,
                "last_at": event.occurred_at
            }
        )"""
    },
}
SUM = {
    "kind": "jsonata",
    "initial": {"sum": 0},
    "on": {"*": "{'sum': state.sum + event.event_data.n}"},
}


@pytest.fixture
def order_type() -> str:
    """An aggregate type that no other test knows."""
    return new_name("Order")


async def set_reducer(api: httpx.AsyncClient, aggregate_type: str, reducer: object) -> str:
    """The hash of the reducer, which is that of the type's policy from now on."""
    path = f"/v1/snapshot-policies/{segment(aggregate_type)}"
    # None is made meanwhile: these tests make the snapshots that there are.
    answer = await api.put(path, json={"every": 10_000, "reducer": reducer})
    assert answer.status_code in {200, 201}, answer.text
    reducer_hash: str = answer.json()["reducer_hash"]
    return reducer_hash


async def order_of(
    api: httpx.AsyncClient, aggregate_type: str, *event_data: object, **members: Any
) -> Aggregate:
    order = new_aggregate(aggregate_type)
    events = [new_event(event_data=data, **members) for data in event_data]
    assert (await append(api, order, *events)).status_code == 201
    return order


async def state_of(api: httpx.AsyncClient, order: Aggregate, **params: Any) -> dict[str, Any]:
    answer = await api.get(f"{order.path}/state", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert (found.pop("aggregate_type"), found.pop("aggregate_id")) == order
    return found


async def put_snapshot(
    sql: Connection, order: Aggregate, version: int, state: object, reducer_hash: str | None
) -> None:
    await sql.execute(
        "INSERT INTO snapshots VALUES ($1, $2, $3, $4, now(), $5)",
        order.type,
        order.id,
        version,
        json.dumps(state),
        reducer_hash,
    )


def preview_path(aggregate_type: str) -> str:
    return f"/v1/snapshot-policies/{segment(aggregate_type)}/preview"


async def test_merge_tells_the_state_at_every_version_digit_by_digit(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await set_reducer(api, order_type, {**MERGE, "fields": {"last_event": "event_type"}})
    order = new_aggregate(order_type)
    body = (
        '{"events": [{"event_type": "Placed", "event_data": {"total": 45.480, "to": {"a": 1}}},'
        '{"event_type": "Moved", "event_data": {"to": {"a": null, "b": 12345678901234567890.10}}}]}'
    )
    assert (await api.post(order.events_path, content=body)).status_code == 201
    answer = await api.get(f"{order.path}/state")
    assert exact(answer.text)["state"] == exact(
        '{"total": 45.480, "to": {"b": 12345678901234567890.10}, "last_event": "Moved"}'
    )
    assert await state_of(api, order, at_version=1) == {
        "version": 1,
        "state": {"total": 45.48, "to": {"a": 1}, "last_event": "Placed"},
        "from_snapshot": None,
    }


async def test_time_travel_by_time(api: httpx.AsyncClient, order_type: str) -> None:
    await set_reducer(api, order_type, SUM)
    order = new_aggregate(order_type)
    events = [
        new_event(event_data={"n": n}, occurred_at=f"2026-11-2{n}T10:00:00Z") for n in range(1, 4)
    ]
    await append(api, order, *events)
    for as_of, version in (
        ("2026-11-21T10:00:00Z", 1),
        ("2026-11-22T23:00:00Z", 2),
        ("2027-01-01T00:00:00Z", 3),
    ):
        found = await state_of(api, order, as_of=as_of)
        assert (found["version"], found["state"]["sum"]) == (version, sum(range(version + 1)))
    early = await api.get(f"{order.path}/state", params={"as_of": "2026-11-20T00:00:00Z"})
    problem(early, 404, "version-not-found")


async def test_a_snapshot_of_the_reducer_is_used_and_no_other(
    api: httpx.AsyncClient, shared_sql: Connection, order_type: str
) -> None:
    """Each of these snapshots lies, so the state tells which one was used."""
    reducer_hash = await set_reducer(api, order_type, SUM)
    orders = [await order_of(api, order_type, *({"n": 1} for _ in range(5))) for _ in range(4)]
    for order, made_by in zip(orders, (reducer_hash, None, "0" * 64, None), strict=True):
        if order != orders[3]:
            await put_snapshot(shared_sql, order, 3, {"sum": 100}, made_by)
    found = [await state_of(api, order) for order in orders]
    assert [each["from_snapshot"] for each in found] == [3, None, None, None]
    assert [each["state"]["sum"] for each in found] == [102, 5, 5, 5]
    # Neither is one that is newer than what is asked for; one of just that version is.
    assert (await state_of(api, orders[0], at_version=2))["state"] == {"sum": 2}
    assert await state_of(api, orders[0], at_version=3) == {
        "version": 3,
        "state": {"sum": 100},
        "from_snapshot": 3,
    }


async def test_another_reducer_makes_another_state_at_once(
    api: httpx.AsyncClient, shared_sql: Connection, order_type: str
) -> None:
    first = await set_reducer(api, order_type, SUM)
    order = await order_of(api, order_type, {"n": 1}, {"n": 2})
    await put_snapshot(shared_sql, order, 2, {"sum": 3}, first)
    assert (await state_of(api, order))["from_snapshot"] == 2
    await set_reducer(api, order_type, MERGE)
    assert await state_of(api, order) == {"version": 2, "state": {"n": 2}, "from_snapshot": None}


async def test_etag_is_of_version_and_reducer(api: httpx.AsyncClient, order_type: str) -> None:
    await set_reducer(api, order_type, SUM)
    order = await order_of(api, order_type, {"n": 1}, {"n": 2})
    path = f"{order.path}/state"
    tag = (await api.get(path)).headers["ETag"]
    for params in ({}, {"at_version": 2}, {"as_of": "2100-01-01T00:00:00Z"}):
        answer = await api.get(path, params=params, headers={"If-None-Match": f'"x", {tag}'})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    changed = {"If-None-Match": tag}
    assert (await api.get(path, params={"at_version": 1}, headers=changed)).status_code == 200
    await append(api, order, new_event(event_data={"n": 3}))
    assert (await api.get(path, headers=changed)).json()["state"] == {"sum": 6}
    await set_reducer(api, order_type, MERGE)
    answer = await api.get(path, params={"at_version": 2}, headers=changed)
    assert answer.json()["state"] == {"n": 2}


async def test_many_events_are_folded_page_by_page(api: httpx.AsyncClient, order_type: str) -> None:
    await set_reducer(api, order_type, SUM)
    order = await order_of(api, order_type, *({"n": n} for n in range(2_500)))
    found = await state_of(api, order)
    assert (found["version"], found["state"]["sum"]) == (2_500, sum(range(2_500)))


async def test_what_is_not_there_is_404(api: httpx.AsyncClient, order_type: str) -> None:
    order = await order_of(api, order_type, {"n": 1})
    path = f"{order.path}/state"
    listing = f"/v1/aggregates/{order_type}?include=state"
    for url in (path, listing):
        assert problem(await api.get(url), 404, "reducer-not-found")["aggregate_type"] == order_type
    await api.put(f"/v1/snapshot-policies/{order_type}", json={"every": 5})
    problem(await api.get(path), 404, "reducer-not-found")
    await set_reducer(api, order_type, SUM)
    problem(await api.get(f"{new_aggregate(order_type).path}/state"), 404, "aggregate-not-found")
    late = await api.get(path, params={"at_version": 2})
    assert problem(late, 404, "version-not-found")["version"] == 1


@pytest.mark.parametrize(
    "params", [{"at_version": 0}, {"at_version": "x"}, {"as_of": "2026"}, {"as_of": "17"}]
)
async def test_bad_parameters_are_refused(
    api: httpx.AsyncClient, order_type: str, params: dict[str, str]
) -> None:
    [name] = params
    answer = await api.get(f"/v1/aggregates/{order_type}/a/state", params=params)
    assert refused_places(answer) == [f"query.{name}"]


async def test_a_failing_reducer_is_answered_with_its_event(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await set_reducer(api, order_type, SUM)
    order = await order_of(api, order_type, {"n": 1}, {"n": "two"}, {"n": 3})
    details = problem(await api.get(f"{order.path}/state"), 422, "fold-failed")
    assert aggregate_of(details) == order
    assert (details["version"], details["event_type"]) == (2, "OrderPaid")
    assert "must evaluate to a number" in details["reason"]
    events = (await api.get(order.events_path)).json()["events"]
    assert details["event_id"] == events[1]["event_id"]
    # What is before it can be told, and it keeps nobody else from anything.
    assert (await state_of(api, order, at_version=1))["state"] == {"sum": 1}
    assert (await append(api, order, new_event(event_data={"n": 4}))).status_code == 201
    other = await order_of(api, order_type, {"n": 1})
    assert (await state_of(api, other))["state"] == {"sum": 1}


async def test_states_are_listed_by_pages(
    api: httpx.AsyncClient, shared_sql: Connection, order_type: str
) -> None:
    reducer_hash = await set_reducer(api, order_type, SUM)
    for name, numbers in (("a", [1, 2]), ("b", ["x"]), ("c", [4]), ("d", [5])):
        events = [new_event(event_data={"n": n}) for n in numbers]
        await append(api, Aggregate(order_type, name), *events)
    await put_snapshot(shared_sql, Aggregate(order_type, "a"), 1, {"sum": 10}, reducer_hash)
    path = f"/v1/aggregates/{order_type}"
    first = (await api.get(path, params={"include": "state", "limit": 3})).json()
    a, b, c = first["aggregates"]
    assert a == {"aggregate_id": "a", "version": 2, "state": {"sum": 12}, "from_snapshot": 1}
    assert c == {"aggregate_id": "c", "version": 1, "state": {"sum": 4}, "from_snapshot": None}
    assert (b["aggregate_id"], b["version"], set(b)) == (
        "b",
        1,
        {"aggregate_id", "version", "failure"},
    )
    assert (b["failure"]["version"], b["failure"]["event_type"]) == (1, "OrderPaid")
    params = {"include": "state", "limit": "3", "after": first["next_after"]}
    second = (await api.get(path, params=params)).json()
    assert [each["aggregate_id"] for each in second["aggregates"]] == ["d"]
    assert second["next_after"] is None
    without = (await api.get(path)).json()["aggregates"]
    assert without[0] == {"aggregate_id": "a", "version": 2}
    assert refused_places(await api.get(path, params={"include": "stat"})) == ["query.include.0"]


async def test_a_page_of_large_states_ends_early(
    api: httpx.AsyncClient, order_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_state, "MAX_STATES_BYTES", 1_000)
    await set_reducer(api, order_type, MERGE)
    for number, size in enumerate([600, 300, 600, 2_000, 100]):
        event = new_event(event_data={"x": "x" * size})
        await append(api, Aggregate(order_type, str(number)), event)
    assert await pages_of_states(api, order_type) == [["0", "1"], ["2"], ["3"], ["4"]]


async def pages_of_states(api: httpx.AsyncClient, aggregate_type: str) -> list[list[str]]:
    pages: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        params = {"include": "state", "after": after}
        page = (await api.get(f"/v1/aggregates/{aggregate_type}", params=params)).json()
        pages.append([each["aggregate_id"] for each in page["aggregates"]])
        after = page["next_after"]
    return pages


async def test_a_page_of_states_that_take_long_ends_early(
    api: httpx.AsyncClient, order_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they fail: each of them may take seconds until it does."""
    monkeypatch.setattr(get_state, "MAX_STATES_S", 0.0)
    await set_reducer(api, order_type, SUM)
    for number, data in enumerate([{"n": 1}, {"n": "none"}, {"n": "none"}]):
        await append(api, Aggregate(order_type, str(number)), new_event(event_data=data))
    assert await pages_of_states(api, order_type) == [["0"], ["1"], ["2"]]


async def test_preview_keeps_nothing(
    api: httpx.AsyncClient, shared_sql: Connection, order_type: str
) -> None:
    order = await order_of(api, order_type, {"n": 1}, {"n": 2})
    trial = {"aggregate_id": order.id, "reducer": SUM}
    answer = await api.post(preview_path(order_type), json=trial)
    assert answer.json() == {
        "aggregate_type": order_type,
        "aggregate_id": order.id,
        "version": 2,
        "state": {"sum": 3},
        "from_snapshot": None,
    }
    answer = await api.post(preview_path(order_type), json={**trial, "at_version": 1})
    assert (answer.json()["version"], answer.json()["state"]) == (1, {"sum": 1})
    problem(await api.get(f"/v1/snapshot-policies/{order_type}"), 404, "policy-not-found")
    problem(await api.get(order.snapshot_path), 404, "snapshot-not-found")
    # A snapshot is no way to try a reducer, even if it is of the same one.
    reducer_hash = await set_reducer(api, order_type, SUM)
    await put_snapshot(shared_sql, order, 1, {"sum": 100}, reducer_hash)
    assert (await api.post(preview_path(order_type), json=trial)).json()["state"] == {"sum": 3}


@pytest.mark.parametrize(
    ("reducer", "place"),
    [
        ({"kind": "fold"}, "$.reducer.kind"),
        ({"kind": "jsonata", "on": {"A": "1 +"}}, "$.reducer.on.A"),
        ({"kind": "jsonata", "on": {"A": "1", "B": "(" * 60_000}}, "$.reducer.on.B"),
        ({"kind": "jsonata", "on": {"A": "$now()"}}, "$.reducer.on.A"),
        ({"kind": "jsonata", "on": {"A": "1"}, "initial": {"a": "\x00"}}, "$.reducer.initial.a"),
        ({"kind": "merge", "on": {}}, "$.reducer.on"),
        ([], "$.reducer"),
    ],
)
async def test_a_reducer_that_is_none_is_refused_with_its_place(
    api: httpx.AsyncClient, order_type: str, reducer: object, place: str
) -> None:
    slug = "unstorable-value" if "initial" in place else "invalid-input"
    policy = f"/v1/snapshot-policies/{order_type}"
    assert refused_places(await api.put(policy, json={"reducer": reducer}), slug) == [place]
    trial = {"aggregate_id": "a", "reducer": reducer}
    assert refused_places(await api.post(preview_path(order_type), json=trial), slug) == [place]
    problem(await api.get(policy), 404, "policy-not-found")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"reducer": MERGE}, "$"),
        ({"aggregate_id": "a"}, "$"),
        ({"aggregate_id": "", "reducer": MERGE}, "$.aggregate_id"),
        ({"aggregate_id": "a", "reducer": MERGE, "at_version": 0}, "$.at_version"),
        ({"aggregate_id": "a", "reducer": MERGE, "evry": 1}, "$"),
    ],
)
async def test_a_preview_of_another_shape_is_refused(
    api: httpx.AsyncClient, order_type: str, body: object, place: str
) -> None:
    assert refused_places(await api.post(preview_path(order_type), json=body)) == [place]


@pytest.mark.parametrize(
    "expression",
    [
        "($f := function($n) { $f($n + 1) }; $f(1))",
        "($f := function($n) { 1 + $f($n + 1) }; $f(1))",
        "($f := function($s) { $f($s & $s) }; $f('xxxx'))",
        "[1..9999999].{'x': $}",
    ],
    ids=["loops", "recurses", "grows", "takes memory"],
)
async def test_what_loops_or_grows_is_stopped_while_others_go_on(
    api: httpx.AsyncClient, order_type: str, expression: str
) -> None:
    order = await order_of(api, order_type, {"n": 1})
    trial = {"aggregate_id": order.id, "reducer": {"kind": "jsonata", "on": {"*": expression}}}
    preview = asyncio.create_task(api.post(preview_path(order_type), json=trial))
    assert (await append(api, order)).status_code == 201
    details = problem(await preview, 422, "fold-failed")
    assert details["version"] == 1
    answer = await api.post(preview_path(order_type), json={**trial, "reducer": MERGE})
    assert answer.status_code == 200


async def test_what_is_folded_for_a_client_that_has_gone_keeps_nobody_waiting(
    api: httpx.AsyncClient, order_type: str
) -> None:
    order = await order_of(api, order_type, {"s": "a" * 40 + "!"})
    hostile = {"kind": "jsonata", "on": {"*": "$match(event.event_data.s, /^(a+)+$/)"}}
    trial = {"aggregate_id": order.id, "reducer": hostile}
    for _ in range(3):
        with pytest.raises(httpx.ReadTimeout):
            await api.post(preview_path(order_type), json=trial, timeout=0.3)
    begin = time.monotonic()
    answer = await api.post(preview_path(order_type), json={**trial, "reducer": MERGE})
    assert answer.status_code == 200
    # Each of them could go on for five seconds.
    assert time.monotonic() - begin < 5


def folded_tasks(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the reducer makes of the events of a case, after each of them."""
    states = []
    tasks: dict[str, int] = defaultdict(int)
    for line in lines:
        tasks[line["metadata"]["resource"]] += 1
        at = datetime.fromisoformat(line["occurred_at"]).astimezone(UTC)
        states.append(
            {
                "tasks": dict(tasks),
                "last_task": line["event_data"]["task"],
                "last_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
        )
    return states


async def check_permit_data(client: httpx.AsyncClient, lines: list[bytes]) -> int:
    """How many states of a file's cases were compared, at every version and as a list."""
    cases: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        event = json.loads(line)
        cases[event["aggregate_id"]].append(event)
    await set_reducer(client, "PermitApplication", TASKS)
    imported = await client.post("/v1/import", content=b"".join(lines))
    assert imported.json()["stored"] == len(lines)
    compared = 0
    for case, events in cases.items():
        for version, expected in enumerate(folded_tasks(events), start=1):
            aggregate = Aggregate("PermitApplication", case)
            found = await state_of(client, aggregate, at_version=version)
            assert (found["version"], found["state"]) == (version, expected)
            compared += 1
    params = {"include": "state", "limit": "10000"}
    listed = (await client.get("/v1/aggregates/PermitApplication", params=params)).json()
    assert {each["aggregate_id"]: each["state"] for each in listed["aggregates"]} == {
        case: folded_tasks(events)[-1] for case, events in cases.items()
    }
    return compared


async def test_every_state_of_the_permit_data_is_what_python_makes_of_the_file(
    client: httpx.AsyncClient, permit_lines: list[bytes]
) -> None:
    assert await check_permit_data(client, permit_lines) == len(permit_lines)

"""GET and HEAD /v1/aggregates/{aggregate_type}/{aggregate_id}, as a client."""

import asyncio
from typing import Any

import httpx
import pytest

from app.store.event_reader import EventReader, LoadedAggregate
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


@pytest.fixture
async def order(api: httpx.AsyncClient) -> Aggregate:
    """An aggregate at version 10 with a snapshot of version 6."""
    aggregate = new_aggregate()
    await append(api, aggregate, *new_events(10))
    answer = await api.put(aggregate.snapshot_path, json={"version": 6, "state": {"sum": 21}})
    assert answer.status_code == 201
    return aggregate


async def load(api: httpx.AsyncClient, order: Aggregate, **params: Any) -> Any:
    answer = await api.get(order.path, params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert answer.headers["etag"] == f'"{body["version"]}"'
    return body


def versions(loaded: Any) -> list[int]:
    return [event["version"] for event in loaded["events"]]


def snapshot_version(loaded: Any) -> Any:
    return loaded["snapshot"] and loaded["snapshot"]["version"]


async def test_without_a_snapshot_it_is_all_events(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    await append(api, order, *new_events(3))
    assert await load(api, order) == {
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "version": 3,
        "snapshot": None,
        "events": await stored_events(api, order),
    }


async def test_a_snapshot_takes_the_place_of_the_events_up_to_it(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    snapshot = (await api.get(order.snapshot_path)).json()
    assert await load(api, order) == {
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "version": 10,
        "snapshot": {"version": 6, "state": {"sum": 21}, "created_at": snapshot["created_at"]},
        "events": (await stored_events(api, order))[6:],
    }


async def test_a_snapshot_of_the_newest_version_leaves_no_events(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    await api.put(order.snapshot_path, json={"version": 10, "state": None})
    loaded = await load(api, order)
    assert loaded["snapshot"]["state"] is None
    assert (loaded["version"], snapshot_version(loaded), loaded["events"]) == (10, 10, [])


async def test_snapshot_false_loads_from_the_first_event(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    loaded = await load(api, order, snapshot="false")
    assert loaded["snapshot"] is None
    assert versions(loaded) == list(range(1, 11))
    assert versions(await load(api, order, snapshot="true")) == [7, 8, 9, 10]


@pytest.mark.parametrize(
    ("at_version", "snapshot", "expected"),
    [
        (1, None, [1]),
        (5, None, [1, 2, 3, 4, 5]),
        (6, 6, []),
        (7, 6, [7]),
        (10, 6, [7, 8, 9, 10]),
    ],
)
async def test_at_version_loads_the_past_without_a_newer_snapshot(
    api: httpx.AsyncClient,
    order: Aggregate,
    at_version: int,
    snapshot: int | None,
    expected: list[int],
) -> None:
    loaded = await load(api, order, at_version=at_version)
    assert loaded["version"] == at_version
    assert (snapshot_version(loaded), versions(loaded)) == (snapshot, expected)


async def test_at_version_and_snapshot_false_together(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    loaded = await load(api, order, at_version=7, snapshot="false")
    assert (snapshot_version(loaded), versions(loaded)) == (None, [1, 2, 3, 4, 5, 6, 7])


async def test_a_version_that_is_not_reached_is_404(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    answer = await api.get(order.path, params={"at_version": 11})
    details = problem(answer, 404, "version-not-found")
    assert (details["aggregate_id"], details["version"]) == (order.id, 10)


async def dated(api: httpx.AsyncClient, *days: int) -> Aggregate:
    """An aggregate whose events occurred on these days of a month, at noon."""
    order = new_aggregate()
    events = [new_event(occurred_at=f"2026-05-{day:02}T12:00:00Z") for day in days]
    await append(api, order, *events)
    return order


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("2026-05-01T12:00:00Z", [1]),
        ("2026-05-02T11:59:59.999999Z", [1]),
        ("2026-05-02T12:00:00Z", [1, 2]),
        ("2026-05-02T14:00:00+02:00", [1, 2]),
        ("2026-05-02T13:59:59+02:00", [1]),
        ("2026-05-31T00:00:00Z", [1, 2, 3]),
        ("9999-12-31T23:59:59.999999Z", [1, 2, 3]),
    ],
)
async def test_as_of_loads_what_had_occurred_by_then(
    api: httpx.AsyncClient, as_of: str, expected: list[int]
) -> None:
    order = await dated(api, 1, 2, 3)
    loaded = await load(api, order, as_of=as_of)
    assert versions(loaded) == expected
    assert loaded["version"] == expected[-1]


async def test_as_of_stops_before_the_first_event_that_occurred_later(
    api: httpx.AsyncClient,
) -> None:
    # A state is one that the aggregate has had: version 3 was never without version 2.
    order = await dated(api, 1, 20, 5, 25)
    assert versions(await load(api, order, as_of="2026-05-10T00:00:00Z")) == [1]
    assert versions(await load(api, order, as_of="2026-05-21T00:00:00Z")) == [1, 2, 3]
    assert versions(await load(api, order, as_of="2026-05-30T00:00:00Z")) == [1, 2, 3, 4]


async def test_as_of_does_not_use_a_snapshot_newer_than_that(api: httpx.AsyncClient) -> None:
    order = await dated(api, 1, 2, 3, 4)
    await api.put(order.snapshot_path, json={"version": 3, "state": {}})
    before = await load(api, order, as_of="2026-05-02T18:00:00Z")
    assert (snapshot_version(before), versions(before)) == (None, [1, 2])
    then = await load(api, order, as_of="2026-05-03T18:00:00Z")
    assert (snapshot_version(then), versions(then)) == (3, [])
    after = await load(api, order, as_of="2026-05-04T18:00:00Z")
    assert (snapshot_version(after), versions(after)) == (3, [4])


async def test_as_of_before_the_first_event_is_404(api: httpx.AsyncClient) -> None:
    order = await dated(api, 1, 2)
    answer = await api.get(order.path, params={"as_of": "2026-05-01T11:59:59Z"})
    assert problem(answer, 404, "version-not-found")["version"] == 2


async def test_at_version_and_as_of_together_are_the_earlier_of_both(
    api: httpx.AsyncClient,
) -> None:
    order = await dated(api, 1, 2, 3, 4)
    day_2, day_4 = "2026-05-02T18:00:00Z", "2026-05-04T18:00:00Z"
    assert versions(await load(api, order, as_of=day_2, at_version=3)) == [1, 2]
    assert versions(await load(api, order, as_of=day_4, at_version=3)) == [1, 2, 3]


async def test_an_aggregate_without_events_is_404(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    for params in ({}, {"at_version": "1"}, {"as_of": "2026-01-01T00:00:00Z"}):
        details = problem(await api.get(order.path, params=params), 404, "aggregate-not-found")
        assert aggregate_of(details) == order


# --- more events than one page of the store


@pytest.mark.parametrize("count", [999, 1_000, 1_001, 2_000, 2_345])
async def test_an_aggregate_of_any_length_is_loaded_whole(
    api: httpx.AsyncClient, count: int
) -> None:
    order = new_aggregate()
    await append(api, order, *new_events(count))
    loaded = await load(api, order)
    assert versions(loaded) == list(range(1, count + 1))
    assert loaded["version"] == count
    assert loaded["events"] == await stored_events(api, order)


async def test_a_long_aggregate_with_snapshot_and_bound(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    await append(api, order, *new_events(3_000))
    await api.put(order.snapshot_path, json={"version": 500, "state": {"text": "]}"}})
    loaded = await load(api, order, at_version=2_750)
    assert loaded["version"] == 2_750
    assert loaded["snapshot"]["state"] == {"text": "]}"}
    assert versions(loaded) == list(range(501, 2_751))


async def test_a_long_load_is_consistent_while_others_append(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    await append(api, order, *new_events(2_500))

    async def write() -> None:
        for _ in range(20):
            await append(api, order, *new_events(50))

    writing = asyncio.create_task(write())
    sizes = set()
    while not writing.done():
        loaded = await load(api, order)
        assert versions(loaded) == list(range(1, loaded["version"] + 1))
        sizes.add(loaded["version"])
    await writing
    assert (await load(api, order))["version"] == 3_500
    assert len(sizes) > 1, "no append came in between: the test has shown nothing"


# --- ETag, 304 and HEAD


@pytest.mark.parametrize("tag", ['"10"', 'W/"10"', '"9", "10"', "*", '"9",W/"10" , "11"'])
async def test_a_version_that_the_client_has_is_304(
    api: httpx.AsyncClient, order: Aggregate, tag: str
) -> None:
    for request in (api.get, api.head):
        answer = await request(order.path, headers={"If-None-Match": tag})
        assert answer.status_code == 304
        assert answer.headers["etag"] == '"10"'
        assert answer.content == b""


@pytest.mark.parametrize("tag", ['"9"', '"11"', "10", '"1", "0"', "", "nonsense"])
async def test_any_other_version_is_loaded(
    api: httpx.AsyncClient, order: Aggregate, tag: str
) -> None:
    answer = await api.get(order.path, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.json()["version"] == 10


async def test_several_lines_of_tags_are_one_list(api: httpx.AsyncClient, order: Aggregate) -> None:
    for tags, status in ((['"9"', '"10"'], 304), (['"10"', '"9"'], 304), (['"9"', '"8"'], 200)):
        headers = [("If-None-Match", tag) for tag in tags]
        for request in (api.get, api.head):
            assert (await request(order.path, headers=headers)).status_code == status, tags


async def test_the_tag_is_the_version_whichever_snapshot_the_state_is_told_with(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    for version in (6, 10):
        await api.put(order.snapshot_path, json={"version": version, "state": "replaced"})
        assert snapshot_version(await load(api, order)) == version
        answer = await api.get(order.path, headers={"If-None-Match": '"10"'})
        assert (answer.status_code, answer.headers["etag"]) == (304, '"10"')


async def test_304_is_judged_by_the_version_that_is_asked_for(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    for request in (api.get, api.head):
        for tag, status in (('"7"', 304), ('"10"', 200)):
            answer = await request(
                order.path, params={"at_version": 7}, headers={"If-None-Match": tag}
            )
            assert answer.status_code == status
            assert answer.headers["etag"] == '"7"'


async def test_if_none_match_does_not_hide_a_404(api: httpx.AsyncClient, order: Aggregate) -> None:
    for path in (new_aggregate().path, f"{order.path}?at_version=11"):
        assert (await api.get(path, headers={"If-None-Match": "*"})).status_code == 404
        assert (await api.head(path, headers={"If-None-Match": "*"})).status_code == 404


@pytest.mark.parametrize(
    ("params", "version"),
    [
        ({}, 5_000),
        ({"at_version": 4_500}, 4_500),
        ({"as_of": "9000-01-01T00:00:00Z"}, 5_000),
        ({"at_version": 4_500, "as_of": "9000-01-01T00:00:00Z"}, 4_500),
    ],
)
async def test_a_version_is_told_without_reading_an_event(
    api: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    params: dict[str, Any],
    version: int,
) -> None:
    order = new_aggregate()
    await append(api, order, *new_events(5_000))
    reads: list[tuple[int, int]] = []
    read = EventReader.load_aggregate

    async def load_and_note(reader: EventReader, *names: str, **options: Any) -> LoadedAggregate:
        loaded = await read(reader, *names, **options)
        reads.append((options["limit"], len(loaded.events)))
        return loaded

    async def read_none(*_: object, **__: object) -> None:
        raise AssertionError("events are read")

    monkeypatch.setattr(EventReader, "load_aggregate", load_and_note)
    monkeypatch.setattr(EventReader, "read_events", read_none)
    tag = f'"{version}"'
    for request, tags, status in (
        (api.head, {}, 200),
        (api.head, {"If-None-Match": tag}, 304),
        (api.get, {"If-None-Match": tag}, 304),
    ):
        answer = await request(order.path, params=params, headers=tags)
        assert (answer.status_code, answer.headers["etag"]) == (status, tag)
    assert set(reads) == {(0, 0)}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?snapshot=false",
        "?at_version=4",
        "?at_version=11",
        "?at_version=0",
        "?as_of=2026-01-01T00:00:00Z",
        "?as_of=9000-01-01T00:00:00Z",
        "?as_of=never",
    ],
)
async def test_head_and_get_agree(api: httpx.AsyncClient, order: Aggregate, query: str) -> None:
    for path in (order.path, new_aggregate().path):
        head, get = await api.head(path + query), await api.get(path + query)
        assert head.content == b""
        assert head.status_code == get.status_code
        assert head.headers.get("etag") == get.headers.get("etag")
        assert head.headers["content-type"] == get.headers["content-type"]
        # A length may be left out, but not be another one (RFC 9110, section 8.6).
        assert head.headers.get("content-length") in (None, get.headers["content-length"])


# --- refusals


@pytest.mark.parametrize("value", ["0", "-1", "2147483648", "x", ""])
async def test_at_version_is_a_positive_version(
    api: httpx.AsyncClient, order: Aggregate, value: str
) -> None:
    answer = await api.get(order.path, params={"at_version": value})
    assert refused_places(answer) == ["query.at_version"]


async def test_snapshot_is_true_or_false(api: httpx.AsyncClient, order: Aggregate) -> None:
    answer = await api.get(order.path, params={"snapshot": "perhaps"})
    assert refused_places(answer) == ["query.snapshot"]

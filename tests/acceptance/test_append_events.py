"""POST /v1/aggregates/{aggregate_type}/{aggregate_id}/events, as a client."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.settings import Settings
from tests.conftest import running_service
from tests.factories import (
    Aggregate,
    aggregate_of,
    append,
    exact,
    new_aggregate,
    new_event,
    new_events,
    new_name,
    problem,
    refused_places,
    stored_events,
    stored_versions,
)

EVENT_KEYS = {
    "event_id",
    "aggregate_type",
    "aggregate_id",
    "version",
    "event_type",
    "event_data",
    "metadata",
    "occurred_at",
    "correlation_id",
    "causation_id",
    "global_position",
}


@pytest.fixture
async def order(api: httpx.AsyncClient) -> Aggregate:
    """An aggregate at version 3."""
    aggregate = new_aggregate()
    answer = await append(api, aggregate, *new_events(3))
    assert answer.status_code == 201
    return aggregate


# --- what is answered and what is stored


async def test_first_append_creates_the_aggregate(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    event_id = str(uuid4())
    answer = await append(api, order, new_event(event_id=event_id), expected_version=0)
    assert answer.status_code == 201
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["content-type"] == "application/json"
    [stored] = await stored_events(api, order)
    assert answer.json() == {
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "version": 1,
        "events": [
            {"event_id": event_id, "version": 1, "global_position": stored["global_position"]}
        ],
        "snapshot_due": False,
        "events_since_snapshot": 1,
    }


async def test_only_type_and_data_are_required_and_every_key_is_read_back(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    before = datetime.now(UTC)
    await append(api, order, new_event("OrderPlaced", event_data={}))
    after = datetime.now(UTC)
    [stored] = await stored_events(api, order)
    assert set(stored) == EVENT_KEYS
    assert (stored["event_type"], stored["event_data"]) == ("OrderPlaced", {})
    assert stored["metadata"] is stored["correlation_id"] is stored["causation_id"] is None
    assert stored["occurred_at"].endswith("Z")
    assert before <= datetime.fromisoformat(stored["occurred_at"]) <= after


async def test_everything_that_is_given_is_stored(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    given = new_event(
        "OrderPlaced",
        event_id=str(uuid4()),
        event_data={"total": "1.10", "lines": [{"sku": "a"}, None, True]},
        metadata={"user": "ann"},
        occurred_at="2026-03-01T12:30:00.123456+02:00",
        correlation_id=str(uuid4()),
        causation_id=str(uuid4()),
    )
    await append(api, order, given)
    [stored] = await stored_events(api, order)
    assert stored.pop("global_position") > 0
    assert stored == {
        **given,
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "version": 1,
        "occurred_at": "2026-03-01T10:30:00.123456Z",
    }


async def test_null_is_the_same_as_absent(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    event = new_event(
        event_id=None, metadata=None, occurred_at=None, correlation_id=None, causation_id=None
    )
    answer = await append(api, order, event, expected_version=None)
    assert answer.status_code == 201
    [stored] = await stored_events(api, order)
    assert stored["metadata"] is stored["correlation_id"] is stored["causation_id"] is None


async def test_metadata_null_is_sql_null(api: httpx.AsyncClient, shared_sql: Any) -> None:
    order = new_aggregate()
    await append(api, order, new_event(metadata=None), new_event(metadata={"a": None}))
    rows = await shared_sql.fetch(
        "SELECT metadata IS NULL AS is_null FROM events WHERE aggregate_id = $1 ORDER BY version",
        order.id,
    )
    assert [row["is_null"] for row in rows] == [True, False]


async def test_versions_are_consecutive_and_positions_rise_with_them(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    answer = await append(api, order, *new_events(500))
    told = answer.json()["events"]
    assert [event["version"] for event in told] == list(range(4, 504))
    positions = [event["global_position"] for event in told]
    assert positions == sorted(set(positions))
    stored = await stored_events(api, order)
    assert [event["version"] for event in stored] == list(range(1, 504))
    assert [event["global_position"] for event in stored[3:]] == positions
    assert [event["event_id"] for event in stored[3:]] == [event["event_id"] for event in told]
    assert [event["event_data"]["number"] for event in stored[3:]] == list(range(1, 501))


async def test_default_ids_are_rising_uuids_of_version_7(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    before_ms = datetime.now(UTC).timestamp() * 1000
    ids = []
    for _ in range(3):
        answer = await append(api, order, *[new_event() for _ in range(50)])
        ids += [UUID(event["event_id"]) for event in answer.json()["events"]]
    after_ms = datetime.now(UTC).timestamp() * 1000
    assert {event_id.version for event_id in ids} == {7}
    assert ids == sorted(set(ids))
    # The first 48 bits are the time (RFC 9562, section 5.7).
    assert all(before_ms - 1 <= event_id.int >> 80 <= after_ms + 1 for event_id in ids)


@pytest.mark.parametrize(
    "number",
    [
        "123456789012345678901234567890.123456789012345678901234567890",
        "0.1000000000000000055511151231257827021181583404541015625",
        "1.10",
        "-0.000000000000000000000000000001",
        "9007199254740993",
        "1e30",
        "2.5E-7",
        "18446744073709551617",
        "-0.0",
    ],
)
async def test_a_number_keeps_all_its_digits(api: httpx.AsyncClient, number: str) -> None:
    order = new_aggregate()
    body = f'{{"events": [{{"event_type": "Paid", "event_data": {{"amount": {number}}}}}]}}'
    answer = await api.post(order.events_path, content=body)
    assert answer.status_code == 201
    read = exact((await api.get(order.events_path)).text)["events"][0]["event_data"]["amount"]
    assert read == exact(number)
    assert len(read.as_tuple().digits) >= len(exact(number).as_tuple().digits)


@pytest.mark.parametrize(
    "text",
    [
        "ключ 鍵 🔑",
        "\u0001\u001f\u007f\u0085\u2028\u2029\ufeff\uffff\ufffe",
        '"\\/\b\f\n\r\t',
        "e\u0301 is not \u00e9",
        "\U0010ffff",
        "null",
        "x" * 100_000,
    ],
)
async def test_any_text_is_kept_as_it_is(api: httpx.AsyncClient, text: str) -> None:
    order = new_aggregate()
    event = new_event(event_data={text: [text]}, metadata={"note": text})
    await append(api, order, event)
    [stored] = await stored_events(api, order)
    assert stored["event_data"] == {text: [text]}
    assert stored["metadata"] == {"note": text}


async def test_data_may_be_nested_deeply(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    deep = "[" * 400 + '{"a":' * 400 + "1" + "}" * 400 + "]" * 400
    body = f'{{"events": [{{"event_type": "Deep", "event_data": {{"a": {deep}}}}}]}}'
    assert (await api.post(order.events_path, content=body)).status_code == 201
    answer = await api.get(order.events_path)
    assert deep in answer.text.replace(" ", "")


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "/",
        "a b",
        " ",
        "a%2Fb",
        "%",
        "%00",
        "a+b",
        "..",
        ".",
        "a?b#c",
        "ключ-鍵-🔑",
        "a\nb",
        "\u007f",
        "'; DROP TABLE events; --",
        "events",
        "x" * 255,
        "🔑" * 255,
    ],
)
async def test_names_of_any_text_are_kept_as_they_are(api: httpx.AsyncClient, name: str) -> None:
    unique = str(uuid4())
    for aggregate in (Aggregate(name, unique), Aggregate(f"T-{unique}", name)):
        answer = await append(api, aggregate, new_event(name), expected_version=0)
        assert answer.status_code == 201, answer.text
        assert aggregate_of(answer.json()) == aggregate
        [stored] = await stored_events(api, aggregate)
        assert aggregate_of(stored) == aggregate
        assert stored["event_type"] == name


async def test_ids_that_differ_in_little_are_different_aggregates(api: httpx.AsyncClient) -> None:
    kind = new_name("Case")
    ids = ["a", "A", "a ", " a", "ä", "a\u0308", "a%20", "a/", "/a"]
    for number, aggregate_id in enumerate(ids):
        event = new_event(event_data={"number": number})
        answer = await append(api, Aggregate(kind, aggregate_id), event, expected_version=0)
        assert answer.status_code == 201, aggregate_id
    for number, aggregate_id in enumerate(ids):
        [stored] = await stored_events(api, Aggregate(kind, aggregate_id))
        assert stored["event_data"] == {"number": number}


async def test_same_id_under_two_types_is_two_aggregates(api: httpx.AsyncClient) -> None:
    order = new_aggregate("Order")
    invoice = Aggregate("Invoice", order.id)
    await append(api, order, *new_events(2))
    answer = await append(api, invoice, expected_version=0)
    assert answer.json()["version"] == 1
    assert await stored_versions(api, order) == [1, 2]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_json_is_accepted_under_any_content_type(
    api: httpx.AsyncClient, content_type: str
) -> None:
    body = b'{"events": [{"event_type": "OrderPaid", "event_data": {}}]}'
    headers = {"Content-Type": content_type}
    answer = await api.post(new_aggregate().events_path, content=body, headers=headers)
    assert answer.status_code == 201


async def test_of_a_key_that_occurs_twice_in_the_data_the_last_counts(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    body = b'{"events": [{"event_type": "a", "event_data": {"a": 1, "b": 2, "a": 3}}]}'
    assert (await api.post(order.events_path, content=body)).status_code == 201
    [stored] = await stored_events(api, order)
    assert stored["event_data"] == {"a": 3, "b": 2}


async def test_times_are_kept_to_the_microsecond_in_utc(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    given_and_stored = {
        "0001-01-01T00:00:00.000001Z": "0001-01-01T00:00:00.000001Z",
        "9999-12-31T23:59:59.999998Z": "9999-12-31T23:59:59.999998Z",
        "2026-01-01T00:00:00-14:00": "2026-01-01T14:00:00.000000Z",
        "2026-01-01T00:00:00-16:00": "2026-01-01T16:00:00.000000Z",
        "2026-01-01T00:00:00+23:59": "2025-12-31T00:01:00.000000Z",
        "2026-01-01T00:00:00.123456789+05:45": "2025-12-31T18:15:00.123457Z",
        "1900-02-28T23:59:59Z": "1900-02-28T23:59:59.000000Z",
    }
    await append(api, order, *[new_event(occurred_at=given) for given in given_and_stored])
    stored = await stored_events(api, order)
    assert [event["occurred_at"] for event in stored] == list(given_and_stored.values())


# --- expected versions


async def test_expected_version_is_exact(api: httpx.AsyncClient, order: Aggregate) -> None:
    for wrong in (0, 1, 2, 4, 2**31 - 1):
        problem(await append(api, order, expected_version=wrong), 409, "version-conflict")
    assert await stored_versions(api, order) == [1, 2, 3]
    answer = await append(api, order, expected_version=3)
    assert answer.status_code == 201
    assert answer.headers["etag"] == '"4"'


async def test_without_an_expected_version_any_will_do(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    assert (await append(api, order)).json()["version"] == 4
    assert (await append(api, order, expected_version=None)).json()["version"] == 5
    assert (await append(api, new_aggregate())).json()["version"] == 1


async def test_a_conflict_with_the_body_tells_both_versions(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    details = problem(await append(api, order, expected_version=1), 409, "version-conflict")
    detail = details.pop("detail")
    assert "version 1" in detail
    assert "version 3" in detail
    assert details == {
        "type": "/problems/version-conflict",
        "title": "Optimistic concurrency check failed",
        "status": 409,
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "expected_version": 1,
        "actual_version": 3,
    }


@pytest.mark.parametrize(
    ("headers", "expected_version"),
    [
        ({"If-Match": '"2"'}, 2),
        ({"If-Match": '"0"'}, 0),
        ({"If-Match": '"2147483647"'}, 2**31 - 1),
        ({"If-None-Match": "*"}, 0),
    ],
)
async def test_a_conflict_with_a_header_is_412_with_the_same_members(
    api: httpx.AsyncClient, order: Aggregate, headers: dict[str, str], expected_version: int
) -> None:
    details = problem(await append(api, order, headers=headers), 412, "version-conflict")
    del details["detail"]
    assert details == {
        "type": "/problems/version-conflict",
        "title": "Optimistic concurrency check failed",
        "status": 412,
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "expected_version": expected_version,
        "actual_version": 3,
    }
    assert await stored_versions(api, order) == [1, 2, 3]


async def test_if_match_any_refuses_an_aggregate_that_does_not_exist(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    answer = await append(api, order, headers={"If-Match": "*"})
    details = problem(answer, 412, "version-conflict")
    assert (details["expected_version"], details["actual_version"]) == (None, 0)
    assert await stored_events(api, order) == []


@pytest.mark.parametrize(
    "headers",
    [{"If-Match": '"3"'}, {"If-Match": "*"}, {}],
)
@pytest.mark.parametrize("expected_version", [3, None])
async def test_preconditions_that_hold_alone_or_together_with_the_body(
    api: httpx.AsyncClient,
    order: Aggregate,
    headers: dict[str, str],
    expected_version: int | None,
) -> None:
    answer = await append(api, order, headers=headers, expected_version=expected_version)
    assert answer.status_code == 201
    assert answer.json()["version"] == 4


@pytest.mark.parametrize("expected_version", [0, None])
@pytest.mark.parametrize("headers", [{"If-None-Match": "*"}, {"If-Match": '"0"'}])
async def test_preconditions_of_absence_hold_alone_or_together_with_the_body(
    api: httpx.AsyncClient, headers: dict[str, str], expected_version: int | None
) -> None:
    order = new_aggregate()
    answer = await append(api, order, headers=headers, expected_version=expected_version)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("headers", "expected_version"),
    [
        ({"If-Match": '"3"'}, 2),
        ({"If-Match": '"3"'}, 0),
        ({"If-Match": '"0"'}, 3),
        ({"If-Match": "*"}, 0),
        ({"If-None-Match": "*"}, 3),
        ({"If-None-Match": "*"}, 1),
    ],
)
async def test_header_and_body_that_disagree_are_400_whichever_would_hold(
    api: httpx.AsyncClient, order: Aggregate, headers: dict[str, str], expected_version: int
) -> None:
    for aggregate in (order, new_aggregate()):
        before = await stored_versions(api, aggregate)
        answer = await append(api, aggregate, headers=headers, expected_version=expected_version)
        problem(answer, 400, "bad-precondition")
        assert await stored_versions(api, aggregate) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "*", "If-None-Match": "*"},
        {"If-Match": '"3"', "If-None-Match": "*"},
        {"If-None-Match": '"3"'},
        {"If-Match": "3"},
        {"If-Match": 'W/"3"'},
        {"If-Match": '"3", "4"'},
        {"If-Match": '"three"'},
        {"If-Match": '"-1"'},
        {"If-Match": '"2147483648"'},
        {"If-Match": ""},
        {"If-None-Match": ""},
    ],
)
async def test_a_precondition_that_cannot_be_meant_is_400(
    api: httpx.AsyncClient, order: Aggregate, headers: dict[str, str]
) -> None:
    problem(await append(api, order, headers=headers), 400, "bad-precondition")
    assert await stored_versions(api, order) == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("If-Match", ['"3"', '"4"']),
        ("If-Match", ['"4"', '"3"']),
        ("If-Match", ['"3"', '"3"']),
        ("If-Match", ["*", '"3"']),
        ("If-None-Match", ["*", "*"]),
    ],
)
async def test_a_list_of_versions_in_several_lines_is_400(
    api: httpx.AsyncClient, order: Aggregate, name: str, values: list[str]
) -> None:
    answer = await api.post(
        order.events_path,
        json={"events": [new_event()]},
        headers=[(name, value) for value in values],
    )
    problem(answer, 400, "bad-precondition")
    assert await stored_versions(api, order) == [1, 2, 3]


# --- include=conflicting_events


async def conflicting(
    api: httpx.AsyncClient, order: Aggregate, status: int = 409, **request: Any
) -> Any:
    answer = await append(api, order, params={"include": "conflicting_events"}, **request)
    return problem(answer, status, "version-conflict")["conflicting_events"]


async def test_conflicting_events_are_those_after_the_expected_version(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    stored = await stored_events(api, order)
    assert await conflicting(api, order, expected_version=1) == stored[1:]
    assert await conflicting(api, order, expected_version=0) == stored
    assert await conflicting(api, order, expected_version=9) == []


async def test_conflicting_events_are_added_to_a_412_too(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    stored = await stored_events(api, order)
    assert await conflicting(api, order, 412, headers={"If-None-Match": "*"}) == stored
    assert await conflicting(api, order, 412, headers={"If-Match": '"2"'}) == stored[2:]
    assert await conflicting(api, new_aggregate(), 412, headers={"If-Match": "*"}) == []


async def test_conflicting_events_are_at_most_a_hundred(
    api: httpx.AsyncClient, order: Aggregate
) -> None:
    await append(api, order, *new_events(150))
    found = await conflicting(api, order, expected_version=2)
    assert [event["version"] for event in found] == list(range(3, 103))


async def test_include_takes_nothing_else(api: httpx.AsyncClient, order: Aggregate) -> None:
    answer = await append(api, order, params={"include": "everything"})
    assert refused_places(answer) == ["query.include.0"]
    assert await stored_versions(api, order) == [1, 2, 3]


# --- repeated appends, by event ids


async def test_a_repeated_append_is_answered_as_the_first_time(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    events = new_events(3)
    first = await append(api, order, *events, expected_version=0)
    again = await append(api, order, *events, expected_version=0)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["etag"] == first.headers["etag"] == '"3"'
    assert await stored_versions(api, order) == [1, 2, 3]


@pytest.mark.parametrize("expected_version", [None, 0, 1, 3, 5, 77])
@pytest.mark.parametrize("later", [0, 2])
async def test_a_repetition_holds_whatever_is_expected_and_whatever_came_since(
    api: httpx.AsyncClient, expected_version: int | None, later: int
) -> None:
    order = new_aggregate()
    events = new_events(3)
    first = await append(api, order, *events)
    if later:
        await append(api, order, *new_events(later))
    again = await append(api, order, *events, expected_version=expected_version)
    assert again.status_code == 200
    assert again.json()["events"] == first.json()["events"]
    assert again.json()["version"] == 3
    assert len(await stored_events(api, order)) == 3 + later


@pytest.mark.parametrize(
    "headers", [{"If-Match": '"9"'}, {"If-None-Match": "*"}, {"If-Match": "*"}]
)
async def test_a_repetition_holds_whatever_a_header_expects(
    api: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    order = new_aggregate()
    events = new_events(2)
    first = await append(api, order, *events)
    again = await append(api, order, *events, headers=headers)
    assert again.status_code == 200
    assert again.json() == first.json()


async def test_content_is_compared_as_json_and_what_was_filled_in_is_not(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    event_id = str(uuid4())
    name = f'"event_id": "{event_id}", "event_type": "Paid"'
    first = await api.post(
        order.events_path,
        content=f'{{"events": [{{{name}, "event_data": {{"a": 1.0, "b": [1, 2]}}}}]}}',
        headers={"X-Correlation-ID": str(uuid4())},
    )
    again = await api.post(
        order.events_path,
        content=f'{{"events":[{{"event_data":{{"b":[1,2e0],"a":1}},"metadata":null,{name}}}]}}',
        headers={"X-Correlation-ID": str(uuid4()), "X-Causation-ID": str(uuid4())},
    )
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "OrderLost"},
        {"event_data": {"amount": "45.49"}},
        {"event_data": {}},
        {"metadata": {"user": "bob"}},
        {"metadata": None},
        {"metadata": {}},
        {"occurred_at": "2026-01-01T00:00:00.000001Z"},
        {"correlation_id": "00000000-0000-4000-8000-000000000001"},
        {"causation_id": "00000000-0000-4000-8000-000000000001"},
    ],
)
async def test_the_same_id_with_other_content_is_a_conflict(
    api: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    order = new_aggregate()
    event = new_event(
        event_id=str(uuid4()),
        metadata={"user": "ann"},
        occurred_at="2026-01-01T00:00:00Z",
        correlation_id=str(uuid4()),
    )
    await append(api, order, event)
    stored = await stored_events(api, order)
    for expected_version in (None, 0, 1):
        answer = await append(api, order, {**event, **change}, expected_version=expected_version)
        details = problem(answer, 409, "event-id-conflict")
        assert details["event_ids"] == [event["event_id"]]
    assert await stored_events(api, order) == stored


async def test_ids_in_another_order_or_with_gaps_are_a_conflict(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    first, second, third = new_events(3)
    await append(api, order, first, second, third)
    for events in ([second, first, third], [third, second], [first, third]):
        problem(await append(api, order, *events), 409, "event-id-conflict")
    assert await stored_versions(api, order) == [1, 2, 3]


async def test_consecutive_events_of_an_earlier_append_are_a_repetition_of_that_part(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    events = new_events(3)
    places = (await append(api, order, *events)).json()["events"]
    for part in (slice(0, 2), slice(1, 3), slice(1, 2)):
        answer = await append(api, order, *events[part], expected_version=9)
        assert answer.status_code == 200
        assert answer.json()["events"] == places[part]


async def test_some_ids_taken_and_others_not_is_a_conflict_that_stores_nothing(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    known, *others = new_events(4)
    await append(api, order, known)
    for events in ([known, *others], [*others, known], [others[0], known, others[1]]):
        details = problem(await append(api, order, *events), 409, "event-id-conflict")
        assert details["event_ids"] == [known["event_id"]]
    assert await stored_versions(api, order) == [1]
    # The ids that were not taken are still free.
    assert (await append(api, order, *others)).status_code == 201


async def test_an_id_of_another_aggregate_is_a_conflict(api: httpx.AsyncClient) -> None:
    event = new_event(event_id=str(uuid4()))
    order, other = new_aggregate(), new_aggregate()
    await append(api, order, event)
    for aggregate in (other, Aggregate("Invoice", order.id)):
        problem(await append(api, aggregate, event), 409, "event-id-conflict")
        assert await stored_events(api, aggregate) == []


async def test_an_id_twice_in_one_append_is_refused(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    event = new_event(event_id=str(uuid4()))
    answer = await append(api, order, event, new_event(), event)
    assert refused_places(answer) == ["$.events[2].event_id"]
    assert await stored_events(api, order) == []


async def test_a_conflict_of_ids_goes_before_one_of_versions(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    event = new_event(event_id=str(uuid4()))
    await append(api, order, event)
    changed = {**event, "event_type": "OrderLost"}
    answer = await append(api, order, changed, headers={"If-None-Match": "*"})
    problem(answer, 409, "event-id-conflict")


# --- repeated appends, by Idempotency-Key


def with_key(key: str | bytes) -> Any:
    return {"Idempotency-Key": key}


@pytest.mark.parametrize("key", ["k", "x" * 255, 'a b, c; d="e"', "ключ".encode(), b"\xe9\xff"])
async def test_a_retry_with_the_same_key_is_recognised(
    api: httpx.AsyncClient, key: str | bytes
) -> None:
    order = new_aggregate()
    events = [new_event("Placed"), new_event("Paid")]
    first = await append(api, order, *events, headers=with_key(key), expected_version=0)
    again = await append(api, order, *events, headers=with_key(key), expected_version=0)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    ids = [UUID(event["event_id"]) for event in first.json()["events"]]
    assert {event_id.version for event_id in ids} == {5}
    assert await stored_versions(api, order) == [1, 2]


async def test_a_key_of_255_characters_counts_characters_not_bytes(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    for status in (201, 200):
        answer = await append(api, order, headers=with_key(("ключ" * 64)[:255].encode()))
        assert answer.status_code == status, answer.text
    answer = await append(api, order, headers=with_key(("ключ" * 64).encode()))
    assert refused_places(answer) == ["header.Idempotency-Key"]


async def test_another_key_or_another_aggregate_is_another_append(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    aggregates = [order, order, Aggregate("Invoice", order.id), new_aggregate()]
    keys = ["first", "second", "first", "first"]
    ids = set()
    for aggregate, key in zip(aggregates, keys, strict=True):
        answer = await append(api, aggregate, headers=with_key(key))
        assert answer.status_code == 201
        ids.add(answer.json()["events"][0]["event_id"])
    assert len(ids) == 4
    assert await stored_versions(api, order) == [1, 2]


async def test_the_same_key_for_more_fewer_or_other_events_is_a_conflict(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    placed, paid = new_event("Placed"), new_event("Paid")
    await append(api, order, placed, paid, headers=with_key("k"))
    for events in ([placed, paid, new_event("Sent")], [placed], [paid, placed], [paid]):
        answer = await append(api, order, *events, headers=with_key("k"))
        problem(answer, 409, "event-id-conflict")
    assert await stored_versions(api, order) == [1, 2]


async def test_with_a_key_an_event_keeps_the_id_that_it_carries(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    named = new_event(event_id=str(uuid4()))
    first = await append(api, order, named, new_event(), headers=with_key("k"))
    assert first.json()["events"][0]["event_id"] == named["event_id"]
    again = await append(api, order, named, new_event(), headers=with_key("k"))
    assert again.status_code == 200
    assert again.json() == first.json()


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_is_empty_or_too_long_is_refused(api: httpx.AsyncClient, key: str) -> None:
    order = new_aggregate()
    answer = await append(api, order, headers=with_key(key))
    assert refused_places(answer) == ["header.Idempotency-Key"]
    assert await stored_events(api, order) == []


# --- correlation


async def test_correlation_headers_fill_only_what_is_absent(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    correlation, causation, own = (str(uuid4()) for _ in range(3))
    await append(
        api,
        order,
        new_event(),
        new_event(correlation_id=own),
        new_event(causation_id=own),
        new_event(correlation_id=None, causation_id=None),
        headers={"X-Correlation-ID": correlation, "X-Causation-ID": causation},
    )
    stored = await stored_events(api, order)
    assert [(event["correlation_id"], event["causation_id"]) for event in stored] == [
        (correlation, causation),
        (own, causation),
        (correlation, own),
        (correlation, causation),
    ]


async def test_one_correlation_header_alone(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    correlation = str(uuid4())
    await append(api, order, headers={"X-Correlation-ID": correlation.upper()})
    [stored] = await stored_events(api, order)
    assert (stored["correlation_id"], stored["causation_id"]) == (correlation, None)


@pytest.mark.parametrize("header", ["X-Correlation-ID", "X-Causation-ID"])
async def test_a_correlation_header_that_is_no_uuid_is_refused(
    api: httpx.AsyncClient, header: str
) -> None:
    order = new_aggregate()
    answer = await append(api, order, headers={header: "trace-1"})
    assert refused_places(answer) == [f"header.{header}"]
    assert await stored_events(api, order) == []


# --- snapshot_due and other services


async def test_a_snapshot_is_due_every_hundred_events(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    assert not (await append(api, order, *new_events(99))).json()["snapshot_due"]
    assert (await append(api, order)).json()["snapshot_due"]
    assert (await append(api, order)).json()["snapshot_due"]
    await api.put(order.snapshot_path, json={"version": 100, "state": {}})
    assert not (await append(api, order, *new_events(98))).json()["snapshot_due"]
    assert (await append(api, order)).json() | {"events": []} == {
        "aggregate_type": order.type,
        "aggregate_id": order.id,
        "version": 200,
        "events": [],
        "snapshot_due": True,
        "events_since_snapshot": 100,
    }


async def test_how_many_events_make_a_snapshot_due_is_a_setting(
    settings: Settings,
) -> None:
    every_two = settings.model_copy(update={"snapshot_every": 2})
    with running_service(every_two) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            order = new_aggregate()
            due = [(await append(client, order)).json()["snapshot_due"] for _ in range(3)]
    assert due == [False, True, True]


async def test_versions_continue_behind_events_that_another_service_has_inserted(
    api: httpx.AsyncClient, shared_sql: Any, order: Aggregate
) -> None:
    await shared_sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, metadata, occurred_at, correlation_id, causation_id)"
        " VALUES ($1, $2, $3, 4, 'Imported', '{}', NULL, now(), NULL, NULL)",
        uuid4(),
        order.type,
        order.id,
    )
    problem(await append(api, order, expected_version=3), 409, "version-conflict")
    assert (await append(api, order, expected_version=4)).json()["version"] == 5
    assert await stored_versions(api, order) == [1, 2, 3, 4, 5]


async def test_at_the_last_possible_version_an_aggregate_takes_no_more(
    api: httpx.AsyncClient, shared_sql: Any
) -> None:
    order = new_aggregate()
    await shared_sql.execute(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) VALUES (gen_random_uuid(), $1, $2, $3, 'Imported', '{}', now())",
        order.type,
        order.id,
        2**31 - 1,
    )
    assert refused_places(await append(api, order), "unstorable-value") == ["$"]
    assert (await api.head(order.path)).headers["etag"] == '"2147483647"'


async def test_an_acknowledged_append_is_seen_at_once_on_every_connection(
    api: httpx.AsyncClient, shared_sql: Any
) -> None:
    order = new_aggregate()
    for version in range(1, 11):
        position = (await append(api, order)).json()["events"][0]["global_position"]
        reads = await asyncio.gather(*[api.head(order.path) for _ in range(5)])
        assert {read.headers["etag"] for read in reads} == {f'"{version}"'}
        found = await shared_sql.fetchval(
            "SELECT version FROM events WHERE global_position = $1", position
        )
        assert found == version


async def test_an_event_that_occurred_in_the_future_or_the_past_is_stored_in_append_order(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    now = datetime.now(UTC)
    times = [(now + timedelta(days=days)).isoformat() for days in (400, -400, 0)]
    for time in times:
        await append(api, order, new_event(occurred_at=time))
    stored = await stored_events(api, order)
    assert [datetime.fromisoformat(event["occurred_at"]) for event in stored] == [
        datetime.fromisoformat(time) for time in times
    ]
    positions = [event["global_position"] for event in stored]
    assert positions == sorted(positions)

"""POST /v1/transactions, as a client."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.factories import (
    Aggregate,
    aggregate_of,
    append,
    new_aggregate,
    new_append,
    new_event,
    new_events,
    problem,
    refused_places,
    stored_events,
    stored_versions,
    transact,
)


def positions(answer: httpx.Response) -> list[int]:
    """The positions of all events of a transaction, in the order of the request."""
    return [
        event["global_position"]
        for appended in answer.json()["appends"]
        for event in appended["events"]
    ]


async def test_all_appends_are_stored_and_answered_in_order(api: httpx.AsyncClient) -> None:
    order, invoice = new_aggregate("Order"), new_aggregate("Invoice")
    placed, paid, sent = new_events(3)
    answer = await transact(
        api,
        new_append(order, placed, paid, expected_version=0),
        new_append(invoice, sent),
    )
    assert answer.status_code == 201
    first, second = answer.json()["appends"]
    assert aggregate_of(first) == order
    assert aggregate_of(second) == invoice
    assert (first["version"], second["version"]) == (2, 1)
    assert (first["snapshot_due"], second["snapshot_due"]) == (False, False)
    assert [event["event_id"] for event in first["events"]] == [
        placed["event_id"],
        paid["event_id"],
    ]
    stored = await stored_events(api, order) + await stored_events(api, invoice)
    assert [event["global_position"] for event in stored] == positions(answer)


async def test_positions_rise_in_the_order_of_the_request(api: httpx.AsyncClient) -> None:
    # Locks are taken in another order than this one, for one of the two at least.
    aggregates = [new_aggregate() for _ in range(20)]
    for ordered in (aggregates, aggregates[::-1]):
        answer = await transact(
            api, *[new_append(aggregate, *new_events(3)) for aggregate in ordered]
        )
        found = positions(answer)
        assert len(found) == 60
        assert found == sorted(found)


async def test_an_aggregate_may_be_named_twice(api: httpx.AsyncClient) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    answer = await transact(
        api,
        new_append(order, *new_events(2), expected_version=0),
        new_append(invoice, expected_version=0),
        new_append(order, *new_events(3), expected_version=2),
        new_append(order),
    )
    assert answer.status_code == 201
    assert [appended["version"] for appended in answer.json()["appends"]] == [2, 1, 5, 6]
    assert await stored_versions(api, order) == [1, 2, 3, 4, 5, 6]
    assert positions(answer) == sorted(positions(answer))


async def test_the_second_append_of_an_aggregate_is_judged_behind_the_first(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    answer = await transact(
        api, new_append(order, expected_version=0), new_append(order, expected_version=0)
    )
    details = problem(answer, 409, "version-conflict")
    assert (details["append_index"], details["actual_version"]) == (1, 1)
    assert await stored_events(api, order) == []


async def test_the_first_conflict_is_named_and_nothing_is_stored(api: httpx.AsyncClient) -> None:
    good, conflicting, later = (new_aggregate() for _ in range(3))
    for aggregate in (conflicting, later):
        await append(api, aggregate, *new_events(2))
    answer = await transact(
        api,
        new_append(good),
        new_append(conflicting, expected_version=1),
        new_append(later, expected_version=0),
    )
    details = problem(answer, 409, "version-conflict")
    assert details.pop("detail")
    assert details == {
        "type": "/problems/version-conflict",
        "title": "Optimistic concurrency check failed",
        "status": 409,
        "aggregate_type": conflicting.type,
        "aggregate_id": conflicting.id,
        "expected_version": 1,
        "actual_version": 2,
        "append_index": 1,
    }
    assert await stored_events(api, good) == []
    assert await stored_versions(api, conflicting) == await stored_versions(api, later) == [1, 2]


async def conflicting(api: httpx.AsyncClient, *appends: dict[str, Any]) -> Any:
    answer = await api.post(
        "/v1/transactions",
        params={"include": "conflicting_events"},
        json={"appends": list(appends)},
    )
    return problem(answer, 409, "version-conflict")["conflicting_events"]


async def test_conflicting_events_are_those_of_the_conflict_s_aggregate(
    api: httpx.AsyncClient,
) -> None:
    good, order, later = (new_aggregate() for _ in range(3))
    for aggregate in (good, order, later):
        await append(api, aggregate, *new_events(3))
    stored = await stored_events(api, order)
    rest = new_append(later, expected_version=1)
    for expected, events in ((1, stored[1:]), (0, stored), (9, [])):
        append_in_conflict = new_append(order, expected_version=expected)
        assert await conflicting(api, new_append(good), append_in_conflict, rest) == events
    assert await stored_versions(api, good) == [1, 2, 3]


async def test_conflicting_events_are_not_those_of_the_transaction_itself(
    api: httpx.AsyncClient,
) -> None:
    order = new_aggregate()
    await append(api, order, *new_events(2))
    stored = await stored_events(api, order)
    first = new_append(order, *new_events(3), expected_version=2)
    assert await conflicting(api, first, new_append(order, expected_version=1)) == stored[1:]
    assert await conflicting(api, first, new_append(order, expected_version=2)) == []


async def test_conflicting_events_are_at_most_a_hundred(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    await append(api, order, *new_events(150))
    found = await conflicting(api, new_append(order, expected_version=2))
    assert [event["version"] for event in found] == list(range(3, 103))


async def test_include_takes_nothing_else(api: httpx.AsyncClient) -> None:
    order = new_aggregate()
    answer = await api.post(
        "/v1/transactions", params={"include": "all"}, json={"appends": [new_append(order)]}
    )
    assert refused_places(answer) == ["query.include.0"]
    assert await stored_events(api, order) == []


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", ['"0"', "*", ""])
async def test_a_precondition_is_refused(api: httpx.AsyncClient, name: str, value: str) -> None:
    order = new_aggregate()
    answer = await transact(api, new_append(order), headers={name: value})
    assert f"no {name}" in problem(answer, 400, "bad-precondition")["detail"]
    assert await stored_events(api, order) == []


async def test_a_repeated_transaction_is_answered_as_the_first_time(
    api: httpx.AsyncClient,
) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    appends = [
        new_append(order, *new_events(2), expected_version=0),
        new_append(invoice, *new_events(1), expected_version=0),
        new_append(order, *new_events(1), expected_version=2),
    ]
    first = await transact(api, *appends)
    await append(api, order)
    again = await transact(api, *appends)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert await stored_versions(api, order) == [1, 2, 3, 4]


async def test_some_appends_repeated_and_others_not_is_a_conflict(api: httpx.AsyncClient) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    [known] = new_events(1)
    await append(api, order, known)
    for appends in (
        [new_append(order, known), new_append(invoice, *new_events(1))],
        [new_append(invoice, *new_events(1)), new_append(order, known)],
    ):
        details = problem(await transact(api, *appends), 409, "event-id-conflict")
        assert details["event_ids"] == [known["event_id"]]
    assert await stored_events(api, invoice) == []
    assert await stored_versions(api, order) == [1]


async def test_a_repetition_with_other_content_is_a_conflict(api: httpx.AsyncClient) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    placed, sent = new_events(2)
    await transact(api, new_append(order, placed), new_append(invoice, sent))
    changed = {**sent, "event_data": {"number": 3}}
    answer = await transact(api, new_append(order, placed), new_append(invoice, changed))
    assert problem(answer, 409, "event-id-conflict")["event_ids"] == [sent["event_id"]]
    swapped = await transact(api, new_append(order, sent), new_append(invoice, placed))
    problem(swapped, 409, "event-id-conflict")


async def test_an_idempotency_key_covers_the_whole_transaction(api: httpx.AsyncClient) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    appends = [new_append(order), new_append(invoice), new_append(order, new_event("Sent"))]
    headers = {"Idempotency-Key": "checkout-1"}
    first = await transact(api, *appends, headers=headers)
    again = await transact(api, *appends, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    ids = {
        UUID(event["event_id"])
        for appended in first.json()["appends"]
        for event in appended["events"]
    }
    assert len(ids) == 3
    more = [*appends[:2], new_append(order, new_event("Sent"), new_event("Returned"))]
    problem(await transact(api, *more, headers=headers), 409, "event-id-conflict")
    fewer = appends[:2]
    problem(await transact(api, *fewer, headers=headers), 409, "event-id-conflict")
    assert await stored_versions(api, order) == [1, 2]


async def test_correlation_headers_fill_only_what_is_absent(api: httpx.AsyncClient) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    correlation, causation, own = (str(uuid4()) for _ in range(3))
    await transact(
        api,
        new_append(order, new_event(correlation_id=own)),
        new_append(invoice, new_event(causation_id=own)),
        headers={"X-Correlation-ID": correlation, "X-Causation-ID": causation},
    )
    [placed] = await stored_events(api, order)
    [sent] = await stored_events(api, invoice)
    assert (placed["correlation_id"], placed["causation_id"]) == (own, causation)
    assert (sent["correlation_id"], sent["causation_id"]) == (correlation, own)


async def test_snapshot_due_is_told_of_each_append(api: httpx.AsyncClient) -> None:
    long, short = new_aggregate(), new_aggregate()
    answer = await transact(api, new_append(long, *new_events(100)), new_append(short))
    assert [appended["snapshot_due"] for appended in answer.json()["appends"]] == [True, False]


async def test_an_unstorable_value_is_named_and_nothing_is_stored(api: httpx.AsyncClient) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    unstorable = new_event(event_data={"note": ["fine", "a\0b"]})
    answer = await transact(api, new_append(order), new_append(invoice, new_event(), unstorable))
    places = refused_places(answer, "unstorable-value")
    assert places == ["$.appends[1].events[1].event_data.note[1]"]
    assert await stored_events(api, order) == await stored_events(api, invoice) == []


async def test_an_id_twice_in_one_transaction_is_refused(api: httpx.AsyncClient) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    [event] = new_events(1)
    answer = await transact(api, new_append(order, event), new_append(invoice, event))
    assert refused_places(answer) == ["$.appends[1].events[0].event_id"]
    assert await stored_events(api, order) == []


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "$"),
        ({"appends": []}, "$.appends"),
        ({"appends": {}}, "$.appends"),
        ({"appends": [{}]}, "$.appends[0]"),
        ({"appends": [new_append(Aggregate("", "x"))]}, "$.appends[0].aggregate_type"),
        ({"appends": [new_append(Aggregate("x", ""))]}, "$.appends[0].aggregate_id"),
        ({"appends": [new_append(Aggregate("x", "a\0"))]}, "$.appends[0].aggregate_id"),
        ({"appends": [new_append(Aggregate("🔑" * 256, "x"))]}, "$.appends[0].aggregate_type"),
        (
            {"appends": [new_append(new_aggregate(), expected_version=-1)]},
            "$.appends[0].expected_version",
        ),
        (
            {"appends": [new_append(new_aggregate(), new_event(""))]},
            "$.appends[0].events[0].event_type",
        ),
        (
            {"appends": [{**new_append(new_aggregate()), "events": []}]},
            "$.appends[0].events",
        ),
        ({"appends": [new_append(new_aggregate())], "expected_version": 0}, "$"),
        ({"appends": [new_append(new_aggregate(), if_match="*")]}, "$.appends[0]"),
        (
            {"appends": [new_append(new_aggregate(), new_event(event_data=[]))]},
            "$.appends[0].events[0].event_data",
        ),
    ],
)
async def test_a_wrong_shape_is_refused_with_its_place(
    api: httpx.AsyncClient, body: Any, place: str
) -> None:
    assert refused_places(await api.post("/v1/transactions", json=body)) == [place]


async def test_more_events_than_the_limit_in_all_appends_together_are_refused(
    api: httpx.AsyncClient,
) -> None:
    order, invoice = new_aggregate(), new_aggregate("Invoice")
    bare = {"event_type": "Counted", "event_data": {}}
    answer = await transact(
        api, new_append(order, *[bare] * 5_000), new_append(invoice, *[bare] * 5_001)
    )
    assert refused_places(answer) == ["$.appends"]
    assert await stored_events(api, order) == await stored_events(api, invoice) == []

"""GET /v1/events: pages of the feed, as a consumer."""

from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

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
    stored_events,
    transact,
)


async def page(api: httpx.AsyncClient, **params: Any) -> Any:
    answer = await api.get("/v1/events", params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"events", "next_after", "safe_position", "up_to_date", "store_id"}
    return body


def positions(page: Any) -> list[int]:
    return [event["global_position"] for event in page["events"]]


async def insert_uncommitted(sql: Any, order: Aggregate, version: int = 1) -> int:
    """Insert an event in the transaction that is open; its position."""
    position: int = await sql.fetchval(
        "INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type,"
        " event_data, occurred_at) VALUES (gen_random_uuid(), $1, $2, $3, 'Imported', '{}', now())"
        " RETURNING global_position",
        order.type,
        order.id,
        version,
    )
    return position


# --- pages of the whole feed, on a store of its own


async def test_an_empty_store_has_an_empty_feed(client: httpx.AsyncClient) -> None:
    empty = {"events": [], "next_after": 0, "safe_position": 0, "up_to_date": True}
    for direction in ("forward", "backward"):
        found = await page(client, direction=direction)
        assert found.pop("store_id")
        assert found == empty


async def test_all_events_of_all_aggregates_in_the_order_of_their_appends(
    client: httpx.AsyncClient,
) -> None:
    orders = [new_aggregate(), new_aggregate("Invoice"), new_aggregate()]
    appended = []
    for order in [*orders, *reversed(orders)]:
        appended += (await append(client, order, *new_events(2))).json()["events"]
    found = await page(client)
    assert [event["event_id"] for event in found["events"]] == [
        event["event_id"] for event in appended
    ]
    assert positions(found) == sorted(positions(found))
    assert found["next_after"] == found["safe_position"] == positions(found)[-1]
    assert found["up_to_date"]
    by_aggregate = [await stored_events(client, order) for order in orders]
    assert sorted(found["events"], key=lambda event: str(event["event_id"])) == sorted(
        (event for events in by_aggregate for event in events),
        key=lambda event: str(event["event_id"]),
    )


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 12, 13])
async def test_pages_lead_through_the_whole_feed(client: httpx.AsyncClient, limit: int) -> None:
    await append(client, new_aggregate(), *new_events(12))
    everything = await page(client)
    read: list[Any] = []
    after = 0
    while True:
        found = await page(client, after=after, limit=limit)
        read += found["events"]
        after = found["next_after"]
        if found["up_to_date"]:
            break
        assert len(found["events"]) == limit
    assert read == everything["events"]
    assert after == everything["safe_position"]
    again = await page(client, after=after, limit=limit)
    assert again == {**everything, "events": []}


async def test_backward_pages_lead_back_to_the_beginning(client: httpx.AsyncClient) -> None:
    await append(client, new_aggregate(), *new_events(7))
    everything = (await page(client))["events"]
    newest = await page(client, direction="backward", limit=3)
    assert newest["events"] == everything[:-4:-1]
    assert newest["next_after"] == positions(newest)[-1]
    assert not newest["up_to_date"]
    older = await page(client, direction="backward", limit=3, after=newest["next_after"])
    assert older["events"] == everything[3:0:-1]
    oldest = await page(client, direction="backward", limit=3, after=older["next_after"])
    assert oldest["events"] == everything[:1]
    assert (oldest["next_after"], oldest["up_to_date"]) == (0, True)
    assert (await page(client, direction="backward", after=0))["events"] == []


async def test_a_page_has_a_thousand_events_by_default_and_ten_thousand_at_most(
    client: httpx.AsyncClient,
) -> None:
    bare = {"event_type": "Counted", "event_data": {}}
    await append(client, new_aggregate(), *[bare] * 10_000)
    await append(client, new_aggregate())
    by_default = await page(client)
    assert len(by_default["events"]) == 1_000
    assert (by_default["next_after"], by_default["up_to_date"]) == (
        positions(by_default)[-1],
        False,
    )
    largest = await page(client, limit=10_000)
    assert len(largest["events"]) == 10_000
    assert not largest["up_to_date"]
    last = await page(client, after=largest["next_after"], limit=10_000)
    assert (len(last["events"]), last["up_to_date"]) == (1, True)


# --- the safe position


async def test_an_event_behind_one_in_flight_waits_for_it(
    client: httpx.AsyncClient, sql: Any
) -> None:
    before = (await append(client, new_aggregate())).json()["events"][0]["global_position"]
    transaction = sql.transaction()
    await transaction.start()
    in_flight = await insert_uncommitted(sql, new_aggregate())
    behind = (await append(client, new_aggregate())).json()["events"][0]["global_position"]
    assert before < in_flight < behind
    held = await page(client)
    assert positions(held) == [before]
    assert held["next_after"] == held["safe_position"] == before
    assert positions(await page(client, direction="backward")) == [before]
    assert positions(await page(client, after=before)) == []
    await transaction.commit()
    assert positions(await page(client, after=held["next_after"])) == [in_flight, behind]


async def test_a_transaction_that_is_rolled_back_leaves_a_hole_and_no_stall(
    client: httpx.AsyncClient, sql: Any
) -> None:
    transaction = sql.transaction()
    await transaction.start()
    hole = await insert_uncommitted(sql, new_aggregate())
    behind = (await append(client, new_aggregate())).json()["events"][0]["global_position"]
    assert (await page(client))["events"] == []
    await transaction.rollback()
    found = await page(client)
    assert hole not in positions(found)
    assert positions(found) == [behind]


async def test_an_open_transaction_that_has_inserted_nothing_holds_nothing_back(
    client: httpx.AsyncClient, sql: Any
) -> None:
    async with sql.transaction():
        await sql.execute("UPDATE snapshots SET version = version")
        await append(client, new_aggregate())
        found = await page(client)
    assert (len(found["events"]), found["up_to_date"]) == (1, True)


# --- filters


class Feed(NamedTuple):
    """Ten events that no other test knows; ``start`` is the position before the first."""

    start: int
    kinds: tuple[str, str]
    events: list[Any]
    correlation_id: str
    causation_id: str

    def where(self, **members: Any) -> list[Any]:
        return [event for event in self.events if members.items() <= event.items()]


@pytest.fixture
async def feed(api: httpx.AsyncClient) -> Feed:
    """Events of two types of aggregates, with other events before and behind them."""
    start = (await append(api, new_aggregate())).json()["events"][0]["global_position"]
    correlation_id, causation_id = str(uuid4()), str(uuid4())
    kinds = (new_name("A"), new_name("B"))
    for number in range(10):
        event = new_event(
            ("Placed", "Paid", "Sent")[number % 3],
            occurred_at=f"2026-05-{number + 1:02}T12:00:00Z",
            correlation_id=correlation_id if number in (2, 3, 7) else None,
            causation_id=causation_id if number in (3, 4) else None,
        )
        await append(api, Aggregate(kinds[number % 2], f"id-{number % 4}"), event)
    events = (await page(api, after=start))["events"]
    await append(api, new_aggregate())
    return Feed(start, kinds, events, correlation_id, causation_id)


async def test_every_filter_by_itself(api: httpx.AsyncClient, feed: Feed) -> None:
    kind = feed.kinds[0]
    for params, expected in (
        ({"aggregate_type": kind}, feed.where(aggregate_type=kind)),
        ({"aggregate_id": "id-1"}, feed.where(aggregate_id="id-1")),
        ({"event_type": "Sent"}, feed.where(event_type="Sent")),
        ({"correlation_id": feed.correlation_id}, [feed.events[n] for n in (2, 3, 7)]),
        ({"correlation_id": feed.correlation_id.upper()}, [feed.events[n] for n in (2, 3, 7)]),
        ({"causation_id": feed.causation_id}, feed.events[3:5]),
        ({"occurred_to": "2026-05-04T12:00:00Z"}, feed.events[:3]),
        ({"occurred_to": "2026-05-04T14:00:00.000001+02:00"}, feed.events[:4]),
        (
            {"occurred_from": "2026-05-04T12:00:00Z", "occurred_to": "2026-05-06T12:00:00Z"},
            feed.events[3:5],
        ),
        ({"occurred_from": "2026-05-04T12:00:00Z", "occurred_to": "2026-05-04T12:00:00Z"}, []),
        ({"aggregate_type": new_name("C")}, []),
        ({"event_type": "sent"}, []),
        ({"correlation_id": str(uuid4())}, []),
    ):
        found = await page(api, after=feed.start, **params)
        assert found["events"] == expected, params
        assert found["next_after"] == found["safe_position"] > feed.events[-1]["global_position"]
        assert found["up_to_date"]
        backward = await page(api, direction="backward", **params)
        of_the_feed = [event for event in backward["events"] if event in feed.events]
        assert of_the_feed == expected[::-1], params


async def test_types_may_be_repeated(api: httpx.AsyncClient, feed: Feed) -> None:
    found = await page(api, after=feed.start, event_type=["Placed", "Sent", "Lost"])
    assert found["events"] == [
        event for event in feed.events if event["event_type"] in {"Placed", "Sent"}
    ]
    found = await page(api, after=feed.start, aggregate_type=list(feed.kinds))
    assert found["events"] == feed.events
    found = await page(api, after=feed.start, aggregate_type=[feed.kinds[1], feed.kinds[1]])
    assert found["events"] == feed.where(aggregate_type=feed.kinds[1])


async def test_filters_together_must_all_hold(api: httpx.AsyncClient, feed: Feed) -> None:
    kind = feed.kinds[1]
    found = await page(
        api,
        after=feed.start,
        aggregate_type=kind,
        aggregate_id="id-3",
        event_type=["Paid", "Placed"],
        correlation_id=feed.correlation_id,
        causation_id=feed.causation_id,
        occurred_from="2026-05-01T00:00:00Z",
        occurred_to="2026-06-01T00:00:00Z",
    )
    assert found["events"] == [feed.events[3]]
    found = await page(api, aggregate_type=feed.kinds[0], aggregate_id="id-3")
    assert found["events"] == []


async def test_a_filtered_consumer_moves_on_by_full_pages_and_then_to_the_safe_position(
    api: httpx.AsyncClient, feed: Feed
) -> None:
    wanted = feed.where(event_type="Placed")
    assert len(wanted) == 4
    first = await page(api, after=feed.start, event_type="Placed", limit=2)
    assert first["events"] == wanted[:2]
    assert (first["next_after"], first["up_to_date"]) == (wanted[1]["global_position"], False)
    second = await page(api, after=first["next_after"], event_type="Placed", limit=2)
    assert second["events"] == wanted[2:]
    assert (second["next_after"], second["up_to_date"]) == (wanted[3]["global_position"], False)
    third = await page(api, after=second["next_after"], event_type="Placed", limit=2)
    assert third["events"] == []
    assert third["next_after"] == third["safe_position"] > second["next_after"]
    assert third["up_to_date"]
    almost_full = await page(api, after=feed.start, event_type="Placed", limit=5)
    assert {**third, "events": wanted} == almost_full


@pytest.mark.parametrize("name", ["a&b=c", "a/b c+d%", "ключ 🔑", "a,b", "*"])
async def test_filters_take_names_of_any_text(api: httpx.AsyncClient, name: str) -> None:
    order = Aggregate(f"{new_name('T')} {name}", name)
    await append(api, order, new_event(name), new_event("Other"))
    for params in (
        {"aggregate_type": order.type, "event_type": name},
        {"aggregate_type": order.type, "aggregate_id": name, "event_type": [name, "x"]},
    ):
        [event] = (await page(api, **params))["events"]
        assert (event["aggregate_id"], event["event_type"]) == (name, name)


async def test_events_of_other_services_and_of_transactions_are_in_the_feed(
    api: httpx.AsyncClient, shared_sql: Any
) -> None:
    kind = new_name("Case")
    first, second = Aggregate(kind, "1"), Aggregate(kind, "2")
    await transact(api, new_append(second), new_append(first), new_append(second))
    await insert_uncommitted(shared_sql, first, version=2)
    found = await page(api, aggregate_type=kind)
    assert [(event["aggregate_id"], event["version"]) for event in found["events"]] == [
        ("2", 1),
        ("1", 1),
        ("2", 2),
        ("1", 2),
    ]
    imported = found["events"][-1]
    assert imported["metadata"] is imported["correlation_id"] is imported["causation_id"] is None


# --- refusals


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "application/json;q=0", "*"])
async def test_what_cannot_be_accepted_is_406(api: httpx.AsyncClient, accept: str) -> None:
    answer = await api.get("/v1/events", headers={"Accept": accept})
    assert "application/json" in problem(answer, 406, "not-acceptable")["detail"]
    assert answer.headers["vary"] == "Accept"


async def test_accept_may_have_several_lines_and_caches_are_told_of_it(
    api: httpx.AsyncClient,
) -> None:
    # Beside those of the request, httpx would send the client's own.
    del api.headers["accept"]
    lines = [("Accept", "text/html"), ("Accept", "application/json;q=0.1")]
    answer = await api.get("/v1/events", params={"limit": 1}, headers=lines)
    assert (answer.status_code, answer.headers["vary"]) == (200, "Accept")


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("after=-1", "query.after"),
        ("after=9223372036854775808", "query.after"),
        ("after=1.5", "query.after"),
        ("after=", "query.after"),
        ("limit=0", "query.limit"),
        ("limit=10001", "query.limit"),
        ("limit=all", "query.limit"),
        ("direction=down", "query.direction"),
        ("aggregate_type=", "query.aggregate_type.0"),
        ("aggregate_type=a&aggregate_type=%00", "query.aggregate_type.1"),
        ("aggregate_id=%00", "query.aggregate_id"),
        ("aggregate_id=", "query.aggregate_id"),
        (f"aggregate_id={'x' * 256}", "query.aggregate_id"),
        (f"event_type={'x' * 256}", "query.event_type.0"),
        ("event_type=a%00b", "query.event_type.0"),
        ("correlation_id=zz", "query.correlation_id"),
        ("causation_id=", "query.causation_id"),
        ("occurred_from=yesterday", "query.occurred_from"),
        ("occurred_from=2026-05-01", "query.occurred_from"),
        ("occurred_from=2026-05-01T00:00:00", "query.occurred_from"),
        ("occurred_from=1770000000", "query.occurred_from"),
        ("occurred_to=0000-01-01T00:00:00Z", "query.occurred_to"),
        ("occurred_to=10000-01-01T00:00:00Z", "query.occurred_to"),
        ("occurred_to=0001-01-01T00:00:00%2B14:00", "query.occurred_to"),
        ("occurred_to=9999-12-31T23:59:59-14:00", "query.occurred_to"),
    ],
)
async def test_a_wrong_parameter_is_refused(api: httpx.AsyncClient, query: str, place: str) -> None:
    assert refused_places(await api.get(f"/v1/events?{query}")) == [place]


async def test_all_wrong_parameters_are_told_at_once(api: httpx.AsyncClient) -> None:
    answer = await api.get("/v1/events?after=-1&limit=0&direction=down")
    assert sorted(refused_places(answer)) == ["query.after", "query.direction", "query.limit"]

"""GET /v1/stats/aggregate-types, event-types, largest-aggregates: how much there is."""

from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.acceptance.conftest import client_of
from tests.acceptance.test_crash import Service
from tests.conftest import running_service
from tests.factories import Aggregate, append, new_event, new_events, refused_places
from tests.integration.support import insert_event, until

STATS = ("aggregate-types", "event-types", "largest-aggregates")


async def told(client: httpx.AsyncClient, name: str, **params: Any) -> dict[str, Any]:
    answer = await client.get(f"/v1/stats/{name}", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["exact"] == (body["position"] >= body["safe_position"])
    return body


async def test_what_is_appended_is_counted_at_once_and_exactly(
    client: httpx.AsyncClient, sql: Any
) -> None:
    """Whether it is in the kept figures already or counted with the question."""
    for name in STATS:
        body = await told(client, name)
        assert (body["exact"], body["position"]) == (True, 0)
        assert [value for value in body.values() if value] == [True]
    await append(client, Aggregate("Order", "a"), *new_events(5))
    await append(client, Aggregate("Order", "b"), new_event("OrderPlaced"))
    await append(client, Aggregate("Invoice", "a"), *new_events(2))
    # With direct SQL, too.
    last = await insert_event(sql, "c")

    for exact in (False, True):
        types = await told(client, "aggregate-types", exact=exact)
        assert types == {
            "types": [
                {
                    "aggregate_type": "Order",
                    "events": 7,
                    "aggregates": 3,
                    "events_per_aggregate": pytest.approx(7 / 3),
                },
                {
                    "aggregate_type": "Invoice",
                    "events": 2,
                    "aggregates": 1,
                    "events_per_aggregate": 2.0,
                },
            ],
            "total_types": 2,
            "total_events": 9,
            "total_aggregates": 4,
            "exact": True,
            "position": last,
            "safe_position": last,
        }
        events = await told(client, "event-types", exact=exact)
        assert events["types"] == [
            {"event_type": "OrderPaid", "events": 7},
            {"event_type": "OrderPlaced", "events": 2},
        ]
        assert (events["total_types"], events["total_events"]) == (2, 9)
        of_invoices = await told(client, "event-types", exact=exact, aggregate_type="Invoice")
        assert of_invoices["types"] == [{"event_type": "OrderPaid", "events": 2}]
        assert of_invoices["total_events"] == 2
        largest = await told(client, "largest-aggregates", exact=exact, limit=2)
        assert [tuple(each.values()) for each in largest["aggregates"]] == [
            ("Order", "a", 5),
            ("Invoice", "a", 2),
        ]
    # A page has not all types, and the totals of all.
    first = await told(client, "aggregate-types", limit=1)
    assert [each["aggregate_type"] for each in first["types"]] == ["Order"]
    assert (first["total_types"], first["total_events"]) == (2, 9)
    for name in STATS:
        for parameter in ("limit=0", "limit=10001", "exact=perhaps"):
            refused = await client.get(f"/v1/stats/{name}?{parameter}")
            assert refused_places(refused) == [f"query.{parameter.partition('=')[0]}"]


EVENTS = 20_000
HISTORY = f"""
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    occurred_at)
SELECT gen_random_uuid(), 'Type' || n % 7, 'id-' || n % 499, 1 + n / (7 * 499),
       'Event' || n % 11, '{{}}', now()
FROM generate_series(0, {EVENTS - 1}) AS n
"""


async def test_a_full_store_is_counted_once_also_where_the_counting_is_killed(
    settings: Settings, sql: Any
) -> None:
    """The events were there before the figures; kill -9 in the midst of a window."""
    await sql.execute(HISTORY)
    killed = Service(settings)

    async def is_counting() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'event_counts'::regclass"
        return bool(await sql.fetchval(f"{waiting} AND NOT granted"))

    async with sql.transaction():
        # The window's position is written by then, and its counts are not.
        await sql.execute("LOCK TABLE event_counts IN SHARE MODE")
        killed.start()
        try:
            await until(is_counting)
        finally:
            killed.kill()
    # Others wait for the lease of the killed one to run out.
    await sql.execute("UPDATE snapshot_progress SET leader_until = '-infinity'")
    with running_service(settings) as url:
        async with client_of(url) as client:
            await check_counted(client, sql)


async def check_counted(client: httpx.AsyncClient, sql: Any) -> None:
    """All events come to be in the kept figures, and these are those of a real count."""

    async def is_kept() -> bool:
        body = await told(client, "aggregate-types")
        assert body["total_events"] == body["position"]
        return bool(await sql.fetchval("SELECT position FROM statistics_progress") == EVENTS)

    await until(is_kept)
    for name in STATS[:2]:
        assert await told(client, name) == await told(client, name, exact=True)
    # Of equals, any may be kept.
    versions = []
    for exact in (False, True):
        body = await told(client, "largest-aggregates", limit=1_000, exact=exact)
        versions.append([each["version"] for each in body["aggregates"]])
    assert versions[0] == versions[1]
    assert len(versions[0]) == 1_000

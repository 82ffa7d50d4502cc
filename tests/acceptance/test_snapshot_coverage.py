"""GET /v1/stats/snapshot-coverage and /metrics: who has a snapshot, and what loads found."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from app.settings import Settings
from app.store import snapshot_statistics
from tests.acceptance.conftest import client_of, lasting_database
from tests.acceptance.test_crash import Service
from tests.conftest import running_service
from tests.factories import (
    Aggregate,
    append,
    new_event,
    new_events,
    new_name,
    problem,
    segment,
)
from tests.integration.support import until

MERGE = {"kind": "merge"}
FAILING = {"kind": "jsonata", "on": {"Bad": "1 + 'a'", "*": "{'is': 'good'}"}}


async def save_policy(api: httpx.AsyncClient, aggregate_type: str, **policy: Any) -> None:
    answer = await api.put(f"/v1/snapshot-policies/{segment(aggregate_type)}", json=policy)
    assert answer.status_code in {200, 201}, answer.text


async def coverage_of(api: httpx.AsyncClient, aggregate_type: str) -> dict[str, Any] | None:
    answer = (await api.get("/v1/stats/snapshot-coverage")).json()
    assert answer["position"] <= answer["safe_position"]
    assert answer["exact"] == (answer["position"] == answer["safe_position"])
    for each in answer["types"]:
        if each["aggregate_type"] == aggregate_type:
            found: dict[str, Any] = each
            return found
    return None


async def until_covered(
    api: httpx.AsyncClient, aggregate_type: str, **expected: Any
) -> dict[str, Any]:
    found: dict[str, Any] | None = None

    async def is_so() -> bool:
        nonlocal found
        found = await coverage_of(api, aggregate_type)
        return found is not None and found | expected == found

    try:
        await until(is_so)
    except AssertionError:
        assert found == expected
    assert found is not None
    return found


@pytest.fixture(scope="module")
def shared_url(postgres_host: str, template_database: str) -> Iterator[str]:
    """A service of its own: one that many tests share has met more types than it counts by name."""
    with (
        lasting_database(postgres_host, template_database, "snapshot_coverage") as settings,
        running_service(settings) as url,
    ):
        yield url


@pytest.fixture
def order_type() -> str:
    """An aggregate type that no other test knows."""
    return new_name("Order")


async def test_coverage_of_client_made_snapshots(api: httpx.AsyncClient, order_type: str) -> None:
    await save_policy(api, order_type, every=5)
    assert await coverage_of(api, order_type) is None
    # Too short; none; an early one, and due again; one in time, twice; one of a short aggregate.
    for name, events, snapshot in (
        ("a", 4, None),
        ("b", 5, None),
        ("c", 9, 2),
        ("d", 9, 7),
        ("e", 6, 4),
        ("f", 4, 4),
    ):
        order = Aggregate(order_type, name)
        await append(api, order, *new_events(events))
        if snapshot:
            await api.put(order.snapshot_path, json={"version": snapshot, "state": {}})
    covered = await until_covered(
        api, order_type, aggregates_beyond_every=4, aggregates_with_snapshot=3, due=2
    )
    assert covered == {
        "aggregate_type": order_type,
        "every": 5,
        "is_managed": False,
        "aggregates_beyond_every": 4,
        "aggregates_with_snapshot": 3,
        "coverage": 0.75,
        "due": 2,
        "failed": 0,
        "loads_beyond_every": 0,
        "loads_with_snapshot": 0,
        "hit_rate": None,
    }


async def test_coverage_of_snapshots_that_the_store_makes(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await save_policy(api, order_type, every=2, reducer=FAILING)
    for name, events in (("a", 1), ("b", 2), ("c", 3)):
        await append(api, Aggregate(order_type, name), *new_events(events))
    await append(api, Aggregate(order_type, "d"), new_event("Bad"), new_event())
    covered = await until_covered(api, order_type, aggregates_with_snapshot=2, failed=1)
    assert (covered["aggregates_beyond_every"], covered["due"]) == (3, 0)
    assert (covered["coverage"], covered["is_managed"]) == (pytest.approx(2 / 3), True)
    # One that another reducer has made is of no use.
    await save_policy(api, order_type, every=2, reducer=MERGE)
    await until_covered(api, order_type, aggregates_with_snapshot=3, failed=0, coverage=1.0)


async def test_hit_rate_is_of_loads_beyond_every(api: httpx.AsyncClient, order_type: str) -> None:
    await save_policy(api, order_type, every=3)
    short, long = Aggregate(order_type, "short"), Aggregate(order_type, "long")
    await append(api, short, *new_events(2))
    await append(api, long, *new_events(4))

    async def load(*orders: Aggregate, **params: Any) -> None:
        for order in orders:
            assert (await api.get(order.path, params=params)).status_code == 200

    await load(short, long)
    await api.put(long.snapshot_path, json={"version": 3, "state": {}})
    await load(short, long, long, long)
    # These ask for no snapshot, or for the past.
    await load(long, snapshot=False)
    await load(long, at_version=2)
    await load(long, as_of="2100-01-01T00:00:00Z")
    covered = await until_covered(api, order_type, loads_beyond_every=4)
    assert (covered["loads_with_snapshot"], covered["hit_rate"]) == (3, 0.75)
    text = (await api.get("/metrics")).text
    for result, count in (("hit", 3), ("miss", 1)):
        line = f'eventstore_snapshot_loads_total{{aggregate_type="{order_type}",result="{result}"}}'
        assert f"{line} {count}.0\n" in text


async def test_states_count_as_loads(api: httpx.AsyncClient, order_type: str) -> None:
    await save_policy(api, order_type, every=2, reducer=MERGE)
    order = Aggregate(order_type, "1")
    await append(api, order, *new_events(2))
    await until_covered(api, order_type, aggregates_with_snapshot=1)
    assert (await api.get(f"{order.path}/state")).json()["from_snapshot"] == 2
    assert (await api.get(f"{order.path}/state", params={"at_version": 1})).status_code == 200
    covered = await coverage_of(api, order_type)
    assert covered is not None
    assert (covered["loads_beyond_every"], covered["hit_rate"]) == (1, 1.0)


async def test_metrics_are_in_the_format_of_prometheus(
    api: httpx.AsyncClient, order_type: str
) -> None:
    await save_policy(api, order_type, every=2, reducer=MERGE)
    await append(api, Aggregate(order_type, "1"), *new_events(7))
    await until_covered(api, order_type, aggregates_with_snapshot=1)
    answer = await api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", answer.text, re.MULTILINE))
    assert float(values["eventstore_snapshots_made_total"]) >= 1
    assert float(values["eventstore_folded_events_total"]) >= 7
    assert float(values["eventstore_fold_seconds_count"]) >= 1
    assert float(values["eventstore_snapshots_due"]) >= 0
    assert float(values["eventstore_snapshots_failing"]) >= 0
    assert float(values["eventstore_snapshots_due_lag_positions"]) >= 0


async def test_metrics_without_a_database_are_those_of_the_process(settings: Settings) -> None:
    absent = settings.model_copy(
        update={"database_host": "/nowhere", "database_connect_timeout_s": 0.2}
    )
    with running_service(absent) as url:
        async with client_of(url) as client:
            answer = await client.get("/metrics")
            problem(await client.get("/v1/stats/snapshot-coverage"), 503, "database-unreachable")
    assert answer.status_code == 200
    assert "eventstore_snapshots_made_total 0.0\n" in answer.text
    assert "eventstore_database_up 0.0\n" in answer.text
    for absent_name in ("eventstore_snapshots_due", "eventstore_feed", "eventstore_table"):
        assert absent_name not in answer.text


@pytest.fixture
def two_workers(settings: Settings) -> Iterator[Service]:
    service = Service(settings, WORKERS="2", DATABASE_POOL_MAX_SIZE="4")
    service.start()
    yield service
    with suppress(ProcessLookupError):
        service.stop()


@pytest.mark.slow
async def test_metrics_of_all_workers_are_told_by_any(two_workers: Service) -> None:
    async def is_ready() -> bool:
        with suppress(httpx.TransportError):
            async with client_of(two_workers.url) as client:
                return (await client.get("/health/ready")).status_code == 200
        return False

    async def told(name: str) -> float:
        # A connection each, so that both workers are asked.
        async with client_of(two_workers.url) as client:
            text = (await client.get("/metrics")).text
        values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, values))

    async def all_loads_are_told() -> bool:
        # A worker tells the other one once a second. Of eight answers, some are of each.
        return {await told("eventstore_snapshot_loads_total") for _ in range(8)} == {loads}

    await until(is_ready)
    order, loads = Aggregate("Order", "1"), 20
    async with client_of(two_workers.url) as client:
        assert (await append(client, order, *new_events(100))).status_code == 201
    for _ in range(loads):
        # A connection each, so that both workers have some.
        async with client_of(two_workers.url) as client:
            assert (await client.get(order.path)).status_code == 200
    await until(all_loads_are_told)
    for _ in range(4):
        assert await told("eventstore_workers") == 2
        # What is of the database is no more for being told by two.
        assert await told("eventstore_database_up") == 1
        assert await told("eventstore_feed_last_position") == 100
        assert await told("eventstore_pool_limit") == 4


async def test_coverage_of_many_snapshots_is_an_estimate_unless_it_has_to_be_exact(
    client: httpx.AsyncClient, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_statistics, "SAMPLED", 2_000)
    for count, is_exact in ((2_000, True), (6_000, False)):
        await sql.execute(
            "INSERT INTO snapshots SELECT 'Order', n::text, 150, '{}', now() "
            "FROM generate_series(1, $1) AS n ON CONFLICT DO NOTHING",
            count,
        )
        await sql.execute("VACUUM ANALYZE snapshots")
        told = (await client.get("/v1/stats/snapshot-coverage")).json()
        [of_type] = told["types"]
        assert told["exact"] == is_exact
        assert 0.5 * count < of_type["aggregates_with_snapshot"] < 1.5 * count
        exact = (await client.get("/v1/stats/snapshot-coverage", params={"exact": True})).json()
        assert exact["exact"]
        assert exact["types"][0]["aggregates_with_snapshot"] == count
        assert (of_type == exact["types"][0]) == is_exact

"""GET /v1/stats/slow-aggregates: from the symptom to the advice, which makes it go away."""

from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.conftest import running_service
from tests.factories import Aggregate, append, new_event, new_events, refused_places, segment
from tests.integration.support import until

FAILING = {"kind": "jsonata", "on": {"Bad": "1 + 'a'", "*": "{'is': 'good'}"}}
MERGE = {"kind": "merge"}


async def slow(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/stats/slow-aggregates", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["aggregates"]
    return found


async def until_slow(client: httpx.AsyncClient, **causes: str) -> dict[str, dict[str, Any]]:
    """Wait until one aggregate of each of these types is slow, by its cause; by type."""
    found: dict[str, dict[str, Any]] = {}

    async def is_so() -> bool:
        nonlocal found
        found = {each["aggregate_type"]: each for each in await slow(client)}
        return {name: each["cause"] for name, each in found.items()} == causes

    await until(is_so)
    return found


async def until_none_is_slow(client: httpx.AsyncClient) -> None:
    async def is_so() -> bool:
        return not await slow(client)

    await until(is_so)


async def follow(client: httpx.AsyncClient, advice: dict[str, Any]) -> httpx.Response:
    """Send the request that the advice links to."""
    operation = advice["operation"]
    answer = await client.request(operation["method"], operation["path"], json=operation["body"])
    assert answer.status_code in {200, 201}, answer.text
    return answer


async def save_policy(client: httpx.AsyncClient, aggregate_type: str, **policy: Any) -> None:
    path = f"/v1/snapshot-policies/{segment(aggregate_type)}"
    assert (await client.put(path, json=policy)).status_code in {200, 201}


async def test_symptoms_go_away_by_the_advice(client: httpx.AsyncClient) -> None:
    # Names that have to be encoded in the paths of the advice.
    unsaved, failing, wide = (
        Aggregate("Order/ä", ".."),
        Aggregate("Invoice", "1"),
        Aggregate("Shipment", "1"),
    )
    await save_policy(client, failing.type, every=100, reducer=FAILING)
    await save_policy(client, wide.type, every=5_000, reducer=MERGE)
    await append(client, unsaved, *new_events(99))
    await append(client, failing, *new_events(99))
    await append(client, wide, *new_events(99))
    assert await slow(client) == []
    await append(client, unsaved, *new_events(51))
    await append(client, failing, *new_events(11), new_event("Bad"), *new_events(4))
    await append(client, wide, *new_events(51))
    found = await until_slow(
        client,
        **{
            unsaved.type: "snapshot-missing",
            failing.type: "reducer-failed",
            wide.type: "policy-too-wide",
        },
    )

    # No snapshot is made: the store can make them.
    of_unsaved = found[unsaved.type]
    advice = of_unsaved.pop("advice")
    assert of_unsaved.pop("load_seconds") > 0
    assert of_unsaved == {
        "aggregate_type": unsaved.type,
        "aggregate_id": unsaved.id,
        "events": 150,
        "has_snapshot": False,
        "snapshot_version": None,
        "events_since_snapshot": 150,
        "load_is_measured": False,
        "cause": "snapshot-missing",
    }
    assert unsaved.snapshot_path in advice["text"]
    for measured in await slow(client, exact=True):
        assert measured["load_is_measured"]
        assert measured["load_seconds"] > 0
    await follow(client, advice)

    # The reducer fails: the event is named.
    of_failing = found[failing.type]
    assert (of_failing["events"], of_failing["has_snapshot"]) == (115, False)
    assert "fails on event 111: " in of_failing["advice"]["text"]
    [failure] = (await follow(client, of_failing["advice"])).json()["failures"]
    assert (failure["aggregate_id"], failure["version"]) == ("1", 111)
    assert failure["message"] in of_failing["advice"]["text"]
    await save_policy(client, failing.type, every=100, reducer=MERGE)

    # The policy allows too much: it keeps its reducer.
    assert "after 5,000 events" in found[wide.type]["advice"]["text"]
    await follow(client, found[wide.type]["advice"])
    policy = (await client.get(f"/v1/snapshot-policies/{wide.type}")).json()
    assert (policy["every"], policy["reducer"]) == (100, MERGE)

    await until_none_is_slow(client)
    for order in (unsaved, failing, wide):
        snapshot = (await client.get(order.snapshot_path)).json()
        assert snapshot["version"] == (115 if order == failing else 150)


async def test_services_that_save_snapshots_themselves(client: httpx.AsyncClient) -> None:
    """The other half of the advice where no snapshot is made."""
    invoice = Aggregate("Invoice", "1")
    await append(client, invoice, *new_events(120))
    await client.put(invoice.snapshot_path, json={"version": 10, "state": {}})
    found = (await until_slow(client, Invoice="snapshot-missing"))["Invoice"]
    assert (found["snapshot_version"], found["events_since_snapshot"]) == (10, 110)
    assert found["has_snapshot"]
    await client.put(invoice.snapshot_path, json={"version": 120, "state": {}})
    assert await slow(client) == []
    refused = await client.get("/v1/stats/slow-aggregates?limit=1001")
    assert refused_places(refused) == ["query.limit"]


class TestWithoutWorker:
    """No instance makes snapshots."""

    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"snapshot_worker": False}

    async def test_snapshots_that_nobody_makes(
        self, client: httpx.AsyncClient, sql: Any, settings: Settings
    ) -> None:
        await save_policy(client, "Order", every=100, reducer=MERGE)
        await append(client, Aggregate("Order", "1"), *new_events(120))
        # As the worker has left it when it was switched off.
        await sql.execute("INSERT INTO snapshots_due VALUES ('Order', '1', 120, 0, 120)")
        found = (await until_slow(client, Order="snapshot-being-made"))["Order"]
        assert "SNAPSHOT_WORKER" in found["advice"]["text"]
        coverage = (await follow(client, found["advice"])).json()
        assert coverage["position"] < coverage["safe_position"]
        with running_service(settings.model_copy(update={"snapshot_worker": True})):
            await until_none_is_slow(client)

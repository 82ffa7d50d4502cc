"""GET /v1/audit and `eventstore audit`: real damage is found, and cured by the advice."""

import re
from typing import Any

import httpx
import pytest

from tests.acceptance.test_cli import run_at
from tests.factories import Aggregate, append, new_event, new_events, refused_places
from tests.integration.support import until

DELETE = """
ALTER TABLE events DISABLE TRIGGER events_refuse_change;
DELETE FROM events WHERE aggregate_type = 'Order' AND aggregate_id = 'a b' AND version = 2;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_refuse_change;
"""
RESTORE = """
INSERT INTO events (event_id, aggregate_type, aggregate_id, version, event_type, event_data,
                    occurred_at)
VALUES (gen_random_uuid(), 'Order', 'a b', 2, 'OrderPaid', '{}', now())
"""
DAMAGE = (
    "INSERT INTO snapshots VALUES ('Order', '/', 9, '{}', now()), ('Lost', '1', 1, '{}', now())",
    "INSERT INTO projection_positions VALUES ('totals', 1000000, now())",
    "UPDATE event_counts SET events = events + 1 WHERE aggregate_type = 'Invoice'",
    "UPDATE largest_aggregates SET version = 7 WHERE aggregate_type = 'Invoice'",
    "INSERT INTO event_counts VALUES ('Ghost', 'Seen', 3, 1)",
)


async def audited(client: httpx.AsyncClient) -> tuple[list[dict[str, Any]], dict[str, int], int]:
    """All findings, at how much was looked, and in how many steps."""
    findings: list[dict[str, Any]] = []
    checked = {"events": 0, "snapshots": 0, "projections": 0}
    params: dict[str, str] = {}
    for steps in range(1, 1_000):
        answer = await client.get("/v1/audit", params=params)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        findings += body["findings"]
        checked = {name: count + body["checked"][name] for name, count in checked.items()}
        if body["next_after"] is None:
            return findings, checked, steps
        params = {"after": body["next_after"]}
    raise AssertionError("an audit without end")


def places(findings: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    keys = ("kind", "aggregate_type", "aggregate_id", "projection_name")
    return [tuple(each[key] for key in keys if each[key] is not None) for each in findings]


async def until_kept(sql: Any) -> None:
    async def is_so() -> bool:
        return bool(
            await sql.fetchval("SELECT position = events_safe_position() FROM statistics_progress")
        )

    await until(is_so)


async def test_damage_is_found_and_cured_by_the_advice(
    client: httpx.AsyncClient,
    service_url: str,
    sql: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders = [Aggregate("Order", name) for name in ("a b", "/", "ä")]
    for order in orders:
        await append(client, order, *new_events(3))
    await append(client, Aggregate("Invoice", "1"), new_event(), new_event())
    await client.put(orders[1].snapshot_path, json={"version": 3, "state": {}})
    await client.put("/v1/projections/p/position", json={"last_processed_position": 11})
    await client.delete(orders[1].snapshot_path)
    await until_kept(sql)
    assert await audited(client) == ([], {"events": 11, "snapshots": 0, "projections": 1}, 1)
    told = run_at(service_url, "audit")
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout == b"audited 11 events, 0 snapshots and 1 projections: 0 findings\n"

    await sql.execute(DELETE)
    for damage in DAMAGE:
        await sql.execute(damage)
    expected = [
        ("kept-count-wrong", "Invoice"),
        ("version-missing", "Order", "a b"),
        ("kept-count-wrong", "Order"),
        ("snapshot-beyond-aggregate", "Lost", "1"),
        ("snapshot-beyond-aggregate", "Order", "/"),
        ("position-beyond-safe-position", "totals"),
        ("kept-largest-wrong", "Invoice", "1"),
        ("kept-count-wrong", "Ghost"),
    ]
    findings, checked, _ = await audited(client)
    assert places(findings) == expected
    assert [(each["expected"], each["found"]) for each in findings] == [
        ("2 events, as there are", "3 events by the kept figures"),
        ("version 2", "version 3"),
        ("8 events, as there are", "9 events by the kept figures"),
        ("a snapshot of version 0 at most", "one of version 1"),
        ("a snapshot of version 3 at most", "one of version 9"),
        ("a position of 11 at most, the safe position", "position 1000000"),
        ("version 2, as it is", "version 7 by the kept figures"),
        ("0 events, as there are", "3 events by the kept figures"),
    ]
    assert checked == {"events": 10, "snapshots": 2, "projections": 2}
    # The same, however small the steps are.
    monkeypatch.setattr("app.api.audit.STEP_S", 0.0)
    monkeypatch.setattr("app.queries.audit.EVENTS_PAGE", 1)
    monkeypatch.setattr("app.queries.audit.PAGE", 1)
    in_steps, checked_in_steps, steps = await audited(client)
    assert (in_steps, checked_in_steps) == (findings, checked)
    assert steps > 10
    told = run_at(service_url, "audit")
    assert (told.returncode, told.stderr) == (1, b"")
    *lines, last = told.stdout.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        " ".join([kind, *map(repr, names)]) for kind, *names in expected
    ]
    assert all(each["advice"] in line for each, line in zip(findings, lines, strict=True))
    assert last.endswith(": 8 findings")

    await sql.execute(RESTORE)
    for finding in findings:
        for path in re.findall(r"DELETE (/\S+?),", finding["advice"]):
            assert (await client.delete(path)).status_code == 204
        for path in re.findall(r"PUT (/\S+)", finding["advice"]):
            body = {"last_processed_position": 0, "reset": True}
            assert (await client.put(path, json=body)).status_code == 200
    [recount] = {
        found for each in findings for found in re.findall(r"BEGIN; .*; COMMIT", each["advice"])
    }
    await sql.execute(recount)
    await until_kept(sql)
    assert (await audited(client))[0] == []


@pytest.mark.parametrize(
    "after", ["7", "events/a/b/1/2/3/4", "none////0/0/0//", "events///-1/0/0//", "events/////0/0//"]
)
async def test_what_no_step_has_told_is_refused(api: httpx.AsyncClient, after: str) -> None:
    assert refused_places(await api.get("/v1/audit", params={"after": after})) == ["query.after"]

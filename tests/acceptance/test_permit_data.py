"""Events of a real permit process go in over HTTP and come out as they were."""

import json
from collections import defaultdict
from datetime import datetime
from typing import Any

import httpx

from tests.factories import Aggregate, aggregate_of, append, stored_events

CONTENT = ("aggregate_type", "aggregate_id", "event_type", "event_data", "metadata")


def content(event: dict[str, Any]) -> dict[str, Any]:
    """What a client has said of an event."""
    occurred_at = datetime.fromisoformat(event["occurred_at"])
    return {**{name: event[name] for name in CONTENT}, "occurred_at": occurred_at}


async def test_every_case_is_read_back_equal_and_in_order(
    client: httpx.AsyncClient, permit_lines: list[bytes]
) -> None:
    lines = [json.loads(line) for line in permit_lines]
    cases: dict[Aggregate, list[Any]] = defaultdict(list)
    for line in lines:
        case = aggregate_of(line)
        event = {name: value for name, value in line.items() if not name.startswith("aggregate_")}
        answer = await append(client, case, event, expected_version=len(cases[case]))
        assert answer.status_code == 201, answer.text
        cases[case].append(line)
    assert len(cases) > 90

    for case, expected in cases.items():
        stored = await stored_events(client, case)
        assert [content(event) for event in stored] == [content(line) for line in expected]
        assert [event["version"] for event in stored] == list(range(1, len(expected) + 1))
        positions = [event["global_position"] for event in stored]
        assert positions == sorted(set(positions))
        loaded = (await client.get(case.path)).json()
        assert (loaded["version"], loaded["events"]) == (len(expected), stored)

    feed = (await client.get("/v1/events")).json()["events"]
    assert [content(event) for event in feed] == [content(line) for line in lines]
    listed = (await client.get(f"/v1/aggregates/{next(iter(cases)).type}")).json()["aggregates"]
    assert {each["aggregate_id"]: each["version"] for each in listed} == {
        case.id: len(expected) for case, expected in cases.items()
    }

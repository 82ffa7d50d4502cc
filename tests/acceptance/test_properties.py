"""What must hold whatever is sent: JSON comes back as it was, versions have no holes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories import Aggregate, Event, exact, new_aggregate, new_append, new_events

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=255
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False).map(repr).map(Decimal),
    st.decimals(-(10**30), 10**30, allow_nan=False, allow_infinity=False, places=20),
)
OBJECTS = st.dictionaries(
    TEXT,
    st.recursive(
        st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
        lambda values: st.lists(values) | st.dictionaries(TEXT, values),
        max_leaves=10,
    ),
)


def json_text(value: Any, *, is_ascii: bool) -> str:
    """JSON in which a number has all its digits."""
    if isinstance(value, dict):
        members = (
            f"{json.dumps(key, ensure_ascii=is_ascii)}: {json_text(item, is_ascii=is_ascii)}"
            for key, item in value.items()
        )
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list):
        return f"[{', '.join(json_text(item, is_ascii=is_ascii) for item in value)}]"
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=is_ascii)


@pytest.fixture(scope="module")
def client(shared_url: str) -> Iterator[httpx.Client]:
    """A client for all examples of a test."""
    with httpx.Client(base_url=shared_url, timeout=60, verify=False) as client:
        yield client


@settings(max_examples=25, deadline=None)
@given(
    contents=st.lists(st.tuples(NAMES, OBJECTS, st.none() | OBJECTS), min_size=1, max_size=5),
    aggregate_type=NAMES,
    is_ascii=st.booleans(),
)
def test_any_object_comes_back_as_it_was(
    client: httpx.Client,
    contents: list[tuple[str, Any, Any]],
    aggregate_type: str,
    is_ascii: bool,
) -> None:
    aggregate = Aggregate(aggregate_type, str(uuid4()))
    events = [
        {"event_type": event_type, "event_data": event_data, "metadata": metadata}
        for event_type, event_data, metadata in contents
    ]
    content = json_text({"events": events, "expected_version": 0}, is_ascii=is_ascii)
    answer = client.post(aggregate.events_path, content=content)
    assert answer.status_code == 201, answer.text
    read = exact(client.get(aggregate.events_path).content)
    assert read["aggregate_type"] == aggregate_type
    sent = exact(content)["events"]
    assert [{name: event[name] for name in sent[0]} for event in read["events"]] == sent
    [listed] = exact(client.get(f"{aggregate.path}?snapshot=false").content)["events"][:1]
    assert listed == read["events"][0]


@settings(max_examples=25, deadline=None)
@given(state=st.one_of(OBJECTS, st.lists(OBJECTS, max_size=3), TEXT, NUMBERS, st.none()))
def test_any_state_comes_back_as_it_was(client: httpx.Client, state: Any) -> None:
    aggregate = new_aggregate()
    client.post(aggregate.events_path, json={"events": new_events(1)})
    content = json_text({"version": 1, "state": state}, is_ascii=True)
    assert client.put(aggregate.snapshot_path, content=content).status_code == 201
    expected = exact(content)["state"]
    assert exact(client.get(aggregate.snapshot_path).content)["state"] == expected
    assert exact(client.get(aggregate.path).content)["snapshot"]["state"] == expected


@dataclass
class Model:
    """What the store should hold: the events of each aggregate, and the appends that made them."""

    events: dict[Aggregate, list[str]]
    appends: list[list[tuple[Aggregate, list[Event]]]] = field(default_factory=list)

    def apply(self, appends: list[tuple[Aggregate, list[Event]]]) -> None:
        for aggregate, events in appends:
            self.events[aggregate] += [event["event_id"] for event in events]
        self.appends.append(appends)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "expect", "mismatch", "transact", "repeat", "alter"]),
        st.integers(0, 2),
        st.integers(1, 4),
        st.integers(0, 100),
    ),
    max_size=20,
)


@settings(max_examples=30, deadline=None)
@given(actions=ACTIONS)
def test_any_sequence_of_appends_and_repetitions_leaves_no_hole_and_no_double(
    client: httpx.Client, actions: list[tuple[str, int, int, int]]
) -> None:
    aggregates = [new_aggregate() for _ in range(3)]
    model = Model({aggregate: [] for aggregate in aggregates})

    def send(appends: list[tuple[Aggregate, list[Event]]], **members: Any) -> httpx.Response:
        if len(appends) == 1:
            [(aggregate, events)] = appends
            return client.post(aggregate.events_path, json={"events": events, **members})
        body = {"appends": [new_append(aggregate, *events) for aggregate, events in appends]}
        return client.post("/v1/transactions", json=body)

    for action, which, count, chance in actions:
        aggregate = aggregates[which]
        version = len(model.events[aggregate])
        one = [(aggregate, new_events(count))]
        match action:
            case "append":
                assert send(one).status_code == 201
                model.apply(one)
            case "expect":
                assert send(one, expected_version=version).status_code == 201
                model.apply(one)
            case "mismatch":
                wrong = version + 1 + chance if chance % 2 else max(0, version - 1 - chance)
                expected = 201 if wrong == version else 409
                assert send(one, expected_version=wrong).status_code == expected
                if expected == 201:
                    model.apply(one)
            case "transact":
                several = [
                    *one,
                    (aggregates[chance % 3], new_events(1)),
                    (aggregate, new_events(1)),
                ]
                assert send(several).status_code == 201
                model.apply(several)
            case "repeat" if model.appends:
                earlier = model.appends[chance % len(model.appends)]
                assert send(earlier).status_code == 200
            case "alter" if model.appends:
                [(altered, events), *rest] = model.appends[chance % len(model.appends)]
                last = {**events[-1], "event_type": "Altered"}
                assert send([(altered, [*events[:-1], last]), *rest]).status_code == 409

    for aggregate, event_ids in model.events.items():
        answer = client.get(aggregate.events_path)
        stored = answer.json()["events"] if event_ids else []
        assert answer.status_code == (200 if event_ids else 404)
        assert [event["event_id"] for event in stored] == event_ids
        assert [event["version"] for event in stored] == list(range(1, len(event_ids) + 1))
        positions = [event["global_position"] for event in stored]
        assert positions == sorted(set(positions))

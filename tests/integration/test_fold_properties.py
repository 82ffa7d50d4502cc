"""A state is the same from any snapshot, which has been through jsonb, as from event 1."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import Raw

from app.events import RecordedEvent
from app.folding.canonical import canonical_json
from app.folding.folder import Folder, FoldError, JsonataFolder, MergeFolder
from app.folding.reducer import JsonataReducer, Reducer, parse_reducer
from app.settings import Settings
from tests.conftest import connect
from tests.factories import exact
from tests.unit.folding.events import PLACE, history, jsonata, merge, recorded, reducer, texts

KEYS = st.sampled_from(["a", "b", "aa", "z", "", "ä", "n"])
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5)
NUMBERS = st.one_of(
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 1e21, 1e20, 1e-7, 0.1, 1e300, 5e-324, 2**53, 2**53 + 1, 2**63]),
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
EVENT_DATA = st.dictionaries(KEYS, JSON, max_size=4)
# Among them what can tell how the text of a state is written: the order of keys, and of digits.
REDUCERS = [
    merge(),
    merge(last="event_type", n="version", about="metadata"),
    jsonata("$merge([state, event.event_data])"),
    jsonata("{'state': state, 'keys': $keys(state)}"),
    jsonata("{'text': $string(state), 'new': event.event_data}"),
    jsonata("$merge([event.event_data, {'first': $keys(state)[0], 'each': state.*}])"),
    jsonata("$append(state, event.event_data.*)", initial=[]),
    jsonata("{'sum': $sum([state.sum, event.event_data.*[$type($) = 'number']]) / 3}"),
    jsonata("{'d': $distinct($append(state.d, $spread(event.event_data)))}", initial={"d": []}),
    jsonata("state ~> |$|{'n': $count(event.event_data.*), 'was': $keys($)}|"),
    jsonata("event.event_data.a ? event.event_data.b : {'depth': state}"),
    jsonata("$each(event.event_data, function($v, $k) { $k & $string($v) })"),
    reducer(kind="jsonata", on={"Paid": "event.event_data"}, initial=[1e21, 0.10]),
    reducer(kind="jsonata", on={"Shipped": "1"}, initial={"b": 1.50, "a": 1e2, "aa": [-0.0]}),
]


def folder_of(of: Reducer) -> Folder:
    spec = of.spec
    return JsonataFolder(spec) if isinstance(spec, JsonataReducer) else MergeFolder(spec)


def outcome(of: Reducer, state: bytes, events: list[Any]) -> tuple[int | None, bytes]:
    """At which event it fails, if it does, and else the state."""
    reached = 0
    try:
        while reached < len(events):
            count, state = folder_of(of).fold(state, texts(events[reached:]), lambda _: None)
            reached += count
    except FoldError as error:
        return reached + error.index, b""
    return None, state


async def as_jsonb(settings: Settings, json_texts: list[bytes]) -> list[bytes]:
    """The texts as a column of type jsonb gives them back."""
    connection = await connect(settings)
    try:
        rows = await connection.fetch(
            "SELECT value::jsonb::text FROM unnest($1::text[]) WITH ORDINALITY AS t(value, number) "
            "ORDER BY number",
            [text.decode() for text in json_texts],
        )
    finally:
        await connection.close()
    return [row[0].encode() for row in rows]


# How many tasks each resource has done, the last task, and when that was.
TASKS_REDUCER = jsonata(
    """{
        "tasks": $merge([state.tasks, {
            event.metadata.resource: ($lookup(state.tasks, event.metadata.resource) ?? 0) + 1
        }]),
        "last_task": event.event_data.task,
        "last_at": event.occurred_at
    }""",
    initial={"tasks": {}},
)
SLOWLY = hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.sampled_from(REDUCERS), st.lists(EVENT_DATA, min_size=1, max_size=6))
@SLOWLY
def test_a_state_is_the_same_from_every_snapshot(
    settings: Settings, of: Reducer, history_data: list[dict[str, Any]]
) -> None:
    stored = asyncio.run(as_jsonb(settings, [json.dumps(data).encode() for data in history_data]))
    events = history(*stored)
    states = []
    for version in range(len(events) + 1):
        failed_at, state = outcome(of, of.initial, events[:version])
        if failed_at is not None:
            break
        states.append(state)
    snapshots = asyncio.run(as_jsonb(settings, states))
    for version, snapshot in enumerate(snapshots):
        # What is stored is what was folded.
        assert exact(snapshot) == exact(states[version])
        for later in range(version + 1, len(events) + 1):
            failed_at, state = outcome(of, snapshot, events[version:later])
            if later < len(states):
                assert failed_at is None
                assert exact(state) == exact(states[later])
            else:
                assert failed_at == len(states) - 1 - version


def check_every_snapshot(
    settings: Settings, of: Reducer, cases: Sequence[list[RecordedEvent]]
) -> int:
    """How many states were compared: of each case at each version, from each earlier snapshot."""
    states = [
        [outcome(of, of.initial, events[:version])[1] for version in range(len(events) + 1)]
        for events in cases
    ]
    snapshots = iter(asyncio.run(as_jsonb(settings, [*chain(*states)])))
    compared = 0
    for events, states_of_case in zip(cases, states, strict=True):
        for version in range(len(events) + 1):
            snapshot = next(snapshots)
            for later in range(version, len(events) + 1):
                failed_at, state = outcome(of, snapshot, events[version:later])
                assert (failed_at, exact(state)) == (None, exact(states_of_case[later]))
                compared += 1
    return compared


def permit_cases(lines: list[bytes]) -> list[list[RecordedEvent]]:
    cases: dict[str, list[RecordedEvent]] = defaultdict(list)
    for line in lines:
        event = json.loads(line)
        case = cases[event["aggregate_id"]]
        told = recorded(len(case) + 1, event["event_data"], event["event_type"])
        metadata = Raw(json.dumps(event["metadata"]).encode())
        case.append(msgspec.structs.replace(told, metadata=metadata))
    return list(cases.values())


@pytest.mark.parametrize("of", [merge(last="event_type", about="metadata"), TASKS_REDUCER])
def test_a_permit_case_is_the_same_from_every_snapshot(
    settings: Settings, permit_lines: list[bytes], of: Reducer
) -> None:
    assert check_every_snapshot(settings, of, permit_cases(permit_lines)) > 2_000


@given(JSON)
@SLOWLY
def test_a_reducer_has_one_hash_before_and_behind_jsonb(settings: Settings, initial: Any) -> None:
    text = json.dumps({"on": {"*": "state"}, "kind": "jsonata", "initial": initial}).encode()
    of = parse_reducer(text, PLACE)
    [stored, canonical] = asyncio.run(as_jsonb(settings, [text, of.canonical]))
    assert parse_reducer(stored, PLACE).hash == of.hash
    assert parse_reducer(canonical, PLACE).hash == of.hash
    assert canonical_json(stored) == of.canonical

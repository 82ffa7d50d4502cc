"""app.folding.folder: what a reducer makes of events."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.events import RecordedEvent
from app.folding import folder
from app.folding.folder import Folder, FoldError, JsonataFolder, MergeFolder
from app.folding.jsonata import ExpressionError, evaluate, parse_expression
from app.folding.reducer import JsonataReducer, Reducer
from tests.unit.folding.events import history, jsonata, merge, recorded, reducer, texts

# Results of the reference implementation, JSONata 2.2.2 for JavaScript; without a result where that
# is undefined.
CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "jsonata_cases.ndjson")
    .read_text(encoding="utf-8")
    .splitlines()
]


def folder_of(of: Reducer) -> Folder:
    spec = of.spec
    return JsonataFolder(spec) if isinstance(spec, JsonataReducer) else MergeFolder(spec)


def folded(of: Reducer, events: list[RecordedEvent], state: bytes | None = None) -> bytes:
    reached, text = 0, state or of.initial
    while reached < len(events):
        try:
            count, text = folder_of(of).fold(text, texts(events[reached:]), lambda _: None)
        except FoldError as error:
            raise FoldError(reached + error.index, error.reason) from error
        reached += count
    return text


def failure(of: Reducer, events: list[RecordedEvent]) -> FoldError:
    with pytest.raises(FoldError) as failed:
        folded(of, events)
    return failed.value


def test_merge_sets_its_fields_behind_the_patch() -> None:
    found = folded(
        merge(last_event="event_type", number="version", at="occurred_at", about="metadata"),
        [recorded(1, {"a": 1, "number": "mine"}), recorded(2, {"a": None}, "Shipped")],
    )
    assert json.loads(found) == {
        "last_event": "Shipped",
        "number": 2,
        "at": "2026-11-23T10:15:30.123456Z",
        "about": None,
    }


def test_expressions_see_the_state_and_the_whole_event() -> None:
    found = json.loads(folded(jsonata("{'was': state, 'event': event}"), history({"a": 1})))
    assert found == {
        "was": {},
        "event": {
            "event_id": "00000000-0000-0000-0000-000000000001",
            "aggregate_type": "Order",
            "aggregate_id": "ord-1",
            "version": 1,
            "event_type": "Paid",
            "event_data": {"a": 1},
            "metadata": None,
            "occurred_at": "2026-11-23T10:15:30.123456Z",
            "correlation_id": None,
            "causation_id": None,
            "global_position": 101,
        },
    }


def test_an_event_goes_to_the_expression_of_its_type_or_else_to_the_star() -> None:
    events = [recorded(n, event_type=name) for n, name in enumerate("ABCA", start=1)]
    on = {"A": "$append(state, 'a')", "B": "$append(state, 'b')"}
    assert folded(reducer(kind="jsonata", on=on, initial=[]), events) == b'["a","b","a"]'
    starred = {**on, "*": "$append(state, event.event_type)"}
    found = folded(reducer(kind="jsonata", on=starred, initial=[]), events)
    assert found == b'["a","b","C","a"]'


def test_without_a_result_the_state_stays_and_null_is_one() -> None:
    expression = "event.event_data.keep ? event.event_data.missing : event.event_data.value"
    events = history({"value": {"a": 1}}, {"keep": True}, {"value": None}, {"keep": True})
    states = [folded(jsonata(expression), events[:count]) for count in range(1, 5)]
    assert states == [b'{"a":1}', b'{"a":1}', b"null", b"null"]


def test_keys_come_in_one_order_and_numbers_as_doubles() -> None:
    written = b'{"b": 1.50, "a": 12345678901234567890.1, "c": 1e2, "aa": {"z": 1, "y": 2}}'
    expected = b'{"a":12345678901234567000,"aa":{"y":2,"z":1},"b":1.5,"c":100}'
    seen = folded(jsonata("{'seen': $string(state)}"), history({}), written)
    assert json.loads(json.loads(seen)["seen"]) == json.loads(expected)
    assert json.loads(seen)["seen"].startswith('{"a":12345678901234567000,"aa":{"y":2,')
    assert list(json.loads(folded(jsonata("state"), history({}), written))) == [*"a", "aa", *"bc"]


@pytest.mark.parametrize("case", CASES, ids=[case["expression"] for case in CASES])
def test_the_engine_agrees_with_the_reference(case: dict[str, Any]) -> None:
    document = json.dumps({"state": case["state"], "event": case["event"]})
    try:
        result = evaluate(parse_expression(case["expression"]), document)
    except ExpressionError:
        assert case.get("fails")
    else:
        assert (result is not None) == ("result" in case)
        assert result is None or json.loads(result) == case["result"]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("'a' + 1", "must evaluate to a number (T2001, at character "),
        ("$error('no')", "no (D3137"),
        ("$nosuch(1)", "non-function"),
        ("($f := function($n) { $f($n + 1) }; $f(1))", "budget of 1000000 steps"),
        ("($f := function($n) { 1 + $f($n + 1) }; $f(1))", "recurses too deeply"),
        ("$map([1..100000], function($a) { $map([1..100000], function($b) { 1 }) })", "budget"),
        ("[1..9999999]", "goes beyond its bounds"),
        ("$pad('', 9000000, 'x') & $pad('', 9000000, 'x')", "goes beyond its bounds"),
        ("($f := function($s) { $f($s & $s) }; $f('xxxx'))", "goes beyond its bounds"),
        ("($f := function($s) { $f($append($s, $s)) }; $f([1]))", "goes beyond its bounds"),
        ("{'a': ['\\u0000']}", "state.a[0]: contains the character NUL"),
        ("$map([1..5000], function($n) { 1e300 })", "more than 1,000,000 digits"),
        ("1 / 0", "out of range"),
    ],
)
def test_what_fails_is_told_with_its_event(expression: str, reason: str) -> None:
    only_third = f"event.version = 3 ? ({expression}) : 7"
    error = failure(jsonata(only_third), history(*[{}] * 5))
    assert error.index == 2
    assert reason in error.reason


def test_what_is_no_number_is_null() -> None:
    assert folded(jsonata("{'n': 0 / 0}"), history({})) == b'{"n":null}'


def test_a_state_grows_up_to_its_bound() -> None:
    grown = jsonata("{'s': state.s & $pad('', 4000000, 'x')}", initial={"s": ""})
    error = failure(grown, history(*[{}] * 5))
    assert (error.index, "goes beyond its bounds" in error.reason) == (4, True)


def test_a_merged_state_grows_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it has been smaller since: the bound is one on states, not on patches."""
    monkeypatch.setattr(folder, "MAX_STATE_BYTES", 1_000)
    monkeypatch.setattr(folder, "_TOO_LARGE", "too large")
    same = [{"a": "x" * 900}] * 20
    assert len(folded(merge(), history(*same))) < 1_000
    error = failure(merge(), history(*same, {"b": "x" * 100}, {"a": None}))
    assert (error.index, error.reason) == (20, "too large")
    assert failure(merge(f="version"), history({"a": "x" * 988})).index == 0


def test_the_bound_of_a_merged_state_is_the_same_from_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = history(*({"m": {f"{n}-{m}": m for m in range(20)}} for n in range(3)), {"z": 1})
    whole = folded(merge(), events)
    monkeypatch.setattr(folder, "MAX_STATE_BYTES", len(whole))
    for version in range(1, 4):
        # jsonb writes spaces, which what a patch has reached into had no longer.
        snapshot = json.dumps(json.loads(folded(merge(), events[:version]))).encode()
        assert json.loads(folded(merge(), events[version:], snapshot)) == json.loads(whole)


def test_deep_nesting_fails_and_ends_nothing() -> None:
    nested = b'{"a":' * 3_000 + b"{}" + b"}" * 3_000
    assert "nested too deeply" in failure(merge(), history(nested, nested)).reason
    assert "nested too deeply" in failure(jsonata("state"), history(nested)).reason
    error = failure(jsonata("{'a': state}"), history(*[{}] * 300))
    assert (error.index > 100, "cannot be read" in error.reason) == (True, True)


def test_a_turn_ends_and_another_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "TURN_S", 0)
    events = history(*({str(number): number} for number in range(3)))
    reached, state = folder_of(merge()).fold(b"{}", texts(events), lambda _: None)
    assert (reached, state) == (1, b'{"0":0}')


def test_clock_and_seed_stand_still() -> None:
    """What the look at the text might miss cannot make a state that depends on the moment."""
    for name in ("$now()", "$millis()", "$random()", "$string($shuffle([1..100]))"):
        expression = parse_expression(name)
        assert evaluate(expression, "{}") == evaluate(expression, "{}")

"""app.folding.reducer: what is one, what is refused and where, and what its hash depends on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidInput, UnstorableValue
from app.folding.canonical import canonical_json
from app.folding.reducer import (
    MAX_EXPRESSION_LENGTH,
    MAX_EXPRESSIONS,
    MAX_FIELDS,
    MAX_REDUCER_BYTES,
    JsonataReducer,
    MergeReducer,
    parse_reducer,
)
from tests.factories import exact
from tests.unit.folding.events import PLACE, jsonata, merge, reducer

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def refusal(text: str | bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        parse_reducer(text.encode() if isinstance(text, str) else text, PLACE)
    return refused.value


def test_merge_has_fields_or_none() -> None:
    assert parse_reducer(b'{"kind": "merge"}', PLACE).spec == MergeReducer({})
    assert merge(last="event_type").spec == MergeReducer({"last": "event_type"})
    assert merge().initial == b"{}"


def test_jsonata_has_expressions_and_an_initial_state() -> None:
    found = reducer(kind="jsonata", on={"Paid": "state", "*": "event"}, initial={"total": 0})
    assert isinstance(found.spec, JsonataReducer)
    assert found.spec.on == {"Paid": "state", "*": "event"}
    assert found.initial == b'{"total":0}'
    assert jsonata("state").initial == b"{}"
    assert jsonata("state", initial=None).initial == b"null"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("7", "$.reducer"),
        ("null", "$.reducer"),
        ("[]", "$.reducer"),
        ("{}", "$.reducer"),
        ('{"kind": "fold"}', "$.reducer.kind"),
        ('{"kind": null}', "$.reducer.kind"),
        ('{"kind": "merge", "on": {}}', "$.reducer.on"),
        ('{"kind": "merge", "initial": {}}', "$.reducer.initial"),
        ('{"kind": "merge", "fields": []}', "$.reducer.fields"),
        ('{"kind": "merge", "fields": {"a": "version", "b": "event_data"}}', "$.reducer.fields.b"),
        ('{"kind": "merge", "fields": {"a": 1}}', "$.reducer.fields.a"),
        ('{"kind": "jsonata"}', "$.reducer"),
        ('{"kind": "jsonata", "on": {}}', "$.reducer.on"),
        ('{"kind": "jsonata", "on": {"A": "1", "B": 2}}', "$.reducer.on.B"),
        ('{"kind": "jsonata", "on": {"": "1"}}', "$.reducer.on.<key>"),
        ('{"kind": "jsonata", "on": {"A": "\\u0000"}}', "$.reducer.on.A"),
        ('{"kind": "jsonata", "on": {"A": "1"}, "initial": ["\\ud800"]}', "$.reducer.initial[0]"),
        ('{"kind": "jsonata", "on": {"A": "1"}, "initial": 1e200000}', "$.reducer.initial"),
        ('{"kind": "jsonata", "on": {"A": "1"}, "evry": 1}', "$.reducer.evry"),
    ],
)
def test_what_is_none_is_refused_with_its_place(text: str, place: str) -> None:
    assert refusal(text).place == place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b" " * MAX_REDUCER_BYTES + b'{"kind":"merge"}', "$.reducer"),
        (json.dumps({"kind": "merge", "fields": dict.fromkeys(map(str, range(MAX_FIELDS + 1)),
         "version")}).encode(), "$.reducer.fields"),
        (json.dumps({"kind": "jsonata", "on": dict.fromkeys(map(str, range(MAX_EXPRESSIONS + 1)),
         "1")}).encode(), "$.reducer.on"),
        (json.dumps({"kind": "jsonata", "on": {"A": "1" * (MAX_EXPRESSION_LENGTH + 1)}}).encode(),
         "$.reducer.on.A"),
        (json.dumps({"kind": "jsonata", "on": {"A" * 256: "1"}}).encode(), "$.reducer.on.<key>"),
        (b'{"kind":"jsonata","on":{"A":"1"},"initial":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
         "$.reducer"),
    ],
    ids=["bytes", "fields", "expressions", "expression", "event type", "nested"],
)  # fmt: skip
def test_what_is_too_large_is_refused(text: bytes, place: str) -> None:
    assert refusal(text).place == place


def test_numbers_that_would_fill_the_database_are_refused() -> None:
    text = b'{"kind":"jsonata","on":{"A":"1"},"initial":[%b]}' % b",".join([b"1e100000"] * 11)
    with pytest.raises(UnstorableValue):
        parse_reducer(text, PLACE)


@pytest.mark.parametrize("name", ["now", "millis", "random", "shuffle", "eval"])
def test_what_state_and_event_do_not_determine_is_refused(name: str) -> None:
    for expression in (f"${name}()", f"($f := ${name}; $f())", f"'it''s' & ${name}('1')"):
        error = refusal(json.dumps({"kind": "jsonata", "on": {"Paid": expression}}))
        assert (error.place, f"${name} is not allowed" in error.reason) == (
            "$.reducer.on.Paid",
            True,
        )


@pytest.mark.parametrize(
    "expression",
    [
        "$nowhere",
        "'$now()'",
        '"\\"$now()"',
        "`$now`",
        "/* $now() */ 1",
        "event.now",
        "$evaluate(1)",
    ],
)
def test_what_only_looks_like_it_passes(expression: str) -> None:
    assert jsonata(expression).hash


@pytest.mark.parametrize(
    "text",
    [
        b'{"kind":"jsonata","on":{"A":"1","B":"2"},"initial":{"a":100,"b":1.50}}',
        b'{"initial":{"b":1.50,"a":1e2}, "on":{"B":"2","A":"1"}, "kind":"jsonata"}',
        b'{"initial":{"b":0.150e1,"a":10E+1}, "on":{"B":"2","A":"0","A":"1"}, "kind":"jsonata"}',
    ],
)
def test_equal_reducers_have_one_text_and_one_hash(text: bytes) -> None:
    found = parse_reducer(text, PLACE)
    assert found.canonical == (
        b'{"initial":{"a":100,"b":1.50},"kind":"jsonata","on":{"A":"1","B":"2"}}'
    )
    assert len(found.hash) == 64
    assert parse_reducer(found.canonical, PLACE).hash == found.hash


def test_other_reducers_have_other_hashes() -> None:
    others = [
        merge(),
        merge(a="version"),
        merge(a="event_type"),
        merge(b="version"),
        jsonata("1"),
        jsonata("2"),
        jsonata("1", initial=1),
        reducer(kind="jsonata", on={"A": "1"}),
    ]
    assert len({each.hash for each in others}) == len(others)


@given(JSON)
def test_canonical_json_is_equal_and_stays_itself(value: object) -> None:
    text = canonical_json(json.dumps(value).encode())
    assert exact(text) == exact(json.dumps(value))
    assert canonical_json(text) == text

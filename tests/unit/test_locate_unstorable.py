"""app.commands.locate_unstorable: where a value is that jsonb cannot hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from app.commands.locate_unstorable import locate_in_json, locate_unstorable
from app.errors import UnstorableValue
from app.events import NewEvent


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (r'"\u0000"', "$"),
        (r'{"a": "x\u0000y"}', "$.a"),
        (r'{"a": [1, {"b": "\u0000"}]}', "$.a[1].b"),
        (r'{"\u0000": 1}', "$.<key>"),
        (r'{"a": {"b\u0000": 1}}', "$.a.<key>"),
        (r'{"a": "\ud800"}', "$.a"),
        (r'{"a": "\udc00\ud800"}', "$.a"),
        (r'{"\udfff": 1}', "$.<key>"),
        # The database reads a value also where a later one takes its place.
        (r'{"a": "\u0000", "a": 1}', "$.a"),
        ("1e131072", "$"),
        ("[0, -1e131072]", "$[1]"),
        ("10e131071", "$"),
        ("1e-16384", "$"),
        ("1.5e-16383", "$"),
        ("1e99999999999999999999", "$"),
        ("1" * 131_073, "$"),
        ("0." + "0" * 16_383 + "1", "$"),
        # The first one in the order of the text.
        (r'["fine", "\u0000", 1e131072]', "$[1]"),
        (r'[[1e131072], "\u0000"]', "$[0][0]"),
        (r'{"b": "\u0000", "a": "\u0000"}', "$.b"),
    ],
)
def test_the_first_value_that_cannot_be_stored_is_found(text: str, place: str) -> None:
    located = locate_in_json(text, "$")
    assert located is not None
    assert located.place == place
    assert locate_in_json(text.encode(), "$") is not None


@pytest.mark.parametrize(
    "text",
    [
        "null",
        r'"\ud83d\udd11"',
        r'"\\u0000"',
        "1e131071",
        "9.99e131071",
        "1e-16383",
        "0.0e-16382",
        "1" * 131_072,
        "-0",
        '{"a": [true, false, null, "", {}]}',
        "[" * 900 + "]" * 900,
    ],
)
def test_what_can_be_stored_is_not_blamed(text: str) -> None:
    assert locate_in_json(text, "$") is None


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
        lambda values: st.lists(values) | st.dictionaries(TEXT, values),
    ),
    st.booleans(),
)
def test_no_ordinary_value_is_blamed(value: object, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii).replace("Infinity", "1e308")
    assert locate_in_json(text, "$") is None


def test_deep_nesting_is_told() -> None:
    located = locate_in_json("[" * 100_000 + "]" * 100_000, "$.state")
    assert located is not None
    assert (located.place, located.reason) == ("$.state", "is nested too deeply")


def test_what_is_no_json_is_for_the_caller() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        locate_in_json("{", "$")


def event(data: bytes, metadata: bytes = b"null") -> NewEvent:
    return NewEvent("Paid", Raw(data), metadata=Raw(metadata))


NUL = rb'{"a": "\u0000"}'
ERROR = UnstorableValue("$", "unsupported Unicode escape sequence")


@pytest.mark.parametrize(
    ("events", "place"),
    [
        ([event(NUL)], "$.events[0].event_data.a"),
        ([event(b"{}"), event(NUL)], "$.events[1].event_data.a"),
        ([event(b"{}", NUL), event(NUL)], "$.events[0].metadata.a"),
        ([event(NUL, NUL)], "$.events[0].event_data.a"),
    ],
)
def test_the_event_and_its_member_are_named(events: list[NewEvent], place: str) -> None:
    assert locate_unstorable(events, ERROR).place == place
    in_transaction = locate_unstorable(events, ERROR, place="$.appends[2]")
    assert in_transaction.place == place.replace("$", "$.appends[2]", 1)


def test_where_nothing_is_found_the_error_stays_as_it_is() -> None:
    assert locate_unstorable([event(b"{}"), event(b'{"a": 1}', b"{}")], ERROR) is ERROR

"""app.commands.locate_unstorable: where a value is that jsonb cannot hold."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from app.commands import json_path
from app.commands import locate_unstorable as module
from app.commands.locate_unstorable import locate_in_json, locate_unstorable
from app.errors import UnstorableValue
from app.events import NewEvent
from tests.unit.bounded_memory import run_in_bounded_memory


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
        (r'{"b": {"c": 1, "\u0000": 1e131072}}', "$.b.<key>"),
        # What only looks like the end of a string, an item, or a container.
        (r'["\"", "\\", "],[{", "\u0000"]', "$[3]"),
        (r'{"a,b": [[], {}, "x:", {"c": [1, 2]}, 3, "\u0000"]}', "$.a,b[5]"),
        (r'{"a": {"b": 1}, "c" : [ 1 , "\u0000" ] }', "$.c[1]"),
        (r'{"a\"b\u00e9\n": "\u0000"}', '$.a"bé\n'),
        # What only looks like what cannot be stored.
        (r'["\\u0000", "\\ud800", "1e131072", "\ud83d\udd11", "\ud800"]', "$[4]"),
        (r'["\\\u0000"]', "$[0]"),
        (r'["\uD83D\uDD11\uDC00"]', "$[0]"),
        ("[1e131071, 1e-16383, 0e131072, 1e00000000000000000001, 1e131072]", "$[4]"),
        ("[1e+131072]", "$[0]"),
        ("[0.1e131073]", "$[0]"),
        ("[0.1e131072, 0.01e131073, 2E131072]", "$[2]"),
        ("[" + "1" * 301 + "e130771, " + "1" * 302 + "e130771]", "$[1]"),
        ("[0." + "1" * 299 + "e-16084, 0." + "1" * 300 + "e-16084]", "$[1]"),
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


@pytest.mark.parametrize(
    "text", ["{", r'{"a": "\ud800"', r'["\ud800", NaN]', r'"\ud80"', "[1e131072"]
)
def test_what_is_no_json_is_for_the_caller(text: str) -> None:
    with pytest.raises(ValueError, match="Expecting"):
        locate_in_json(text, "$")


# As texts, for keys that occur twice and numbers that no type of Python's keeps.
STRING = st.lists(
    st.sampled_from(
        [
            *("a", "1e131072", "{", "]", ",", ":", " ", r"\"", r"\\", r"\n"),
            *(r"\u0041", r"\ud83d\udd11", r"\u0000", r"\ud800", r"\uDFFF"),
        ]
    ),
    max_size=4,
).map(lambda parts: f'"{"".join(parts)}"')
NUMBER = st.sampled_from(["0", "-1.5", "1e9", "2E-16382", "1e131071", "-1e131072", "1e-16384"])
SPACE = st.sampled_from(["", " ", "\n\t"])


def listed(items: st.SearchStrategy[str], opening: str, closing: str) -> st.SearchStrategy[str]:
    return st.builds(
        lambda items, space: opening + f"{space},{space}".join(items) + space + closing,
        st.lists(items, max_size=4),
        SPACE,
    )


JSON = st.recursive(
    STRING | NUMBER | st.sampled_from(["true", "null"]),
    lambda values: (
        listed(values, "[", "]")
        | listed(st.builds("{}{}:{}".format, STRING, SPACE, values), "{", "}")
    ),
)


class Number(str):
    """A number as it is written."""


def first_place(value: Any, place: str) -> str | None:
    """The same answer as `locate_in_json`, from the text made into objects."""
    if isinstance(value, Number):
        return place if value in {"-1e131072", "1e-16384"} else None
    if isinstance(value, str):
        return place if re.search("[\0\ud800-\udfff]", value) else None
    found = []
    if isinstance(value, tuple):
        for key, item in value:
            found += [first_place(key, f"{place}.<key>"), first_place(item, f"{place}.{key}")]
    elif isinstance(value, list):
        found = [first_place(item, f"{place}[{index}]") for index, item in enumerate(value)]
    return next(filter(None, found), None)


@given(JSON)
def test_the_place_is_the_one_that_parsing_the_text_would_tell(text: str) -> None:
    value = json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=tuple)
    located = locate_in_json(text, "$")
    assert (located and located.place) == first_place(value, "$")


def test_the_place_as_a_whole_is_told_where_the_exact_one_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_path, "MAX_TOKENS", 6)
    for text, place in (
        (r'["a", [], "\u0000"]', "$.state[2]"),
        (r'["a", [], [], "\u0000"]', "$.state"),
    ):
        located = locate_in_json(text, "$.state")
        assert located is not None
        assert located.place == place
        assert "NUL" in located.reason


def test_a_very_long_place_is_cut() -> None:
    located = locate_in_json(r'{"%s": "\u0000"}' % ("k" * 20_000), "$")
    assert located is not None
    assert located.place == f"$.{'k' * 9_998}…"


def test_numbers_that_only_just_fit_are_not_looked_at_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SUSPECTED_NUMBERS", 3)
    assert locate_in_json("[1e131071, 1e131071, 1e131072]", "$") is not None
    assert locate_in_json("[1e131071, 1e131071, 1e131071, 1e131072]", "$") is None


@pytest.mark.parametrize(
    ("opening", "item", "closing"),
    [
        ("[", "1,", "0]"),
        ("[", '"a",', "0]"),
        ("[", '{"a": [{"b": "c"}]},', "0]"),
        ("[", "[" * 450 + "]" * 450 + ",", "0]"),
        ('{"a": [1, ' * 450, "1,", "0" + "]}" * 450),
        ('["', r"\\", '"]'),
    ],
    ids=["numbers", "strings", "objects", "deep arrays", "deep inside", "backslashes"],
)
def test_a_text_of_many_megabytes_is_searched_in_little_memory(
    opening: str, item: str, closing: str
) -> None:
    run_in_bounded_memory(
        f"""
        from app.commands.locate_unstorable import locate_in_json
        item = {item!r}
        text = {opening!r} + item * (5 * 2**20 // len(item)) + {closing!r}
        nul = ('[' + text + r',"\\u0000"]').encode()
        surrogate = ('[' + text + r',"\\ud800"]').encode()
        malformed = ('[' + text + r',NaN]').encode()
        """,
        """
        assert locate_in_json(nul, "$") is not None
        assert locate_in_json(surrogate, "$") is not None
        try:
            locate_in_json(malformed, "$")
        except ValueError:
            pass
        else:
            raise AssertionError
        """,
        max_mib=32,
        timeout_s=60,
    )


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

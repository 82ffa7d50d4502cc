"""app.api.preconditions: expected versions as headers, and entity tags."""

import re

import pytest
from starlette.datastructures import Headers

from app.api.preconditions import (
    BadPreconditionError,
    PreconditionFailed,
    combined_expectation,
    entity_tag,
    header_expectation,
    is_current,
    refuse_preconditions,
    snapshot_tag,
)
from app.errors import VersionConflict
from app.events import ANY_VERSION, Expectation

EXACTLY_3 = Expectation(version=3)
ABSENT = Expectation(version=0)
PRESENT = Expectation(must_exist=True)


def lines(header: str | None) -> list[str] | None:
    """A header of one line, or none."""
    return None if header is None else [header]


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "expected"),
    [
        (None, None, None),
        ('"3"', None, EXACTLY_3),
        (' "3"\t', None, EXACTLY_3),
        ('"0003"', None, EXACTLY_3),
        ('"0"', None, ABSENT),
        ('"2147483647"', None, Expectation(version=2**31 - 1)),
        ("*", None, PRESENT),
        (" * ", None, PRESENT),
        (None, "*", ABSENT),
        (None, " *", ABSENT),
    ],
)
def test_what_headers_demand(
    if_match: str | None, if_none_match: str | None, expected: Expectation | None
) -> None:
    assert header_expectation(lines(if_match), lines(if_none_match)) == expected


@pytest.mark.parametrize(
    ("if_match", "if_none_match"),
    [
        ("", None),
        ("3", None),
        ('"3', None),
        ('""', None),
        ('"-3"', None),
        ('"+3"', None),
        ('"3.0"', None),
        ('"٣"', None),
        ('"2147483648"', None),
        ('"99999999999"', None),
        ('W/"3"', None),
        ('"3", "4"', None),
        ('"3"\n', '"3"'),
        ("**", None),
        (None, ""),
        (None, '"3"'),
        (None, 'W/"*"'),
        (None, '*, "3"'),
        ("*", "*"),
        ('"3"', "*"),
        ('"0"', "*"),
    ],
)
def test_headers_that_cannot_be_meant(if_match: str | None, if_none_match: str | None) -> None:
    with pytest.raises(BadPreconditionError):
        header_expectation(lines(if_match), lines(if_none_match))


@pytest.mark.parametrize(
    ("if_match", "if_none_match"),
    [
        (['"3"', '"4"'], None),
        (['"3"', '"3"'], None),
        (['"3"', ""], None),
        (["*", '"3"'], None),
        (["*", "*"], None),
        (None, ["*", "*"]),
        (None, ["*", '"3"']),
        (['"3"', '"3"'], ["*"]),
    ],
)
def test_several_lines_of_a_header_are_a_list_which_no_append_takes(
    if_match: list[str] | None, if_none_match: list[str] | None
) -> None:
    with pytest.raises(BadPreconditionError):
        header_expectation(if_match, if_none_match)


@pytest.mark.parametrize(
    ("header", "body_version", "expected"),
    [
        (None, None, ANY_VERSION),
        (None, 0, ABSENT),
        (None, 3, EXACTLY_3),
        (EXACTLY_3, None, EXACTLY_3),
        (EXACTLY_3, 3, EXACTLY_3),
        (ABSENT, None, ABSENT),
        (ABSENT, 0, ABSENT),
        (PRESENT, None, PRESENT),
        (PRESENT, 3, EXACTLY_3),
        (PRESENT, 1, Expectation(version=1)),
    ],
)
def test_header_and_body_that_agree(
    header: Expectation | None, body_version: int | None, expected: Expectation
) -> None:
    assert combined_expectation(header, body_version) == expected


@pytest.mark.parametrize(
    ("header", "body_version"),
    [(EXACTLY_3, 2), (EXACTLY_3, 4), (EXACTLY_3, 0), (ABSENT, 1), (PRESENT, 0)],
)
def test_header_and_body_that_disagree(header: Expectation, body_version: int) -> None:
    with pytest.raises(BadPreconditionError, match=str(body_version)):
        combined_expectation(header, body_version)


@pytest.mark.parametrize(
    ("expectation", "met_by", "not_met_by"),
    [
        (ANY_VERSION, [0, 1, 9], []),
        (ABSENT, [0], [1, 9]),
        (EXACTLY_3, [3], [0, 2, 4]),
        (PRESENT, [1, 9], [0]),
    ],
)
def test_which_versions_meet_an_expectation(
    expectation: Expectation, met_by: list[int], not_met_by: list[int]
) -> None:
    assert all(expectation.is_met_by(version) for version in met_by)
    assert not any(expectation.is_met_by(version) for version in not_met_by)


@pytest.mark.parametrize(
    ("if_none_match", "matches"),
    [
        ('"4"', True),
        ('W/"4"', True),
        ("*", True),
        (" * ", True),
        ('"3", "4"', True),
        ('"3",W/"4" , "5"', True),
        ('"3"', False),
        ('"44"', False),
        ("4", False),
        ("", False),
        ('"3", "5"', False),
        ('*, "3"', False),
    ],
)
def test_which_tags_are_current(if_none_match: str, *, matches: bool) -> None:
    assert is_current([if_none_match], entity_tag(4)) is matches


def test_without_a_header_nothing_is_current() -> None:
    assert not is_current(None, entity_tag(4))


@pytest.mark.parametrize(
    ("if_none_match", "matches"),
    [
        (['"3"', '"4"'], True),
        (['"4"', '"5"'], True),
        (['"3", "2"', 'W/"4"'], True),
        (["", "*"], False),
        (["*", '"3"'], False),
        (['"3"', '"5"'], False),
        (['"', '4"'], False),
    ],
)
def test_several_lines_of_tags_are_one_list(if_none_match: list[str], *, matches: bool) -> None:
    assert is_current(if_none_match, entity_tag(4)) is matches


def test_the_tag_of_a_version_is_the_version() -> None:
    assert entity_tag(4) == '"4"'


def test_the_tag_of_a_snapshot_tells_two_of_one_version_apart() -> None:
    first, second = "2026-11-23T10:15:00.000001Z", "2026-11-23T10:15:00.000002Z"
    tags = [snapshot_tag(4, first), snapshot_tag(4, second), snapshot_tag(5, first)]
    assert len({*tags, entity_tag(4)}) == 4
    assert tags[0] == snapshot_tag(4, first)
    for tag in tags:
        # An entity tag (RFC 9110, section 8.8.3), and no list of them.
        assert re.fullmatch(r'"[\x21\x23-\x2B\x2D-\x7E]+"', tag)


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match", "if-match"])
@pytest.mark.parametrize("value", ['"3"', "*", "", "nonsense"])
def test_where_no_precondition_is_taken_any_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadPreconditionError, match=f"(?i)no {name}"):
        refuse_preconditions(Headers({name: value}))


def test_where_no_precondition_is_taken_other_headers_are() -> None:
    refuse_preconditions(Headers({"If-Modified-Since": "Mon, 23 Nov 2026 10:15:00 GMT"}))


def test_a_conflict_with_a_header_says_the_same() -> None:
    conflict = VersionConflict("Order", "ord-1", 3, 5)
    conflict.conflicting_events = []
    failed = PreconditionFailed(conflict)
    assert str(failed) == str(conflict)
    assert vars(failed) == vars(conflict)

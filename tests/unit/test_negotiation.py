"""app.api.negotiation: which representation an Accept header asks for."""

import pytest
from starlette.exceptions import HTTPException

from app.api.negotiation import VARY_ACCEPT, negotiate

JSON, NDJSON = "application/json", "application/x-ndjson"
AVAILABLE = (JSON, NDJSON)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("  ", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (NDJSON, NDJSON),
        (f"{JSON}, {NDJSON}", JSON),
        (f"{NDJSON}, {JSON}", JSON),
        (f"{JSON};q=0.4,{NDJSON};q=0.5", NDJSON),
        (f"{JSON};q=0.5,{NDJSON};q=0.5", JSON),
        (f"{JSON};q=0, */*", NDJSON),
        (f"{NDJSON};q=0.1, text/html", NDJSON),
        (f"*/*;q=0.1, {NDJSON}", NDJSON),
        (f"application/*;q=0.9, */*;q=0, {JSON};q=0.1", NDJSON),
        ("Application/X-NDJSON", NDJSON),
        (f"{NDJSON} ; Q=1.0", NDJSON),
        (f"{JSON};charset=utf-8", JSON),
        (f"text/html,, {NDJSON}", NDJSON),
    ],
)
def test_the_best_liked_is_chosen_and_the_first_wins_a_tie(accept: str, expected: str) -> None:
    assert negotiate([accept], AVAILABLE) == expected


def test_without_the_header_the_first_is_chosen() -> None:
    assert negotiate(None, AVAILABLE) == JSON


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{NDJSON}, */*", NDJSON),
        (f"*/*, {NDJSON}", NDJSON),
        (f"application/*, {NDJSON}", NDJSON),
        (f"{NDJSON};q=0.5, */*;q=0.5", NDJSON),
        (f"{JSON}, */*", JSON),
        (f"{NDJSON};q=0.5, */*", JSON),
        ("application/*, */*", JSON),
    ],
)
def test_a_type_that_is_named_wins_a_tie_against_a_wildcard(accept: str, expected: str) -> None:
    assert negotiate([accept], AVAILABLE) == expected


@pytest.mark.parametrize("weight", ["nan", "2", "-1", "1.001", "inf", "-inf", "1e9", "x", ""])
def test_a_range_whose_weight_is_none_is_ignored(weight: str) -> None:
    assert negotiate([f"{NDJSON};q={weight}, {JSON};q=0.1"], AVAILABLE) == JSON
    assert negotiate([f"{JSON};q={weight}, {NDJSON};q=0.1"], AVAILABLE) == NDJSON
    # As if it were not there: the range behind it decides, also of this type.
    assert negotiate([f"{JSON};q={weight}, */*;q=0.1"], AVAILABLE) == JSON
    with pytest.raises(HTTPException):
        negotiate([f"{NDJSON};q={weight}"], AVAILABLE)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["text/html", NDJSON], NDJSON),
        ([f"{JSON};q=0.4", f"{NDJSON};q=0.5"], NDJSON),
        ([f"text/html, {JSON};q=0.1", f"text/plain, {NDJSON}"], NDJSON),
        (["", NDJSON], NDJSON),
        (["", " "], JSON),
    ],
)
def test_several_lines_are_one_list(lines: list[str], expected: str) -> None:
    assert negotiate(lines, AVAILABLE) == expected


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/*",
        "*/*;q=0",
        f"{JSON};q=0",
        f"{JSON};q=0.0, {NDJSON};q=0",
        f"{JSON};q=x",
        f"{JSON};q=",
        "json",
        "*",
        ",",
        ";q=1",
    ],
)
def test_nothing_acceptable_is_406_and_tells_what_there_is(accept: str) -> None:
    with pytest.raises(HTTPException) as raised:
        negotiate([accept], AVAILABLE)
    assert raised.value.status_code == 406
    assert raised.value.headers == VARY_ACCEPT == {"Vary": "Accept"}
    assert JSON in raised.value.detail
    assert NDJSON in raised.value.detail

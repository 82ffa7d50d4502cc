"""app.api.negotiation: which representation an Accept header asks for."""

import pytest
from starlette.exceptions import HTTPException

from app.api.negotiation import negotiate

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
    assert negotiate(accept, AVAILABLE) == expected


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
        negotiate(accept, AVAILABLE)
    assert raised.value.status_code == 406
    assert JSON in raised.value.detail
    assert NDJSON in raised.value.detail

"""app.commands.refuse_expanding_numbers: a million digits of exponents at most."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.commands.refuse_expanding_numbers import MAX_EXPANDED_DIGITS, refuse_expanding_numbers
from app.errors import UnstorableValue
from tests.unit.bounded_memory import run_in_bounded_memory


def array(*numbers: str) -> bytes:
    return f"[{','.join(numbers)}]".encode()


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"1e131071",
        array(*["1e131071"] * 7),
        array(*["1e10"] * 100_000),
        array(*["1e9"] * 500_000),
        array("1e1000000"),
        array("1e+0001000000"),
        array(*["123456789012345678901234567890"] * 100_000),
        array('"1e99999999"', '"\\"1e99999999"', '"a\\\\"', "1"),
        b'{"1e99999999": "1e99999999"}',
        json.dumps({"a": "\n1e9999999\n"}).encode(),
    ],
)
def test_what_stays_within_the_bound_passes(text: bytes) -> None:
    refuse_expanding_numbers(text, "$")


@pytest.mark.parametrize(
    "text",
    [
        array(*["1e131071"] * 8),
        array(*["1E-131071"] * 8),
        array(*["1.5e+131071"] * 10_000),
        array("1e1000001"),
        array("1e0000000001000001"),
        array("1e" + "9" * 1_000_000),
        array(*["1e10"] * 100_001),
        array('"\\\\"', "1e1000001"),
        b'{"a": "text with \\" in it", "b": {"c": [1e500001, 1e-500001]}}',
    ],
)
def test_what_would_grow_beyond_it_is_refused_with_its_place(text: bytes) -> None:
    with pytest.raises(UnstorableValue, match="1,000,000 digits") as raised:
        refuse_expanding_numbers(text, "$.events[3].metadata")
    assert raised.value.place == "$.events[3].metadata"


@given(
    st.lists(
        st.one_of(
            st.integers(-(10**6), 10**6).map(lambda exponent: (f"7e{exponent}", abs(exponent))),
            st.text().map(lambda text: (json.dumps(text), 0)),
            st.integers().map(lambda number: (str(number), 0)),
        )
    )
)
def test_exponents_of_numbers_alone_count(items: list[tuple[str, int]]) -> None:
    text = array(*[written for written, _ in items])
    digits = sum(exponent for _, exponent in items)
    if digits <= MAX_EXPANDED_DIGITS:
        refuse_expanding_numbers(text, "$")
    else:
        with pytest.raises(UnstorableValue):
            refuse_expanding_numbers(text, "$")


@pytest.mark.parametrize("character", ["a", r"\\\\", r"\\u0041", r"a\\n"])
def test_a_string_of_many_megabytes_beside_an_exponent_takes_no_memory(character: str) -> None:
    run_in_bounded_memory(
        f"""
        from app.commands.refuse_expanding_numbers import refuse_expanding_numbers
        character = b"{character}"
        raw = b'[1e10,"' + character * (15 * 2**20 // len(character)) + b'"]'
        """,
        """refuse_expanding_numbers(raw, "$")""",
        max_mib=64,
        timeout_s=60,
    )

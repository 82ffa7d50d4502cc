"""Refuses JSON whose numbers would grow without bound when the database writes them out.

jsonb keeps ``1e131071`` in a few bytes and writes it as 131,072 digits. An event with ten thousand
such numbers could be appended, but a page of the feed that contains it never read again: its text
is beyond PostgreSQL's limit of 1 GB for a value (docs/decisions/0006-bounds-of-json.md).
"""

import re

from app.errors import UnstorableValue

MAX_EXPANDED_DIGITS = 1_000_000

# To "0" for digits, "e" for "e" and "E", nothing for signs, and "." for the rest.
_SHAPE = bytes(
    b"0"[0] if byte in b"0123456789" else b"e"[0] if byte in b"eE" else b"."[0]
    for byte in range(256)
)
# Possessive: a string of any length is passed without a memory of the ways back. Each match has a
# cost of its own, so one takes as many strings as come without a digit between them.
_STRINGS_OR_EXPONENT = re.compile(
    rb'(?>"[^"\\]*+(?>\\.[^"\\]*+)*+"[^"0-9]*+)++|[0-9][eE][+-]?([0-9]+)', re.DOTALL
)


def has_exponents(raw: bytes) -> bool:
    """Whether a JSON text has anything that could be an exponent of two digits or more.

    For texts that have none, which are nearly all, in a tenth of a regular expression's time.
    """
    return b"0e00" in raw.translate(_SHAPE, b"+-")


def refuse_expanding_numbers(raw: bytes, place: str) -> None:
    """Raise if the exponents in a valid JSON text add up to more than a million digits.

    Raises:
        UnstorableValue: They do; ``place`` is the JSON path of the text.
    """
    if not has_exponents(raw):
        return
    digits = 0
    for match in _STRINGS_OR_EXPONENT.finditer(raw):
        exponent = match[1]
        if exponent:
            significant = exponent.lstrip(b"0")
            # The length alone tells a huge one, which int() would take long to read.
            digits += int(significant or b"0") if len(significant) < 10 else 10**9
        if digits > MAX_EXPANDED_DIGITS:
            raise UnstorableValue(
                place,
                f"has numbers that take more than {MAX_EXPANDED_DIGITS:,} digits to write out",
            )

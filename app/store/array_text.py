"""Writes arrays as PostgreSQL reads them from text, for parameters of hot statements.

The driver's own encoding asks of each element whether it is an array, too, and takes several times
as long. https://www.postgresql.org/docs/16/arrays.html#ARRAYS-IO
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

_encode = msgspec.json.Encoder().encode


def texts_array(texts: Sequence[str]) -> str:
    """An array of any texts, for ``text[]``; at least one."""
    joined = '","'.join(texts)
    # Nearly no text has what must be escaped, and to see that at once takes next to no time.
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join(text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return f'{{"{joined}"}}'


def values_array(values: Sequence[int | UUID | datetime | None]) -> str | None:
    """An array for ``int[]`` or ``uuid[]``, for times see `times_array`; None if all values are.

    In JSON, an array of these is the same but for its brackets: none of them has a character that
    would be escaped.
    """
    if all(value is None for value in values):
        return None
    return f"{{{_encode(values)[1:-1].decode()}}}"


def times_array(times: Sequence[datetime | None]) -> str | None:
    """An array for ``timestamptz[]``; None if all times are.

    They are of the years 1 to 9999 in UTC, which they are written in: PostgreSQL does not read
    offsets of sixteen hours and more, which RFC 3339 has.
    """
    return values_array(
        [time if time is None or time.tzinfo is UTC else time.astimezone(UTC) for time in times]
    )

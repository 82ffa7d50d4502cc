"""Writes arrays as PostgreSQL reads them from text, for parameters of hot statements.

The driver's own encoding asks of each element whether it is an array, too, and takes several times
as long. https://www.postgresql.org/docs/16/arrays.html#ARRAYS-IO
"""

from collections.abc import Sequence
from datetime import datetime
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
    """An array for ``int[]``, ``uuid[]`` or ``timestamptz[]``; None if all values are.

    Times have an offset and are of the years 1 to 9999. In JSON, an array of these is the same but
    for its brackets: none of them has a character that would be escaped.
    """
    if all(value is None for value in values):
        return None
    return f"{{{_encode(values)[1:-1].decode()}}}"

"""Drops a month of the archive that was exported."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date
from itertools import chain, islice
from pathlib import Path

from app.errors import MonthRefused
from app.month_files.checksum import ContentDigest, encoder, verify_checksum
from app.month_files.month_file import read_month_file
from app.store.month_store import MonthStore


async def drop_month(store: MonthStore, month: date, path: Path) -> AsyncGenerator[int, None]:
    """Drop the table of a month, once it is certain that a file has every event of it.

    The file's checksum is verified, and each event compared with the table's, byte for byte; tells
    how many at a time. Then the month is detached, if it is not, and its table dropped, both or
    neither.

    Raises:
        MonthRefused: The file has other events than the month, or the month is not there.
        MonthFileError: The file cannot be read, or is not what its checksum says.
    """
    verify_checksum(path)
    in_file = chain.from_iterable(read_month_file(path))
    content = ContentDigest()
    async with aclosing(store.read_month(month)) as pages:
        async for events in pages:
            same = list(islice(in_file, len(events)))
            if encoder.encode_lines(same) != encoder.encode_lines(events):
                raise MonthRefused(
                    month,
                    f"is not what {path} has, at or behind position {events[0].global_position}",
                )
            content.update(events)
            yield len(events)
    if next(in_file, None) is not None:
        raise MonthRefused(month, f"has fewer events than {path}")
    await store.drop_month(month, events=content.events, content_sha256=content.hexdigest())

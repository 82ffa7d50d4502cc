"""Exports a month of the archive to a file."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date
from pathlib import Path

from app.month_files.month_file import writing
from app.store.month_store import MonthStore


async def export_month(store: MonthStore, month: date, path: Path) -> AsyncGenerator[int, None]:
    """Write all events of a month to a file, and a checksum beside it; tells how many at a time.

    By position, in bounded memory. The file is there when all of it is, and only then. The month
    may be attached or not.

    Raises:
        MonthRefused: Nothing of it was ever archived, or its table was dropped.
        MonthFileError: The file is there already, or cannot be written.
    """
    with writing(path) as file:
        async with aclosing(store.read_month(month)) as pages:
            async for events in pages:
                file.write(events)
                yield len(events)

"""Attaches a month of the archive that was dropped, from the file of its export."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from app.errors import MonthRefused
from app.events import RecordedEvent
from app.month_files.checksum import ContentDigest, verify_checksum
from app.month_files.month_file import read_month_file
from app.store.month_store import MonthStore, StoredMonth


async def attach_month(
    store: MonthStore, month: date, path: Path, on_copied: Callable[[int], None]
) -> None:
    """Make the table of a dropped month anew, of the events of a file, and attach it.

    All in one transaction: interrupted, the month is detached as before. The file must have what
    the month had, by its checksum and by that of its content, which was noted when the month was
    dropped. ``on_copied`` is told how many events have come, at a time.

    Raises:
        MonthRefused: The file has other events than the month had, or the month is not dropped.
        MonthFileError: The file cannot be read, or is not what its checksum says.
    """
    verify_checksum(path)
    content = ContentDigest()

    def read() -> Iterator[list[RecordedEvent]]:
        nonlocal content
        content = ContentDigest()
        for events in read_month_file(path):
            content.update(events)
            yield events
            on_copied(len(events))

    def confirm(stored: StoredMonth) -> None:
        if stored.content_sha256 not in {None, content.hexdigest()}:
            raise MonthRefused(month, f"had other events than {path} when it was dropped")

    await store.attach_copy(month, read, confirm)

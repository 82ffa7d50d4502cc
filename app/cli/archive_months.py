"""``eventstore archive-months``."""

from typing import TYPE_CHECKING

from app.cli.months import with_months
from app.cli.streams import write_line

if TYPE_CHECKING:
    from app.store.month_store import MonthStore, StoredMonth

MIB = 1024 * 1024


def archive_months() -> None:
    """List the months of the archive: events, positions, size, and whether they are attached."""

    async def work(store: "MonthStore") -> "list[StoredMonth]":
        return await store.list_months()

    for each in with_months(work):
        write_line(
            f"{each.month:%Y-%m}  {each.events:>12,} events  "
            f"positions {each.min_position}-{each.max_position}  "
            f"{each.size_bytes / MIB:,.1f} MiB  {_state(each)}"
        )


def _state(month: "StoredMonth") -> str:
    if month.detached_at is None:
        return "attached"
    dropped = "" if month.has_table else ", dropped"
    return f"detached {month.detached_at:%Y-%m-%dT%H:%M:%SZ}{dropped}"

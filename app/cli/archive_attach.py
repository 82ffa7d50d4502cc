"""``eventstore archive-attach``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.months import Month, with_months
from app.cli.progress import progress_of
from app.cli.streams import write_line

if TYPE_CHECKING:
    from app.store.month_store import MonthStore


def archive_attach(
    month: Month,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Of a dropped month: what was exported of it."),
    ] = None,
) -> None:
    """Bring a month back that was detached, once it is certain that it is what was detached.

    Interrupted at any point it is detached as before: run the same command again.
    """
    from app.commands.attach_month import attach_month

    async def work(store: "MonthStore") -> int:
        total = (await store.get_month(month)).events
        if source is None:
            await store.attach_month(month)
            return total
        with progress_of("attaching", total) as progress:
            await attach_month(
                store, month, source, lambda events: progress.advance(events, events, total)
            )
        return total

    write_line(f"attached {month:%Y-%m}: {with_months(work)} events")

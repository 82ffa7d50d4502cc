"""``eventstore archive-detach``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.months import Month, with_months
from app.cli.progress import progress_of
from app.cli.streams import write_line

if TYPE_CHECKING:
    from app.store.month_store import MonthStore


def archive_detach(
    month: Month,
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop its table, if the file of --exported has it all.")
    ] = False,
    exported: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What archive-export has written.")
    ] = None,
) -> None:
    """Take a month out of the archive; reads that need its events answer 410 from then on.

    Appends go on, and so do loads from a snapshot and readers of the feed that have passed it.
    `archive-attach` brings it back.
    """
    if drop != (exported is not None):
        raise typer.BadParameter("--drop needs --exported FILE, and only it does")
    from app.commands.drop_month import drop_month

    async def work(store: "MonthStore") -> None:
        if exported is None:
            await store.detach_month(month)
            return
        total = (await store.get_month(month)).events
        with progress_of("comparing", total) as progress:
            async for events in drop_month(store, month, exported):
                progress.advance(events, events, total)

    with_months(work)
    write_line(f"detached {month:%Y-%m}" + (" and dropped its table" if drop else ""))

"""``eventstore archive-export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.months import Month, with_months
from app.cli.progress import progress_of
from app.cli.streams import write_line

if TYPE_CHECKING:
    from app.store.month_store import MonthStore


def archive_export(
    month: Month,
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            metavar="FILE",
            help="Ends in .parquet, .ndjson or .ndjson.gz; appears when done.",
        ),
    ],
) -> None:
    """Write a month of the archive to a file, with a checksum beside it (FILE.sha256).

    Every column, by position. `eventstore import` takes the lines of NDJSON. Parquet needs
    `pip install eventstore[parquet]`.
    """
    from app.commands.export_month import export_month

    async def work(store: "MonthStore") -> int:
        total = (await store.get_month(month)).events
        exported = 0
        with progress_of("exporting", total) as progress:
            async for events in export_month(store, month, to):
                exported += events
                progress.advance(events, events, total)
        return exported

    write_line(f"exported {with_months(work)} events of {month:%Y-%m} to {to}")

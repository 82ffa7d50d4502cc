"""``eventstore archive``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.ages import time_before
from app.cli.errors import CliError
from app.cli.progress import progress_of
from app.cli.streams import write_line

if TYPE_CHECKING:
    from app.settings import Settings
    from app.store.archive_store import Archivable

INTERRUPTED_EXIT_CODE = 130


def archive(
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Events that occurred longer ago, such as `365d`, `26w`, or before a date.",
        ),
    ],
    aggregate_types: Annotated[
        list[str] | None,
        typer.Option(
            "--aggregate-type", "-t", metavar="TYPE", help="Only of this type; repeatable."
        ),
    ] = None,
    only_snapshotted: Annotated[
        bool,
        typer.Option("--only-snapshotted", help="Only what a snapshot of its aggregate covers."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would move, and move nothing.")
    ] = False,
    pace: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="At most so many events a second; 0: no limit."),
    ] = 20_000,
) -> None:
    """Move old events out of the table of live ones. Every read answers as before.

    Of each aggregate the first events move, up to the first one that is not old enough. The service
    may run meanwhile. May be interrupted at any time: what has moved has, and the same command goes
    on from there.
    """
    # Only now: it would double the start of every other command.
    import asyncio

    from app.cli.database import database, read_settings
    from app.errors import EventStoreError
    from app.store.archive_store import Archivable

    archivable = Archivable(time_before(older_than), tuple(aggregate_types or ()), only_snapshotted)
    with database(read_settings()) as settings:
        try:
            if dry_run:
                asyncio.run(_tell(settings, archivable))
            else:
                _archive(settings, archivable, pace or None)
        except EventStoreError as error:
            raise CliError(f"cannot archive: {error}") from error


def _archive(settings: Settings, archivable: Archivable, pace: int | None) -> None:
    import asyncio

    began = time.monotonic()
    moved = [0]
    try:
        asyncio.run(_move(settings, archivable, pace, moved))
    except KeyboardInterrupt as interrupt:
        raise CliError(
            f"interrupted (archived {moved[0]} events before); run it again to continue",
            INTERRUPTED_EXIT_CODE,
        ) from interrupt
    write_line(
        f"archived {moved[0]} events of before {archivable.older_than.isoformat()} "
        f"in {time.monotonic() - began:.1f} s"
    )


async def _move(
    settings: Settings, archivable: Archivable, pace: int | None, moved: list[int]
) -> None:
    from app.commands.archive_events import archive_events
    from app.store.archive_store import opened_archive

    async with opened_archive(settings) as store:
        with progress_of("archiving") as bar:
            reached = 0
            async for progress in archive_events(store, archivable, max_events_per_s=pace):
                bar.advance(progress.reached - reached, progress.moved - moved[0], progress.up_to)
                reached, moved[0] = progress.reached, progress.moved


async def _tell(settings: Settings, archivable: Archivable) -> None:
    from app.store.archive_store import opened_archive

    async with opened_archive(settings) as store:
        months = await store.archivable(archivable)
    for each in months:
        write_line(f"{each.month:%Y-%m}  {each.events} events of {each.aggregates} aggregates")
    write_line(f"would archive {sum(each.events for each in months)} events")

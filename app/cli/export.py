"""``eventstore export``."""

from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from app.cli.errors import CliError
from app.cli.feed import feed_filter, read_feed
from app.cli.progress import progress_of
from app.cli.service import DEFAULT_URL, Url, connect
from app.cli.streams import write_lines
from app.complete_file import complete_or_absent


def export(
    types: Annotated[
        list[str] | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Only this aggregate type; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to FILE, which appears when complete."
        ),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Write all events as NDJSON, in the order of the feed.

    `eventstore import` stores such a file in another store, with the same event ids.
    """
    if output is None or str(output) == "-":
        _export(url, types or [], None)
    else:
        try:
            with complete_or_absent(output) as file:
                _export(url, types or [], file)
        except OSError as error:
            raise CliError(f"cannot write {output}: {error.strerror}") from error


def _export(url: str, types: list[str], file: BinaryIO | None) -> None:
    with connect(url) as client, progress_of("exporting") as progress:
        end: int | None = None
        after = 0
        for page in read_feed(client, 0, feed_filter(types)):
            if file is None:
                write_lines(page.events)
            else:
                file.writelines(part for event in page.events for part in (event, b"\n"))
            # A store that is being written to would have no end otherwise.
            end = page.safe_position if end is None else end
            progress.advance(page.next_after - after, len(page.events), total=end)
            after = page.next_after
            if page.up_to_date or after >= end:
                return

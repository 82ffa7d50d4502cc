"""``eventstore export``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from app.cli.errors import CliError
from app.cli.feed import feed_filter, read_feed
from app.cli.progress import progress_of
from app.cli.service import DEFAULT_URL, Url, connect
from app.cli.streams import write_lines


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
        with _complete_or_absent(output) as file:
            _export(url, types or [], file)


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


@contextmanager
def _complete_or_absent(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing so that no one ever sees a part of it, not even after a crash."""
    part = path.with_name(f"{path.name}.part")
    try:
        file = part.open("wb")
    except OSError as error:
        raise CliError(f"cannot write {part}: {error.strerror}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CliError(f"cannot write {path}: {error.strerror}") from error
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

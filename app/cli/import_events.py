"""``eventstore import``."""

import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from app.cli.errors import CliError
from app.cli.import_lines import read_parts
from app.cli.import_sender import Sender
from app.cli.line_ids import FileMemory
from app.cli.progress import progress_of
from app.cli.service import DEFAULT_URL, PATIENCE_S, Url, connect
from app.cli.streams import stdin, write_line
from app.client import EventStoreError

# Of one request: what is sent again when its connection breaks.
PART_BYTES = 8 * 1024 * 1024
INTERRUPTED_EXIT_CODE = 130


def import_events(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="NDJSON, one event a line; `-` is stdin.")
    ],
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="The most lines of one request.")
    ] = 20_000,
    url: Url = DEFAULT_URL,
) -> None:
    """Append the events of a file. Safe to run again: only what is not there yet is added.

    A line is a JSON object with `aggregate_type`, `aggregate_id`, `event_type`, `event_data` and,
    if you like, `metadata`, `occurred_at`, `correlation_id`, `causation_id`, `event_id`, `version`.
    Events are stored in the order of the file; one with a `version` must get that one. A line
    without `event_id` gets one that is derived from its text, so after Ctrl-C, a crash or a restart
    the same command goes on where it stopped.
    """
    began = time.monotonic()
    with _opened(path) as (file, size_bytes), FileMemory() as memory, connect(url) as client:
        name = "<stdin>" if str(path) == "-" else str(path)
        sender = Sender(client, name, client.feed_status().safe_position, PATIENCE_S)
        with progress_of("importing", size_bytes) as progress:
            try:
                for part in read_parts(file, name, memory, batch, PART_BYTES):
                    before = sender.settled
                    sender.send(part)
                    progress.advance(part.size_bytes, sender.settled - before)
            except (CliError, EventStoreError) as error:
                raise CliError(f"{error} ({_told(sender)})") from error
            except KeyboardInterrupt as interrupt:
                raise CliError(
                    f"interrupted ({_told(sender)}); run the same command again to continue",
                    INTERRUPTED_EXIT_CODE,
                ) from interrupt
        aggregates = memory.aggregates
    write_line(
        f"imported {sender.imported} events of {aggregates} aggregates "
        f"({sender.already_there} already there) in {time.monotonic() - began:.1f} s"
    )


def _told(sender: Sender) -> str:
    return f"imported {sender.imported} events before, {sender.already_there} were already there"


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open the file to import; its size is None where there is none, as for a pipe."""
    if str(path) == "-":
        yield stdin(), None
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from error
    with file:
        status = path.stat()
        yield file, status.st_size if stat.S_ISREG(status.st_mode) else None

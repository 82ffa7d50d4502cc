"""``eventstore import``."""

import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from app.cli.errors import CliError
from app.cli.import_lines import read_windows
from app.cli.import_sender import Sender
from app.cli.line_ids import FileMemory
from app.cli.progress import progress_of
from app.cli.service import DEFAULT_URL, Url, connect_many
from app.cli.streams import stdin, write_line
from app.client import EventStoreError

WINDOW_LINES = 20_000
WINDOW_BYTES = 64 * 1024 * 1024
INTERRUPTED_EXIT_CODE = 130


def import_events(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="NDJSON, one event a line; `-` is stdin.")
    ],
    batch: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="The most events of one append.")
    ] = 500,
    connections: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Appends on their way at a time.")
    ] = 4,
    url: Url = DEFAULT_URL,
) -> None:
    """Append the events of a file. Safe to run again: only what is not there yet is added.

    A line is a JSON object with `aggregate_type`, `aggregate_id`, `event_type`, `event_data` and,
    if you like, `metadata`, `occurred_at`, `correlation_id`, `causation_id`, `event_id`. The events
    of one aggregate keep the order of the file. A line without `event_id` gets one that is derived
    from its text, so after Ctrl-C, a crash or a restart the same command goes on where it stopped.
    """
    began = time.monotonic()
    with (
        _opened(path) as (file, size_bytes),
        FileMemory() as memory,
        connect_many(url, connections) as (client, runner),
    ):
        start_position = runner.run(client.feed_status()).safe_position
        name = "<stdin>" if str(path) == "-" else str(path)
        with progress_of("importing", size_bytes) as progress:
            sender = Sender(client, name, batch, connections, start_position, progress.advance)
            try:
                for window in read_windows(file, name, memory, WINDOW_LINES, WINDOW_BYTES):
                    runner.run(sender.send(window))
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

"""Standard input, output and error, and what happens when no one is at their other end."""

import os
import select
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from app.cli.errors import CliError

# What a shell reports for a program that SIGPIPE has ended: 128 + 13.
BROKEN_PIPE_EXIT_CODE = 141


def stdin() -> BinaryIO:
    """Standard input as bytes."""
    # None: closed by the shell (`<&-`), or a service manager that gives none.
    if sys.stdin is None:
        raise CliError("there is no standard input")
    return sys.stdin.buffer


def note(message: str) -> None:
    """Say something to the user without touching what is piped on; always exactly one line."""
    line = " ".join(message.split())
    sys.stderr.write(f"eventstore: {line}\n")
    sys.stderr.flush()


def write_lines(lines: list[msgspec.Raw] | list[bytes]) -> None:
    """Write to stdout at once; a reader that has gone (``| head``) ends the command quietly."""
    if not lines:
        return
    try:
        sys.stdout.buffer.write(b"\n".join(lines))
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
    except OSError as error:
        # The interpreter flushes stdout once more when it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(BROKEN_PIPE_EXIT_CODE)
        raise CliError(f"cannot write to standard output: {error.strerror}") from error


def when_reader_goes(act: Callable[[], None]) -> None:
    """Call ``act``, from a thread of its own, when the reader of stdout has gone.

    Without a look at it, that would be noticed with the next event, which may never come.
    """
    poll = select.poll()
    poll.register(sys.stdout, 0)  # errors are always reported: the other end is closed

    def watch() -> None:
        poll.poll()
        act()

    threading.Thread(target=watch, daemon=True).start()


def write_line(text: str) -> None:
    """Write one line of text to stdout."""
    write_lines([text.encode()])


def write_document(document: bytes) -> None:
    """Write JSON: indented for a person, as it is for a pipe; numbers keep all their digits."""
    if sys.stdout.isatty():
        document = msgspec.json.format(document, indent=2)
    write_lines([document])

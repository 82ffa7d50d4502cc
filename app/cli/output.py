"""What is written to stdout and stderr, and what happens when no one reads it any more."""

import os
import sys

import msgspec

# What a shell reports for a program that SIGPIPE has ended: 128 + 13.
BROKEN_PIPE_EXIT_CODE = 141


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
    except BrokenPipeError:
        # The interpreter flushes stdout once more when it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE_EXIT_CODE)


def write_line(text: str) -> None:
    """Write one line of text to stdout."""
    write_lines([text.encode()])


def write_document(document: bytes) -> None:
    """Write JSON: indented for a person, as it is for a pipe; numbers keep all their digits."""
    if sys.stdout.isatty():
        document = msgspec.json.format(document, indent=2)
    write_lines([document])

"""Sends parts of a file to the service, one after the other, and counts what becomes of them.

Nothing is remembered between runs. A run that continues another sends everything again, and the
service knows the events by their ids.
"""

import time

import msgspec

from app.cli.errors import CliError
from app.cli.import_lines import BadLine, Part
from app.client import EventStoreClient, EventStoreError
from app.client.backoff import Backoff
from app.client.codec import Codec
from app.client.errors import BadAnswer, Refused, Unavailable
from app.client.operation import Answer, Operation
from app.client.problems import refusal


class _LastLine(msgspec.Struct):
    """The last line of an answer: a problem, or that all is ``done``."""

    stored: int = 0
    already_there: int = 0
    done: bool = False
    status: int = 0


class Sender:
    """Imports parts and counts which of their events are new."""

    def __init__(
        self, client: EventStoreClient, file: str, start_position: int, patience_s: float
    ) -> None:
        """Make a sender.

        ``start_position``: the store's safe position before the import: what is there behind it
        has come from this very run, whose connection broke. ``patience_s``: for how long a part is
        sent again that the service has begun and could not end.
        """
        self._client = client
        self._file = file
        self._start_position = start_position
        self._patience_s = patience_s
        self.imported = 0
        self.already_there = 0

    def send(self, part: Part) -> None:
        """Send a part; when this returns, all of it is stored.

        Raises:
            BadLine: A line cannot be stored; all lines before it are.
            CliError: The service cannot do it now, or not any more.
            EventStoreError: It refuses, whatever the lines say.
        """
        operation = Operation(
            "POST",
            ("v1", "import"),
            _read,
            params={"new_after": self._start_position},
            headers={"Content-Type": "application/x-ndjson"},
            content=part.body,
        )
        backoff = Backoff(self._patience_s)
        while True:
            try:
                last = self._client.call(operation)
            except Unavailable as error:
                delay_s = None if error.line is None else backoff.next_delay_s(error.retry_after_s)
                if delay_s is None:
                    self._count(error)
                    first = part.first_number + (error.line or 1) - 1
                    raise CliError(
                        f"{error}; all lines before {self._file}:{first} are stored, run the same "
                        "command again to continue there"
                    ) from error
                time.sleep(delay_s)
            except Refused as error:
                self._count(error)
                if error.line is None:
                    raise
                number = part.first_number + error.line - 1
                raise BadLine(self._file, number, str(error)) from error
            else:
                self._count(last)
                return

    @property
    def settled(self) -> int:
        """How many events are stored or were there."""
        return self.imported + self.already_there

    def _count(self, counted: _LastLine | EventStoreError) -> None:
        self.imported += counted.stored
        self.already_there += counted.already_there


def _read(codec: Codec, answer: Answer) -> _LastLine:
    """Read the last line of an answer; raises what it says if it is a problem."""
    line = answer.body.rstrip(b"\n").rpartition(b"\n")[2]
    last = codec.decode(line, _LastLine)
    if last.status:
        raise refusal(last.status, line, "", codec)
    if not last.done:
        raise BadAnswer("the answer is not that of an event store: it has no end")
    return last

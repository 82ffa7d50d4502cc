"""Sends windows of lines to the service: aggregates in parallel, each in file order.

Nothing is remembered between runs. A run that continues another sends everything again, and the
service knows the events by their ids: an append of which all events are there already is answered
like the first time. Of one that is there in part it stores nothing and says so (409): then it is
cut where the known events end, and its parts are sent one after the other.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import msgspec

from app.cli.errors import CliError, Refused, Unreachable
from app.cli.import_lines import BadLine, Group, Line, Window, batches
from app.cli.json_text import read_answer
from app.cli.service import Answer, Service

# Half of MAX_BODY_BYTES as it is by default; where it is less, a 413 makes the appends smaller.
MAX_APPEND_BYTES = 8 * 1024 * 1024
NOT_FOR_THIS_FILE = frozenset({401, 403, 405, 407})


class _Stored(msgspec.Struct):
    global_position: int


class _Appended(msgspec.Struct):
    events: list[_Stored]


class Sender:
    """Appends lines and counts which of them are new."""

    def __init__(
        self,
        service: Service,
        file: str,
        batch: int,
        connections: int,
        start_position: int,
        advance: Callable[[int, int], None],
    ) -> None:
        """Make a sender.

        ``start_position``: the store's safe position before the import.
        ``advance``: called with the bytes and the number of the lines that are stored.
        """
        self._service = service
        self._file = file
        self._batch = batch
        self._connections = connections
        self._start_position = start_position
        self._advance = advance
        self._failure: CliError | None = None
        self.imported = 0
        self.already_there = 0

    async def send(self, window: Window) -> None:
        """Send a window; when this returns, all of it is stored."""
        waiting = iter(window)
        await asyncio.gather(*(self._work(waiting) for _ in range(self._connections)))
        if isinstance(self._failure, Unreachable):
            first = min(g.lines[g.sent].number for g in window if g.sent < len(g.lines))
            raise CliError(
                f"{self._failure} — all before {self._file}:{first} is stored; "
                "run the same command again to continue there"
            )
        if self._failure is not None:
            raise self._failure

    async def _work(self, waiting: Iterator[Group]) -> None:
        # After a failure the others finish what they are sending, so that the counts are true.
        try:
            for group in waiting:
                for batch in batches(group.lines, self._batch, MAX_APPEND_BYTES):
                    if self._failure is not None:
                        return
                    await self._append(group, batch)
        except CliError as error:
            self._failure = self._failure or error

    async def _append(self, group: Group, lines: list[Line]) -> None:
        """Append lines in as few requests as the service accepts."""
        waiting = [lines]
        while waiting:
            lines = waiting.pop()
            try:
                answer = await self._service.request(
                    "POST",
                    "v1",
                    "aggregates",
                    group.aggregate_type,
                    group.aggregate_id,
                    "events",
                    content=b'{"events":[' + b",".join(line.event for line in lines) + b"]}",
                )
            except Refused as refused:
                if refused.status >= 500 or refused.status in NOT_FOR_THIS_FILE:
                    raise
                if len(lines) == 1:
                    raise BadLine(self._file, lines[0].number, str(refused)) from refused
                # Part of it is there, or it is too large, or one of its lines is bad: cutting ends
                # at the line in question, and what comes before it is stored.
                waiting.extend(reversed(cut(lines, refused.problem.event_ids)))
            else:
                self._count(answer)
                group.sent += len(lines)
                self._advance(sum(line.size_bytes for line in lines), len(lines))

    def _count(self, answer: Answer) -> None:
        """Count what is new.

        200 says "was there already" also of what an attempt of our own has stored whose answer got
        lost; that has a position beyond where the store was when the import began.
        """
        events = read_answer(answer.body, _Appended).events
        if answer.status == 201:
            new = len(events)
        elif answer.repeated:
            new = sum(event.global_position > self._start_position for event in events)
        else:
            new = 0
        self.imported += new
        self.already_there += len(events) - new


def cut(lines: list[Line], known_ids: Iterable[str]) -> list[list[Line]]:
    """Cut a refused append where events that are there meet others, else in the middle.

    The parts are always smaller than the whole, so cutting ends whatever the service says.
    """
    known = set(known_ids)
    runs = [list(run) for _, run in groupby(lines, lambda line: str(line.event_id) in known)]
    if len(runs) > 1:
        return runs
    middle = len(lines) // 2
    return [lines[:middle], lines[middle:]]

"""Sends windows of lines to the service: each aggregate in file order, different ones in parallel.

Nothing is remembered between runs. A run that continues another sends everything again, and the
service knows the events by their ids: a request of which all events are there already is answered
as it was the first time. Of one that is there in part it stores nothing and says so (409): then
the part that is there and the rest are sent apart.
"""

import asyncio
from collections.abc import Callable, Iterator

import msgspec

from app.cli.errors import CliError
from app.cli.import_lines import BadLine, Window
from app.cli.import_requests import Chain, Request, body_of, pack, take_apart
from app.client import AsyncEventStoreClient, EventStoreError
from app.client.codec import Codec
from app.client.errors import EventIdConflict, Refused, Unavailable
from app.client.operation import Answer

# Half of MAX_BODY_BYTES as it is by default; where that is less, a 413 makes the requests smaller.
MAX_REQUEST_BYTES = 8 * 1024 * 1024
# Refused whatever the lines say: who is asking, or where.
NOT_FOR_ITS_LINES = frozenset({401, 403, 404, 405, 407})


class _Stored(msgspec.Struct):
    global_position: int


class _Appended(msgspec.Struct):
    events: list[_Stored]


class _Transaction(msgspec.Struct):
    appends: list[_Appended]


class Sender:
    """Appends lines and counts which of them are new."""

    def __init__(
        self,
        client: AsyncEventStoreClient,
        file: str,
        batch: int,
        connections: int,
        start_position: int,
        advance: Callable[[int, int], None],
    ) -> None:
        """Make a sender.

        ``start_position``: the store's safe position before the import.
        ``advance``: called with the bytes and the number of lines that are stored.
        """
        self._client = client
        self._file = file
        self._batch = batch
        self._connections = connections
        self._start_position = start_position
        self._advance = advance
        self._failure: CliError | EventStoreError | None = None
        self._unsent: set[int] = set()
        self.imported = 0
        self.already_there = 0

    async def send(self, window: Window) -> None:
        """Send a window; when this returns, all of it is stored."""
        self._unsent = {line.number for lines in window for line in lines}
        chains = pack(window, self._batch, MAX_REQUEST_BYTES)
        await asyncio.gather(*(self._work(chains) for _ in range(self._connections)))
        if isinstance(self._failure, Unavailable):
            raise CliError(
                f"{self._failure}; all lines before {self._file}:{min(self._unsent)} are stored, "
                "run the same command again to continue there"
            )
        if self._failure is not None:
            raise self._failure

    async def _work(self, chains: Iterator[Chain]) -> None:
        # After a failure the others finish what they are sending, so that the counts are true.
        try:
            for chain in chains:
                waiting = chain[::-1]
                while waiting and self._failure is None:
                    waiting += (await self._send(waiting.pop()))[::-1]
        except (CliError, EventStoreError) as error:
            self._failure = self._failure or error

    async def _send(self, request: Request) -> list[Request]:
        """Store the lines of a request, or return the requests to be sent in its place."""
        try:
            answer = await self._client.request(
                "POST", "v1", "transactions", content=body_of(request)
            )
        except Refused as refused:
            if refused.status >= 500 or refused.status in NOT_FOR_ITS_LINES:
                raise
            if len(request) == 1:
                # Places within the request are places within the line.
                reason = str(refused).replace("$.appends[0].events[0]", "$")
                raise BadLine(self._file, request[0].number, reason) from refused
            known = refused.event_ids if isinstance(refused, EventIdConflict) else ()
            return take_apart(request, map(str, known))
        self._count(answer)
        self._unsent.difference_update(line.number for line in request)
        self._advance(sum(line.size_bytes for line in request), len(request))
        return []

    def _count(self, answer: Answer) -> None:
        """Count what is new.

        200 says "was there already" also of what an attempt of our own has stored whose answer got
        lost; that has a position beyond where the store was when the import began.
        """
        appends = Codec().decode(answer.body, _Transaction).appends
        events = [event for append in appends for event in append.events]
        if answer.status == 201:
            new = len(events)
        elif answer.repeated:
            new = sum(event.global_position > self._start_position for event in events)
        else:
            new = 0
        self.imported += new
        self.already_there += len(events) - new

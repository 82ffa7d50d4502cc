"""Imports: events without end, line by line, of which what is stored is always a prefix."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from msgspec.structs import replace

from app.commands.check_event import check_event
from app.commands.locate_unstorable import locate_in_json
from app.commands.plan_import import ImportPlan, plan_import
from app.commands.prepare_append import IDEMPOTENCY_NAMESPACE
from app.errors import DatabaseBusy, EventStoreError, ServiceBusy, UnstorableValue
from app.events import ImportedEvent, ImportProgress
from app.store.event_ids import new_event_id
from app.store.import_store import ImportLine, ImportStore, Placed, Stored

# For a chunk that loses races: each attempt means that another append has been stored.
REPEAT_FOR_S = 10.0
CONNECTIONS_FOR_ONE = 4
MAX_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines that follow each other, up to ``last_line``; empty ones are left out.

    ``refusal``: why the line behind them cannot be stored, nor any after it.
    """

    lines: Sequence[ImportLine]
    last_line: int
    refusal: Exception | None = None


class ImportStopped(EventStoreError):
    """An import ends before its end: all lines before ``line`` are stored, and none from there on.

    ``cause`` is what is wrong with that line, or what keeps the store from going on.
    """

    def __init__(self, line: int, cause: Exception, progress: ImportProgress) -> None:
        super().__init__(f"line {line}: {cause}")
        self.line = line
        self.cause = cause
        self.progress = progress


class Imports:
    """The imports of this process: at most ``max_at_once``, until the service stops."""

    def __init__(self, max_at_once: int) -> None:
        self._max_at_once = max_at_once
        self._count = 0
        self.is_stopping = False

    @classmethod
    def beside(cls, connections: int) -> "Imports":
        """As many as leave most of so many connections to others: each takes one at a time."""
        return cls(max(1, min(connections // CONNECTIONS_FOR_ONE, MAX_AT_ONCE)))

    def stop(self) -> None:
        """Let all of them end behind the chunk that they are writing."""
        self.is_stopping = True

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one more for the body of the ``with`` block.

        Raises:
            ServiceBusy: There are as many as may be.
        """
        if self._count >= self._max_at_once:
            raise ServiceBusy("as many imports are under way as may be; nothing was stored")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class LineMaker:
    """Makes the lines of one import from its events: ids, times, ids of correlation."""

    def __init__(
        self,
        now: Callable[[], datetime],
        idempotency_key: str | None = None,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
    ) -> None:
        self._now = now
        self._key = None if idempotency_key is None else json.dumps(idempotency_key)
        self._correlation_id = correlation_id
        self._causation_id = causation_id

    def line(self, number: int, event: ImportedEvent) -> ImportLine:
        """Make a line, by its number in the file.

        An event without an id gets one that is derived from the key and the number, or, without a
        key, a UUIDv7: then it is stored once more whenever the import is repeated.

        Raises:
            InvalidInput: The event's data or its time cannot be meant.
        """
        check_event(event, "$")
        has_new_id = False
        if event.event_id is not None:
            event_id = event.event_id
        elif self._key is not None:
            # Never the id of an append's event, whose name is a list of four.
            event_id = uuid5(IDEMPOTENCY_NAMESPACE, f"[{self._key}, {number}]")
        else:
            event_id = new_event_id()
            has_new_id = True
        return ImportLine(
            number,
            (event.aggregate_type, event.aggregate_id),
            event,
            event_id,
            event.occurred_at or self._now(),
            event.correlation_id or self._correlation_id,
            event.causation_id or self._causation_id,
            has_new_id,
        )


async def import_events(
    store: ImportStore, chunks: AsyncIterator[Chunk], *, new_after: int | None = None
) -> AsyncGenerator[ImportProgress, None]:
    """Store chunk after chunk, each line once; yield after each how far it has come.

    While one is written the next is read, no further. Every event gets the next version of its
    aggregate; one that states its version gets that or is refused. An event that is stored already
    with the same id and content (or, where a line has no id, as the same version of its aggregate)
    is left as it is. It counts as already there, unless its position is behind ``new_after``.

    Raises:
        ImportStopped: At the first line that cannot be stored. Whatever ``chunks`` raises passes
            as it is; what was read before it and not written is dropped.
    """
    importing = _Import(store, new_after)
    reading = asyncio.ensure_future(anext(chunks, None))
    try:
        while (chunk := await reading) is not None:
            reading = asyncio.ensure_future(anext(chunks, None))
            await importing.store_chunk(chunk)
            yield importing.progress
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading


class _Import:
    def __init__(self, store: ImportStore, new_after: int | None) -> None:
        self._store = store
        self._new_after = new_after
        self._plan = ImportPlan()
        self.progress = ImportProgress(0, 0, 0, 0)

    async def store_chunk(self, chunk: Chunk) -> None:
        lines = chunk.lines
        at_once = len(lines)
        deadline = time.monotonic() + REPEAT_FOR_S
        while lines:
            part = lines[:at_once]
            try:
                position = await self._store.import_events(part, self._decide)
            except UnstorableValue as error:
                at_once = self._storable(part, error)
                continue
            except EventStoreError as error:
                raise self._stopped(lines[0].number, error) from error
            if position is None:
                self._store.metrics.retries.inc("race")
                if time.monotonic() > deadline:
                    lost = DatabaseBusy("lost too many races against other appends")
                    raise self._stopped(lines[0].number, lost)
                # The fewer at a time, the shorter is the time in which the race can be lost.
                at_once = max(1, len(part) // 2)
                continue
            self._note(part, position)
            lines = lines[self._plan.settled :]
            at_once = 2 * at_once
            deadline = time.monotonic() + REPEAT_FOR_S
        self.progress = replace(self.progress, line=chunk.last_line)
        if chunk.refusal is not None:
            raise self._stopped(chunk.last_line + 1, chunk.refusal) from chunk.refusal

    def _decide(self, lines: Sequence[ImportLine], stored: Stored) -> Sequence[Placed]:
        self._plan = plan_import(lines, stored, self._new_after)
        return self._plan.placed

    def _note(self, part: Sequence[ImportLine], position: int) -> None:
        plan, progress = self._plan, self.progress
        self.progress = ImportProgress(
            part[plan.settled - 1].number if plan.settled else progress.line,
            progress.stored + plan.settled - plan.already_there,
            progress.already_there + plan.already_there,
            max(progress.last_position, plan.last_position, position),
        )
        if plan.refusal is not None:
            raise self._stopped(part[plan.settled].number, plan.refusal)

    def _storable(self, part: Sequence[ImportLine], error: UnstorableValue) -> int:
        """How many lines to try next, of some of which one was refused.

        Raises:
            ImportStopped: It is the first of them.
        """
        for ordinal, line in enumerate(part):
            located = _locate(line)
            if located is not None or len(part) == 1:
                if ordinal == 0:
                    raise self._stopped(line.number, located or error) from error
                return ordinal
        return max(1, len(part) // 2)

    def _stopped(self, line: int, cause: Exception) -> ImportStopped:
        # Empty lines before it count as stored.
        self.progress = replace(self.progress, line=line - 1)
        return ImportStopped(line, cause, self.progress)


def _locate(line: ImportLine) -> UnstorableValue | None:
    for name, raw in (("event_data", line.event.event_data), ("metadata", line.event.metadata)):
        located = locate_in_json(bytes(raw), f"$.{name}")
        if located is not None:
            return located
    return None

"""Group commit: appends that arrive while others are being written go together in one transaction.

An append that finds a writer free is written at once; nobody waits for company. Each is judged
alone: where a statement that several share fails, its members are written one by one.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import Any, Protocol, TypeAlias

from app.errors import DatabaseBusy, OutcomeUnknown, ServiceBusy, Unavailable
from app.events import ANY_VERSION, Append, Appended
from app.store.turns import Turns

# While one batch is committed, the next one is put together. As long as full batches wait, which
# keep the database busy and not the disk, there are more writers.
WRITERS = 2
MAX_WRITERS = 4
MAX_APPENDS_OF_BATCH = 128
MAX_EVENTS_OF_BATCH = 128
# Of JSON.
MAX_BYTES_OF_BATCH = 512 * 1024
# A larger append takes long by itself, and goes beside the writers.
LARGE_EVENTS = 1_000
SWEEP_EVERY_S = 0.25
TOO_LONG = "other appends take too long; nothing was stored"

logger = logging.getLogger(__name__)

Outcome: TypeAlias = Appended | None
"""None: refused; what that means is for the commands to say."""


class BatchWriter(Protocol):
    """Writes batches over one connection."""

    @property
    def is_to_be_released(self) -> bool:
        """Whether the connection is wanted by others, or lost."""

    async def write(self, appends: Sequence[Append]) -> list[Outcome]:
        """Write appends, each of which is judged alone, in one transaction.

        Raises:
            NotTogether: Nothing is stored; one of them may be to blame, or a lock in its way.
            EventStoreError: What happened to all of them.
        """


OpenWriter: TypeAlias = Callable[[], AbstractAsyncContextManager[BatchWriter]]
WriteAlone: TypeAlias = Callable[[Append], Awaitable[Outcome]]


class NotTogether(Exception):
    """Raised by a shared write: nothing of it is stored, and each member is to be tried alone."""


class GroupCommit:
    """Gathers appends into batches; each of a few writers has one batch at a time.

    Appends to one aggregate keep their order and are never in two writes at once; in one batch only
    where all of them take every version: what becomes of one does not depend on another then.
    """

    def __init__(
        self,
        open_writer: OpenWriter,
        write_alone: WriteAlone,
        turns: Turns,
        *,
        max_waiting: int,
        wait_s: float,
    ) -> None:
        """``max_waiting``: appends at hand at once; ``wait_s``: how long each waits at most."""
        self._open_writer = open_writer
        self._write_alone = write_alone
        self._turns = turns
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._at_hand: dict[_Member, None] = {}
        self._ready: deque[_Member] = deque()
        self._ready_events = 0
        self._writers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None

    async def append(self, append: Append) -> Outcome:
        """Write an append, together with others or alone; what becomes of it.

        If the caller is cancelled before the write has begun, nothing is stored; later, all may be.

        Raises:
            ServiceBusy: ``max_waiting`` appends are at hand already.
            DatabaseBusy: It has waited ``wait_s`` and not begun.
            Exception: What its write has raised.
        """
        if len(self._at_hand) >= self._max_waiting:
            raise ServiceBusy(f"{self._max_waiting} appends wait already; nothing was stored")
        loop = asyncio.get_running_loop()
        member = _Member(append, loop.create_future(), loop.time() + self._wait_s, self._begin)
        self._at_hand[member] = None
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(SWEEP_EVERY_S, self._sweep)
        self._turns.take(append.aggregate, member)
        try:
            return await member.outcome
        finally:
            del self._at_hand[member]

    async def drain(self) -> None:
        """Wait until nothing is being written any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, member: "_Member") -> None:
        """Let an append be written whose turn it is at its aggregate."""
        if member.is_large:
            self._start(self._settle_one_by_one([member]))
            return
        self._ready.append(member)
        self._ready_events += len(member.append.events)
        if self._writers < WRITERS or (
            self._writers < MAX_WRITERS and self._ready_events >= MAX_EVENTS_OF_BATCH
        ):
            self._writers += 1
            self._start(self._write_batches())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _sweep(self) -> None:
        """Give up what has waited for too long."""
        loop = asyncio.get_running_loop()
        # The oldest comes first.
        for member in self._at_hand:
            if member.deadline > loop.time():
                break
            if not member.has_begun and not member.outcome.done():
                member.outcome.set_exception(DatabaseBusy(TOO_LONG))
        self._sweep_timer = loop.call_later(SWEEP_EVERY_S, self._sweep) if self._at_hand else None

    async def _write_batches(self) -> None:
        batch: list[_Member] = []
        try:
            # Looked for again after each connection: more may have come while it was given back.
            while batch := batch or self._next_batch():
                try:
                    async with self._open_writer() as writer:
                        while batch:
                            # Its callers are told before the connection is given back.
                            await self._settle_together(batch, writer)
                            batch = self._next_batch()
                            if writer.is_to_be_released:
                                break
                except Exception as error:  # noqa: BLE001 - it is raised for each of the callers
                    self._fail(batch, error)
                    batch = []
        finally:
            self._writers -= 1

    def _next_batch(self) -> "list[_Member]":
        """The first of what waits, as far as a batch has room; in the order of the aggregates.

        Processes that append to the same aggregates so wait for each other instead of deadlocking.
        """
        batch: list[_Member] = []
        room = _Room()
        while self._ready:
            if not room.is_taken_by(self._ready[0]):
                break
            member = self._ready.popleft()
            self._ready_events -= len(member.append.events)
            if member.outcome.done():
                self._turns.finish(member.append.aggregate)
                continue
            batch.append(member)
            if member.is_chainable:
                batch += self._followers(member, room)
        for member in batch:
            member.has_begun = True
        batch.sort(key=_aggregate)
        return batch

    def _followers(self, first: "_Member", room: "_Room") -> "list[_Member]":
        """Those who wait behind ``first`` at its aggregate and can be written with it."""
        followers = []
        queue = self._turns.queue(first.append.aggregate)
        while queue:
            member = queue[0]
            if not isinstance(member, _Member) or not member.is_chainable or member.is_large:
                break
            if not member.outcome.done():
                if not room.is_taken_by(member):
                    break
                followers.append(member)
            queue.popleft()
        return followers

    async def _settle_together(self, batch: "list[_Member]", writer: BatchWriter) -> None:
        try:
            outcomes = await writer.write([member.append for member in batch])
        except NotTogether as reason:
            logger.debug("%d appends are written one by one", len(batch), exc_info=reason)
            for _, members in groupby(batch, _aggregate):
                self._start(self._settle_one_by_one(list(members)))
        except Exception as error:  # noqa: BLE001 - it is raised for each of the callers
            self._fail(batch, error)
        else:
            for member, outcome in zip(batch, outcomes, strict=True):
                member.settle(outcome)
            self._finish(batch)

    def _fail(self, batch: "list[_Member]", error: Exception) -> None:
        for member in batch:
            member.fail(error)
        self._finish(batch)

    def _finish(self, batch: "list[_Member]") -> None:
        for aggregate in dict.fromkeys(map(_aggregate, batch)):
            self._turns.finish(aggregate)

    async def _settle_one_by_one(self, members: "list[_Member]") -> None:
        """Write appends to one aggregate, which have its turn, one after the other."""
        loop = asyncio.get_running_loop()
        for member in members:
            member.has_begun = True
            try:
                # What was in the way of the one before may be in its way, too.
                if loop.time() > member.deadline:
                    raise DatabaseBusy(TOO_LONG)
                member.settle(await self._write_alone(member.append))
            except Exception as error:  # noqa: BLE001 - it is raised for the caller
                member.fail(error)
        self._turns.finish(members[0].append.aggregate)


class _Member:
    """An append that is at hand."""

    __slots__ = (
        "_begin", "append", "deadline", "has_begun", "is_chainable", "is_large", "json_bytes",
        "outcome",
    )  # fmt: skip

    def __init__(
        self,
        append: Append,
        outcome: "asyncio.Future[Outcome]",
        deadline: float,
        begin: "Callable[[_Member], None]",
    ) -> None:
        self.append = append
        self.outcome = outcome
        self.deadline = deadline
        self.has_begun = False
        self._begin = begin
        self.json_bytes = sum(
            len(event.event_data) + len(event.metadata) for event in append.events
        )
        self.is_large = self.json_bytes > MAX_BYTES_OF_BATCH or len(append.events) > LARGE_EVENTS
        self.is_chainable = append.expectation == ANY_VERSION

    def begin(self) -> bool:
        """It is its turn."""
        if self.outcome.done():
            return False
        self._begin(self)
        return True

    def settle(self, outcome: Outcome) -> None:
        """Tell the caller, unless it is gone."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """Tell the caller, unless it is gone; each an error of its own, with its own ids."""
        if self.outcome.done():
            return
        own = error
        if isinstance(error, OutcomeUnknown):
            own = OutcomeUnknown(self.append.event_ids)
        elif isinstance(error, Unavailable):
            own = type(error)(*error.args)
        own.__cause__ = error.__cause__
        self.outcome.set_exception(own)


class _Room:
    """What a batch has room for; its first member always fits."""

    def __init__(self) -> None:
        self._appends = self._events = self._json_bytes = 0

    def is_taken_by(self, member: _Member) -> bool:
        """Give the member its place, or tell that there is none."""
        events = self._events + len(member.append.events)
        json_bytes = self._json_bytes + member.json_bytes
        if self._appends > 0 and (
            self._appends >= MAX_APPENDS_OF_BATCH
            or events > MAX_EVENTS_OF_BATCH
            or json_bytes > MAX_BYTES_OF_BATCH
        ):
            return False
        self._appends += 1
        self._events, self._json_bytes = events, json_bytes
        return True


def _aggregate(member: _Member) -> tuple[str, str]:
    return member.append.aggregate

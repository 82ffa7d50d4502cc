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
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

from app.errors import DatabaseBusy, ServiceBusy
from app.events import Append
from app.logs.context import component_context
from app.store.batch_member import (
    MAX_APPENDS_OF_BATCH,
    MAX_EVENTS_OF_BATCH,
    BatchMember,
    Outcome,
    Room,
    Tell,
)
from app.store.turns import Turns

# While one batch is committed, the next one is put together. As long as full batches wait, which
# keep the database busy and not the disk, there are more writers.
WRITERS = 2
MAX_WRITERS = 4
# Of the appends at hand: two are written, those of the third are answered or asked meanwhile.
PARTS = 3
LEAST_APPENDS_OF_PART = 8
SWEEP_EVERY_S = 0.25
# By an idle writer, unless the connection is wanted elsewhere.
KEEP_CONNECTION_S = 1.0
TOO_LONG = "other appends take too long; nothing was stored"

logger = logging.getLogger(__name__)

_CONTEXT = component_context("group commit")


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

    A writer that has nothing more to write keeps its connection for a moment: to take one from the
    pool and give it back costs as much time as to append an event.
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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._at_hand: dict[BatchMember, None] = {}
        self._ready: deque[BatchMember] = deque()
        self._ready_events = 0
        # Those that write or are about to; the idle ones are not among them.
        self._writers = 0
        self._idle: list[asyncio.Future[None]] = []
        # A writer that has been called takes all that is there when its turn comes.
        self._is_called = False
        self._is_draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def at_hand(self) -> int:
        """How many appends are at hand now."""
        return len(self._at_hand)

    async def append(self, append: Append) -> Outcome:
        """Write an append, together with others or alone; what becomes of it.

        If the caller is cancelled before the write has begun, nothing is stored; later, all may be.

        Raises:
            ServiceBusy: ``max_waiting`` appends are at hand already.
            DatabaseBusy: It has waited ``wait_s`` and not begun.
            Exception: What its write has raised.
        """
        settled: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def tell(outcome: Outcome, error: Exception | None) -> None:
            if settled.done():
                return
            if error is None:
                settled.set_result(outcome)
            else:
                settled.set_exception(error)

        give_up = self.submit(append, tell)
        try:
            return await settled
        finally:
            give_up()

    def submit(self, append: Append, tell: Tell) -> Callable[[], None]:
        """Begin with `append`, without a task to wait in; what it returns gives the append up.

        ``tell`` is called once, with the outcome or the error, unless the append has been given
        up. It must not raise.

        Raises:
            ServiceBusy: ``max_waiting`` appends are at hand already.
        """
        if len(self._at_hand) >= self._max_waiting:
            raise ServiceBusy(f"{self._max_waiting} appends wait already; nothing was stored")
        loop = self._loop
        if loop is None:
            self._loop = loop = asyncio.get_running_loop()
        member = BatchMember(append, tell, loop.time() + self._wait_s, self)
        self._at_hand[member] = None
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(SWEEP_EVERY_S, self._sweep)
        self._turns.take(member.aggregate, member)
        return member.give_up

    async def drain(self) -> None:
        """Wait until nothing is being written any more, and every connection is given back."""
        self._is_draining = True
        self.release_idle()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._is_draining = False

    def release_idle(self) -> None:
        """Let idle writers give their connections back: others want them."""
        while self._idle:
            self._call_idle()

    def forget(self, member: BatchMember) -> None:
        """It is settled, or given up."""
        del self._at_hand[member]

    def begin(self, member: BatchMember) -> None:
        """Let an append be written whose turn it is at its aggregate."""
        if member.is_large:
            self._start(self._settle_one_by_one([member]))
            return
        self._ready.append(member)
        self._ready_events += len(member.append.events)
        if not self._is_called:
            self._call_writer()

    def _call_writer(self) -> None:
        """Let another writer take what is ready, unless enough of them are at work."""
        if self._writers >= WRITERS and (
            self._writers >= MAX_WRITERS or self._ready_events < MAX_EVENTS_OF_BATCH
        ):
            return
        self._is_called = True
        if self._idle:
            self._call_idle()
        else:
            self._writers += 1
            self._start(self._write_batches())

    def _call_idle(self) -> None:
        """Call the writer that has written last: to write, or to give its connection back."""
        self._writers += 1
        _wake(self._idle.pop())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        # For many requests: on behalf of none of them.
        task = asyncio.create_task(work, context=_CONTEXT)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _sweep(self) -> None:
        """Give up what has waited for too long."""
        loop = asyncio.get_running_loop()
        # The oldest comes first.
        for member in list(self._at_hand):
            if member.deadline > loop.time():
                break
            if not member.has_begun:
                member.fail(DatabaseBusy(TOO_LONG))
        self._sweep_timer = loop.call_later(SWEEP_EVERY_S, self._sweep) if self._at_hand else None

    async def _write_batches(self) -> None:
        batch: list[BatchMember] = []
        try:
            # Looked for again after each connection: more may have come while it was given back.
            while batch := batch or self._next_batch():
                try:
                    async with self._open_writer() as writer:
                        while batch:
                            # Its callers are told before the connection is given back.
                            await self._settle_together(batch, writer)
                            batch = self._next_batch()
                            if not (batch or writer.is_to_be_released or self._is_draining):
                                await self._idle_for_a_moment()
                                batch = self._next_batch()
                            if writer.is_to_be_released:
                                break
                except Exception as error:  # noqa: BLE001 - it is raised for each of the callers
                    self._fail(batch, error)
                    batch = []
        finally:
            self._writers -= 1

    async def _idle_for_a_moment(self) -> None:
        """Wait to be called, or released, with the connection at hand."""
        assert self._loop is not None
        call = self._loop.create_future()
        self._idle.append(call)
        self._writers -= 1
        timer = self._loop.call_later(KEEP_CONNECTION_S, _wake, call)
        try:
            await call
        finally:
            timer.cancel()
            if call in self._idle:
                # It was the timer that has called.
                self._idle.remove(call)
                self._writers += 1

    def _next_batch(self) -> list[BatchMember]:
        """The first of what waits, as far as a batch has room; in the order of the aggregates.

        Processes that append to the same aggregates so wait for each other instead of deadlocking.
        """
        self._is_called = False
        batch: list[BatchMember] = []
        room = Room(self._most_appends())
        while self._ready:
            if not room.is_taken_by(self._ready[0]):
                break
            member = self._ready.popleft()
            self._ready_events -= len(member.append.events)
            if member.is_done:
                self._turns.finish(member.aggregate)
                continue
            batch.append(member)
            if member.is_chainable:
                batch += self._followers(member, room)
        for member in batch:
            member.has_begun = True
        batch.sort(key=_aggregate)
        if self._ready:
            self._call_writer()
        return batch

    def _most_appends(self) -> int:
        """How many a batch may have: a part of all, where another one is being written.

        With all of them on their way to the database, this process would have nothing to do until
        one batch comes back, and the database nothing while it is answered.
        """
        if self._writers <= 1:
            return MAX_APPENDS_OF_BATCH
        part = len(self._at_hand) // PARTS
        return min(max(part, LEAST_APPENDS_OF_PART), MAX_APPENDS_OF_BATCH)

    def _followers(self, first: BatchMember, room: Room) -> list[BatchMember]:
        """Those who wait behind ``first`` at its aggregate and can be written with it."""
        followers: list[BatchMember] = []
        queue = self._turns.queue(first.aggregate)
        while queue:
            member = queue[0]
            if not isinstance(member, BatchMember) or not member.is_chainable or member.is_large:
                break
            if not member.is_done:
                if not room.is_taken_by(member):
                    break
                followers.append(member)
            queue.popleft()
        return followers

    async def _settle_together(self, batch: list[BatchMember], writer: BatchWriter) -> None:
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

    def _fail(self, batch: list[BatchMember], error: Exception) -> None:
        for member in batch:
            member.fail(error)
        self._finish(batch)

    def _finish(self, batch: list[BatchMember]) -> None:
        for aggregate in dict.fromkeys(map(_aggregate, batch)):
            self._turns.finish(aggregate)

    async def _settle_one_by_one(self, members: list[BatchMember]) -> None:
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
        self._turns.finish(members[0].aggregate)


_aggregate = attrgetter("aggregate")


def _wake(call: "asyncio.Future[None]") -> None:
    if not call.done():
        call.set_result(None)

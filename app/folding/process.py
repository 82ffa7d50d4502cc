"""The process that folds: bounded in time and memory, and started again when it has gone over."""

import asyncio
import logging
import mmap
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from msgspec import Raw

import app
from app.errors import FoldFailed, FoldUnavailable, InvalidInput
from app.events import RecordedEvent
from app.folding.bounds import MAX_EVENT_CPU_S
from app.folding.messages import (
    LENGTH,
    Answer,
    CheckAnswer,
    CheckRequest,
    FoldAnswer,
    FoldFailure,
    FoldRequest,
    decode_answer,
    framed,
)
from app.folding.reducer import JsonataReducer, Reducer

logger = logging.getLogger(__name__)

# One answer takes a turn and an event's time at most. Later the machine is at fault, or we are.
ANSWER_TIMEOUT_S: Final = 60.0
MAX_WAITING: Final = 1_000
# For a turn, which others give up after a quarter of a second unless a single event takes longer.
TURN_TIMEOUT_S: Final = 10.0
# After `close`: what takes longer is not waited for by a service that stops.
CLOSE_S: Final = 2.0
# Of a process that has died, and not by somebody else's hand: what it was evaluating was too much.
_TOO_MUCH: Final[dict[int, str]] = {
    signal.SIGPROF: "takes too much processor time",
    signal.SIGABRT: "takes more memory than there is for it",
    signal.SIGSEGV: "takes more memory than there is for it, or recurses too deeply",
    signal.SIGBUS: "takes more memory than there is for it, or recurses too deeply",
}


class _ProcessDied(Exception):
    """The process has ended at the step ``index`` of a request, from 0; below: at none of it.

    ``reason`` None: it was not the step's fault.
    """

    def __init__(self, returncode: int, index: int, last_words: str) -> None:
        super().__init__(f"the fold process has ended with {returncode} {last_words}".rstrip())
        self.index = index
        self.reason = _TOO_MUCH.get(-returncode) if index >= 0 else None


class FoldProcess:
    """Folds events in a process of its own, which starts with the first call.

    One for each process of the service. Calls wait for each other, in the order in which they come;
    a long one lets others in between.
    """

    def __init__(self, max_event_cpu_s: float = MAX_EVENT_CPU_S) -> None:
        self._max_event_cpu_s = max_event_cpu_s
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: asyncio.subprocess.Process | None = None
        self._progress: mmap.mmap | None = None
        self._is_stopped = False

    async def check(self, reducer: Reducer, place: str) -> None:
        """Find out whether the expressions of a reducer parse; ``place`` is its JSON path.

        Raises:
            InvalidInput: One does not; names the place.
            FoldUnavailable: The process cannot be started.
        """
        if not isinstance(reducer.spec, JsonataReducer):
            return
        try:
            answer = await self._ask(CheckRequest(Raw(reducer.canonical)))
        except _ProcessDied as error:
            event_type = sorted(reducer.spec.on)[error.index]
            answer = CheckAnswer(event_type, f"cannot be parsed: it {error.reason}")
        assert isinstance(answer, CheckAnswer)
        if answer.event_type is not None:
            raise InvalidInput(f"{place}.on.{answer.event_type}", answer.reason)

    async def fold(
        self, reducer: Reducer, state: bytes | None, events: Sequence[RecordedEvent]
    ) -> bytes:
        """The state (a JSON text) after the events, which are of one aggregate and in order.

        ``state`` is the text of the state before the first of them; None: that is event 1.

        Raises:
            FoldFailed: The reducer fails on one of them; names it.
            FoldUnavailable: The process cannot be started.
        """
        text = reducer.initial if state is None else state
        left = [*events]
        while left:
            request = FoldRequest(reducer.hash, Raw(reducer.canonical), Raw(text), left)
            try:
                answer = await self._ask(request)
            except _ProcessDied as error:
                answer = FoldFailure(error.index, str(error.reason))
            if isinstance(answer, FoldFailure):
                _fail(left[answer.index], answer.reason)
            assert isinstance(answer, FoldAnswer)
            text = bytes(answer.state)
            left = left[answer.count :]
        return text

    def close(self) -> None:
        """Let all calls end soon: in a while, those that have not are answered as by `stop`."""
        asyncio.get_running_loop().call_later(CLOSE_S, self._refuse)

    async def stop(self) -> None:
        """End the process; later calls are answered with FoldUnavailable."""
        self._refuse()
        async with self._turn:
            await self._end()

    def _refuse(self) -> None:
        self._is_stopped = True
        if self._turn.locked() and self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _ask(self, request: CheckRequest | FoldRequest) -> Answer:
        """The answer of the process, in turn.

        A process that somebody has ended is tried a second time.

        Raises:
            FoldUnavailable: There is no answer, for no fault of the request.
            _ProcessDied: The request is too much for the process.
        """
        if self._waiting >= MAX_WAITING:
            raise FoldUnavailable(f"{MAX_WAITING} calls wait to be folded already")
        self._waiting += 1
        try:
            async with self._its_turn():
                return await self._ask_in_turn(request)
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def _its_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise FoldUnavailable("what others have folded takes too long") from None
        try:
            yield
        finally:
            self._turn.release()

    async def _ask_in_turn(self, request: CheckRequest | FoldRequest) -> Answer:
        for _ in range(2):
            if self._is_stopped:
                break
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    return await self._exchange(framed(request))
            except _ProcessDied as error:
                logger.warning("%s", error)
                if error.reason is not None:
                    raise
            except TimeoutError:
                raise FoldUnavailable(
                    f"the fold process has not answered for {ANSWER_TIMEOUT_S:g} s"
                ) from None
            except OSError as error:
                raise FoldUnavailable(f"the fold process cannot be started: {error}") from error
        raise FoldUnavailable("the fold process has been ended")

    async def _exchange(self, message: bytes) -> Answer:
        """The answer to a message; a process that has not answered is not asked again."""
        process, progress = self._process, self._progress
        if process is None or progress is None or process.returncode is not None:
            process, progress = await self._start()
        assert process.stdin
        assert process.stdout
        assert process.stderr
        answered = False
        try:
            LENGTH.pack_into(progress, 0, 0)
            process.stdin.write(message)
            with suppress(ConnectionError):
                await process.stdin.drain()
            [length] = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            answer = decode_answer(await process.stdout.readexactly(length))
            answered = True
        except asyncio.IncompleteReadError:
            [steps] = LENGTH.unpack_from(progress, 0)
            last_words = (await process.stderr.read()).decode(errors="replace")
            raise _ProcessDied(await process.wait(), steps - 1, last_words) from None
        else:
            return answer
        finally:
            if not answered:
                # Also where the caller has gone: the answer would be taken for the next one's.
                await self._end()

    async def _start(self) -> tuple[asyncio.subprocess.Process, mmap.mmap]:
        with _shared_file() as file:
            file.truncate(LENGTH.size)
            self._progress = mmap.mmap(file.fileno(), LENGTH.size)
            # In a session of its own: a Ctrl-C in the service's terminal is the service's affair,
            # which may need to fold until it has answered everybody.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                # No code from wherever the service happens to have been started.
                "-P",
                "-m",
                "app.folding",
                str(file.fileno()),
                str(self._max_event_cpu_s),
                env=_environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # What it says goes into the service's log, as a record like any other.
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[file.fileno()],
                start_new_session=True,
            )
        return self._process, self._progress

    async def _end(self) -> None:
        process, self._process = self._process, None
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.close()
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _shared_file() -> BinaryIO:
    """A file without a name; on Linux in memory, so that no directory has to be writable."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("fold progress"), "w+b")
    return tempfile.TemporaryFile()


def _environment() -> dict[str, str]:
    """The service's own, with the way to this very code, and without what is for others."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")
    }
    paths = [str(Path(app.__file__).parent.parent), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _fail(event: RecordedEvent, reason: str) -> NoReturn:
    raise FoldFailed(
        event.aggregate_type,
        event.aggregate_id,
        event.version,
        event.event_id,
        event.event_type,
        reason,
    )

"""Signals that mean "stop", turned into a wish that is granted in order."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Impatient(BaseException):
    """The second signal, while something blocks that knows of no signals."""


class StopSignals:
    """Catches the stop signals from entering to leaving, whoever handles them in between.

    uvicorn handles them itself while it runs, and afterwards sends them to this process once more:
    by default that would end it on the spot, and leave PostgreSQL running.
    """

    def __init__(self) -> None:
        self.count = 0
        """How many have come; those that uvicorn repeats are counted twice."""
        self.may_interrupt = False
        """Whether the second one raises `Impatient` in the main thread."""
        self.on_stop: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self._handle)
            for number in STOP_SIGNALS
            # Ignored: that is what nohup asks for.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # All is stopped and the process about to end: one more Ctrl-C must change nothing.
            signal.signal(number, signal.SIG_IGN if self.count else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1 and self.may_interrupt:
            # Once: what is cleaned up after it is not to be interrupted in turn.
            self.may_interrupt = False
            raise Impatient
        self.on_stop()

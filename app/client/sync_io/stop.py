"""The wish to stop."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class Stop:
    """A wish to stop that wakes whoever is waiting.

    It may be uttered by another thread, or by a signal handler in the middle of `wait`: which
    `threading.Event` does not bear, but this queue does.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Utter it."""
        self.is_set = True
        self._wake.put(None)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until it is uttered."""
        with suppress(Empty):
            self._wake.get(timeout=seconds)
            # For the next who waits.
            self._wake.put(None)

"""Which snapshots a client is saving in the background, and which it leaves alone for a while."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from app.client.errors import EventStoreError, SnapshotConflict, SnapshotManaged, Unavailable
from app.client.exchange import Service, ignore

AggregateKey: TypeAlias = tuple[str, str]

# One at a time is saved, so that the service is asked for little: more than these are not kept
# waiting. What is turned away is due again with the next append to it.
MOST_WAITING: Final = 100
TIMEOUT_S: Final = 10.0
"""The longest wait for an answer in the background: how long a process may be kept from its end."""
RETRY_FOR_S: Final = 2.0
CLOSE_WITHIN_S: Final = 5.0
"""How long the closing of a client waits for what is being saved."""
REST_S: Final = 60.0
"""After a save that would fail again: a state that is too large must not be sent at each append."""
REST_OF_ALL_S: Final = 5.0
"""After a service that was not there."""
_MOST_RESTING: Final = 1_000

logger = logging.getLogger(__name__)


def patient_for_a_moment(service: Service) -> Service:
    """The same service, to whoever must not keep a process from its end."""
    return replace(
        service,
        timeout_s=min(service.timeout_s, TIMEOUT_S),
        retry_for_s=min(service.retry_for_s, RETRY_FOR_S),
        on_trouble=ignore,
    )


class SnapshotSaves:
    """Admits at most one save an aggregate at a time, and takes note of how each has ended."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: set[AggregateKey] = set()
        self._rest_until: dict[AggregateKey, float] = {}
        self._all_rest_until = -1.0
        self._is_closed = False

    def begin(self, key: AggregateKey) -> bool:
        """Whether the snapshot is to be saved now; then `end` must follow."""
        now = self._clock()
        with self._lock:
            if (
                self._is_closed
                or key in self._under_way
                or len(self._under_way) >= MOST_WAITING
                or now < max(self._all_rest_until, self._rest_until.get(key, -1.0))
            ):
                return False
            self._rest_until.pop(key, None)
            self._under_way.add(key)
            return True

    def may_go_on(self) -> bool:
        """Whether what was admitted is still wanted, now that its turn has come."""
        return self._clock() >= self._all_rest_until

    def end(self, key: AggregateKey, error: Exception | None = None, rest_s: float = 0.0) -> None:
        """Take note of the end of a save; ``error``: what it has ended with, which is logged."""
        if error is not None and not isinstance(error, SnapshotConflict):
            rest_s = REST_S
        with self._lock:
            self._under_way.discard(key)
            if isinstance(error, Unavailable):
                self._all_rest_until = self._clock() + REST_OF_ALL_S
            elif rest_s:
                self._rest_until[key] = self._clock() + rest_s
                if len(self._rest_until) > _MOST_RESTING:
                    del self._rest_until[next(iter(self._rest_until))]
        if error is not None:
            _log(key, error)

    def close(self) -> None:
        """Admit none any more."""
        self._is_closed = True


def _log(key: AggregateKey, error: Exception) -> None:
    name = "/".join(key)
    if isinstance(error, SnapshotConflict | SnapshotManaged):
        logger.debug("no snapshot of %s is saved: %s", name, error)
    elif isinstance(error, EventStoreError):
        logger.warning("cannot save the snapshot of %s: %s", name, error)
    else:
        # The fold, or a state that is no JSON: whoever wrote it needs to see where.
        logger.warning("cannot make a snapshot of %s", name, exc_info=error)

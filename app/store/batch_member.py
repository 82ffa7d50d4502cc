"""One append of a group commit, from its coming to its outcome, and the room that a batch has."""

import logging
from collections.abc import Callable
from typing import Protocol, TypeAlias

from app.errors import OutcomeUnknown, Unavailable
from app.events import ANY_VERSION, Append, Appended

MAX_APPENDS_OF_BATCH = 128
MAX_EVENTS_OF_BATCH = 128
# Of JSON.
MAX_BYTES_OF_BATCH = 512 * 1024
# A larger append takes long by itself, and goes beside the writers.
LARGE_EVENTS = 1_000

logger = logging.getLogger(__name__)

Outcome: TypeAlias = Appended | None
"""None: refused; what that means is for the commands to say."""
Tell: TypeAlias = Callable[[Outcome, Exception | None], None]


class Gathering(Protocol):
    """Where an append is at hand."""

    def begin(self, member: "BatchMember") -> None:
        """Let an append be written whose turn it is at its aggregate."""

    def forget(self, member: "BatchMember") -> None:
        """It is settled, or given up."""


class BatchMember:
    """An append that is at hand."""

    __slots__ = (
        "_group", "_tell", "aggregate", "append", "deadline", "has_begun", "is_chainable",
        "is_done", "is_large", "json_bytes",
    )  # fmt: skip

    def __init__(self, append: Append, tell: Tell, deadline: float, group: Gathering) -> None:
        self.append = append
        self.aggregate = append.aggregate
        self.deadline = deadline
        self.has_begun = False
        self.is_done = False
        self._tell = tell
        self._group = group
        self.json_bytes = sum(
            [len(event.event_data) + len(event.metadata) for event in append.events]
        )
        self.is_large = self.json_bytes > MAX_BYTES_OF_BATCH or len(append.events) > LARGE_EVENTS
        self.is_chainable = append.expectation == ANY_VERSION

    def begin(self) -> bool:
        """It is its turn."""
        if self.is_done:
            return False
        self._group.begin(self)
        return True

    def give_up(self) -> None:
        """Nobody waits for it any more; what has begun goes on."""
        if not self.is_done:
            self.is_done = True
            self._group.forget(self)

    def settle(self, outcome: Outcome) -> None:
        """Tell what has become of it, unless nobody waits."""
        if not self.is_done:
            self._end(outcome, None)

    def fail(self, error: Exception) -> None:
        """Tell an error, unless nobody waits; each an error of its own, with its own ids."""
        if self.is_done:
            return
        own = error
        if isinstance(error, OutcomeUnknown):
            own = OutcomeUnknown(self.append.event_ids)
        elif isinstance(error, Unavailable):
            own = type(error)(*error.args)
        own.__cause__ = error.__cause__
        self._end(None, own)

    def _end(self, outcome: Outcome, error: Exception | None) -> None:
        self.give_up()
        try:
            self._tell(outcome, error)
        except Exception:
            # The others of its batch are told all the same.
            logger.exception("a caller could not be told the outcome of its append")


class Room:
    """What a batch has room for; its first member always fits."""

    def __init__(self, max_appends: int) -> None:
        self._max_appends = max_appends
        self._appends = self._events = self._json_bytes = 0

    def is_taken_by(self, member: BatchMember) -> bool:
        """Give the member its place, or tell that there is none."""
        events = self._events + len(member.append.events)
        json_bytes = self._json_bytes + member.json_bytes
        if self._appends > 0 and (
            self._appends >= self._max_appends
            or events > MAX_EVENTS_OF_BATCH
            or json_bytes > MAX_BYTES_OF_BATCH
        ):
            return False
        self._appends += 1
        self._events, self._json_bytes = events, json_bytes
        return True

"""Folds events into a state, one after the other: what runs in the fold process."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from app.commands.locate_unstorable import locate_in_json
from app.commands.refuse_expanding_numbers import refuse_expanding_numbers
from app.errors import UnstorableValue
from app.events import RecordedEvent
from app.folding.bounds import MAX_STATE_BYTES
from app.folding.jsonata import Expression, ExpressionError, evaluate, parse_expression
from app.folding.merge_patch import Members, members_of, merge_patch
from app.folding.reducer import ANY_EVENT_TYPE, JsonataReducer, MergeReducer

# The longest that one call folds, by more than an event, before others have their turn.
TURN_S: Final = 0.25

OnEvent: TypeAlias = Callable[[int], None]
_TOO_LARGE: Final = f"the state is over {MAX_STATE_BYTES} bytes"

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode_event = msgspec.json.Decoder(RecordedEvent).decode


class FoldError(Exception):
    """A reducer fails on the event at an index of those that were to be folded."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason


class _TypeOfEvent(msgspec.Struct, gc=False):
    event_type: str


_decode_type = msgspec.json.Decoder(_TypeOfEvent).decode


class Folder:
    """A reducer, ready to run."""

    def fold(self, state: bytes, events: Sequence[Raw], on_event: OnEvent) -> tuple[int, bytes]:
        """How many of the events were folded, at least one, and the state behind them.

        ``events`` are texts of recorded events, at least one. ``on_event`` is called with the index
        of each before it is folded.

        Raises:
            FoldError: The reducer fails on one of them.
        """
        end = time.monotonic() + TURN_S
        index = 0
        try:
            self.begin(state)
            for index, event in enumerate(events):
                on_event(index)
                self.apply(event)
                if time.monotonic() > end:
                    break
            return index + 1, self.state()
        except (ExpressionError, UnstorableValue, StateError) as error:
            raise FoldError(index, str(error)) from error
        except RecursionError as error:
            raise FoldError(index, "state or event is nested too deeply") from error
        except MemoryError as error:
            raise FoldError(index, "takes more memory than there is for it") from error

    def begin(self, state: bytes) -> None:
        """Set out from the text of a state."""
        raise NotImplementedError

    def apply(self, event: Raw) -> None:
        """Let the state be that behind the event."""
        raise NotImplementedError

    def state(self) -> bytes:
        """The text of the state."""
        raise NotImplementedError


class StateError(Exception):
    """A state that cannot be kept."""


class MergeFolder(Folder):
    """Merges patches into one tree, of which only what they touch is ever parsed."""

    def __init__(self, reducer: MergeReducer) -> None:
        self._fields = [(*field, len(_encode(field[0])) + 2) for field in reducer.fields.items()]
        self._members: Members = {}
        # What the state can have at most: most are nowhere near, and need not be written out.
        self._max_bytes = 0

    def begin(self, state: bytes) -> None:
        """Set out from the text of a state."""
        self._max_bytes = len(state)
        self._members = members_of(state)

    def apply(self, event: Raw) -> None:
        """Let the state be that behind the event."""
        recorded = _decode_event(event)
        patch = bytes(recorded.event_data)
        merge_patch(self._members, patch)
        self._max_bytes += len(patch)
        for name, event_field, overhead in self._fields:
            value = _encode(getattr(recorded, event_field))
            self._members[name] = Raw(value)
            self._max_bytes += overhead + len(value)
        if self._max_bytes > MAX_STATE_BYTES:
            # Without the spaces that jsonb writes: what a patch has reached into has none until it
            # comes back from a snapshot.
            self._max_bytes = len(msgspec.json.format(self.state(), indent=-1))
            if self._max_bytes > MAX_STATE_BYTES:
                raise StateError(_TOO_LARGE)

    def state(self) -> bytes:
        """The text of the state."""
        return _encode(self._members)


class JsonataFolder(Folder):
    """Evaluates the expression for each event's type."""

    def __init__(self, reducer: JsonataReducer) -> None:
        self._expressions: dict[str, Expression | ExpressionError] = {}
        for event_type, source in reducer.on.items():
            try:
                self._expressions[event_type] = parse_expression(source)
            except ExpressionError as error:
                # It has parsed once: the engine is another one. Only its events cannot be folded.
                self._expressions[event_type] = error
        self._any = self._expressions.get(ANY_EVENT_TYPE)
        self._state = b""

    def begin(self, state: bytes) -> None:
        """Set out from the text of a state."""
        self._state = _normal(state)

    def apply(self, event: Raw) -> None:
        """Let the state be that behind the event."""
        expression = self._expressions.get(_decode_type(event).event_type, self._any)
        if expression is None:
            return
        if isinstance(expression, ExpressionError):
            raise expression
        document = b'{"state":%b,"event":%b}' % (self._state, bytes(event))
        result = evaluate(expression, document.decode())
        if result is not None:
            self._state = _normal(result)
            _refuse_unstorable(self._state)

    def state(self) -> bytes:
        """The text of the state."""
        return self._state


def _normal(state: bytes | str) -> bytes:
    """The text of a state with keys in one order, and numbers as doubles are written.

    An expression can tell in which order keys come, and jsonb changes it: without this, a state
    folded from a snapshot would not be the one folded from the first event.
    """
    value: Any = msgspec.json.decode(state)
    return _encode_sorted(value)


def _refuse_unstorable(state: bytes) -> None:
    """Raise if jsonb cannot hold a state; its strings are well-formed, and its numbers doubles."""
    if len(state) > MAX_STATE_BYTES:
        raise StateError(_TOO_LARGE)
    refuse_expanding_numbers(state, "state")
    if b"\\u0000" in state and (unstorable := locate_in_json(state, "state")) is not None:
        raise unstorable

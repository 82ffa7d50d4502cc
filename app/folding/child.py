"""What the fold process does: it answers requests until there are no more.

It tells its progress in memory that it shares with its service: whatever kills this process, its
service knows which event it was at.
"""

import mmap
from collections import OrderedDict
from typing import BinaryIO, Final

from msgspec import Raw

from app.folding.bounds import MIB, bound_time
from app.folding.folder import Folder, FoldError, JsonataFolder, MergeFolder
from app.folding.jsonata import ExpressionError, parse_expression
from app.folding.messages import (
    LENGTH,
    Answer,
    CheckAnswer,
    CheckRequest,
    FoldAnswer,
    FoldFailure,
    ReceivedFoldRequest,
    decode_request,
    framed,
)
from app.folding.reducer import AnyReducer, JsonataReducer, decode_reducer

# Of the text of reducers whose expressions are kept compiled.
MAX_KEPT_BYTES: Final = 4 * MIB


class Child:
    """Answers requests, and keeps the reducers that it has met last."""

    def __init__(self, progress: mmap.mmap, max_event_cpu_s: float) -> None:
        self._progress = progress
        self._max_event_cpu_s = max_event_cpu_s
        self._kept: OrderedDict[str, tuple[Folder, int]] = OrderedDict()
        self._kept_bytes = 0

    def answer(self, request: CheckRequest | ReceivedFoldRequest) -> Answer:
        """The answer to a request; each of its steps within the bound of time."""
        self._at(0)
        try:
            if isinstance(request, CheckRequest):
                return self._check(decode_reducer(request.reducer))
            count, state = self._folder(request).fold(
                bytes(request.state), request.events, self._at
            )
            return FoldAnswer(count, Raw(state))
        except FoldError as error:
            return FoldFailure(error.index, error.reason)
        finally:
            bound_time(0)

    def _at(self, index: int) -> None:
        LENGTH.pack_into(self._progress, 0, index + 1)
        bound_time(self._max_event_cpu_s)

    def _check(self, reducer: AnyReducer) -> CheckAnswer:
        if isinstance(reducer, JsonataReducer):
            for index, (event_type, expression) in enumerate(sorted(reducer.on.items())):
                self._at(index)
                try:
                    parse_expression(expression)
                except ExpressionError as error:
                    return CheckAnswer(event_type, str(error))
        return CheckAnswer(None, "")

    def _folder(self, request: ReceivedFoldRequest) -> Folder:
        if request.hash in self._kept:
            self._kept.move_to_end(request.hash)
            return self._kept[request.hash][0]
        reducer = decode_reducer(request.reducer)
        folder: Folder
        folder = (
            JsonataFolder(reducer) if isinstance(reducer, JsonataReducer) else MergeFolder(reducer)
        )
        size = len(bytes(request.reducer))
        self._kept[request.hash] = folder, size
        self._kept_bytes += size
        while self._kept_bytes > MAX_KEPT_BYTES:
            _, (_, size) = self._kept.popitem(last=False)
            self._kept_bytes -= size
        return folder


def serve(
    requests: BinaryIO, answers: BinaryIO, progress: mmap.mmap, max_event_cpu_s: float
) -> None:
    """Answer requests until they end, with the service."""
    child = Child(progress, max_event_cpu_s)
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        [length] = LENGTH.unpack(head)
        answers.write(framed(child.answer(decode_request(requests.read(length)))))
        answers.flush()

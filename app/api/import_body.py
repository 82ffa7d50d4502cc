"""Reads the body of an import: from pieces of NDJSON to chunks of lines, in bounded memory."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.api.bodies_in_flight import hold_body_bytes, release_body_bytes
from app.api.body import BodyTooLargeError, MalformedBodyError, decode_body
from app.commands.import_events import Chunk, Imports, LineMaker
from app.errors import InvalidInput, ServiceBusy
from app.events import ImportedEvent
from app.store.import_store import ImportLine

# Of one transaction. The feed waits for it, and appends to its aggregates do: with twice as many
# the import is hardly faster (docs/decisions/0012-bulk-import.md).
CHUNK_LINES = 2_000
CHUNK_BYTES = 2 * 1024 * 1024
# Lines of a client that sends slowly wait no longer for others to come.
FULL_AFTER_S = 0.5
# A client that has sent nothing for so long is taken to be gone.
STALLED_AFTER_S = 300.0
# What is parsed before everybody else has a turn.
PIECE_BYTES = 64 * 1024
# With a smaller MAX_BODY_BYTES, bodies in flight are bounded as if it were so large: an import
# holds some pieces at once, however short its lines.
LEAST_BODY_BYTES = 1024 * 1024
UTF8_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_decoder = msgspec.json.Decoder(ImportedEvent)


class LineTooLongError(BodyTooLargeError):
    """A line is over the limit of a body."""

    def __init__(self, max_line_bytes: int) -> None:
        super().__init__(max_line_bytes)
        self.args = (f"the line is over {max_line_bytes} bytes",)


class LineReader:
    """Takes pieces of NDJSON of any size, and gives the lines that are complete as chunks.

    A line ends with a line feed, the last one also with the body. Lines of nothing but white space
    count and are left out; a byte order mark before the first is dropped. The first line that is
    none ends it: what comes after is not looked at.
    """

    def __init__(self, maker: LineMaker, max_line_bytes: int) -> None:
        self._maker = maker
        self._max_line_bytes = max_line_bytes
        self._chunk_bytes = min(CHUNK_BYTES, max(max_line_bytes, PIECE_BYTES))
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._lines: list[ImportLine] = []
        self._bytes = 0
        self._number = 0
        self.refusal: Exception | None = None

    @property
    def has_lines(self) -> bool:
        """Whether there is anything that could be stored."""
        return bool(self._lines)

    @property
    def is_full(self) -> bool:
        """Whether there is enough for a chunk, or an end to it."""
        return (
            len(self._lines) >= CHUNK_LINES
            or self._bytes >= self._chunk_bytes
            or self.refusal is not None
        )

    def take(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._end_line(end)
        if rest:
            self._begun.append(rest)
            self._begun_bytes += len(rest)
        if self._begun_bytes > self._max_line_bytes:
            self.refuse(LineTooLongError(self._max_line_bytes))

    def end(self) -> None:
        """Take the end of the body for that of the line that has begun, if one has."""
        if self._begun:
            self._end_line(b"")

    def refuse(self, refusal: Exception) -> None:
        """Let nothing come after the lines that are complete, for this reason."""
        self.refusal = self.refusal or refusal

    def chunk(self) -> tuple[Chunk, int]:
        """The lines since the chunk before, and how many bytes they have."""
        chunk, size = Chunk(self._lines, self._number, self.refusal), self._bytes
        self._lines, self._bytes = [], 0
        return chunk, size

    def _end_line(self, end: bytes) -> None:
        if self.refusal is not None:
            return
        line = end
        if self._begun:
            line = b"".join((*self._begun, end))
            self._begun, self._begun_bytes = [], 0
        number = self._number + 1
        if number == 1:
            line = line.removeprefix(UTF8_BYTE_ORDER_MARK)
        try:
            if len(line) > self._max_line_bytes:
                raise LineTooLongError(self._max_line_bytes)
            if line and not line.isspace():
                self._lines.append(self._maker.line(number, decode_body(line, _decoder)))
        except (BodyTooLargeError, MalformedBodyError, InvalidInput) as error:
            self.refuse(error)
            return
        self._number = number
        self._bytes += len(line) + 1


class _Pieces:
    """The pieces in which a body comes, none of them large; their bytes are counted as held."""

    def __init__(self, scope: Scope, receive: Receive, max_body_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._max_body_bytes = max_body_bytes
        self._at_hand = b""
        self._more_body = True
        self._now = asyncio.get_running_loop().time
        self._silent_since = self._now()

    @property
    def has_more(self) -> bool:
        """Whether the body has not come to its end."""
        return self._more_body or bool(self._at_hand)

    async def next(self, timeout_s: float) -> bytes:
        """The next piece; empty where none has come in time.

        Raises:
            ClientDisconnect: The client has gone before the end of the body.
            ServiceBusy: This and the other bodies in flight take too much memory.
            MalformedBodyError: Nothing has come for a long time.
        """
        if self._at_hand:
            # Others have their turn.
            await asyncio.sleep(0)
        else:
            try:
                async with asyncio.timeout(timeout_s):
                    message = await self._receive()
            except TimeoutError:
                if self._now() - self._silent_since > STALLED_AFTER_S:
                    raise MalformedBodyError(
                        f"nothing has come for {STALLED_AFTER_S:.0f} s"
                    ) from None
                return b""
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._silent_since = self._now()
            self._at_hand = message.get("body", b"")
            self._more_body = message.get("more_body", False)
            try:
                hold_body_bytes(self._scope, len(self._at_hand), self._max_body_bytes)
            except ServiceBusy:
                raise ServiceBusy("too many request bodies are at hand") from None
        piece, self._at_hand = self._at_hand[:PIECE_BYTES], self._at_hand[PIECE_BYTES:]
        return piece


async def read_chunks(
    scope: Scope, receive: Receive, maker: LineMaker, imports: Imports, max_body_bytes: int
) -> AsyncGenerator[Chunk, None]:
    """The lines of a body, chunk by chunk, as they come; the last one, maybe empty, ends it.

    What a chunk takes counts among the bytes of all bodies in flight until it is stored: when the
    one after the next is asked for.

    Raises:
        ClientDisconnect: The client has gone before the end of the body.
    """
    reader = LineReader(maker, max_body_bytes)
    pieces = _Pieces(scope, receive, max(max_body_bytes, LEAST_BODY_BYTES))
    being_stored_bytes = 0
    while reader.refusal is None and pieces.has_more:
        await _fill(reader, pieces, imports)
        chunk, size_bytes = reader.chunk()
        yield chunk
        release_body_bytes(scope, being_stored_bytes)
        being_stored_bytes = size_bytes


async def _fill(reader: LineReader, pieces: _Pieces, imports: Imports) -> None:
    """Read until there is a chunk, or no more."""
    now = asyncio.get_running_loop().time
    due = None
    try:
        while not reader.is_full and pieces.has_more:
            if due is None and reader.has_lines:
                due = now() + FULL_AFTER_S
            piece = await pieces.next(FULL_AFTER_S if due is None else max(due - now(), 0))
            reader.take(piece)
            if imports.is_stopping:
                raise ServiceBusy("the service stops")
            if due is not None and now() >= due:
                break
    except (ServiceBusy, MalformedBodyError) as refusal:
        reader.refuse(refusal)
    if not pieces.has_more:
        reader.end()

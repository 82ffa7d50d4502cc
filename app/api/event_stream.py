"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.answer import encoder
from app.api.disconnect import disconnected
from app.api.negotiation import VARY_ACCEPT
from app.errors import EventsDetached, InvalidInput, Unavailable
from app.events import RecordedEvent
from app.queries.feed_tail import Chunk, FeedTail
from app.queries.follow_aggregate import AggregateFollower
from app.queries.follow_feed import FeedFollower, News

EVENT_STREAM_MEDIA_TYPE = "text/event-stream"
SILENCE_S = 15.0
# Events that a filter has kept back, after which a consumer is told that it has passed them.
LONG_RUN = 10_000
# What the connection of a client that does not read holds is this and the transport's own buffer.
SLICE_BYTES = 64 * 1024
# A client that has taken nothing for so long is taken to be gone.
STALLED_AFTER_S = 300.0
RETRY = b"retry: 1000\n\n"

logger = logging.getLogger(__name__)

Frames: TypeAlias = AsyncGenerator[bytes, None]


class EventStreamResponse(Response):
    """Sends frames as they come, until they end or the client has gone.

    They end, too, when the database is lost: the client comes back with `Last-Event-ID`. And where
    the next events are detached from the archive: who comes back is told so. A defect breaks the
    connection off.
    """

    media_type = EVENT_STREAM_MEDIA_TYPE

    def __init__(self, frames: Frames, store_id: str | None = None) -> None:
        # Proxies must neither keep it nor wait for its end.
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.headers.update(VARY_ACCEPT)
        if store_id is not None:
            self.headers["Store-Id"] = store_id
        del self.headers["Content-Length"]
        self._frames = frames
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(disconnected(receive))
        try:
            while True:
                sent = self._sent
                done, _ = await asyncio.wait(
                    {sending, leaving},
                    timeout=STALLED_AFTER_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if done or self._sent == sent:
                    break
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.wait({sending, leaving})
        if not sending.cancelled():
            sending.result()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with aclosing(self._frames) as frames:
                async for frame in frames:
                    for start in range(0, len(frame), SLICE_BYTES):
                        part = frame[start : start + SLICE_BYTES]
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                        self._sent += 1
        except (Unavailable, EventsDetached) as error:
            logger.warning("a stream of events ends: %s", error, exc_info=error.__cause__)
        await send({"type": "http.response.body", "body": b""})


def parse_last_event_id(text: str, *, digits: int) -> int:
    """The id of the last event that a client has seen, as it sends it when it comes back.

    Raises:
        InvalidInput: It is none that this service gives.
    """
    if not text.isascii() or not text.isdigit() or len(text) > digits:
        raise InvalidInput("header.Last-Event-ID", f"must be a number of at most {digits} digits")
    return int(text)


async def feed_frames(tail: FeedTail, follower: FeedFollower, after: int) -> Frames:
    """The feed behind ``after`` as frames, first of all how to come back; the id is the position.

    What keeps the stream from beginning is raised by the first step.
    """
    time = asyncio.get_running_loop().time
    told, told_at, was_live = after, time(), False
    prefix = RETRY
    with tail.listening("sse"):
        while not tail.is_closed:
            # No name holds the events: a client that does not read holds up this frame alone.
            frame, told, is_live = _feed_frame(
                await follower.next(max(told_at + SILENCE_S - time(), 0)),
                told,
                is_checkpoint_due=time() >= told_at + SILENCE_S,
                was_live=was_live,
            )
            was_live = was_live or is_live
            if prefix or frame:
                told_at = time()
                yield prefix + frame
                prefix = b""


def _feed_frame(
    news: News, told: int, *, is_checkpoint_due: bool, was_live: bool
) -> tuple[bytes, int, bool]:
    """What is sent of news, the position that the client then knows, and whether it is live."""
    frames = [_frame_of_all(news)] if news.events else []
    if news.events:
        told = news.events[-1].global_position
    if (
        (news.is_live and not was_live)
        or news.reached - told >= LONG_RUN
        or (is_checkpoint_due and not frames)
    ):
        data = encoder.encode({"safe_position": news.reached, "store_id": news.store_id})
        frames.append(b"id: %d\nevent: checkpoint\ndata: %b\n\n" % (news.reached, data))
        told = news.reached
    return b"".join(frames), told, news.is_live


def _frame_of_all(news: News) -> bytes:
    chunk = news.chunk
    if chunk is None or news.events is not chunk.events:
        return b"".join([_frame_of(event, chunk) for event in news.events])
    if chunk.frame is None:
        chunk.frame = b"".join([_frame_of(event, chunk) for event in chunk.events])
    return chunk.frame


def _frame_of(event: RecordedEvent, chunk: Chunk | None) -> bytes:
    position = event.global_position
    if chunk is None:
        return _frame(position, event)
    frame = chunk.frames.get(position)
    if frame is None:
        frame = chunk.frames[position] = _frame(position, event)
    return frame


def _frame(event_id: int, event: RecordedEvent) -> bytes:
    # JSON has no line break outside of strings' escapes, so it is one line.
    return b"id: %d\ndata: %b\n\n" % (event_id, encoder.encode(event))


async def aggregate_frames(tail: FeedTail, follower: AggregateFollower) -> Frames:
    """An aggregate's events as frames, first of all how to come back; the id is the version.

    What keeps the stream from beginning is raised by the first step.
    """
    prefix = RETRY
    with tail.listening("sse"):
        while not tail.is_closed:
            frame = b"".join(
                [_frame(event.version, event) for event in await follower.next(SILENCE_S)]
            )
            # A comment: there is no id of which nothing has come yet.
            yield prefix + (frame or b": still there\n\n")
            prefix = b""

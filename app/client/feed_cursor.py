"""Where a subscription is in the feed: what it asks for, and what it makes of the answers."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar
from uuid import UUID

import httpx

from app.client.answers import Checkpoint
from app.client.errors import BadAnswer, ConnectionLost, EventStoreError
from app.client.events import Event
from app.client.exchange import CONNECT_TIMEOUT_S, Service
from app.client.operation import Params
from app.client.operations import FeedFilter, feed_params
from app.client.sse import Message

T = TypeVar("T")

MEDIA_TYPE = "text/event-stream"
# The service sends something at least every 15 s: after three times that the connection is dead.
SILENCE_S = 45.0


class FeedCursor(Generic[T]):
    """The feed behind ``position``, over as many connections as it takes."""

    def __init__(
        self,
        service: Service,
        position: int,
        store_id: UUID | None,
        feed_filter: FeedFilter,
        *,
        read_event: Callable[[bytes], T],
        read_checkpoint: Callable[[Checkpoint], T | None],
    ) -> None:
        self.position = position
        self.store_id = store_id
        self.url = f"{service.url}/v1/events"
        self.service = service
        self._start = position
        self._filter = feed_filter
        self._read_event = read_event
        self._read_checkpoint = read_checkpoint

    @property
    def params(self) -> Params:
        """The query parameters of the next connection."""
        return feed_params(self._filter, after=self._start, store_id=self.store_id)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the next connection."""
        # Compressed, an event would wait for others to fill a block with.
        headers = {"Accept": MEDIA_TYPE, "Accept-Encoding": "identity"}
        if self.position != self._start:
            headers["Last-Event-ID"] = str(self.position)
        return headers

    @property
    def timeout(self) -> httpx.Timeout:
        """The longest waits for the connection, and for its next byte."""
        return httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S, pool=None)

    def is_stream(self, response: httpx.Response) -> bool:
        """Whether an answer is the stream that was asked for; if so, whose positions come."""
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if not response.is_success or media_type != MEDIA_TYPE:
            return False
        if self.store_id is None and "store-id" in response.headers:
            self.store_id = UUID(response.headers["store-id"])
        return True

    def refusal(self, response: httpx.Response) -> EventStoreError:
        """The error that another answer stands for, which has been read."""
        if response.is_success:
            return BadAnswer("the service does not answer with a stream of events")
        return self.service.error_of(response)

    def end(self, error: httpx.RequestError | None) -> EventStoreError:
        """The error that the end of a connection stands for; None: the service has ended it."""
        if error is None:
            return ConnectionLost(f"{self.url}: the service has ended the stream")
        return self.service.error_of(error)

    def take(self, message: Message) -> T | None:
        """Take the next message; return what the subscriber is to get of it, if anything.

        Raises:
            BadAnswer: It cannot be read.
        """
        try:
            position = int(message.id)
        except ValueError as error:
            raise BadAnswer(f"a message of the feed has the id {message.id!r}") from error
        if message.event == b"checkpoint":
            checkpoint = self.service.codec.decode(message.data, Checkpoint)
            self.store_id = self.store_id or checkpoint.store_id
            self.position = max(self.position, position)
            return self._read_checkpoint(checkpoint)
        # Never twice, whatever a proxy on the way repeats.
        if message.event != b"message" or position <= self.position:
            return None
        try:
            item = self._read_event(message.data)
        except BadAnswer as error:
            raise BadAnswer(f"cannot read the event at position {position}: {error}") from error
        self.position = position
        return item


def events(
    service: Service, after: int, store_id: UUID | None, feed_filter: FeedFilter
) -> FeedCursor[Event]:
    """A cursor that reads events."""
    return FeedCursor(
        service,
        after,
        store_id,
        feed_filter,
        read_event=lambda data: service.codec.decode(data, Event),
        read_checkpoint=lambda _: None,
    )


def events_and_checkpoints(
    service: Service, after: int, store_id: UUID | None, feed_filter: FeedFilter
) -> FeedCursor[Event | Checkpoint]:
    """A cursor that reads events and checkpoints."""
    return FeedCursor(
        service,
        after,
        store_id,
        feed_filter,
        read_event=lambda data: service.codec.decode(data, Event),
        read_checkpoint=lambda checkpoint: checkpoint,
    )


def raw_events(
    service: Service, after: int, store_id: UUID | None, feed_filter: FeedFilter
) -> FeedCursor[bytes]:
    """A cursor that reads events as the text that they are."""
    return FeedCursor(
        service,
        after,
        store_id,
        feed_filter,
        read_event=lambda data: data,
        read_checkpoint=lambda _: None,
    )

"""An operation from its first attempt to its answer: all of it but sending and waiting."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx

from app.client.address import encode_segment
from app.client.backoff import Backoff
from app.client.codec import Codec
from app.client.errors import EventStoreError, Unavailable
from app.client.operation import Answer, Operation
from app.client.problems import refusal, trouble

T = TypeVar("T")

OnTrouble = Callable[[Unavailable, int], None]
CONNECT_TIMEOUT_S = 5.0
# Longer than the service tries by itself: so it is the service who tells what is wrong.
TIMEOUT_S = 60.0
RETRY_FOR_S = 30.0


def ignore(_: Unavailable, __: int) -> None:
    """Take notice of no trouble."""


@dataclass(frozen=True, slots=True)
class Service:
    """The service as a client is set up for it; the fields are those of `EventStoreClient`."""

    url: str
    codec: Codec
    timeout_s: float
    retry_for_s: float
    on_trouble: OnTrouble

    def url_of(self, operation: Operation[T]) -> str:
        """The address of an operation."""
        return "/".join((self.url, *map(encode_segment, operation.segments)))

    def headers_of(self, operation: Operation[T]) -> Mapping[str, str]:
        """The headers of a request."""
        if operation.content is None:
            return operation.headers
        return {"Content-Type": "application/json", **operation.headers}

    def timeout_of(self, operation: Operation[T]) -> httpx.Timeout:
        """The longest waits for parts of an answer; for a free connection there is none."""
        read_s = self.timeout_s + operation.wait_s
        return httpx.Timeout(read_s, connect=min(CONNECT_TIMEOUT_S, read_s), pool=None)

    def error_of(self, outcome: httpx.Response | httpx.RequestError) -> EventStoreError:
        """The error that an attempt has ended with."""
        if isinstance(outcome, httpx.RequestError):
            return trouble(self.url, outcome)
        retry_after = outcome.headers.get("retry-after", "")
        return refusal(outcome.status_code, outcome.content, retry_after, self.codec)


class Retries:
    """How often something was tried in vain, and when it is tried again."""

    def __init__(self, on_trouble: OnTrouble, budget_s: float = math.inf) -> None:
        self._on_trouble = on_trouble
        self._backoff = Backoff(budget_s)
        self.count = 0

    def next_delay_s(self, error: EventStoreError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            EventStoreError: The error itself, where repeating does not help, or not any more.
        """
        if not isinstance(error, Unavailable):
            raise error
        delay_s = self._backoff.next_delay_s(error.retry_after_s)
        if delay_s is None:
            raise error.given_up(self._backoff.budget_s)
        self.count += 1
        self._on_trouble(error, self.count)
        return delay_s

    def reset(self) -> None:
        """Note that it works again."""
        self._backoff.reset()
        self.count = 0


class Exchange(Generic[T]):
    """One operation: takes the outcome of each attempt, until there is a ``result``."""

    def __init__(
        self, service: Service, operation: Operation[T], retry_for_s: float | None = None
    ) -> None:
        self._service = service
        self._operation = operation
        budget_s = service.retry_for_s if retry_for_s is None else retry_for_s
        self._retries = Retries(service.on_trouble, budget_s)
        self.result: T

    def take(self, outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Take what an attempt has led to.

        Returns:
            Seconds to wait before the next attempt; None: there is a result.

        Raises:
            EventStoreError: Repeating does not help, or not any more.
        """
        is_repeated = self._retries.count > 0
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            answer = Answer(outcome.status_code, outcome.content, is_repeated)
        else:
            error = self._service.error_of(outcome)
            if not (is_repeated and self._operation.is_done(error)):
                return self._retries.next_delay_s(error)
            answer = Answer(200, b"", is_repeated)
        self.result = self._operation.read(self._service.codec, answer)
        return None

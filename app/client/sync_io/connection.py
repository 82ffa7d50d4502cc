"""Sends requests and waits for answers."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import httpx

from app.client.address import check_url, needs_certificates
from app.client.codec import Codec, FloatHook
from app.client.exchange import RETRY_FOR_S, TIMEOUT_S, Exchange, OnTrouble, Service, ignore
from app.client.operation import Answer, Operation, Params, raw
from app.client.sync_io.snapshot_saver import SnapshotSaver

T = TypeVar("T")


class Connection:
    """The service at a URL, and how it is spoken to."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
        float_hook: FloatHook | None = None,
        on_trouble: OnTrouble = ignore,
        http: httpx.Client | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: Where the service is.
            timeout_s: The longest wait for an answer; more than the service's own limits.
            retry_for_s: How long what may pass by itself is tried again; 0: not at all.
            float_hook: Makes the value of a JSON number that is no integer. Default: float, which
                keeps about 16 digits and cannot read a number beyond 1.8e308; Decimal keeps all.
            on_trouble: Told of each attempt that has failed, and how many did in a row; what it
                raises ends the attempts.
            http: An httpx client of your own, for certificates, authentication, proxies or limits.
                You close it.

        Raises:
            ValueError: ``url`` is none.
        """
        self._service = Service(
            check_url(url), Codec(float_hook), timeout_s, retry_for_s, on_trouble
        )
        self._http = http or httpx.Client(verify=needs_certificates(url))
        self._is_own_http = http is None
        self._snapshot_saver = SnapshotSaver()

    def close(self) -> None:
        """Wait for snapshots that are being saved, 5 s at most, and close the connections."""
        try:
            self._snapshot_saver.close()
        finally:
            if self._is_own_http:
                self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def call(
        self,
        operation: Operation[T],
        *,
        retry_for_s: float | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> T:
        """Do an operation; ``pause`` waits between its attempts."""
        exchange = Exchange(self._service, operation, retry_for_s)
        while True:
            request = self._http.build_request(
                operation.method,
                self._service.url_of(operation),
                params=operation.params,
                headers=self._service.headers_of(operation),
                content=operation.content,
                timeout=self._service.timeout_of(operation),
            )
            outcome: httpx.Response | httpx.RequestError
            try:
                outcome = self._http.send(request)
            except httpx.RequestError as error:
                outcome = error
            delay_s = exchange.take(outcome)
            if delay_s is None:
                return exchange.result
            pause(delay_s)

    def request(
        self,
        method: str,
        *segments: str,
        params: Params | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Send a request to the path made of ``segments``; return the answer as it is.

        It is tried again like every operation, so it must be safe to repeat.

        Raises:
            EventStoreError: The answer is a refusal, or there is none.
        """
        return self.call(Operation(method, segments, raw, params=params or {}, content=content))

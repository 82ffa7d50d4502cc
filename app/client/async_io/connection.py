"""Sends requests and waits for answers."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

import httpx

from app.client.address import check_url, needs_certificates
from app.client.async_io.snapshot_saver import AsyncSnapshotSaver
from app.client.codec import Codec, FloatHook
from app.client.exchange import RETRY_FOR_S, TIMEOUT_S, Exchange, OnTrouble, Service, ignore
from app.client.operation import Answer, Operation, Params, raw

T = TypeVar("T")


class AsyncConnection:
    """The service at a URL, and how it is spoken to."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
        float_hook: FloatHook | None = None,
        on_trouble: OnTrouble = ignore,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """See `EventStoreClient`."""
        self._service = Service(
            check_url(url), Codec(float_hook), timeout_s, retry_for_s, on_trouble
        )
        self._http = http or httpx.AsyncClient(verify=needs_certificates(url))
        self._is_own_http = http is None
        self._snapshot_saver = AsyncSnapshotSaver()

    async def aclose(self) -> None:
        """Wait for snapshots that are being saved, 5 s at most, and close the connections."""
        try:
            await self._snapshot_saver.aclose()
        finally:
            if self._is_own_http:
                await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def call(
        self,
        operation: Operation[T],
        *,
        retry_for_s: float | None = None,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
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
                outcome = await self._http.send(request)
            except httpx.RequestError as error:
                outcome = error
            delay_s = exchange.take(outcome)
            if delay_s is None:
                return exchange.result
            await pause(delay_s)

    async def request(
        self,
        method: str,
        *segments: str,
        params: Params | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """See `EventStoreClient.request`."""
        return await self.call(
            Operation(method, segments, raw, params=params or {}, content=content)
        )

"""The running service as its clients see it: addresses, requests, answers."""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, NamedTuple
from urllib.parse import quote

import httpx
import typer

from app.cli.errors import CliError, Refused, Unreachable, read_problem
from app.cli.patience import Patience
from app.cli.streams import note

Url = Annotated[
    str, typer.Option("--url", envvar="EVENTSTORE_URL", metavar="URL", help="Where the service is.")
]
Params = Mapping[str, str | int | Sequence[str]]

DEFAULT_URL = "http://127.0.0.1:8000"
PATIENCE_S = 60.0
SHORT_PATIENCE_S = 10.0
# Reading: longer than DATABASE_STATEMENT_TIMEOUT_S, so that the service gives up before its client.
TIMEOUT = httpx.Timeout(connect=5, read=60, write=60, pool=None)
NOT_NOW = frozenset({429, 502, 503, 504})
# The first retries are quick and mostly cure it: only what lasts is worth a word.
RETRIES_IN_SILENCE = 3


class Answer(NamedTuple):
    """What the service said; ``repeated``: after an attempt of which no one knows what it did."""

    status: int
    body: bytes
    repeated: bool


class Service:
    """Requests to the service at ``url``; what may pass by itself is tried again.

    So everything sent through here must be safe to repeat: reads, and appends with event ids.
    """

    def __init__(
        self,
        url: str,
        connections: int = 1,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = _checked(url)
        self._patience_s = patience_s
        self._has_answered = False
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx.AsyncClient(timeout=TIMEOUT, limits=limits, transport=transport)

    async def request(
        self,
        method: str,
        *segments: str,
        params: Params | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Send a request to the path made of ``segments`` until there is an answer.

        Raises `Refused` for a 4xx, and for a 5xx that waiting will not cure; `Unreachable` when
        patience ends, and at once when the service has never been there.
        """
        request = self._http.build_request(
            method,
            "/".join((self.url, *map(encode_segment, segments))),
            params=params,
            content=content,
            headers=None if content is None else {"content-type": "application/json"},
        )
        patience = Patience(self._patience_s)
        retries = 0
        while True:
            asked_for_s = 0.0
            try:
                response = await self._http.send(request)
            except httpx.RequestError as error:
                trouble = f"cannot reach {self.url}: {_reason(error)}"
                if not self._has_answered and isinstance(
                    error, httpx.ConnectError | httpx.ConnectTimeout
                ):
                    hint = "is the service running? `eventstore serve` starts it"
                    raise Unreachable(f"{trouble} ({hint})") from error
            else:
                self._has_answered = True
                if response.is_success:
                    return Answer(response.status_code, response.content, repeated=retries > 0)
                refused = Refused(response.status_code, read_problem(response.content))
                if response.status_code not in NOT_NOW:
                    raise refused
                trouble = str(refused)
                asked_for_s = _seconds(response.headers.get("retry-after", ""))
            delay_s = patience.next_delay_s(asked_for_s)
            if delay_s is None:
                raise Unreachable(f"gave up after {patience.budget_s:.0f} s: {trouble}")
            retries += 1
            if retries == RETRIES_IN_SILENCE:
                note(f"{trouble}; trying again")
            await asyncio.sleep(delay_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class Session:
    """A `Service` for code that is not asynchronous: it reads and writes files in between."""

    def __init__(self, service: Service, runner: asyncio.Runner) -> None:
        self.service = service
        self.run = runner.run

    def request(
        self,
        method: str,
        *segments: str,
        params: Params | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Send one request, as `Service.request` does."""
        return self.run(self.service.request(method, *segments, params=params, content=content))


@contextmanager
def connect(url: str, connections: int = 1, patience_s: float = PATIENCE_S) -> Iterator[Session]:
    """Open a session with the service at ``url``."""
    service = Service(url, connections, patience_s)
    with asyncio.Runner() as runner:
        try:
            yield Session(service, runner)
        finally:
            runner.run(service.aclose())


def encode_segment(text: str) -> str:
    """Encode one segment of a path; ``/`` too, and a segment of dots, which clients resolve."""
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise CliError(f"{url!r} is not a URL: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment:
        raise CliError(f"{url!r} is not the URL of a service, such as {DEFAULT_URL}")
    return url.rstrip("/")


def _reason(error: BaseException) -> str:
    """Find what the operating system said at the bottom of a chain of wrapped errors."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return str(cause.strerror)
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0

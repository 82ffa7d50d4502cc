"""Which requests are logged, and what is told of them: never a query, a body or a credential.

Nothing is worked out for a request before one of its records is written: most have none. That is
also why not every answer has an `X-Request-ID` (docs/decisions/0017-logs.md).
"""

import logging
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.disconnect import CLIENT_HAS_GONE
from app.api.operation_names import OperationNames
from app.api.trace_context import (
    REQUEST_ID,
    Headers,
    sent_correlation_id,
    sent_request_id,
    sent_traceparent,
)
from app.logs.context import origin
from app.logs.writer import IS_BOUNDED
from app.settings import Settings

logger = logging.getLogger(__name__)

_AGGREGATES: Final = b"/v1/aggregates/"
_POLICIES: Final = b"/v1/snapshot-policies/"


class RequestInHand:
    """A request on whose behalf something may be logged.

    ``raw_path`` is as it was sent, without the query. ``operation`` is its name, or where to look
    it up. ``begun_at_s`` is of `time.perf_counter`.
    """

    __slots__ = (
        "_fields",
        "_headers",
        "_method",
        "_operation",
        "_raw_path",
        "_request_id",
        "begun_at_s",
        "problem",
    )

    def __init__(
        self,
        method: str,
        raw_path: bytes,
        headers: Headers,
        *,
        begun_at_s: float,
        operation: str | OperationNames,
    ) -> None:
        self._method = method
        self._raw_path = raw_path
        self._headers = headers
        self._operation = operation
        self._request_id: str | None = None
        self._fields: dict[str, object] | None = None
        self.begun_at_s = begun_at_s
        self.problem: str | None = None
        """What the request is answered with, if it is a problem: the last segment of its type."""

    @property
    def request_id(self) -> str:
        """As the client has sent it, or else made here."""
        if self._request_id is None:
            self._request_id = sent_request_id(self._headers) or uuid4().hex
        return self._request_id

    def has_sent_id(self) -> bool:
        """Whether the client will look for its request by a name that it has given."""
        # A generator would take twice as long, for each request.
        for name, _ in self._headers:  # noqa: SIM110
            if name == REQUEST_ID:
                return True
        return False

    def changes_what_goes_on(self) -> bool:
        """Whether it takes something away from others, or changes what the service itself does."""
        is_policy = self._raw_path.startswith(_POLICIES)
        return self._method == "DELETE" or (self._method == "PUT" and is_policy)

    def log_fields(self) -> Mapping[str, object]:
        """See `app.logs.line.FIELDS`."""
        if self._fields is None:
            traceparent = sent_traceparent(self._headers)
            aggregate_type, aggregate_id = _aggregate(self._raw_path)
            path = self._raw_path.decode("ascii", "replace")
            operation: str | OperationNames | None = self._operation
            if isinstance(operation, OperationNames):
                operation = operation.name_of(self._method, path)
            self._fields = {
                "request_id": self.request_id,
                "correlation_id": sent_correlation_id(self._headers),
                "trace_id": traceparent and traceparent.trace_id,
                "parent_id": traceparent and traceparent.parent_id,
                "operation": operation,
                "aggregate_type": aggregate_type,
                "aggregate_id": aggregate_id,
                "method": self._method,
                "path": path,
            }
        return self._fields


class RequestLog:
    """Decides which requests are logged when they are answered, and how."""

    def __init__(self, settings: Settings) -> None:
        self.slow_s = settings.log_slow_request_ms / 1000
        """Requests that take so long are logged (inclusive); 0: all."""
        self.is_of_all = self.slow_s == 0 or logger.isEnabledFor(logging.DEBUG)

    def log_answer(self, request: RequestInHand, status: int, *, may_wait: bool = False) -> None:
        """Log a request whose answer begins now, if it is one that is logged.

        ``may_wait``: it takes as long as its client wants it to.
        """
        duration_s = time.monotonic() - request.begun_at_s
        is_slow = duration_s >= self.slow_s and not may_wait
        if status >= 500:
            level = logging.ERROR if status == 500 else logging.WARNING
            message = "request failed"
        elif status >= 400 and status != CLIENT_HAS_GONE:
            level, message = logging.INFO, "request refused"
        elif self.slow_s and is_slow:
            level, message = logging.INFO, "request was slow"
        else:
            is_told = self.slow_s == 0 or request.changes_what_goes_on()
            level, message = logging.INFO if is_told else logging.DEBUG, "request answered"
        if logger.isEnabledFor(level):
            extra = {
                **request.log_fields(),
                "status": status,
                "problem": request.problem,
                "duration_ms": round(duration_s * 1000, 1),
                IS_BOUNDED: not self.is_of_all,
            }
            logger.log(level, message, extra=extra)


class LoggedRequests:
    """Middleware: logs requests, and gives their records what tells which one it was.

    Around everything else, so that it sees each answer. One more way in is beside it, which does
    the same: `app.api.direct_appends`.
    """

    def __init__(self, app: ASGIApp, log: RequestLog, operations: OperationNames) -> None:
        self._app = app
        self._log = log
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = RequestInHand(
            scope["method"],
            scope["raw_path"],
            scope["headers"],
            begun_at_s=time.monotonic(),
            operation=self._operations,
        )

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                status: int = message["status"]
                may_wait = b"wait" in scope["query_string"]
                self._log.log_answer(request, status, may_wait=may_wait)
                if status >= 400 or request.has_sent_id():
                    header = REQUEST_ID, request.request_id.encode()
                    message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        # Not undone: the task ends with the request, and the server may log its failure yet.
        origin.set(request)
        await self._app(scope, receive, send_logged)


def note_problem(slug: str) -> None:
    """Let the record of the request at hand tell the kind of problem that it is answered with."""
    request = origin.get()
    if isinstance(request, RequestInHand):
        request.problem = slug


def _aggregate(raw_path: bytes) -> tuple[str | None, str | None]:
    """The type and id that a path names."""
    if not raw_path.startswith(_AGGREGATES):
        return None, None
    segments = raw_path.removeprefix(_AGGREGATES).split(b"/")
    names = [unquote(segment.decode("ascii", "replace")) for segment in segments[:2]]
    return names[0], names[1] if len(names) == 2 else None

"""Appends without a task, a coroutine or ASGI's messages between: the shortest way in.

All of that takes longer than what an append needs of this process. So one in the form that nearly
all have is handed over by the HTTP server itself (`app.http_protocol`) as soon as its head has been
read, and answered by a callback when its batch is committed. What it means is decided by the same
functions as on the long way (`app.api.appending`), and both give the same answers
(tests/acceptance/test_short_way.py). Any other request goes the long way: one with an unusual
header, or with a wrong one, so that there is one place where it is refused.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from time import monotonic
from typing import Any, TypeAlias
from uuid import UUID

from starlette.responses import Response

from app.api.appending import (
    AppendConditions,
    answer_appended,
    answer_attempt,
    requested_append,
)
from app.api.bodies_in_flight import BodyBudget
from app.api.path_segments import name_of
from app.api.preconditions import header_expectation
from app.api.problems import KINDS, answer_error, answer_unexpected_error
from app.api.request_log import RequestInHand, RequestLog
from app.api.services import OpenServices
from app.api.trace_context import REQUEST_ID
from app.events import Append, Appended
from app.logs.context import context_of, origin

Headers: TypeAlias = dict[bytes, list[bytes]]
Answer: TypeAlias = Callable[[Response], None]
Head: TypeAlias = tuple[bytes, Iterable[tuple[bytes, bytes]]]
"""The target and all headers, for the log."""

# Larger ones are seldom, and take so long by themselves that the way in does not matter.
MAX_DIRECT_BODY_BYTES = 1024 * 1024

logger = logging.getLogger(__name__)

_ERRORS = tuple(KINDS)
_TARGET = re.compile(rb"/v1/aggregates/([^/?#]+)/([^/?#]+)/events")
_IF_MATCH, _IF_NONE_MATCH = b"if-match", b"if-none-match"
_CORRELATION_ID, _CAUSATION_ID = b"x-correlation-id", b"x-causation-id"
_IDEMPOTENCY_KEY = b"idempotency-key"
_CONDITIONS = frozenset(
    {_IF_MATCH, _IF_NONE_MATCH, _CORRELATION_ID, _CAUSATION_ID, _IDEMPOTENCY_KEY}
)
# A body whose length is not known, one that is sent only when it is asked for, another protocol,
# and what CORS answers with headers of its own.
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"origin"})
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PLAIN = {
    _CORRELATION_ID: _UUID,
    _CAUSATION_ID: _UUID,
    # Of keys beyond printable ASCII, it matters in which encoding they are meant.
    _IDEMPOTENCY_KEY: re.compile(rb"[!-~](?:[ -~]{0,253}[!-~])?"),
}
_NO_CONDITIONS = AppendConditions()


class DirectAppends:
    """Takes plain appends from the HTTP server."""

    def __init__(
        self, services: OpenServices, body_budget: BodyBudget, request_log: RequestLog
    ) -> None:
        self.services = services
        self.body_budget = body_budget
        self.request_log = request_log
        self.max_body_bytes = services.settings.max_body_bytes
        self._tasks: set[asyncio.Task[None]] = set()
        self._max_direct_body_bytes = min(self.max_body_bytes, MAX_DIRECT_BODY_BYTES)

    def take(
        self, target: bytes, headers: Iterable[tuple[bytes, bytes]], answer: Answer
    ) -> "DirectAppend | None":
        """Begin with a POST request whose head has come; None: it has to go the long way.

        Names of ``headers`` are in lower case. ``answer`` is called once, unless the request is
        abandoned; the body follows.
        """
        segments = _TARGET.fullmatch(target)
        if segments is None:
            return None
        aggregate_type, aggregate_id = name_of(segments[1]), name_of(segments[2])
        if aggregate_type is None or aggregate_id is None:
            return None
        body_bytes = None
        has_id = False
        conditions: Headers = {}
        for name, value in headers:
            if name == b"content-length":
                body_bytes = int(value)
            elif name in _CONDITIONS:
                conditions.setdefault(name, []).append(value)
            elif name == REQUEST_ID:
                has_id = True
            elif name in _UNUSUAL:
                return None
        if body_bytes is None or body_bytes > self._max_direct_body_bytes:
            return None
        if conditions and not _are_plain(conditions):
            return None
        head = target, headers
        return DirectAppend(self, head, has_id, aggregate_type, aggregate_id, conditions, answer)

    def start(self, work: Coroutine[Any, Any, None], request: RequestInHand) -> None:
        """Let something take its time beside the server's work, on behalf of a request."""
        task = asyncio.create_task(work, context=context_of(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait for what is under way, also for clients that are gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)


class DirectAppend:
    """One append, from the head of its request to its answer."""

    __slots__ = (
        "_aggregate_id",
        "_aggregate_type",
        "_answer",
        "_begun_at",
        "_body",
        "_conditions",
        "_has_id",
        "_head",
        "_headers",
        "_held",
        "_is_answered",
        "_way",
    )

    def __init__(
        self,
        way: DirectAppends,
        head: Head,
        has_id: bool,
        aggregate_type: str,
        aggregate_id: str,
        headers: Headers,
        answer: Answer,
    ) -> None:
        self._way = way
        self._aggregate_type = aggregate_type
        self._aggregate_id = aggregate_id
        self._headers = headers
        self._conditions = _NO_CONDITIONS
        self._answer = answer
        self._begun_at = monotonic()
        self._body = b""
        self._held = way.body_budget.account()
        self._is_answered = False
        self._head = head
        self._has_id = has_id

    def receive(self, chunk: bytes) -> None:
        """Take a part of the body."""
        if self._is_answered:
            return
        try:
            self._held.hold(len(chunk), self._way.max_body_bytes)
        except _ERRORS as error:
            self._refuse(error)
            return
        self._body += chunk

    def complete(self) -> None:
        """Append: the body is there."""
        if self._is_answered:
            return
        services = self._way.services
        self._begun_at = monotonic()
        try:
            if self._headers:
                self._conditions = _conditions(self._headers)
            append = requested_append(
                services, self._aggregate_type, self._aggregate_id, self._conditions, self._body
            )
            services.event_store.submit_append(append, partial(self._settle, append))
        except Exception as error:  # noqa: BLE001 - it is answered
            self._refuse(error)

    def abandon(self) -> None:
        """The client has gone before the end of the body: nothing is appended."""
        self._is_answered = True
        self._held.release(self._held.held)

    def _settle(self, append: Append, appended: Appended | None, error: Exception | None) -> None:
        if appended is None:
            # Refused, raced or failed: what that means takes more than a callback to find out.
            self._way.start(self._settle_refused(append, error), self._request())
            return
        try:
            response = answer_appended(self._way.services, append, appended, self._begun_at)
        except Exception as defect:  # noqa: BLE001 - it is answered
            self._refuse(defect)
        else:
            self._end(response)

    async def _settle_refused(self, append: Append, error: Exception | None) -> None:
        async def first_attempt() -> None:
            if error is not None:
                raise error

        try:
            response = await answer_attempt(
                self._way.services, append, self._conditions, first_attempt, self._begun_at
            )
        except Exception as refusal:  # noqa: BLE001 - it is answered
            self._refuse(refusal)
        else:
            self._end(response)

    def _refuse(self, error: Exception) -> None:
        request = self._request()
        # Of this callback, which may be another request's: one reads a connection for all.
        token = origin.set(request)
        try:
            response = self._refusal(error)
        finally:
            origin.reset(token)
        self._end(response, request)

    def _refusal(self, error: Exception) -> Response:
        metrics = self._way.services.metrics
        if isinstance(error, _ERRORS):
            return answer_error(metrics, error, self._aggregate_type)
        logger.error("an append was answered as a defect", exc_info=error)
        return answer_unexpected_error(metrics)

    def _end(self, response: Response, request: RequestInHand | None = None) -> None:
        self._is_answered = True
        self._held.release(self._held.held)
        self._way.services.metrics.count_answer("append_events", response.status_code)
        log = self._way.request_log
        is_refused = response.status_code >= 400
        if (
            is_refused
            or self._has_id
            or log.is_of_all
            or monotonic() - self._begun_at >= log.slow_s
        ):
            request = request or self._request()
            log.log_answer(request, response.status_code)
            if is_refused or self._has_id:
                response.raw_headers.append((REQUEST_ID, request.request_id.encode()))
        self._answer(response)

    def _request(self) -> RequestInHand:
        """What the log needs of the request."""
        target, headers = self._head
        return RequestInHand(
            "POST", target, headers, begun_at_s=self._begun_at, operation="append_events"
        )


def _are_plain(headers: Headers) -> bool:
    """Whether the headers of an append are as nearly all are; not whether they are right."""
    return all(
        len(lines) == 1 and _PLAIN[name].fullmatch(lines[0])
        for name, lines in headers.items()
        if name in _PLAIN
    )


def _conditions(headers: Headers) -> AppendConditions:
    return AppendConditions(
        header_expectation(_texts(headers, _IF_MATCH), _texts(headers, _IF_NONE_MATCH)),
        headers[_IDEMPOTENCY_KEY][0].decode() if _IDEMPOTENCY_KEY in headers else None,
        _uuid(headers, _CORRELATION_ID),
        _uuid(headers, _CAUSATION_ID),
    )


def _texts(headers: Headers, name: bytes) -> list[str] | None:
    lines = headers.get(name)
    return None if lines is None else [line.decode("latin-1") for line in lines]


def _uuid(headers: Headers, name: bytes) -> UUID | None:
    return UUID(headers[name][0].decode()) if name in headers else None

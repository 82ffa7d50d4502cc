"""The short way in for plain requests of the hot operations, without the framework's machinery.

What the framework does for a request (routing, resolving and validating each parameter) takes
several times as long as an append itself. So a request for one of the operations here, in the form
that nearly all have, is taken apart by hand and answered by the very function that the operation's
endpoint calls. Any other request goes the long way: one with an unusual parameter, or with a wrong
one, so that there is one place where it is refused. Both ways give the same answers
(tests/acceptance/test_short_way.py), and the OpenAPI document describes them as one.
"""

import re
from collections.abc import Awaitable
from typing import TypeAlias
from urllib.parse import unquote_to_bytes
from uuid import UUID

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.aggregate_events import AppendConditions, answer_append
from app.api.aggregates import answer_load
from app.api.answer import JSON_MEDIA_TYPE
from app.api.body import receive_body
from app.api.feed import answer_page
from app.api.parameters import DEFAULT_LIMIT, MAX_LIMIT
from app.api.preconditions import header_expectation
from app.api.problems import KINDS, answer_error, answer_unexpected_error
from app.api.services import OpenServices
from app.events import MAX_NAME_LENGTH
from app.queries.feed_tail import EVERYTHING

Answer: TypeAlias = Awaitable[Response]
Headers: TypeAlias = dict[bytes, list[bytes]]

_ERRORS = tuple(KINDS)
_AGGREGATES = b"/v1/aggregates/"
_FEED = b"/v1/events"
_IF_MATCH, _IF_NONE_MATCH = b"if-match", b"if-none-match"
_CORRELATION_ID, _CAUSATION_ID = b"x-correlation-id", b"x-causation-id"
_IDEMPOTENCY_KEY = b"idempotency-key"
_APPEND_HEADERS = frozenset(
    {_IF_MATCH, _IF_NONE_MATCH, _CORRELATION_ID, _CAUSATION_ID, _IDEMPOTENCY_KEY}
)
_LOAD_HEADERS = frozenset({_IF_NONE_MATCH})
_FEED_HEADERS = frozenset({b"accept", b"last-event-id"})
_ANY_FORM: tuple[Headers, ...] = (
    {b"accept": [b"*/*"]},
    {b"accept": [JSON_MEDIA_TYPE.encode()]},
)
_PAGE = re.compile(
    rb"(?:after=(?P<after>[0-9]{1,18}))? (?:(?:^|(?<=[0-9])&)limit=(?P<limit>[0-9]{1,5}))?",
    re.VERBOSE,
)
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PLAIN = {
    _CORRELATION_ID: _UUID,
    _CAUSATION_ID: _UUID,
    # Of keys beyond printable ASCII, it matters in which encoding they are meant.
    _IDEMPOTENCY_KEY: re.compile(rb"[!-~](?:[ -~]{0,253}[!-~])?"),
}


class ShortWay:
    """Middleware: answers what it can, and passes all other requests on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        answer = _answer(scope, receive) if scope["type"] == "http" else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await answer
        except _ERRORS as error:
            response = answer_error(None, error)
        except Exception as error:
            await answer_unexpected_error(None, error)(scope, receive, send)
            # The server logs it.
            raise
        await response(scope, receive, send)


def _answer(scope: Scope, receive: Receive) -> Answer | None:
    """What answers the request; None: it has to go the long way."""
    path: bytes = scope["raw_path"]
    method: str = scope["method"]
    if path.startswith(_AGGREGATES) and not scope["query_string"]:
        segments = path.split(b"/")
        if method == "POST" and len(segments) == 6 and segments[5] == b"events":
            return _append(scope, receive, segments[3], segments[4])
        if method == "GET" and len(segments) == 5:
            return _load(scope, segments[3], segments[4])
    elif path == _FEED and method == "GET":
        return _read_feed(scope)
    return None


def _load(scope: Scope, type_segment: bytes, id_segment: bytes) -> Answer | None:
    aggregate_type, aggregate_id = _name(type_segment), _name(id_segment)
    if aggregate_type is None or aggregate_id is None or _headers(scope, _LOAD_HEADERS):
        return None
    return answer_load(_services(scope), aggregate_type, aggregate_id)


def _read_feed(scope: Scope) -> Answer | None:
    page = _PAGE.fullmatch(scope["query_string"])
    headers = _headers(scope, _FEED_HEADERS)
    if page is None or (headers and headers not in _ANY_FORM):
        return None
    limit = int(page["limit"] or DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        return None
    return answer_page(_services(scope), EVERYTHING, after=int(page["after"] or 0), limit=limit)


def _append(
    scope: Scope, receive: Receive, type_segment: bytes, id_segment: bytes
) -> Answer | None:
    aggregate_type, aggregate_id = _name(type_segment), _name(id_segment)
    headers = _headers(scope, _APPEND_HEADERS)
    if aggregate_type is None or aggregate_id is None or (headers and not _are_plain(headers)):
        return None
    return _answer_append(scope, receive, aggregate_type, aggregate_id, headers)


async def _answer_append(
    scope: Scope, receive: Receive, aggregate_type: str, aggregate_id: str, headers: Headers
) -> Response:
    services = _services(scope)
    conditions = _conditions(headers) if headers else AppendConditions()
    body = await receive_body(scope, receive, services.settings.max_body_bytes)
    return await answer_append(services, aggregate_type, aggregate_id, conditions, body)


def _services(scope: Scope) -> OpenServices:
    services: OpenServices = scope["state"]["services"]
    return services


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


def _headers(scope: Scope, names: frozenset[bytes]) -> Headers:
    """Those of the headers that have one of the names, by name; each may come in several lines."""
    found: Headers = {}
    for name, value in scope["headers"]:
        if name in names:
            found.setdefault(name, []).append(value)
    return found


def _name(segment: bytes) -> str | None:
    """A segment of the path as a name; None: it is not one."""
    if not segment.isascii():
        return None
    try:
        name = (unquote_to_bytes(segment) if b"%" in segment else segment).decode()
    except UnicodeDecodeError:
        return None
    return name if 0 < len(name) <= MAX_NAME_LENGTH and "\x00" not in name else None


def _texts(headers: Headers, name: bytes) -> list[str] | None:
    lines = headers.get(name)
    return None if lines is None else [line.decode("latin-1") for line in lines]


def _uuid(headers: Headers, name: bytes) -> UUID | None:
    return UUID(headers[name][0].decode()) if name in headers else None

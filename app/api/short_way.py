"""The short way in for plain reads, without the framework's machinery.

What the framework does for a request (routing, resolving and validating each parameter) takes
longer than to read a few events. So a load or a page of the feed, asked for in the form that nearly
all such requests have, is taken apart by hand and answered by the very function that the
operation's endpoint calls. Any other request goes the long way: one with an unusual parameter, or
with a wrong one, so that there is one place where it is refused. Both ways give the same answers
(tests/acceptance/test_short_way.py), and the OpenAPI document describes them as one.

Appends have a way that is shorter still: `app.api.direct_appends`.
"""

import re
from collections.abc import Awaitable
from typing import NamedTuple, TypeAlias

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.aggregates import answer_load
from app.api.answer import JSON_MEDIA_TYPE
from app.api.feed import answer_page
from app.api.parameters import DEFAULT_LIMIT, MAX_LIMIT
from app.api.path_segments import name_of
from app.api.problems import KINDS, answer_error, answer_unexpected_error
from app.api.services import OpenServices
from app.queries.feed_tail import EVERYTHING

Headers: TypeAlias = dict[bytes, list[bytes]]

_ERRORS = tuple(KINDS)
_AGGREGATES = b"/v1/aggregates/"
_FEED = b"/v1/events"
_LOAD_HEADERS = frozenset({b"if-none-match"})
_FEED_HEADERS = frozenset({b"accept", b"last-event-id"})
_ANY_FORM: tuple[Headers, ...] = (
    {b"accept": [b"*/*"]},
    {b"accept": [JSON_MEDIA_TYPE.encode()]},
)
_PAGE = re.compile(
    rb"(?:after=(?P<after>[0-9]{1,18}))? (?:(?:^|(?<=[0-9])&)limit=(?P<limit>[0-9]{1,5}))?",
    re.VERBOSE,
)


class ShortWay:
    """Middleware: answers what it can, and passes all other requests on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        asked = _asked(scope) if scope["type"] == "http" else None
        if asked is None:
            await self._app(scope, receive, send)
            return
        metrics = _services(scope).metrics
        try:
            response = await asked.answer
        except _ERRORS as error:
            response = answer_error(metrics, error)
        except Exception:
            response = answer_unexpected_error(metrics)
            metrics.count_answer(asked.operation, response.status_code)
            await response(scope, receive, send)
            # The server logs it.
            raise
        metrics.count_answer(asked.operation, response.status_code)
        await response(scope, receive, send)


class _Asked(NamedTuple):
    """The id of an operation that is asked for, and what answers it."""

    operation: str
    answer: Awaitable[Response]


def _asked(scope: Scope) -> _Asked | None:
    """What is asked for; None: it has to go the long way."""
    path: bytes = scope["raw_path"]
    method: str = scope["method"]
    if method != "GET":
        return None
    if path.startswith(_AGGREGATES) and not scope["query_string"]:
        segments = path.split(b"/")
        return _load(scope, segments[3], segments[4]) if len(segments) == 5 else None
    return _read_feed(scope) if path == _FEED else None


def _load(scope: Scope, type_segment: bytes, id_segment: bytes) -> _Asked | None:
    aggregate_type, aggregate_id = name_of(type_segment), name_of(id_segment)
    if aggregate_type is None or aggregate_id is None or _headers(scope, _LOAD_HEADERS):
        return None
    return _Asked("load_aggregate", answer_load(_services(scope), aggregate_type, aggregate_id))


def _read_feed(scope: Scope) -> _Asked | None:
    page = _PAGE.fullmatch(scope["query_string"])
    headers = _headers(scope, _FEED_HEADERS)
    if page is None or (headers and headers not in _ANY_FORM):
        return None
    limit = int(page["limit"] or DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        return None
    after = int(page["after"] or 0)
    answer = answer_page(_services(scope), EVERYTHING, after=after, limit=limit)
    return _Asked("read_feed", answer)


def _services(scope: Scope) -> OpenServices:
    services: OpenServices = scope["state"]["services"]
    return services


def _headers(scope: Scope, names: frozenset[bytes]) -> Headers:
    """Those of the headers that have one of the names, by name; each may come in several lines."""
    found: Headers = {}
    for name, value in scope["headers"]:
        if name in names:
            found.setdefault(name, []).append(value)
    return found

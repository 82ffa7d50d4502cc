"""Percent-decodes path segments one by one, so that a name may contain ``/``.

The server decodes the path before it is routed: ``a%2Fb`` would be two segments. Here the router
sees the path as it was sent, and each segment is decoded after it has been matched (RFC 3986,
section 2.4).
"""

from urllib.parse import quote, unquote_to_bytes

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import answer_error, metrics_of
from app.errors import InvalidInput
from app.events import MAX_NAME_LENGTH
from app.metrics import OTHER


class SegmentConvertor(Convertor[str]):
    """One segment of the path, which may be empty; decoded."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        """The text of a segment.

        Raises:
            InvalidInput: It is not UTF-8.
        """
        try:
            return unquote_to_bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidInput("path", f"{value!r} is not percent-encoded UTF-8") from None

    def to_string(self, value: str) -> str:
        """Not needed: no URL is made from a route's name."""
        raise NotImplementedError


def name_of(segment: bytes) -> str | None:
    """A segment of the path as an aggregate's name; None: it is none, or not plainly one."""
    if not segment.isascii():
        return None
    try:
        name = (unquote_to_bytes(segment) if b"%" in segment else segment).decode()
    except UnicodeDecodeError:
        return None
    return name if 0 < len(name) <= MAX_NAME_LENGTH and "\x00" not in name else None


def segment_of(name: str) -> str:
    """A name as one segment of a path; a lone ``.`` or ``..`` is no way up the path."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


# Here rather than in a function: a route with a segment cannot even be declared before.
register_url_convertor("segment", SegmentConvertor())

AGGREGATE_TYPE_PATH = "/v1/aggregates/{aggregate_type:segment}"
AGGREGATE_PATH = AGGREGATE_TYPE_PATH + "/{aggregate_id:segment}"
POLICY_PATH = "/v1/snapshot-policies/{aggregate_type:segment}"
STATE_PATH = AGGREGATE_PATH + "/state"
PREVIEW_PATH = POLICY_PATH + "/preview"
POSITION_PATH = "/v1/projections/{projection_name:segment}/position"


class RawPath:
    """Middleware: routes by the path as it was sent, and refuses a query that is not UTF-8.

    The framework would take another text for it, with U+FFFD in the place of what is wrong.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its path still percent-encoded."""
        app = self._app
        if scope["type"] == "http":
            raw_path: bytes = scope["raw_path"]
            scope = {**scope, "path": raw_path.decode("ascii")}
            if not _is_utf8(scope["query_string"]):
                refusal = InvalidInput("query", "is not percent-encoded UTF-8")
                metrics = metrics_of(Request(scope))
                app = answer_error(metrics, refusal)
                # No operation has it: it has not been routed yet.
                metrics.count_answer(OTHER, app.status_code)
        await app(scope, receive, send)


def _is_utf8(query: bytes) -> bool:
    try:
        unquote_to_bytes(query).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

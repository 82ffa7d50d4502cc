"""The names that a request brings for the logs: its own, and its place in a trace."""

import re
from collections.abc import Iterable
from typing import NamedTuple

REQUEST_ID, CORRELATION_ID, TRACEPARENT = b"x-request-id", b"x-correlation-id", b"traceparent"

# Visible ASCII: it is sent back in a header, and looked for in logs.
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_CORRELATION_ID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# A version above 00 may have more behind another dash; ff is none.
_TRACEPARENT = re.compile(
    rb"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace_id>(?!0{32})[0-9a-f]{32})"
    rb"-(?P<parent_id>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?"
)

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case, and values."""


class Traceparent(NamedTuple):
    """The caller's trace, and its span that the request comes from."""

    trace_id: str
    parent_id: str


def sent_request_id(headers: Headers) -> str | None:
    """The request's `X-Request-ID`; None: there is none, or none that can be used."""
    value = _only(headers, REQUEST_ID)
    return value.decode() if value is not None and _REQUEST_ID.fullmatch(value) else None


def sent_correlation_id(headers: Headers) -> str | None:
    """The request's `X-Correlation-ID`, if it is a UUID."""
    value = _only(headers, CORRELATION_ID)
    return value.decode() if value is not None and _CORRELATION_ID.fullmatch(value) else None


def sent_traceparent(headers: Headers) -> Traceparent | None:
    """What `traceparent` says; None: there is none, or a wrong one, which counts for none.

    https://www.w3.org/TR/trace-context/#traceparent-header
    """
    value = _only(headers, TRACEPARENT)
    found = None if value is None else _TRACEPARENT.fullmatch(value)
    if found is None or (found["more"] and found["version"] == b"00"):
        return None
    return Traceparent(found["trace_id"].decode(), found["parent_id"].decode())


def _only(headers: Headers, wanted: bytes) -> bytes | None:
    """The value of a header that comes once."""
    values = [value for name, value in headers if name == wanted]
    return values[0] if len(values) == 1 else None

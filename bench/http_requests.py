"""The requests of the measurements as bytes: made beforehand, but for what differs each time."""

import re
from collections.abc import Iterable, Sequence
from itertools import count, cycle
from typing import Final
from urllib.parse import quote

from bench.http_load import Conversation
from bench.payload import AGGREGATE_TYPE, EVENTS_A_CASE, PermitEvent

_AGGREGATES: Final = "/v1/aggregates/"
_AGGREGATE: Final = f"{_AGGREGATES}{quote(AGGREGATE_TYPE)}/"
_NEXT_AFTER: Final = re.compile(rb'"next_after":(\d+)')


def single_appends(name: str, events: Sequence[PermitEvent]) -> Conversation:
    """One event a request, at its expected version: one case after the other, each of a few events.

    The cases' ids begin with ``name``, which no other connection has.
    """
    ends = [
        [_end_of_append(version, event.as_request()) for event in events]
        for version in range(EVENTS_A_CASE)
    ]
    event = cycle(range(len(events)))
    for case in count():
        start = f"POST {_AGGREGATE}{name}-{case}".encode()
        for version in range(EVENTS_A_CASE):
            yield start + ends[version][next(event)]


def growing_appends(
    aggregate_id: str, events: Sequence[PermitEvent], first_version: int = 0
) -> Conversation:
    """One event a request, at its expected version, all to one aggregate from a version on."""
    event = cycle(event.as_request() for event in events)
    start = f"POST {_AGGREGATE}{aggregate_id}".encode()
    for version in count(first_version):
        yield start + _end_of_append(version, next(event))


def batch_appends(name: str, events: Sequence[PermitEvent]) -> Conversation:
    """All events in one request, each time to a new aggregate, whose id begins with ``name``."""
    end = _end_of_append(0, b",".join(event.as_request() for event in events))
    for case in count():
        yield f"POST {_AGGREGATE}{name}-{case}".encode() + end


def _end_of_append(expected_version: int, events: bytes) -> bytes:
    body = b'{"expected_version":%d,"events":[%b]}' % (expected_version, events)
    return (
        b"/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def loads(
    aggregate_ids: Iterable[str], aggregate_type: str = AGGREGATE_TYPE, *, state: bool = False
) -> Conversation:
    """Load one aggregate after the other, or read the state that the store folds of it."""
    for aggregate_id in aggregate_ids:
        path = f"{_AGGREGATES}{quote(aggregate_type)}/{aggregate_id}"
        yield get(f"{path}/state" if state else path)


def feed_pages(page_size: int, last_position: int, first_after: int = 0) -> Conversation:
    """Read the feed page by page from a place to its end, and from its begin again."""
    after = first_after
    while True:
        while after < last_position:
            body = (yield get(f"/v1/events?after={after}&limit={page_size}")).body
            # A member behind the events: to decode the page would cost more than to receive it.
            found = _NEXT_AFTER.search(body, body.rindex(b'"next_after"'))
            assert found is not None
            after = int(found[1])
        after = 0


def get(path: str, accept: str = "application/json") -> bytes:
    """A request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n\r\n".encode()

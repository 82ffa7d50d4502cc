"""The requests of the measurements as bytes: made beforehand, but for what differs each time."""

import re
from collections.abc import Sequence
from itertools import count, cycle
from typing import Final
from urllib.parse import quote

from bench.http_load import Conversation
from bench.payload import AGGREGATE_TYPE, EVENTS_A_CASE, PermitEvent

_AGGREGATE: Final = f"/v1/aggregates/{quote(AGGREGATE_TYPE)}/"
_NEXT_AFTER: Final = re.compile(rb'"next_after":(\d+)')


def single_appends(connection: int, events: Sequence[PermitEvent]) -> Conversation:
    """One event a request, at its expected version: one case after the other, each of a few events.

    No two connections write to the same case.
    """
    ends = [
        [_end_of_append(version, [event]) for event in events] for version in range(EVENTS_A_CASE)
    ]
    event = cycle(range(len(events)))
    for case in count():
        start = f"POST {_AGGREGATE}case-{connection}-{case}".encode()
        for version in range(EVENTS_A_CASE):
            yield start + ends[version][next(event)]


def batch_appends(connection: int, events: Sequence[PermitEvent]) -> Conversation:
    """All events in one request, each time to a new aggregate."""
    end = _end_of_append(0, events)
    for case in count():
        yield f"POST {_AGGREGATE}case-{connection}-{case}".encode() + end


def _end_of_append(expected_version: int, events: Sequence[PermitEvent]) -> bytes:
    body = b'{"expected_version":%d,"events":[%b]}' % (
        expected_version,
        b",".join(event.as_request() for event in events),
    )
    return (
        b"/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def loads(aggregate_ids: Sequence[str], first: int) -> Conversation:
    """Load one aggregate after the other, from the ``first`` on, round and round."""
    requests = [get(_AGGREGATE + aggregate_id) for aggregate_id in aggregate_ids]
    for index in count(first):
        yield requests[index % len(requests)]


def feed_pages(page_size: int, last_position: int, first_after: int = 0) -> Conversation:
    """Read the feed page by page to its end, and again."""
    while True:
        after = first_after
        while after < last_position:
            body = (yield get(f"/v1/events?after={after}&limit={page_size}")).body
            # A member behind the events: to decode the page would cost more than to receive it.
            found = _NEXT_AFTER.search(body, body.rindex(b'"next_after"'))
            assert found is not None
            after = int(found[1])


def get(path: str, accept: str = "application/json") -> bytes:
    """A request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n\r\n".encode()

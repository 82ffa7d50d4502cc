"""Packs lines into requests that keep the order of each aggregate, and takes refused ones apart."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter

import msgspec

from app.cli.import_lines import Line, Window

Request = list[Line]
"""Lines that are stored together: those of an aggregate are next to each other, in file order."""

Chain = list[Request]
"""Requests that have to be sent one after the other; different chains do not depend on another."""


def pack(window: Window, max_lines: int, max_bytes: int) -> Iterator[Chain]:
    """Pack a window into requests of at most so many lines and bytes (or of one larger line).

    Aggregates are mostly short: many go into one request. One that needs several has a chain.
    """
    shared: Request = []
    shared_bytes = 0
    for lines in window:
        own = list(_split(lines, max_lines, max_bytes))
        if len(own) > 1:
            yield own
            continue
        own_bytes = sum(len(line.event) for line in lines)
        if shared and (
            len(shared) + len(lines) > max_lines or shared_bytes + own_bytes > max_bytes
        ):
            yield [shared]
            shared, shared_bytes = [], 0
        shared += lines
        shared_bytes += own_bytes
    if shared:
        yield [shared]


def body_of(request: Request) -> bytes:
    """Make the body of ``POST /v1/transactions``."""
    appends = (
        b'{"aggregate_type":%b,"aggregate_id":%b,"events":[%b]}'
        % (*map(msgspec.json.encode, aggregate), b",".join(line.event for line in lines))
        for aggregate, lines in groupby(request, attrgetter("aggregate_type", "aggregate_id"))
    )
    return b'{"appends":[%b]}' % b",".join(appends)


def take_apart(request: Request, known_ids: Iterable[str]) -> list[Request]:
    """Make two requests of one that was refused: the events that are there, and the others.

    Where that tells nothing, two halves. Both are smaller than the whole, so it comes to an end
    whatever the service says, at the latest with the one line that is to blame. An aggregate keeps
    its order: what is there has its place, and the others stay in theirs.
    """
    known = set(known_ids)
    there = [line for line in request if str(line.event_id) in known]
    if 0 < len(there) < len(request):
        return [there, [line for line in request if str(line.event_id) not in known]]
    middle = len(request) // 2
    return [request[:middle], request[middle:]]


def _split(lines: list[Line], max_lines: int, max_bytes: int) -> Iterator[Request]:
    request: Request = []
    size_bytes = 0
    for line in lines:
        if request and (len(request) == max_lines or size_bytes + len(line.event) > max_bytes):
            yield request
            request, size_bytes = [], 0
        request.append(line)
        size_bytes += len(line.event)
    yield request

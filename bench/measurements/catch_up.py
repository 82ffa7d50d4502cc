"""One consumer that catches up with the feed from far behind, as NDJSON or in pages."""

import socket
import time
from typing import Final

import uvloop

from bench.cores import CoresMeter, meters_of
from bench.event_stream import StreamedResponse
from bench.goals import CATCH_UP, CATCH_UP_MEMORY
from bench.http_load import STUCK_AFTER_S, Address
from bench.http_requests import feed_pages, get
from bench.http_response import Response, ResponseReader
from bench.memory import MemoryUse, MemoryWatch
from bench.runner import WrongOutcome
from bench.sites import Site
from bench.trial import Figure, Stage, Trial, TrialRound

PAGE_SIZE: Final = 5_000
RECEIVED_BYTES: Final = 256 * 1024
WARM_UP_PART: Final = 10
"""One in so many events is read before, for which the service takes what memory it needs."""

_COPY: Final = """
SELECT row_to_json(feed) FROM (
  SELECT event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata,
         occurred_at, correlation_id, causation_id, global_position
  FROM events
  WHERE global_position > $1
  ORDER BY global_position) AS feed
"""


class CatchUp(Trial):
    reference = "asyncpg, one COPY of row_to_json ORDER BY global_position"

    def __init__(self, *, as_ndjson: bool) -> None:
        self.slug = "catch-up-ndjson" if as_ndjson else "catch-up-pages"
        form = "NDJSON" if as_ndjson else f"pages of {PAGE_SIZE:,}"
        self.name = f"catch-up of one consumer, as {form}"
        self.label = f"catch-up as {form}"
        self._read = _read_ndjson if as_ndjson else _read_pages

    def round(self, stage: Stage) -> TrialRound:
        site = stage.sites.reading()
        service, events = site.service, site.store.events
        self._time(service.address, events, events // WARM_UP_PART)
        before_bytes = service.memory_bytes()
        meter = CoresMeter(meters_of(stage.cluster, [service]))
        generator_s = time.process_time()
        meter.begin()
        with MemoryWatch(service.pid) as watch:
            took_s = self._time(service.address, events, events)
        cores = meter.end()
        generator_s = time.process_time() - generator_s
        memory = MemoryUse(before_bytes, watch.use.peak_bytes, watch.use.end_bytes)
        rate, copy_rate = events / took_s, events / uvloop.run(_copy(site))
        mib = 2**20
        peak, end, before = (
            count / mib for count in (memory.peak_bytes, memory.end_bytes, before_bytes)
        )
        return TrialRound(
            [
                Figure(f"{events:,} events", "events/s", rate, copy_rate, CATCH_UP),
                # Not limited by others: what the reader could take, had it a core for itself.
                Figure("reader alone, of CPU time", "events/s", events / generator_s),
                Figure("memory, peak", "MiB", peak, before, CATCH_UP_MEMORY),
                Figure("memory, end", "MiB", end, before, CATCH_UP_MEMORY),
            ],
            cores,
            memory,
        )

    def _time(self, address: Address, stored: int, events: int) -> float:
        """Read the last so many events; how long it took, the connection not included."""
        with socket.create_connection(address, timeout=STUCK_AFTER_S) as connection:
            started_at_s = time.perf_counter()
            found = self._read(connection, stored - events, stored)
            took_s = time.perf_counter() - started_at_s
        if found != events:
            raise WrongOutcome(f"{found} events came, not {events}")
        return took_s


def _read_ndjson(connection: socket.socket, after: int, _: int) -> int:
    connection.sendall(get(f"/v1/events?after={after}", "application/x-ndjson"))
    response, lines = StreamedResponse(), 0
    while not response.is_complete:
        lines += response.feed(_receive(connection)).count(b"\n")
    return lines


def _read_pages(connection: socket.socket, after: int, stored: int) -> int:
    conversation = feed_pages(PAGE_SIZE, stored, after)
    found = 0
    request = next(conversation)
    while found < stored - after:
        connection.sendall(request)
        response = _receive_response(connection)
        found += response.body.count(b'"global_position":')
        request = conversation.send(response)
    return found


def _receive_response(connection: socket.socket) -> Response:
    reader = ResponseReader()
    while (response := reader.feed(_receive(connection))) is None:
        pass
    return response


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(RECEIVED_BYTES)
    if not data:
        raise WrongOutcome("the answer broke off")
    return data


async def _copy(site: Site) -> float:
    connection = await site.cluster.connect(site.database)
    events, lines = site.store.events, 0

    async def receive(data: bytes) -> None:
        nonlocal lines
        lines += data.count(b"\n")

    async def copy(count: int) -> None:
        after = events - count
        await connection.copy_from_query(_COPY, after, output=receive)

    try:
        await copy(events // WARM_UP_PART)
        lines, started_at_s = 0, time.perf_counter()
        await copy(events)
        took_s = time.perf_counter() - started_at_s
    finally:
        connection.terminate()
    if lines != events:
        raise WrongOutcome(f"COPY has given {lines} rows, not {events}")
    return took_s

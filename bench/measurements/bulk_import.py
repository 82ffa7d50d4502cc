"""Many events of another store at once, as one streamed body."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bench.cluster import Cluster
from bench.cores import CoresMeter, meters_of
from bench.event_stream import StreamedResponse
from bench.goals import IMPORT
from bench.http_load import STUCK_AFTER_S, Address
from bench.import_rows import COLUMNS, ImportRows
from bench.memory import MemoryUse, MemoryWatch
from bench.runner import WrongOutcome
from bench.stores import EMPTY
from bench.trial import Figure, Stage, Trial, TrialRound

WARM_UP_PART: Final = 10
"""One in so many events is imported before, for which the service takes what memory it needs."""
ANSWERS_WITHIN_S: Final = 600.0
RECEIVED_BYTES: Final = 64 * 1024

_HEAD: Final = (
    b"POST /v1/import HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\n"
    b"Accept: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class BulkImport(Trial):
    slug = "import"
    name = "bulk import over HTTP, one streamed body"
    label = "bulk import"
    reference = "asyncpg, one COPY FROM STDIN of the same rows into the same table"

    def round(self, stage: Stage) -> TrialRound:
        events = stage.scale.imported_events
        with stage.sites.fresh(EMPTY) as site:
            _import(site.service.address, ImportRows("warm-up", events // WARM_UP_PART))
            site.next_run()
            before_bytes, stored_before = site.service.memory_bytes(), site.stored_events()
            meter = CoresMeter(meters_of(stage.cluster, [site.service]))
            generator_s = time.process_time()
            meter.begin()
            with MemoryWatch(site.service.pid) as watch:
                took_s = _import(site.service.address, ImportRows("case", events))
            cores = meter.end()
            generator_s = time.process_time() - generator_s
            if site.stored_events() - stored_before != events:
                raise WrongOutcome(f"not {events} events are stored after the import")
        memory = MemoryUse(before_bytes, watch.use.peak_bytes, watch.use.end_bytes)
        with stage.copy_of(EMPTY) as database:
            asyncio.run(_copy(stage.cluster, database, ImportRows("warm-up", events // 10)))
            stage.cluster.execute("CHECKPOINT")
            copy_took_s = asyncio.run(_copy(stage.cluster, database, ImportRows("case", events)))
        mib = 2**20
        return TrialRound(
            [
                Figure(
                    f"{events:,} events", "events/s", events / took_s, events / copy_took_s, IMPORT
                ),
                Figure("sender alone, of CPU time", "events/s", events / generator_s),
                Figure("memory, peak", "MiB", memory.peak_bytes / mib, before_bytes / mib),
                Figure("memory, end", "MiB", memory.end_bytes / mib, before_bytes / mib),
            ],
            cores,
            memory,
        )


def _import(address: Address, rows: ImportRows) -> float:
    """How long it took, the connection not included.

    Raises:
        UnreadableResponse: The answer was another one than 200.
        WrongOutcome: Its last line does not say that all is stored.
    """
    with (
        socket.create_connection(address, timeout=ANSWERS_WITHIN_S) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        started_at_s = time.perf_counter()
        # Read meanwhile: the service says how far it is before it has received all.
        answer = pool.submit(_last_line, connection)
        try:
            connection.sendall(_HEAD)
            for piece in _chunks(rows.as_ndjson()):
                connection.sendall(piece)
                if answer.done():
                    break
        except OSError:
            # It has been refused: the answer says why.
            answer.result(STUCK_AFTER_S)
            raise
        last_line = answer.result()
        took_s = time.perf_counter() - started_at_s
    outcome = json.loads(last_line)
    if outcome.get("done") is not True or outcome.get("stored") != rows.events:
        raise WrongOutcome(f"the import has ended with {last_line!r}")
    return took_s


def _chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _last_line(connection: socket.socket) -> bytes:
    response, content = StreamedResponse(), b""
    while not response.is_complete:
        data = connection.recv(RECEIVED_BYTES)
        if not data:
            raise WrongOutcome("the answer broke off")
        content += response.feed(data)
        # Of the progress, only the newest line is of interest.
        content = content[content.rfind(b"\n", 0, -1) + 1 :]
    return content


async def _copy(cluster: Cluster, database: str, rows: ImportRows) -> float:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in rows.as_copy_text():
            yield piece

    connection = await cluster.connect(database)
    try:
        started_at_s = time.perf_counter()
        copied = await connection.copy_to_table(
            "events", source=pieces(), columns=COLUMNS, format="text", timeout=ANSWERS_WITHIN_S
        )
        took_s = time.perf_counter() - started_at_s
    finally:
        connection.terminate()
    if copied != f"COPY {rows.events}":
        raise WrongOutcome(f"the COPY of {rows.events} rows has ended with {copied!r}")
    return took_s

"""How fast a whole store is folded: by the service in the background, and by the fold process."""

import time
from collections.abc import Sequence
from itertools import groupby
from typing import Final

import msgspec
import uvloop

from app.events import RecordedEvent
from app.folding.process import FoldProcess
from app.folding.reducer import parse_reducer
from bench.cluster import Connection
from bench.cores import CoresMeter, meters_of
from bench.managed_snapshots import REDUCERS, await_folded, fold_process_bytes, save_policy
from bench.memory import MemoryUse, MemoryWatch
from bench.payload import AGGREGATE_TYPE
from bench.stores import Store
from bench.trial import Figure, Stage, Trial, TrialRound

FILLED: Final = Store(100_000)
"""In every mode: it is folded by the second, not by the run."""
EVENTS_A_CALL: Final = 1_000

_FEED: Final = """
SELECT row_to_json(event)::text
FROM (SELECT event_id, aggregate_type, aggregate_id, version, event_type, event_data, metadata,
             occurred_at, correlation_id, causation_id, global_position
      FROM events
      WHERE aggregate_type = $1
      ORDER BY global_position) AS event
"""
_FOLDED: Final = "SELECT coalesce(sum(version), 0) FROM snapshots WHERE reducer_hash = $1"


class FoldRates(Trial):
    slug = "fold"
    name = "folding a whole store from its feed"
    label = "folding"
    reference = "–"

    def round(self, stage: Stage) -> TrialRound:
        figures: list[Figure] = []
        with stage.copy_of(FILLED) as database, stage.service(database) as service:
            before_bytes = service.memory_bytes()
            meter = CoresMeter(meters_of(stage.cluster, [service]))
            meter.begin()
            with MemoryWatch(service.pid) as watch:
                for kind in REDUCERS:
                    stage.cluster.tell(f"  {kind}, by the service")
                    started_at_s = time.perf_counter()
                    reducer_hash = save_policy(service.address, kind)
                    await_folded(stage.cluster, database, reducer_hash)
                    took_s = time.perf_counter() - started_at_s
                    folded = stage.cluster.value(_FOLDED, reducer_hash, database=database)
                    figures.append(
                        Figure(f"{kind}, snapshots of a store", "events/s", int(folded) / took_s)
                    )
            cores = meter.end()
            folding_mib = fold_process_bytes(service) / 2**20
            feed = stage.cluster.run(_read_feed, database)
        for kind in REDUCERS:
            stage.cluster.tell(f"  {kind}, alone")
            rate = len(feed) / uvloop.run(_fold(kind, feed))
            figures.append(Figure(f"{kind}, the fold process alone", "events/s", rate))
        figures.append(Figure("memory to fold in", "MiB", folding_mib))
        use = watch.use
        return TrialRound(figures, cores, MemoryUse(before_bytes, use.peak_bytes, use.end_bytes))


async def _read_feed(connection: Connection) -> Sequence[RecordedEvent]:
    decode = msgspec.json.Decoder(RecordedEvent).decode
    rows = await connection.fetch(_FEED, AGGREGATE_TYPE)
    return [decode(row[0]) for row in rows]


async def _fold(kind: str, feed: Sequence[RecordedEvent]) -> float:
    """Fold the aggregates of the feed one after the other; how long that took."""
    reducer = parse_reducer(msgspec.json.encode(REDUCERS[kind]), "$")
    aggregates = [
        list(events)
        for _, events in groupby(
            sorted(feed, key=lambda event: (event.aggregate_id, event.version)),
            key=lambda event: event.aggregate_id,
        )
    ]
    process = FoldProcess()
    try:
        await process.check(reducer, "$")
        started_at_s = time.perf_counter()
        for events in aggregates:
            state: bytes | None = None
            for first in range(0, len(events), EVENTS_A_CALL):
                state = await process.fold(reducer, state, events[first : first + EVENTS_A_CALL])
        return time.perf_counter() - started_at_s
    finally:
        await process.stop()

"""``python -m bench.wake_ups``: polling beside NOTIFY, for another instance's live subscriber.

Not a part of `make bench`: its figures are those of a decision, between the service as it is and a
prototype (bench/wake_ups_service.py). Appends go to one instance, a subscriber is at the other.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

import uvloop

from bench.cluster import Cluster, running_cluster
from bench.cores import CoresMeter, meters_of
from bench.figures import Timing
from bench.http_load import Address
from bench.measurements.live_delivery import Delivery, deliver
from bench.pacing import Schedule
from bench.processes import ROOT, Server, running_service
from bench.report import aligned
from bench.stores import EMPTY
from bench.subscriber import subscribe

SERVICE: Final = "app.cli"
PROTOTYPE: Final = "bench.wake_ups_service"
VARIANTS: Final[tuple[tuple[str, str, dict[str, str]], ...]] = (
    ("polling, as it is", SERVICE, {}),
    ("NOTIFY, poll 1 s", PROTOTYPE, {"POLL_S": "1"}),
    # What direct SQL writers need to be within the goal of their events' delivery.
    ("NOTIFY, poll 0.1 s", PROTOTYPE, {"POLL_S": "0.1"}),
)
RATES: Final = (0, 20, 500)
QUICK: Final = Timing(2, 4)
FULL: Final = Timing(3, 20)

HEADINGS: Final = (
    *("appends/s", "wake-ups", "p50 ms", "p99 ms", "from the answer", "p99 ms", "missed"),
    *("transactions/s", "cores: postgresql", "appending", "following", "others"),
)
_TRANSACTIONS: Final = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wake_ups")
    parser.add_argument("--full", action="store_true", help="4 minutes instead of 90 s")
    timing = FULL if parser.parse_args().full else QUICK
    # PostgreSQL is stopped and its data removed, also by `timeout`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows: list[tuple[str, ...]] = [HEADINGS]
    with running_cluster(ROOT / ".data") as cluster:
        for rate in RATES:
            for name, program, settings in VARIANTS:
                print(f"{rate} appends/s, {name}", file=sys.stderr, flush=True)
                with cluster.copy_of(EMPTY) as database:
                    instance = partial(
                        running_service, cluster.socket_dir, database, settings, program
                    )
                    cells = _measured(cluster, database, instance, rate, timing)
                rows.append((str(rate), name, *cells))
    print(aligned(rows))


def _measured(
    cluster: Cluster,
    database: str,
    instance: Callable[[], AbstractContextManager[Server]],
    rate: int,
    timing: Timing,
) -> tuple[str, ...]:
    with instance() as appending, instance() as following:
        meters = {"appending": appending.cpu_s, "following": following.cpu_s}
        meter = CoresMeter({**meters_of(cluster, []), **meters})
        transactions = cluster.value(_TRANSACTIONS, database)
        begun_at_s = time.perf_counter()
        if rate:
            schedule, to, at = Schedule(rate, timing), appending.address, following.address
            live = uvloop.run(deliver(cluster, database, schedule, meter, to, at))
            cells, cores = _latencies(live), live.seen.cores
        else:
            cells = ("–",) * 5
            cores = uvloop.run(_idle(following.address, meter, timing))
        took_s = time.perf_counter() - begun_at_s
    # Only now: a server process tells of its last transactions when it ends.
    transactions = cluster.value(_TRANSACTIONS, database) - transactions
    return (
        *cells,
        f"{transactions / took_s:,.0f}",
        *(f"{cores[name]:.3f}" for name in ("postgresql", "appending", "following", "others")),
    )


def _latencies(live: Delivery) -> tuple[str, ...]:
    sending, answer = live.from_sending, live.from_answer
    latencies_ms = (sending.p50_ms, sending.p99_ms, answer.p50_ms, answer.p99_ms)
    return (*(f"{latency_ms:.2f}" for latency_ms in latencies_ms), str(live.missed))


async def _idle(at: Address, meter: CoresMeter, timing: Timing) -> Mapping[str, float]:
    """One subscriber, and nothing that comes."""
    subscriber = await subscribe(at, after=0)
    meter.begin()
    await asyncio.sleep(timing.total_s)
    cores = meter.end()
    subscriber.close()
    return cores


if __name__ == "__main__":
    main()

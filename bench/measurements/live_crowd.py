"""Appends with hundreds of live subscribers, all reading or some not, beside none at all."""

import time
from itertools import chain
from typing import Final

import uvloop

from bench.appenders import http_appenders
from bench.cores import CoresMeter, meters_of
from bench.crowd import attending
from bench.goals import CROWD_APPENDS, CROWD_MEMORY, NONE_LOST
from bench.http_load import Address
from bench.memory import MemoryUse, MemoryWatch
from bench.observation import Observation, by_position, observe
from bench.pacing import Schedule
from bench.processes import Server
from bench.trial import Figure, Stage, Trial, TrialRound

APPENDS_A_SECOND: Final = 200
SETTLE_STEP_S: Final = 0.5
SETTLED_CORES: Final = 0.1
SETTLES_WITHIN_S: Final = 60.0
"""Who begins far behind and does not read is first sent what the buffers of both sides hold."""


class LiveCrowd(Trial):
    reference = "the same service before anybody has subscribed; memory: before the appends"

    def __init__(self, subscribers: int, stalled: int = 0) -> None:
        self.slug = f"crowd-{subscribers}"
        self.name = f"{subscribers} live subscribers"
        self.label = f"{subscribers} subscribers"
        if stalled:
            self.label += f", {stalled} stalled"
            self.slug += f"-stalled-{stalled}"
            self.name += f", {stalled} of which never read"
        self.name += f", {APPENDS_A_SECOND} appends/s"
        self._readers = subscribers - stalled
        self._stalled = stalled

    def round(self, stage: Stage) -> TrialRound:
        schedule = Schedule(APPENDS_A_SECOND, stage.scale.live_timing)
        # A filled store: who begins at its first event and does not read is owed megabytes.
        with stage.copy_of(stage.scale.filled) as database, stage.service(database) as service:
            meter = CoresMeter(meters_of(stage.cluster, [service]))
            alone = uvloop.run(_append(service.address, schedule, meter, run=0))
            alone_bytes = service.memory_bytes()
            position = stage.cluster.value(
                "SELECT max(global_position) FROM events", database=database
            )
            with attending(service.address, self._readers, self._stalled, position) as crowd:
                _settle(service)
                before_bytes = service.memory_bytes()

                def generator_s() -> float:
                    return time.process_time() + crowd.cpu_s()

                meter = CoresMeter(meters_of(stage.cluster, [service], generator_s))
                with MemoryWatch(service.pid) as watch:
                    among = uvloop.run(_append(service.address, schedule, meter, run=1))
                    _settle(service)
                after_bytes, connected = service.memory_bytes(), service.connections()
                attendance = crowd.leave(max(append.position for append in among.appends))
        arrived_at_s = list(by_position(chain.from_iterable(attendance.arrivals)))
        sending, answer = among.from_sending(arrived_at_s), among.from_answer(arrived_at_s)
        gone = max(self._readers + self._stalled - connected, attendance.lost)
        mib = 2**20
        return TrialRound(
            [
                Figure("appends", "1/s", among.rate, alone.rate, CROWD_APPENDS),
                Figure("p50 of an append", "ms", among.appending.p50_ms, alone.appending.p50_ms),
                Figure("p99 of an append", "ms", among.appending.p99_ms, alone.appending.p99_ms),
                Figure("p99 sent late", "ms", among.late.p99_ms, alone.late.p99_ms),
                Figure("delivery, p50 from sending", "ms", sending.p50_ms),
                Figure("delivery, p99 from sending", "ms", sending.p99_ms),
                Figure("delivery, p50 from the answer", "ms", answer.p50_ms),
                Figure("delivery, p99 from the answer", "ms", answer.p99_ms),
                Figure("disconnected", "", gone, 0, NONE_LOST),
                Figure("missed", "events", attendance.missed, 0, NONE_LOST),
                Figure("repeated", "events", attendance.repeated, 0, NONE_LOST),
                Figure("memory", "MiB", after_bytes / mib, before_bytes / mib, CROWD_MEMORY),
                Figure("memory without subscribers", "MiB", alone_bytes / mib),
            ],
            among.cores,
            MemoryUse(before_bytes, watch.use.peak_bytes, after_bytes),
        )


def _settle(service: Server) -> None:
    """Wait until the service has nothing more to do, as far as its CPU time tells."""
    deadline_s = time.perf_counter() + SETTLES_WITHIN_S
    used_s, cores = service.cpu_s(), 1.0
    while cores > SETTLED_CORES and time.perf_counter() < deadline_s:
        time.sleep(SETTLE_STEP_S)
        cores, used_s = (service.cpu_s() - used_s) / SETTLE_STEP_S, service.cpu_s()


async def _append(address: Address, schedule: Schedule, meter: CoresMeter, run: int) -> Observation:
    async with http_appenders(address, run) as appenders:
        return await observe(appenders, schedule, meter)

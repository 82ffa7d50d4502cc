"""From an append to a live subscriber: in the same process, in another one, of direct SQL."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import uvloop

from bench.appenders import http_appenders, sql_appenders
from bench.cluster import Cluster
from bench.cores import CoresMeter, meters_of
from bench.goals import NONE_LOST, Goal
from bench.http_load import Address
from bench.memory import MemoryWatch
from bench.observation import Latencies, Observation, by_position, observe
from bench.pacing import Schedule
from bench.runner import WrongOutcome
from bench.sql_listener import listening
from bench.stores import EMPTY
from bench.subscriber import subscribe
from bench.trial import Figure, Stage, Trial, TrialRound

APPENDS_A_SECOND: Final = 500
INSERTS_A_SECOND: Final = 100


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was seen from both ends."""

    seen: Observation
    arrived_at_s: Mapping[int, float]

    @property
    def from_sending(self) -> Latencies:
        return self.seen.from_sending(self.arrived_at_s.items())

    @property
    def from_answer(self) -> Latencies:
        return self.seen.from_answer(self.arrived_at_s.items())

    @property
    def missed(self) -> int:
        return self.seen.missed(self.arrived_at_s)


class LiveDelivery(Trial):
    reference = (
        "PostgreSQL alone: INSERT and NOTIFY in one transaction; LISTEN, then SELECT of the row"
    )

    def __init__(
        self, slug: str, label: str, whom: str, *, p99_ms: Goal, p50_ms: Goal | None = None
    ) -> None:
        self.slug = f"delivery-{slug}"
        self.label = f"delivery, {label}"
        self._is_direct = slug == "sql"
        self._has_other = slug == "other"
        self._rate = INSERTS_A_SECOND if self._is_direct else APPENDS_A_SECOND
        works = "direct INSERTs" if self._is_direct else "appends"
        self.name = f"delivery to {whom}, {self._rate} {works}/s"
        self._p50_goal = p50_ms
        self._p99_goal = p99_ms

    def round(self, stage: Stage) -> TrialRound:
        schedule = Schedule(self._rate, stage.scale.live_timing)
        with stage.copy_of(EMPTY) as database, ExitStack() as running:
            services = [running.enter_context(stage.service(database))]
            if self._has_other:
                services.append(running.enter_context(stage.service(database)))
            meter = CoresMeter(meters_of(stage.cluster, services))
            to = None if self._is_direct else services[0].address
            with MemoryWatch(services[-1].pid, schedule.timing.warm_up_s) as watch:
                live = uvloop.run(
                    deliver(stage.cluster, database, schedule, meter, to, services[-1].address)
                )
        with stage.copy_of(EMPTY) as database:
            meter = CoresMeter(meters_of(stage.cluster, []))
            bare = uvloop.run(_deliver_bare(stage.cluster, database, schedule, meter))
        return TrialRound(self._figures(live, bare), live.seen.cores, watch.use)

    def _figures(self, live: Delivery, bare: Delivery) -> list[Figure]:
        sending, bare_sending = live.from_sending, bare.from_sending
        answer, bare_answer = live.from_answer, bare.from_answer
        appending, bare_appending = live.seen.appending, bare.seen.appending
        late, bare_late = live.seen.late, bare.seen.late
        return [
            Figure("p50 from sending", "ms", sending.p50_ms, bare_sending.p50_ms, self._p50_goal),
            Figure("p99 from sending", "ms", sending.p99_ms, bare_sending.p99_ms, self._p99_goal),
            Figure("p50 from the answer", "ms", answer.p50_ms, bare_answer.p50_ms),
            Figure("p99 from the answer", "ms", answer.p99_ms, bare_answer.p99_ms),
            Figure("p50 of an append", "ms", appending.p50_ms, bare_appending.p50_ms),
            Figure("p99 of an append", "ms", appending.p99_ms, bare_appending.p99_ms),
            Figure("p99 sent late", "ms", late.p99_ms, bare_late.p99_ms),
            Figure("rate reached", "1/s", live.seen.rate, bare.seen.rate),
            Figure("missed", "events", live.missed, bare.missed, NONE_LOST),
        ]


async def deliver(
    cluster: Cluster,
    database: str,
    schedule: Schedule,
    meter: CoresMeter,
    to: Address | None,
    at: Address,
) -> Delivery:
    """Append over HTTP ``to`` a service (None: by INSERTs) with one live subscriber ``at`` one.

    Raises:
        WrongOutcome: An event came twice or out of order.
    """
    subscriber = await subscribe(at, after=0)
    opened = sql_appenders(cluster, database) if to is None else http_appenders(to)
    async with opened as appenders:
        seen = await observe(
            appenders,
            schedule,
            meter,
            lambda positions: subscriber.continuity.reached >= max(positions),
        )
    arrived_at_s = dict(by_position(subscriber.arrivals))
    if subscriber.continuity.repeated:
        raise WrongOutcome("an event was delivered twice or out of order")
    subscriber.close()
    return Delivery(seen, arrived_at_s)


async def _deliver_bare(
    cluster: Cluster, database: str, schedule: Schedule, meter: CoresMeter
) -> Delivery:
    async with (
        listening(cluster, database) as listener,
        sql_appenders(cluster, database, notify=True) as appenders,
    ):
        seen = await observe(appenders, schedule, meter, listener.arrived_at_s.keys().__ge__)
        return Delivery(seen, listener.arrived_at_s)

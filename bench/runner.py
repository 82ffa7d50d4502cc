"""Runs measurements of a rate: service and reference in turns, then the load generator alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from bench import machine
from bench.cores import MACHINE, meters_of, with_others
from bench.figures import Run, Spread, Timing, run_of
from bench.http_load import Address, Load, Meters, drive
from bench.measurement import Measurement
from bench.memory import MemoryUse, MemoryWatch
from bench.processes import running_echo
from bench.scale import Scale
from bench.sites import Site, Sites
from bench.stores import Store

NOISY_FROM_CORES: Final = 0.3
"""Used by others meanwhile: of two or more cores, too much for a ratio to be trusted."""


class WrongOutcome(Exception):
    """The service has stored or answered something else than it should: no rate means anything."""


@dataclass(frozen=True, slots=True)
class ServiceRun:
    """A run of the service, and what it took."""

    run: Run
    memory: MemoryUse
    cores: dict[str, float]
    """CPU seconds a second: of the generator, the service, PostgreSQL and all others."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All runs of a measurement."""

    measurement: Measurement
    service: list[ServiceRun]
    reference: list[Run]
    echo: Run
    """The same requests to a server that does nothing: what the generator can send at least."""
    echo_generator_cores: float

    @property
    def generator_rate(self) -> float:
        """What the generator could send with a core of its own: the echo takes most of the time."""
        return self.echo.rate / self.echo_generator_cores

    @property
    def rate(self) -> Spread:
        return Spread.of([service.run.rate for service in self.service])

    @property
    def reference_rate(self) -> Spread:
        return Spread.of([reference.rate for reference in self.reference])

    @property
    def ratio(self) -> float:
        return self.rate.median / self.reference_rate.median

    @property
    def memory(self) -> MemoryUse:
        """Over all runs."""
        return MemoryUse.over([service.memory for service in self.service])

    @property
    def is_noisy(self) -> bool:
        """Whether something else took so much of the machine that the ratio tells little."""
        return median(service.cores["others"] for service in self.service) > NOISY_FROM_CORES

    @property
    def ratio_of_rounds(self) -> Spread:
        """Each round by itself: how far the ratio is to be trusted."""
        rounds = zip(self.service, self.reference, strict=True)
        return Spread.of([service.run.rate / reference.rate for service, reference in rounds])


class Runner:
    """Measures at the sites, and tells what it is about to do."""

    def __init__(self, sites: Sites, scale: Scale, tell: Callable[[str], None]) -> None:
        self._sites = sites
        self._scale = scale
        self._tell = tell

    def outcome(self, measurement: Measurement) -> Outcome:
        """Service, reference, service, reference …"""
        services, references = [], []
        answer = b""
        for number in range(1, self._scale.rounds + 1):
            self._tell(f"{measurement.name}: round {number} of {self._scale.rounds}")
            if measurement.appends:
                with self._sites.appending() as site:
                    service, answer = run_service(measurement, site, self._scale.timing)
                with self._sites.appending() as site:
                    references.append(self._run_reference(measurement, site))
            else:
                site = self._sites.reading()
                service, answer = run_service(measurement, site, self._scale.timing)
                references.append(self._run_reference(measurement, site))
            services.append(service)
        echo, generator_cores = self._run_echo(measurement, answer)
        return Outcome(measurement, services, references, echo, generator_cores)

    def _run_reference(self, measurement: Measurement, site: Site) -> Run:
        timing = self._scale.timing
        trace = measurement.reference_trace(site, site.next_run(), timing)
        return run_of(trace, timing, measurement.units_a_request)

    def _run_echo(self, measurement: Measurement, answer: bytes) -> tuple[Run, float]:
        """The same requests; those that read get, each time, an answer that the service gave."""
        with TemporaryDirectory(prefix="eventstore-bench-") as directory:
            file = Path(directory, "answer")
            file.write_bytes(answer)
            with running_echo(file) as echo:
                load = _drive(
                    measurement,
                    self._scale.filled,
                    echo.address,
                    0,
                    self._scale.echo_timing,
                    {"generator": time.process_time},
                )
        run = run_of(load.trace, self._scale.echo_timing, measurement.units_a_request)
        return run, load.cores["generator"]


def run_service(measurement: Measurement, site: Site, timing: Timing) -> tuple[ServiceRun, bytes]:
    """One run over HTTP, and the body of an answer.

    Raises:
        WrongOutcome: What is stored or answered is not what has been asked for.
    """
    run = site.next_run()
    stored_before = site.stored_events() if measurement.appends else 0
    meters = {**meters_of(site.cluster, [site.service]), MACHINE: machine.cpu_s}
    with MemoryWatch(site.service.pid, timing.warm_up_s) as watch:
        load = _drive(measurement, site.store, site.service.address, run, timing, meters)
    if measurement.appends:
        acknowledged = len(load.trace.ended_at_s) * measurement.events_a_request
        stored = site.stored_events() - stored_before
        if stored != acknowledged:
            raise WrongOutcome(f"{acknowledged} events were acknowledged, {stored} are stored")
    else:
        _check_read(load.last_body, measurement)
    figures = run_of(load.trace, timing, measurement.units_a_request)
    return ServiceRun(figures, watch.use, with_others(load.cores)), load.last_body


def _drive(
    measurement: Measurement,
    store: Store,
    address: Address,
    run: int,
    timing: Timing,
    meters: Meters,
) -> Load:
    conversations = [
        measurement.conversation(store, connection, run)
        for connection in range(measurement.connections)
    ]
    return drive(address, conversations, timing, meters)


def _check_read(answer: bytes, measurement: Measurement) -> None:
    events = answer.count(b'"global_position":')
    if events != measurement.events_a_request:
        raise WrongOutcome(f"an answer has {events} events, not {measurement.events_a_request}")

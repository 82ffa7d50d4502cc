"""Runs measurements: service and reference in turns, then the load generator alone."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from bench import machine
from bench.cluster import EMPTY, Cluster
from bench.cores import MACHINE, meters_of, with_others
from bench.figures import Run, Spread, Timing, Trace, run_of
from bench.http_load import Address, Load, Meters, drive
from bench.measurement import Measurement
from bench.processes import running_echo, running_service


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    name: str
    rounds: int
    timing: Timing
    live_timing: Timing
    """Of the live feed: paced, so that there are as many events as seconds allow."""
    aggregates: int
    """In the filled database, each of 100 events."""


QUICK: Final = Scale("quick", 2, Timing(0.5, 1.5), live_timing=Timing(1, 3), aggregates=1_000)
FULL: Final = Scale("full", 5, Timing(2, 8), live_timing=Timing(2, 10), aggregates=3_000)


NOISY_FROM_CORES: Final = 0.3
"""Used by others meanwhile: of two or more cores, too much for a ratio to be trusted."""


class WrongOutcome(Exception):
    """The service has stored or answered something else than it should: no rate means anything."""


@dataclass(frozen=True, slots=True)
class ServiceRun:
    """A run of the service, and what it took."""

    run: Run
    memory_bytes: int
    """Resident, at the end."""
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
    def rate(self) -> Spread:
        return Spread.of([service.run.rate for service in self.service])

    @property
    def reference_rate(self) -> Spread:
        return Spread.of([reference.rate for reference in self.reference])

    @property
    def ratio(self) -> float:
        return self.rate.median / self.reference_rate.median

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
    """Measures on one cluster; ``service_settings`` are variables for the service."""

    def __init__(
        self,
        cluster: Cluster,
        scale: Scale,
        service_settings: Mapping[str, str],
        tell: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._scale = scale
        self._service_settings = service_settings
        self._tell = tell

    def outcome(self, measurement: Measurement) -> Outcome:
        """Service, reference, service, reference …, each on a database of its own."""
        services, references = [], []
        answer = b""
        for number in range(1, self._scale.rounds + 1):
            self._tell(f"{measurement.name}: round {number} of {self._scale.rounds}")
            service, answer = self._run_service(measurement)
            services.append(service)
            references.append(self._run_reference(measurement))
        echo, generator_cores = self._run_echo(measurement, answer)
        return Outcome(measurement, services, references, echo, generator_cores)

    def _run_service(self, measurement: Measurement) -> tuple[ServiceRun, bytes]:
        cluster = self._cluster
        with (
            cluster.copy_of(measurement.database) as database,
            running_service(cluster.socket_dir, database, self._service_settings) as service,
        ):
            meters = {**meters_of(cluster, [service]), MACHINE: machine.cpu_s}
            load = self._drive(measurement, service.address, meters)
            memory_bytes = service.memory_bytes()
            if measurement.database == EMPTY:
                self._check_stored(database, len(load.trace.ended_at_s), measurement)
            else:
                _check_read(load.last_body, measurement)
        run = self._run_of(measurement, load.trace)
        return ServiceRun(run, memory_bytes, with_others(load.cores)), load.last_body

    def _run_reference(self, measurement: Measurement) -> Run:
        with self._cluster.copy_of(measurement.database) as database:
            trace = measurement.reference_trace(self._cluster, database, self._scale.timing)
        return self._run_of(measurement, trace)

    def _run_echo(self, measurement: Measurement, answer: bytes) -> tuple[Run, float]:
        """The same requests; those that read get, each time, an answer that the service gave."""
        with TemporaryDirectory(prefix="eventstore-bench-") as directory:
            file = Path(directory, "answer")
            file.write_bytes(answer)
            with running_echo(file) as echo:
                load = self._drive(measurement, echo.address, {"generator": time.process_time})
        return self._run_of(measurement, load.trace), load.cores["generator"]

    def _drive(self, measurement: Measurement, address: Address, meters: Meters) -> Load:
        conversations = [
            measurement.conversation(self._cluster, connection)
            for connection in range(measurement.connections)
        ]
        return drive(address, conversations, self._scale.timing, meters)

    def _run_of(self, measurement: Measurement, trace: Trace) -> Run:
        return run_of(trace, self._scale.timing, measurement.units_a_request)

    def _check_stored(self, database: str, requests: int, measurement: Measurement) -> None:
        acknowledged = requests * measurement.events_a_request
        stored = self._cluster.value("SELECT count(*) FROM events", database=database)
        if stored != acknowledged:
            raise WrongOutcome(f"{acknowledged} events were acknowledged, {stored} are stored")


def _check_read(answer: bytes, measurement: Measurement) -> None:
    events = answer.count(b'"global_position":')
    if events != measurement.events_a_request:
        raise WrongOutcome(f"an answer has {events} events, not {measurement.events_a_request}")

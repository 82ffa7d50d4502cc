"""Who takes how many of the machine's cores meanwhile."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from bench import machine
from bench.cluster import Cluster
from bench.http_load import Meters
from bench.processes import Server, cpu_s

MACHINE: Final = "machine"


class CoresMeter:
    """CPU seconds a second between two moments: of each meter, and of all others."""

    def __init__(self, meters: Meters) -> None:
        self._meters = {**meters, MACHINE: machine.cpu_s}
        self._begun_at_s = 0.0
        self._used_before: dict[str, float] = {}

    def begin(self) -> None:
        """Read the meters, which takes milliseconds."""
        self._used_before = self._read()
        self._begun_at_s = time.perf_counter()

    def end(self) -> dict[str, float]:
        """Cores in use since the begin, by meter; the rest of the machine is "others"."""
        elapsed_s = time.perf_counter() - self._begun_at_s
        used = self._read()
        return with_others(
            {name: (used[name] - before) / elapsed_s for name, before in self._used_before.items()}
        )

    def _read(self) -> dict[str, float]:
        return {name: read() for name, read in self._meters.items()}


def with_others(cores: dict[str, float]) -> dict[str, float]:
    """The same with what the machine used beyond them, as "others", instead of its total."""
    named = {name: used for name, used in cores.items() if name != MACHINE}
    # The clocks of the kernel's counters differ a little.
    return {**named, "others": max(cores[MACHINE] - sum(named.values()), 0.0)}


def meters_of(
    cluster: Cluster, services: Sequence[Server], generator: Callable[[], float] = time.process_time
) -> Meters:
    """Those that take part in every measurement: generator, services, PostgreSQL."""
    return {
        "generator": generator,
        "service": lambda: sum(service.cpu_s() for service in services),
        "postgresql": lambda: cpu_s(cluster.postmaster_pid),
    }

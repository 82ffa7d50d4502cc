"""What this process takes of the machine."""

import resource
import time
from pathlib import Path

_STATM = Path("/proc/self/statm")


def cpu_seconds() -> float:
    """Processor time since the process started, its own and the system's for it."""
    return time.process_time()


def resident_memory_bytes() -> int | None:
    """Memory that the process has in RAM; None: the system does not tell it (it is not Linux).

    https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
    """
    try:
        pages = int(_STATM.read_bytes().split()[1])
    except FileNotFoundError:
        return None
    return pages * resource.getpagesize()

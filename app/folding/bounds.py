"""What folding may take: an event, a state, and the process that folds.

Steps, depth and sizes are counted by the engine, so an expression that goes beyond them fails at
the same event on every machine. Time and memory of the process bound whatever else there is, such
as a regular expression that goes back and forth; whoever goes beyond them takes the process along.
"""

import os
import resource
import signal
from contextlib import suppress
from typing import Final

MIB: Final = 1024 * 1024

# A state of more bytes, as text, is refused at the event that made it so.
MAX_STATE_BYTES: Final = 16 * MIB
# Of one evaluation: a few tenths of a second.
MAX_STEPS: Final = 1_000_000
MAX_DEPTH: Final = 500
MAX_ARRAY_LENGTH: Final = 1_000_000

# Of processor time rather than on the clock: a busy machine is no fault of an expression. A state
# near its bound that is made of nothing but small objects takes 3 to 4.
MAX_EVENT_CPU_S: Final = 5.0
MAX_MEMORY_BYTES: Final = 1024 * MIB
# How much the service goes before, where they share a core.
NICENESS: Final = 10


def bound_this_process() -> None:
    """Take memory from this process beyond its bound, and let it go behind others."""
    os.nice(NICENESS)
    # macOS has the name and not the limit: there the counts alone bound the memory.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    # It may die of what it evaluates, which is no reason to write its memory to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def bound_time(seconds: float) -> None:
    """End the process, whatever it does, when it has computed for so long; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)

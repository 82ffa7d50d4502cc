"""The fold process, as `process.FoldProcess` starts it: requests come on the standard input."""

import mmap
import os
import sys

from app.folding.bounds import bound_this_process
from app.folding.messages import LENGTH
from app.logs.failure import describe


def main() -> None:
    """Serve the process that has started this one.

    Arguments: a file to tell progress in, and the seconds of processor time that an event has.
    """
    bound_this_process()
    # Behind the bound: the engine's allocator sets memory aside as soon as it is loaded.
    from app.folding.child import serve  # noqa: PLC0415

    with mmap.mmap(int(sys.argv[1]), LENGTH.size) as progress:
        try:
            serve(sys.stdin.buffer, sys.stdout.buffer, progress, float(sys.argv[2]))
        except BrokenPipeError:
            # The service is gone, and nobody waits for the answer.
            os._exit(0)
        except Exception as defect:  # noqa: BLE001 - told to the service, which logs it
            # Not Python's own report of it, which may quote what is folded.
            sys.exit(describe(defect))


if __name__ == "__main__":
    main()

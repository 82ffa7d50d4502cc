"""Runs code in a process that may take little more memory than it has at the start of it.

tracemalloc would not do: regular expressions keep what they remember outside of its sight.
"""

import subprocess
import sys
import textwrap

import pytest

_BOUND = """
import os, resource
from pathlib import Path
pages = int(Path("/proc/self/statm").read_text().split()[0])
bytes_taken = pages * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (bytes_taken + {max_bytes},) * 2)
"""


def run_in_bounded_memory(preparation: str, code: str, *, max_mib: int, timeout_s: float) -> None:
    """Run ``code`` after ``preparation`` with at most ``max_mib`` more memory, or fail."""
    if not sys.platform.startswith("linux"):
        pytest.skip("no other system tells and bounds a process's memory so")
    parts = (preparation, _BOUND.format(max_bytes=max_mib * 1024 * 1024), code)
    script = "\n".join(textwrap.dedent(part) for part in parts)
    process = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert process.returncode == 0, process.stderr

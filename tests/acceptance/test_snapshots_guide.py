"""The program and the commands of the guide run as printed, and print what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

from app.settings import Settings
from tests.acceptance.tour import ROOT, check_tour, steps_of

GUIDE = (ROOT / "docs" / "guides" / "snapshots.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", GUIDE, re.DOTALL))


def test_the_program_does_what_the_guide_says(tmp_path: Path, service_url: str) -> None:
    assert set(PROGRAMS) == {"account.py"}
    assert GUIDE.count("```python") == len(PROGRAMS)
    (tmp_path / "account.py").write_text(PROGRAMS["account.py"], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "account.py"],
        cwd=tmp_path,
        env={**os.environ, "EVENTSTORE_URL": service_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    (expected,) = re.findall(r"^        # (.*)$", PROGRAMS["account.py"], re.MULTILINE)
    assert done.stdout.splitlines() == [expected], done.stderr
    assert not done.stderr


def test_the_commands_print_what_the_guide_says(service_url: str, settings: Settings) -> None:
    steps = steps_of(GUIDE)
    assert len(steps) == 5
    check_tour(steps, service_url, settings)

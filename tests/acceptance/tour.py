"""Commands of a document that work as printed."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent
# What the store does in the background is there a moment later: how long a reading may be repeated.
PATIENCE_S = 30


class Step(NamedTuple):
    """A command of a tour and what it is said to print; ``…`` stands for anything."""

    command: str
    output: str

    @property
    def only_reads(self) -> bool:
        return self.command.startswith("curl") and not re.search(
            r" (-d|-X|--data\S*) ", self.command
        )


def steps_of(document: str) -> list[Step]:
    """The commands of a document, in order."""
    steps = []
    for block in re.findall(r"```console\n(.*?)```", document, re.DOTALL):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = text.splitlines()
            length = next(n for n in range(1, len(lines) + 1) if _is_complete("\n".join(lines[:n])))
            steps.append(Step("\n".join(lines[:length]), "\n".join(lines[length:])))
    return steps


def _is_complete(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return not command.endswith("\\")


def check_tour(steps: list[Step], service_url: str, settings: Settings) -> None:
    """Take all steps, and compare what they print; ``settings`` lead to the service's database."""
    environment = {
        **os.environ,
        "DATABASE_HOST": str(settings.database_host),
        "DATABASE_NAME": settings.database_name,
    }
    for step in steps:
        command = step.command.replace("localhost:8000", service_url).replace(
            ".venv/bin/eventstore import",
            f"{sys.executable} -m app.cli import --url {service_url}",
        )
        command = command.replace(".venv/bin/eventstore", f"{sys.executable} -m app.cli")
        expected = ".*".join(re.escape(part) for part in step.output.strip().split("…"))
        until = time.monotonic() + (PATIENCE_S if step.only_reads else 0)
        while True:
            done = subprocess.run(
                ["bash", "-euc", command],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if re.fullmatch(expected, done.stdout.strip()):
                break
            assert time.monotonic() < until, (
                f"{step.command}\nprinted {done.stdout}{done.stderr}\nnot    {step.output}"
            )
            time.sleep(0.2)

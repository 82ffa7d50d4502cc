"""The README's tour works as printed, and its table names every setting."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Step(NamedTuple):
    """A command of the tour and what it is said to print; ``…`` stands for anything."""

    command: str
    output: str


def tour() -> list[Step]:
    steps = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = text.splitlines()
            length = next(n for n in range(1, len(lines) + 1) if is_complete("\n".join(lines[:n])))
            steps.append(Step("\n".join(lines[:length]), "\n".join(lines[length:])))
    return steps


def is_complete(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return not command.endswith("\\")


def test_tour_prints_what_the_readme_says(service_url: str) -> None:
    steps = tour()
    assert len(steps) >= 10
    for step in steps:
        command = step.command.replace("localhost:8000", service_url).replace(
            ".venv/bin/eventstore import",
            f"{sys.executable} -m app.cli import --url {service_url}",
        )
        done = subprocess.run(
            ["bash", "-euc", command], cwd=ROOT, capture_output=True, text=True, check=False
        )
        expected = ".*".join(re.escape(part) for part in step.output.strip().split("…"))
        assert re.fullmatch(expected, done.stdout.strip()), (
            f"{step.command}\nprinted {done.stdout}{done.stderr}\nnot    {step.output}"
        )


def test_table_names_every_setting_with_its_default() -> None:
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", README, re.MULTILINE))
    assert set(table) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default in (None, ()) else str(field.default)
        assert table[name.upper()].strip() == default, name


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)]+)\)", README))
def test_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()

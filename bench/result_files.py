"""Where a result is left: JSON with every run, and a chart; ignored by git, or kept in docs."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.chart import chart, in_panels
from bench.processes import ROOT
from bench.verdicts import Verdict

IGNORED: Final = ROOT / ".data/bench-results"
KEPT: Final = ROOT / "docs/benchmarks"


def save(
    result: Mapping[str, Any],
    found: Sequence[Verdict],
    *,
    started_at: datetime,
    name: str,
    keep: bool,
) -> list[Path]:
    """Write both files; a kept one replaces that of the same day and name."""
    directory = KEPT if keep else IGNORED
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"{started_at:%Y-%m-%d}-{name}" if keep else f"{started_at:%Y-%m-%dT%H%M%SZ}-{name}"
    as_json, as_chart = directory / f"{stem}.json", directory / f"{stem}.svg"
    as_json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    title = "The event store beside PostgreSQL itself"
    as_chart.write_text(chart(title, _subtitle(result), in_panels(found)), encoding="utf-8")
    return [as_json, as_chart]


def _subtitle(result: Mapping[str, Any]) -> list[str]:
    machine, versions = result["machine"], result["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("asyncpg", "fastapi", "uvicorn"))
    durability = ", ".join(
        f"{name} {result['durability'][name]}" for name in ("fsync", "synchronous_commit")
    )
    runs = f"medians of {result['rounds']} runs of {result['seconds_a_run']:g} s a side"
    machine_parts = (
        machine["cpu"],
        f"{machine['cores']} cores for load, service and PostgreSQL together",
        f"{machine['memory_gib']:g} GiB",
        machine["system"],
        machine["file_system"],
    )
    return [
        f"{result['started_at'][:10]}, {result['mode']} mode, {runs}, commit {versions['commit']}",
        ", ".join(map(str, machine_parts)),
        f"PostgreSQL {versions['postgresql']} ({durability}), Python {versions['python']}, "
        + packages,
    ]

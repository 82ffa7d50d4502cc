"""``python -m bench``: measure, print tables, and leave the result as JSON in bench/results/."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bench import machine, report
from bench.cluster import Cluster, running_cluster
from bench.live import LiveMeasurement, LiveOutcome, Stage
from bench.live_report import live_as_json, live_tables
from bench.measurements import LIVE_MEASUREMENTS, MEASUREMENTS
from bench.processes import ROOT
from bench.runner import FULL, NOISY_FROM_CORES, QUICK, Outcome, Runner, Scale

RESULTS: Final = ROOT / "bench/results"


def main() -> None:
    options = _options()
    # PostgreSQL is stopped and its data removed, also by `timeout` or a stopped build.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    scale: Scale = FULL if options.full else QUICK
    slugs = options.only or _slugs()
    chosen = [measurement for measurement in MEASUREMENTS if measurement.slug in slugs]
    live = [measurement for measurement in LIVE_MEASUREMENTS if measurement.slug in slugs]
    service_settings = dict(setting.split("=", 1) for setting in options.set)
    started_at, busy_cores = datetime.now(UTC), machine.busy_cores()
    if busy_cores > NOISY_FROM_CORES:
        _tell(f"warning: the machine is busy (load average {busy_cores:.1f}): expect noise")
    _tell("starting PostgreSQL")
    with running_cluster(ROOT / ".data", scale.aggregates) as cluster:
        about = _about(cluster)
        runner = Runner(cluster, scale, service_settings, _tell)
        outcomes = [runner.outcome(measurement) for measurement in chosen]
        stage = Stage(cluster, scale.live_timing, service_settings)
        live_outcomes = [_live_outcome(measurement, stage, scale.rounds) for measurement in live]
    tables = [report.tables(outcomes)] if outcomes else []
    tables += [live_tables(live_outcomes)] if live_outcomes else []
    print("\n\n".join(tables))
    result = {
        "started_at": started_at.isoformat(timespec="seconds"),
        "mode": scale.name,
        "rounds": scale.rounds,
        "seconds_a_run": scale.timing.duration_s,
        "seconds_a_live_run": scale.live_timing.duration_s,
        "stored_events": cluster.stored_events,
        "load_average_before": busy_cores,
        "service_settings": service_settings,
        **about,
        "measurements": report.as_json(outcomes),
        "live": live_as_json(live_outcomes),
    }
    file = RESULTS / f"{started_at:%Y%m%dT%H%M%SZ}-{scale.name}.json"
    file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{_footnote(scale, [*outcomes, *live_outcomes])} Result: {file.relative_to(ROOT)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the service against bare PostgreSQL on this machine: "
        "docs/benchmarks.md.",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="under 5 minutes; the default")
    length.add_argument("--full", action="store_true", help="half an hour: figures to cite")
    parser.add_argument(
        "--only",
        action="append",
        choices=_slugs(),
        help="measure this alone; may be repeated",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="start the service with this setting; may be repeated",
    )
    return parser.parse_args()


def _slugs() -> list[str]:
    return [
        *(measurement.slug for measurement in MEASUREMENTS),
        *(measurement.slug for measurement in LIVE_MEASUREMENTS),
    ]


def _setting(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return text


def _about(cluster: Cluster) -> dict[str, Any]:
    return {
        "machine": machine.machine(cluster.data_dir),
        "versions": machine.versions(cluster.value("SHOW server_version")),
        "durability": cluster.durability(),
    }


def _live_outcome(measurement: LiveMeasurement, stage: Stage, rounds: int) -> LiveOutcome:
    done = []
    for number in range(1, rounds + 1):
        _tell(f"{measurement.name}: round {number} of {rounds}")
        done.append(measurement.round(stage))
    return LiveOutcome(measurement, done)


def _footnote(scale: Scale, outcomes: Sequence[Outcome | LiveOutcome]) -> str:
    text = (
        f"Medians of {scale.rounds} runs of {scale.timing.duration_s:g} s each (live feed: "
        f"{scale.live_timing.duration_s:g} s), service and reference in turns."
    )
    if any(outcome.is_noisy for outcome in outcomes):
        text += f" ? = others used over {NOISY_FROM_CORES} cores meanwhile: measure again."
    return text


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

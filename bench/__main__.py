"""``python -m bench``: measure, print tables, and leave the result as JSON and as a chart."""

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench import machine, report
from bench.cluster import Cluster, running_cluster
from bench.measurement import Measurement
from bench.measurements import MEASUREMENTS, TRIALS
from bench.peers.peer import PeerOutcome, measure_peers, peers_as_json
from bench.processes import ROOT
from bench.result_files import save
from bench.runner import NOISY_FROM_CORES, Outcome, Runner
from bench.scale import FULL, QUICK, Scale
from bench.sites import Sites
from bench.trial import Stage, Trial, TrialOutcome
from bench.trial_report import trial_tables, trials_as_json
from bench.verdicts import verdict_table, verdicts, verdicts_as_json


@dataclass(frozen=True, slots=True)
class Done:
    """All outcomes of one run of the benchmark."""

    outcomes: Sequence[Outcome]
    trials: Sequence[TrialOutcome]
    peers: Sequence[PeerOutcome]
    about: dict[str, Any]


def main() -> None:
    options = _options()
    # PostgreSQL is stopped and its data removed, also by `timeout` or a stopped build.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    scale: Scale = FULL if options.full else QUICK
    chosen = chosen_works(options.only, scale)
    settings = dict(setting.split("=", 1) for setting in options.set)
    started_at, busy_cores = datetime.now(UTC), machine.busy_cores()
    _tell(_announcement(scale, chosen, peers=options.peers))
    if busy_cores > NOISY_FROM_CORES:
        _tell(f"warning: the machine is busy (load average {busy_cores:.1f}): expect noise")
    done = _measured(scale, chosen, settings, peers=options.peers)
    found = verdicts(done.outcomes, done.trials, done.peers)
    tables = [report.tables(done.outcomes)] if done.outcomes else []
    tables += [trial_tables(done.trials)] if done.trials else []
    tables += [f"Everything beside its goal\n{verdict_table(found)}"]
    print("\n\n".join(tables))
    result = {
        "started_at": started_at.isoformat(timespec="seconds"),
        "mode": scale.name,
        "rounds": scale.rounds,
        "seconds_a_run": scale.timing.duration_s,
        "rounds_of_trials": scale.trial_rounds,
        "seconds_a_paced_run": scale.live_timing.duration_s,
        "stored_events": scale.filled.events,
        "load_average_before": busy_cores,
        "service_settings": settings,
        **done.about,
        "verdicts": verdicts_as_json(found),
        "measurements": report.as_json(done.outcomes),
        "trials": trials_as_json(done.trials),
        "peers": peers_as_json(done.peers),
    }
    # A part does not take the place of the whole.
    parts = options.only or []
    name = "-".join([scale.name, *(parts if len(parts) <= 2 else ["part"])])
    files = save(result, found, started_at=started_at, name=name, keep=options.keep)
    names = ", ".join(str(file.relative_to(ROOT)) for file in files)
    took_s = (datetime.now(UTC) - started_at).total_seconds()
    print(f"\n{_footnote(scale, [*done.outcomes, *done.trials])}\nTook {took_s:.0f} s. {names}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the service against bare PostgreSQL on this machine: "
        "docs/benchmarks/README.md.",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="under 2 minutes; the default")
    length.add_argument(
        "--full", action="store_true", help="about 50 minutes, 20 GiB of disk: figures to cite"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[*(work.slug for work in MEASUREMENTS), *(work.slug for work in TRIALS)],
        help="measure this alone; may be repeated",
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="other event stores too; installs their packages into .data/bench-peers",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="start the service with this setting; may be repeated",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave the result in docs/benchmarks instead of .data/bench-results",
    )
    return parser.parse_args()


def _setting(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return text


def chosen_works(only: Sequence[str] | None, scale: Scale) -> list[Measurement | Trial]:
    """In the order in which they are measured, with those that others need."""
    works: list[Measurement | Trial] = [*MEASUREMENTS, *TRIALS]
    slugs = set(only) if only else {work.slug for work in works} - scale.left_out
    for trial in TRIALS:
        slugs |= trial.needs if trial.slug in slugs else frozenset()
    return [work for work in works if work.slug in slugs]


def _announcement(scale: Scale, chosen: Sequence[Measurement | Trial], *, peers: bool) -> str:
    slugs = [work.slug for work in chosen] + (["other event stores"] if peers else [])
    text = f"{scale.name} mode: {', '.join(slugs)}"
    left_out = sorted(scale.left_out - set(slugs))
    return text + (f"\nleft out: {', '.join(left_out)}" if left_out else "")


def _measured(
    scale: Scale, chosen: Sequence[Measurement | Trial], settings: dict[str, str], *, peers: bool
) -> Done:
    outcomes: list[Outcome] = []
    trials: list[TrialOutcome] = []
    with (
        running_cluster(ROOT / ".data", _tell) as cluster,
        Sites(cluster, scale, settings) as sites,
    ):
        about = _about(cluster)
        runner = Runner(sites, scale, _tell)
        for work in chosen:
            if isinstance(work, Measurement):
                outcomes.append(runner.outcome(work))
            else:
                trials.append(_trial_outcome(work, Stage(cluster, scale, sites, outcomes)))
        return Done(outcomes, trials, measure_peers(cluster, scale) if peers else [], about)


def _about(cluster: Cluster) -> dict[str, Any]:
    return {
        "machine": machine.machine(cluster.data_dir),
        "versions": machine.versions(cluster.value("SHOW server_version")),
        "durability": cluster.durability(),
    }


def _trial_outcome(trial: Trial, stage: Stage) -> TrialOutcome:
    done = []
    for number in range(1, stage.scale.trial_rounds + 1):
        _tell(f"{trial.name}: round {number} of {stage.scale.trial_rounds}")
        done.append(trial.round(stage))
    return TrialOutcome(trial, done)


def _footnote(scale: Scale, outcomes: Sequence[Outcome | TrialOutcome]) -> str:
    text = (
        f"Medians of {scale.rounds} runs of {scale.timing.duration_s:g} s each, service and "
        f"reference in turns; trials of several figures: {scale.trial_rounds}, where paced of "
        f"{scale.live_timing.duration_s:g} s."
    )
    if any(outcome.is_noisy for outcome in outcomes):
        text += f" ? = others used over {NOISY_FROM_CORES} cores meanwhile: measure again."
    return text


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

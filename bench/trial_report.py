"""The figures of trials as tables for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.figures import Spread
from bench.report import aligned, number
from bench.trial import FigureOfRounds, TrialOutcome

HEADINGS = (
    "figure",
    "unit",
    "value",
    "(min–max)",
    "reference",
    "(min–max)",
    "ratio",
    "goal",
    "met",
)


def trial_tables(outcomes: Sequence[TrialOutcome]) -> str:
    """What the benchmark prints: one table a trial."""
    return "\n\n".join(map(_table, outcomes))


def _table(outcome: TrialOutcome) -> str:
    trial = outcome.trial
    cores = ", ".join(f"{name} {used:.2f}" for name, used in outcome.cores.items())
    return (
        f"{trial.name}{' ?' if outcome.is_noisy else ''}\n"
        f"reference: {trial.reference}\n"
        + aligned([HEADINGS, *map(_row, outcome.figures)])
        + f"\nCPU cores: {cores}"
    )


def _row(figure: FigureOfRounds) -> tuple[str, ...]:
    reference = ("–", "–") if figure.reference is None else _spread(figure.reference)
    return (
        figure.name,
        figure.unit,
        *_spread(figure.value),
        *reference,
        "–" if figure.ratio is None else f"{figure.ratio:.2f}",
        "–" if figure.goal is None else str(figure.goal),
        {None: "–", True: "yes", False: "NO"}[figure.is_met],
    )


def _spread(spread: Spread) -> tuple[str, str]:
    return number(spread.median), f"({number(spread.min)}–{number(spread.max)})"


def trials_as_json(outcomes: Sequence[TrialOutcome]) -> list[dict[str, Any]]:
    """What is kept: each figure over the rounds, and all rounds."""
    return [
        {
            "work": outcome.trial.slug,
            "name": outcome.trial.name,
            "reference": outcome.trial.reference,
            "is_noisy": outcome.is_noisy,
            "cores": outcome.cores,
            "memory": asdict(outcome.memory),
            "figures": [
                {
                    "name": figure.name,
                    "unit": figure.unit,
                    "value": asdict(figure.value),
                    "reference": None if figure.reference is None else asdict(figure.reference),
                    "ratio": figure.ratio,
                    "goal": None if figure.goal is None else str(figure.goal),
                    "is_met": figure.is_met,
                }
                for figure in outcome.figures
            ],
            "rounds": [
                {
                    "cores": dict(round_.cores),
                    "memory": asdict(round_.memory),
                    "figures": {
                        figure.name: {"value": figure.value, "reference": figure.reference}
                        for figure in round_.figures
                    },
                }
                for round_ in outcome.rounds
            ],
        }
        for outcome in outcomes
    ]

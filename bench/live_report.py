"""The figures of the live feed as tables for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.figures import Spread
from bench.live import FigureOfRounds, LiveOutcome
from bench.report import aligned

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


def live_tables(outcomes: Sequence[LiveOutcome]) -> str:
    """What the benchmark prints: one table a measurement."""
    return "\n\n".join(map(_table, outcomes))


def _table(outcome: LiveOutcome) -> str:
    measurement = outcome.measurement
    cores = ", ".join(f"{name} {used:.2f}" for name, used in outcome.cores.items())
    return (
        f"{measurement.name}{' ?' if outcome.is_noisy else ''}\n"
        f"reference: {measurement.reference}\n"
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
    return _number(spread.median), f"({_number(spread.min)}–{_number(spread.max)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1_000 else f"{value:,.2f}"


def live_as_json(outcomes: Sequence[LiveOutcome]) -> list[dict[str, Any]]:
    """What is kept: each figure over the rounds, and all rounds."""
    return [
        {
            "work": outcome.measurement.slug,
            "name": outcome.measurement.name,
            "reference": outcome.measurement.reference,
            "is_noisy": outcome.is_noisy,
            "cores": outcome.cores,
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

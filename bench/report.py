"""The result as tables for people and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from bench.figures import Spread
from bench.runner import Outcome

RATES = ("work", "unit", "rate", "(min–max)", "reference", "rate", "(min–max)", "ratio", "goal")
DETAILS = ("work", "p50 ms", "p99 ms", "reference p50", "p99", "memory MiB", "peak", "end")
CORES = (
    "work",
    "generator",
    "service",
    "postgresql",
    "others",
    "echo rate",
    "x",
    "generator",
    "alone",
    "x",
)


def tables(outcomes: Sequence[Outcome]) -> str:
    """What the benchmark prints."""
    return "\n\n".join(
        (
            "Rates (reference: the same work on the same server without the service)\n"
            + aligned([RATES, *map(_rates, outcomes)]),
            "Latency of a request (medians of the runs); memory of the service: after the first "
            "warm-up, at most, at the end\n" + aligned([DETAILS, *map(_details, outcomes)]),
            "CPU cores in use while the service was measured; what the generator reaches against a "
            "bare ASGI echo, and would alone, of its CPU time there\n"
            + aligned([CORES, *map(_cores, outcomes)]),
        )
    )


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell: the first to the left, and whatever is no number."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if _is_number(column) else cell.ljust(width)
            for cell, width, column in zip(row, widths, zip(*rows[1:], strict=True), strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_number(column: Sequence[str]) -> bool:
    return all(cell.lstrip("-")[:1].isdigit() or cell == "–" for cell in column)


def number(value: float) -> str:
    """With two decimals where these tell something."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.2f}"


def _rates(outcome: Outcome) -> tuple[str, ...]:
    measurement = outcome.measurement
    return (
        measurement.name,
        measurement.unit,
        *_spread(outcome.rate),
        measurement.reference,
        *_spread(outcome.reference_rate),
        # A space instead keeps the figures below each other.
        f"{outcome.ratio:.2f}{'?' if outcome.is_noisy else ' '}",
        "–" if measurement.goal is None else str(measurement.goal),
    )


def _spread(rate: Spread) -> tuple[str, str]:
    return f"{rate.median:,.0f}", f"({rate.min:,.0f}–{rate.max:,.0f})"


def _details(outcome: Outcome) -> tuple[str, ...]:
    return (
        outcome.measurement.name,
        f"{median(service.run.p50_ms for service in outcome.service):.2f}",
        f"{median(service.run.p99_ms for service in outcome.service):.2f}",
        f"{median(reference.p50_ms for reference in outcome.reference):.2f}",
        f"{median(reference.p99_ms for reference in outcome.reference):.2f}",
        *(
            f"{count / 2**20:.0f}"
            for count in (
                outcome.memory.settled_bytes,
                outcome.memory.peak_bytes,
                outcome.memory.end_bytes,
            )
        ),
    )


def _cores(outcome: Outcome) -> tuple[str, ...]:
    used = (
        median(service.cores[name] for service in outcome.service)
        for name in ("generator", "service", "postgresql", "others")
    )
    return (
        outcome.measurement.name,
        *(f"{cores:.2f}" for cores in used),
        f"{outcome.echo.rate:,.0f}",
        f"{outcome.echo.rate / outcome.rate.median:.1f}",
        f"{outcome.echo_generator_cores:.2f}",
        f"{outcome.generator_rate:,.0f}",
        f"{outcome.generator_rate / outcome.rate.median:.1f}",
    )


def as_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One object a measurement, with the figures of each single run."""
    return list(_objects(outcomes))


def _objects(outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    for outcome in outcomes:
        measurement = outcome.measurement
        yield {
            "work": measurement.slug,
            "name": measurement.name,
            "unit": measurement.unit,
            "connections": measurement.connections,
            "rate": asdict(outcome.rate),
            "reference": measurement.reference,
            "reference_rate": asdict(outcome.reference_rate),
            "ratio": outcome.ratio,
            "is_noisy": outcome.is_noisy,
            "ratio_of_rounds": asdict(outcome.ratio_of_rounds),
            "goal": None if measurement.goal is None else str(measurement.goal),
            "memory": asdict(outcome.memory),
            "service_runs": [
                {
                    **asdict(service.run),
                    "memory": asdict(service.memory),
                    "cores": service.cores,
                }
                for service in outcome.service
            ],
            "reference_runs": [asdict(reference) for reference in outcome.reference],
            "echo": {**asdict(outcome.echo), "generator_cores": outcome.echo_generator_cores},
            "generator_rate": outcome.generator_rate,
        }

"""Every figure that has a goal, and every rate: what the benchmark says in the end."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench import goals
from bench.goals import Goal
from bench.memory import MemoryUse
from bench.peers.peer import PeerOutcome
from bench.report import aligned, number
from bench.runner import Outcome
from bench.trial import Trial, TrialOutcome

HEADINGS: Final = ("work", "figure", "value", "unit", "reference", "ratio", "goal", "verdict")
_SHORT: Final = {"single-64": "single appends", "batch-8": "batches of 100", "feed": "feed"}
"""What other event stores are measured with."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure, and whether it is as it is wanted to be."""

    work: str
    """The measurement's name for --only; of memory: "memory"."""
    figure: str
    label: str
    """Of both, for the chart."""
    unit: str
    value: float
    reference: float | None
    goal: Goal | None
    is_met: bool | None
    """None: no goal is set."""
    is_noisy: bool = False
    """Others used so much of the machine meanwhile that the figure tells little."""

    @property
    def word(self) -> str:
        """Met or not, with a question mark where it is not to be trusted."""
        word = {None: "–", True: "met", False: "NOT MET"}[self.is_met]
        return f"{word} ?" if self.is_noisy else word

    @property
    def ratio(self) -> float | None:
        """Where it is what is looked at."""
        if self.goal is not None and not self.goal.of_ratio:
            return None
        if self.reference is None or min(self.value, self.reference) <= 0:
            return None
        return self.value / self.reference


def verdicts(
    outcomes: Sequence[Outcome], trials: Sequence[TrialOutcome], peers: Sequence[PeerOutcome]
) -> list[Verdict]:
    """In the order in which they are measured, the memory behind the service's own."""
    uses = [(outcome.measurement.slug, outcome.memory) for outcome in outcomes]
    uses += [(outcome.trial.slug, outcome.memory) for outcome in trials]
    return [
        *map(_of_rate, outcomes),
        *(verdict for outcome in trials for verdict in _of_trial(outcome)),
        *of_memory(uses),
        *(verdict for peer in peers for verdict in _of_peer(peer, outcomes)),
    ]


def _of_rate(outcome: Outcome) -> Verdict:
    measurement, goal = outcome.measurement, outcome.measurement.goal
    value, reference = outcome.rate.median, outcome.reference_rate.median
    return Verdict(
        measurement.slug,
        measurement.name,
        measurement.name,
        measurement.unit,
        value,
        reference,
        goal,
        None if goal is None else goal.is_met(value, reference),
        outcome.is_noisy,
    )


def _of_trial(outcome: TrialOutcome) -> Iterator[Verdict]:
    """Of its many figures only those with a goal: the others stand in its table."""
    for figure in outcome.figures:
        if figure.goal is None:
            continue
        yield Verdict(
            outcome.trial.slug,
            figure.name,
            _label(outcome.trial, figure.name),
            figure.unit,
            # As is_met: nothing may be lost in any round.
            figure.value.max if figure.goal.sign == "=" else figure.value.median,
            None if figure.reference is None else figure.reference.median,
            figure.goal,
            figure.is_met,
            outcome.is_noisy,
        )


def _label(trial: Trial, figure: str) -> str:
    # The figures of some are works of their own.
    return figure if trial.slug == "size" else f"{trial.label}: {figure}"


def of_memory(uses: Sequence[tuple[str, MemoryUse]]) -> Iterator[Verdict]:
    """The highest memory of all works, and the one that grew most, by work."""
    if not uses:
        return
    work, use = max(uses, key=lambda named: named[1].peak_bytes)
    # The goal is in MB of a million bytes; it would be easier to meet in MiB.
    highest_mb = use.peak_bytes / 1e6
    yield Verdict(
        "memory",
        f"the highest, in {work}",
        f"memory, the highest: {work}",
        "MB",
        highest_mb,
        None,
        goals.MEMORY_MB,
        goals.MEMORY_MB.is_met(highest_mb),
    )
    work, use = max(uses, key=lambda named: named[1].growth)
    yield Verdict(
        "memory",
        f"end / warmed up, most in {work}",
        f"memory, most growth: {work}",
        "",
        use.growth,
        None,
        goals.MEMORY_GROWTH,
        goals.MEMORY_GROWTH.is_met(use.growth),
    )


def _of_peer(peer: PeerOutcome, outcomes: Iterable[Outcome]) -> Iterator[Verdict]:
    """The service over HTTP beside the other one, which is called in the process of the load."""
    for outcome in outcomes:
        rate = peer.rates.get(outcome.measurement.slug)
        if rate is not None:
            value = outcome.rate.median
            yield Verdict(
                outcome.measurement.slug,
                f"beside {peer.title}",
                f"{_SHORT[outcome.measurement.slug]}: {peer.title}",
                outcome.measurement.unit,
                value,
                rate.median,
                goals.PEERS,
                goals.PEERS.is_met(value, rate.median),
                outcome.is_noisy,
            )


def verdict_table(found: Sequence[Verdict]) -> str:
    """What is printed last: one row a figure."""
    return aligned([HEADINGS, *map(_row, found)])


def _row(verdict: Verdict) -> tuple[str, ...]:
    ratio = verdict.ratio
    return (
        verdict.work,
        verdict.figure,
        number(verdict.value),
        verdict.unit,
        "–" if verdict.reference is None else number(verdict.reference),
        "–" if ratio is None else f"{ratio:.2f}",
        "–" if verdict.goal is None else str(verdict.goal),
        verdict.word,
    )


def verdicts_as_json(found: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What is kept."""
    return [
        {
            **asdict(verdict),
            "ratio": verdict.ratio,
            "goal": None if verdict.goal is None else str(verdict.goal),
        }
        for verdict in found
    ]

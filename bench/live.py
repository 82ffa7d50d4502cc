"""What the measurements of the live feed have: several figures each, beside a reference each."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Literal

from bench.cluster import Cluster
from bench.figures import Spread, Timing
from bench.processes import Server, running_service
from bench.runner import NOISY_FROM_CORES


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is wanted to be, or its ratio to the reference."""

    sign: Literal["<", "≥", "="]
    bound: float
    of_ratio: bool = False

    def is_met(self, value: float, reference: float | None) -> bool:
        if self.of_ratio:
            assert reference is not None
            value /= reference
        match self.sign:
            case "<":
                return value < self.bound
            case "≥":
                return value >= self.bound
            case "=":
                return value == self.bound

    def __str__(self) -> str:
        return f"{'ratio ' if self.of_ratio else ''}{self.sign} {self.bound:g}"


NONE_LOST = Goal("=", 0)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one round; the reference is from the same round, where there is one."""

    name: str
    unit: str
    value: float
    reference: float | None = None
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class LiveRound:
    """What one round has given; each round gives the same figures in the same order."""

    figures: Sequence[Figure]
    cores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FigureOfRounds:
    """A figure over all rounds."""

    name: str
    unit: str
    value: Spread
    reference: Spread | None
    goal: Goal | None

    @classmethod
    def of(cls, rounds: Sequence[Figure]) -> "FigureOfRounds":
        first = rounds[0]
        references = [figure.reference for figure in rounds if figure.reference is not None]
        return cls(
            first.name,
            first.unit,
            Spread.of([figure.value for figure in rounds]),
            Spread.of(references) if references else None,
            first.goal,
        )

    @property
    def ratio(self) -> float | None:
        """Of the medians; None: there is none, since one of them is none or not above zero."""
        if self.reference is None or min(self.value.median, self.reference.median) <= 0:
            return None
        return self.value.median / self.reference.median

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None: none is set. Nothing may be lost in any round."""
        if self.goal is None:
            return None
        value = self.value.max if self.goal.sign == "=" else self.value.median
        return self.goal.is_met(value, None if self.reference is None else self.reference.median)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a round takes place."""

    cluster: Cluster
    timing: Timing
    service_settings: Mapping[str, str]

    def copy_of(self, template: str) -> AbstractContextManager[str]:
        """A database of its own."""
        return self.cluster.copy_of(template)

    def service(self, database: str) -> AbstractContextManager[Server]:
        """An instance of the service on it."""
        return running_service(self.cluster.socket_dir, database, self.service_settings)


class LiveMeasurement(ABC):
    """One table."""

    slug: str
    name: str
    reference: str
    """What does the same without the service, or without what is measured."""

    @abstractmethod
    def round(self, stage: Stage) -> LiveRound:
        """Measure once: the service, and the reference after it."""


@dataclass(frozen=True, slots=True)
class LiveOutcome:
    """All rounds of a measurement."""

    measurement: LiveMeasurement
    rounds: Sequence[LiveRound]

    @property
    def figures(self) -> Iterator[FigureOfRounds]:
        for rounds in zip(*(round_.figures for round_ in self.rounds), strict=True):
            yield FigureOfRounds.of(rounds)

    @property
    def cores(self) -> dict[str, float]:
        """Medians."""
        return {
            name: median(round_.cores[name] for round_ in self.rounds)
            for name in self.rounds[0].cores
        }

    @property
    def is_noisy(self) -> bool:
        """Whether something else took so much of the machine that the figures tell little."""
        return self.cores["others"] > NOISY_FROM_CORES

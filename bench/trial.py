"""What measurements with several figures have: each figure beside a reference, and its goal."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median

from bench.cluster import Cluster
from bench.figures import Spread
from bench.goals import Goal
from bench.memory import MemoryUse
from bench.processes import Server
from bench.runner import NOISY_FROM_CORES, Outcome
from bench.scale import Scale
from bench.sites import Sites
from bench.stores import Store


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one round; the reference is from the same round, where there is one."""

    name: str
    unit: str
    value: float
    reference: float | None = None
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class TrialRound:
    """What one round has given; each round gives the same figures in the same order."""

    figures: Sequence[Figure]
    cores: Mapping[str, float]
    memory: MemoryUse


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
    scale: Scale
    sites: Sites
    outcomes: Sequence[Outcome]
    """What has been measured before in this run."""

    def copy_of(self, store: Store) -> AbstractContextManager[str]:
        """A database of its own."""
        return self.cluster.copy_of(store)

    def service(self, database: str) -> AbstractContextManager[Server]:
        """An instance of the service on it."""
        return self.sites.service(database)


class Trial(ABC):
    """One table."""

    slug: str
    name: str
    label: str
    """The name in a few words, for the chart."""
    reference: str
    """What does the same without the service, or without what is measured."""
    needs: frozenset[str] = frozenset()
    """Other measurements that go before it."""

    @abstractmethod
    def round(self, stage: Stage) -> TrialRound:
        """Measure once: the service, and the reference after it."""


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """All rounds of a trial."""

    trial: Trial
    rounds: Sequence[TrialRound]

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
    def memory(self) -> MemoryUse:
        """Over all rounds."""
        return MemoryUse.over([round_.memory for round_ in self.rounds])

    @property
    def is_noisy(self) -> bool:
        """Whether something else took so much of the machine that the figures tell little."""
        return self.cores["others"] > NOISY_FROM_CORES

"""Reads `/metrics`, as Prometheus does."""

from collections.abc import Mapping
from types import MappingProxyType

import httpx
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, frozenset[tuple[str, str]]]
NO_LABELS: Mapping[str, str] = MappingProxyType({})


class Scrape:
    """What one answer of `/metrics` tells."""

    def __init__(self, text: str) -> None:
        self.families: list[Metric] = list(text_string_to_metric_families(text))
        self._values: dict[Series, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    @property
    def names(self) -> set[str]:
        """The names of all series."""
        return {name for name, _ in self._values}

    def get(self, name: str, **labels: str) -> float | None:
        """The value of a series; None: it is absent."""
        return self._values.get((name, frozenset(labels.items())))

    def __call__(self, name: str, **labels: str) -> float:
        """The value of a series; a count that is absent has not begun."""
        value = self.get(name, **labels)
        return 0.0 if value is None else value


async def scrape(client: httpx.AsyncClient) -> Scrape:
    """Ask a service for its metrics."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)

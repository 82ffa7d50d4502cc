"""The text that Prometheus reads."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from app.metrics.instruments import Instrument

METRICS_MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class _Instruments(Collector):
    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._instruments = instruments

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        for instrument in self._instruments:
            family = instrument.family()
            if family.samples:
                yield family


def exposition(instruments: Iterable[Instrument]) -> bytes:
    """What the instruments hold, in Prometheus' text format; nothing of those that are empty."""
    registry = CollectorRegistry()
    registry.register(_Instruments(instruments))
    return generate_latest(registry)

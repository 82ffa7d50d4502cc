import signal
from collections.abc import Iterator

import pytest

from app.cli.signals import STOP_SIGNALS, Impatient, StopSignals


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nothing_stays_when_nothing_came() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_is_noted_and_ends_nothing(number: signal.Signals) -> None:
    with StopSignals() as signals:
        stopped: list[bool] = []
        signals.on_stop = lambda: stopped.append(True)
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert signals.count == 2
        assert stopped
    signal.raise_signal(number)


def test_only_the_second_one_interrupts_and_only_once() -> None:
    with StopSignals() as signals:
        signals.may_interrupt = True
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Impatient):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


def test_nohup_is_respected() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert signals.count == 0

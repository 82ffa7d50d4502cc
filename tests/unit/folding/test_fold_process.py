"""app.folding.process: a process of its own, bounded, and there again after whatever happens."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from app.errors import FoldFailed, FoldUnavailable, InvalidInput
from app.folding import process
from app.folding.messages import LENGTH
from app.folding.process import FoldProcess
from tests.integration.support import until
from tests.unit.folding.events import PLACE, history, jsonata, merge, recorded, reducer

SUM = jsonata("{'sum': state.sum + event.event_data.n}", initial={"sum": 0})
# Neither steps nor depth nor sizes bound it.
BACK_AND_FORTH = "$match('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab', /(a*)*c/)"
# A few tenths of a second.
SLOW = "$sum($map([1..200000], function($n) { $n * 2 }))"


@pytest.fixture
async def folds() -> AsyncIterator[FoldProcess]:
    folds = FoldProcess(max_event_cpu_s=1)
    yield folds
    await folds.stop()


def pid_of(folds: FoldProcess) -> int:
    assert folds._process is not None
    return folds._process.pid


async def assert_folds(folds: FoldProcess) -> None:
    assert await folds.fold(SUM, None, history({"n": 1}, {"n": 2})) == b'{"sum":3}'


async def test_both_kinds_fold_from_the_start_and_from_a_state(folds: FoldProcess) -> None:
    events = history(*({"n": number} for number in range(2_500)))
    assert await folds.fold(SUM, None, events) == b'{"sum":%d}' % sum(range(2_500))
    assert await folds.fold(SUM, b'{"sum": 0}', events[2_000:]) == b'{"sum":%d}' % (
        sum(range(2_000, 2_500))
    )
    assert await folds.fold(merge(v="version"), None, events) == b'{"n":2499,"v":2500}'
    assert await folds.fold(merge(), b'{"a": 1}', []) == b'{"a": 1}'


async def test_an_expression_that_does_not_parse_is_refused_with_its_place(
    folds: FoldProcess,
) -> None:
    await folds.check(merge(), PLACE)
    await folds.check(SUM, PLACE)
    for expression in ("1 +", "foo(", "'a", "{", "(" * 50_000, "[" * 30_000, "-" * 60_000):
        wrong = reducer(kind="jsonata", on={"A": "1", "B": expression, "C": "2"})
        with pytest.raises(InvalidInput) as refused:
            await folds.check(wrong, PLACE)
        assert refused.value.place == "$.reducer.on.B"
        assert refused.value.reason
    await assert_folds(folds)


async def test_a_failure_names_its_event_and_spares_the_process(folds: FoldProcess) -> None:
    await assert_folds(folds)
    pid = pid_of(folds)
    events = history(*({"n": number} for number in (1, "x", 3)))
    with pytest.raises(FoldFailed) as failed:
        await folds.fold(SUM, None, events)
    error = failed.value
    assert (error.version, error.event_id, error.event_type) == (2, events[1].event_id, "Paid")
    assert (error.aggregate_type, error.aggregate_id) == ("Order", "ord-1")
    assert "must evaluate to a number" in error.reason
    await assert_folds(folds)
    assert pid_of(folds) == pid


async def test_what_goes_on_and_on_ends_the_process_and_is_named(folds: FoldProcess) -> None:
    only_second = jsonata(f"event.version = 2 ? {BACK_AND_FORTH} : 7")
    with pytest.raises(FoldFailed, match="processor time") as failed:
        await folds.fold(only_second, None, history({}, {}, {}))
    assert failed.value.version == 2
    await assert_folds(folds)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
async def test_what_breaks_the_process_is_named(folds: FoldProcess, number: signal.Signals) -> None:
    """As an engine ends that has no stack or no memory left."""
    await folds.fold(SUM, None, history({"n": 1}))
    only_second = jsonata(f"event.version = 2 ? {BACK_AND_FORTH} : 7")

    async def is_at_second() -> bool:
        assert folds._progress is not None
        return bool(LENGTH.unpack_from(folds._progress)[0] == 2)

    folding = asyncio.create_task(folds.fold(only_second, None, history({}, {}, {})))
    await until(is_at_second)
    os.kill(pid_of(folds), number)
    with pytest.raises(FoldFailed, match="takes more memory than there is") as failed:
        await folding
    assert failed.value.version == 2
    await assert_folds(folds)


@pytest.mark.skipif(sys.platform == "darwin", reason="it bounds no memory")
async def test_memory_is_bounded(folds: FoldProcess) -> None:
    await assert_folds(folds)
    soft, hard = psutil.Process(pid_of(folds)).rlimit(psutil.RLIMIT_AS)
    assert soft == hard == 1024 * 1024 * 1024
    # Each of a million objects takes a multiple of what its text takes, and there are five lists.
    many = "[1..1000000].{'a': {'b': {}}}"
    with pytest.raises(FoldFailed):
        await folds.fold(jsonata(f"[{','.join([many] * 5)}]"), None, history({}))
    await assert_folds(folds)


async def test_a_process_that_was_killed_is_started_again(folds: FoldProcess) -> None:
    await assert_folds(folds)
    for number in range(3):
        pid = pid_of(folds)
        os.kill(pid, signal.SIGKILL)
        if number:
            await asyncio.sleep(0.1)
        await assert_folds(folds)
        assert pid_of(folds) != pid


async def test_one_that_breaks_while_it_has_nothing_to_do_is_no_fault_of_the_next_events(
    folds: FoldProcess,
) -> None:
    await folds.fold(SUM, None, history(*({"n": number} for number in range(100))))
    # So that it breaks only when it goes on, with the next request already on its way.
    os.kill(pid_of(folds), signal.SIGSTOP)
    os.kill(pid_of(folds), signal.SIGSEGV)
    folding = asyncio.create_task(assert_folds(folds))
    await asyncio.sleep(0.1)
    os.kill(pid_of(folds), signal.SIGCONT)
    await folding


async def test_one_that_is_killed_while_it_folds_is_no_fault_of_the_events(
    folds: FoldProcess,
) -> None:
    await assert_folds(folds)
    pid = pid_of(folds)
    # Of twenty, so that it is at it when it is killed, however fast the machine is.
    folding = asyncio.create_task(folds.fold(jsonata(SLOW), None, history(*[{}] * 20)))
    await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    assert await folding == b"40000200000"
    assert not psutil.pid_exists(pid)


async def test_a_call_that_is_given_up_leaves_the_next_one_its_own_answer(
    folds: FoldProcess,
) -> None:
    await assert_folds(folds)
    folding = asyncio.create_task(folds.fold(jsonata(BACK_AND_FORTH), None, history({})))
    await asyncio.sleep(0.1)
    folding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await folding
    started = time.monotonic()
    await assert_folds(folds)
    assert time.monotonic() - started < 1.5


async def test_a_long_fold_lets_others_in_between(
    folds: FoldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = jsonata("($sum($map([1..60000], function($n) { $n * 2 })); state)")
    events = history(*[{}] * 30)
    done: list[str] = []

    async def fold(name: str) -> None:
        if name == "long":
            await folds.fold(slow, None, events)
        else:
            await assert_folds(folds)
        done.append(name)

    await assert_folds(folds)
    long = asyncio.create_task(fold("long"))
    await asyncio.sleep(0)
    await asyncio.gather(long, fold("short"), fold("short"))
    assert done == ["short", "short", "long"]


async def test_a_state_over_16_mib_is_refused(folds: FoldProcess) -> None:
    events = [recorded(n, {str(n): "x" * 5_000_000}) for n in range(1, 5)]
    with pytest.raises(FoldFailed, match="over 16777216 bytes") as failed:
        await folds.fold(merge(), None, events)
    assert failed.value.version == 4
    state = await folds.fold(merge(), None, events[:3])
    assert len(json.loads(state)) == 3


async def test_silence_is_no_fault_of_the_events(
    folds: FoldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await assert_folds(folds)
    pid = pid_of(folds)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(process, "ANSWER_TIMEOUT_S", 0.1)
    with pytest.raises(FoldUnavailable, match="has not answered"):
        await assert_folds(folds)
    assert not psutil.pid_exists(pid)
    monkeypatch.undo()
    await assert_folds(folds)


async def test_more_calls_than_can_wait_are_refused(
    folds: FoldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MAX_WAITING", 2)
    answers = await asyncio.gather(*[assert_folds(folds) for _ in range(3)], return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), type(None), FoldUnavailable]
    await assert_folds(folds)


async def test_one_that_waits_long_for_its_turn_is_refused(
    folds: FoldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await assert_folds(folds)
    slow = asyncio.create_task(folds.fold(jsonata(BACK_AND_FORTH), None, history({})))
    await asyncio.sleep(0.05)
    monkeypatch.setattr(process, "TURN_TIMEOUT_S", 0.1)
    with pytest.raises(FoldUnavailable, match="takes too long"):
        await assert_folds(folds)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    await assert_folds(folds)


async def test_one_that_cannot_be_started_is_unavailable(
    folds: FoldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FoldUnavailable, match="cannot be started"):
        await assert_folds(folds)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(FoldUnavailable):
        await assert_folds(folds)
    monkeypatch.undo()
    await assert_folds(folds)


async def test_stop_ends_the_process_and_what_it_does(folds: FoldProcess) -> None:
    await assert_folds(folds)
    pid = pid_of(folds)
    folding = asyncio.create_task(folds.fold(jsonata(BACK_AND_FORTH), None, history({})))
    await asyncio.sleep(0.1)
    await folds.stop()
    with pytest.raises(FoldUnavailable):
        await folding
    assert not psutil.pid_exists(pid)
    with pytest.raises(FoldUnavailable):
        await assert_folds(folds)
    # Nothing is left for the garbage collector to complain of.
    gc.collect()


async def test_what_takes_long_is_not_waited_for_after_close(
    folds: FoldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CLOSE_S", 0.2)
    await assert_folds(folds)
    calls = [
        asyncio.create_task(folds.fold(jsonata(BACK_AND_FORTH), None, history({})))
        for _ in range(3)
    ]
    await asyncio.sleep(0.05)
    folds.close()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in ended] == [FoldUnavailable] * 3


PARENT = """
import asyncio, os, signal, sys
from app.folding.process import FoldProcess
from tests.unit.folding.events import history, merge

async def main():
    folds = FoldProcess()
    await folds.fold(merge(), None, history({}))
    # As Ctrl-C in a terminal: to the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.killpg(os.getpgid(0), signal.SIGINT)
    await asyncio.sleep(0.1)
    pid = folds._process.pid
    await folds.fold(merge(), None, history({}))
    assert folds._process.pid == pid
    print(pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_it_outlives_ctrl_c_and_not_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**os.environ, "DATABASE_PASSWORD": "secret"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        # It has no more of its parent's settings and files than it needs.
        assert "DATABASE_PASSWORD" not in child.environ()
        if sys.platform.startswith("linux"):
            assert child.num_fds() == 5
        parent.kill()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running()


async def test_a_defect_of_the_process_is_logged_in_one_line(
    folds: FoldProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FoldUnavailable):
        await folds.fold(SUM, b'{"s": s3cret}', history({"n": 1}))
    # Also what has been tried a second time.
    for message in caplog.messages:
        said, _, place = message.partition(" at ")
        assert said == "the fold process has ended with 1 msgspec.DecodeError"
        assert "\n" not in place
        assert "app/folding/__main__.py" in place
        assert "s3cret" not in place
    assert len(caplog.messages) == 2
    await assert_folds(folds)

"""Several processes that serve HTTP on the same sockets, and the watch over them.

Not with uvicorn's own supervisor: it asks each worker for a sign of life, and while it waits for
that of one which has just died it heeds no signal; a worker that cannot start is started again for
ever; and when the supervisor is killed its workers live on and keep the port.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from itertools import chain
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from app.cli.http_server import GRACE_S, serve_http
from app.cli.listener import sockets_of_workers
from app.cli.signals import STOP_SIGNALS, StopSignals
from app.logs.setup import open_logs
from app.metrics import share_between_workers, worker_has_ended
from app.settings import Settings

# After its last request a worker still closes its connections to the database.
STOP_TIMEOUT_S = GRACE_S + 10
LOOK_INTERVAL_S = 0.2
RESTART_DELAY_S = 1.0

# Sent to every process of a terminal by Ctrl-C, and when it is closed.
_TERMINAL_SIGNALS = set(STOP_SIGNALS) - {signal.SIGTERM}
_spawn = multiprocessing.get_context("spawn")

logger = logging.getLogger(__name__)


@share_between_workers()
def serve_with_workers(
    settings: Settings,
    sockets: list[socket.socket],
    signals: StopSignals,
    on_up: Callable[[], None],
) -> bool:
    """Serve with ``settings.workers`` processes until a stop signal; False if one cannot start.

    The sockets of a worker that has died stay open: who connects to them meanwhile waits for the
    one that takes its place.
    """
    sockets_of = sockets_of_workers(sockets, settings.workers)
    workers = [_Worker(settings, own) for own in sockets_of]
    is_up = False
    try:
        while not signals.count:
            wait([worker.process.sentinel for worker in workers], timeout=LOOK_INTERVAL_S)
            if not is_up and all(worker.has_started() for worker in workers):
                is_up = True
                on_up()
            for index, worker in enumerate(workers):
                if worker.process.is_alive() or signals.count:
                    continue
                if not is_up:
                    return False
                logger.error(
                    "worker %s has died (%s); it is replaced",
                    worker.process.pid,
                    worker.process.exitcode,
                )
                assert worker.process.pid is not None
                worker_has_ended(worker.process.pid)
                if not worker.has_started():
                    # What kept it from starting may pass, but not within the same instant.
                    time.sleep(RESTART_DELAY_S)
                workers[index] = _Worker(settings, sockets_of[index])
        return True
    finally:
        # Here too, or those who connect from now on would wait for an answer instead of being told.
        for listener in chain.from_iterable(sockets_of):
            listener.close()
        _stop(workers, signals)


class _Worker:
    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        self._has_started = False
        self._starting, its_end = _spawn.Pipe(duplex=False)
        self.process = _spawn.Process(target=_work, args=(settings, sockets, its_end), daemon=True)
        # Started on its own, because that unblocks SIGINT again.
        resource_tracker.ensure_running()
        # Blocked for the worker from its first instruction on: this process tells it to stop.
        signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINAL_SIGNALS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERMINAL_SIGNALS)
            its_end.close()

    def has_started(self) -> bool:
        if not self._has_started and self._starting.poll():
            try:
                self._has_started = self._starting.recv()
            except EOFError:  # it has died before
                return False
        return self._has_started


def _stop(workers: list[_Worker], signals: StopSignals) -> None:
    """Tell the workers to stop and wait for them; time, or a second signal, ends the patience."""
    for worker in workers:
        worker.process.terminate()
    first_signals = signals.count
    give_up_at = time.monotonic() + STOP_TIMEOUT_S
    for worker in workers:
        while worker.process.is_alive():
            if time.monotonic() > give_up_at or signals.count > first_signals:
                # PostgreSQL rolls back what a killed worker had not committed.
                worker.process.kill()
            worker.process.join(LOOK_INTERVAL_S)


def _work(settings: Settings, sockets: list[socket.socket], started: Connection) -> None:
    """Run a worker process."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with open_logs(settings), StopSignals() as signals:
        if not serve_http(settings, sockets, signals, lambda: started.send(True)):
            sys.exit(1)


def _end_with(parent: BaseProcess) -> None:
    """End with the parent, however it ends; nobody else would end this process.

    It was killed, or this process would have been told to stop: so at once, as a single process
    would have ended, and the port is free for the next start.
    """
    parent.join()
    os._exit(1)

"""Several processes that serve HTTP on the same sockets, and the watch over them.

Not with uvicorn's own supervisor: it asks each worker for a sign of life, and while it waits for
that of one which has just died it heeds no signal; a worker that cannot start is started again for
ever; and when the supervisor is killed its workers live on and keep the port.
"""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from app.cli.http_server import GRACE_S, serve_http
from app.cli.output import note
from app.cli.signals import StopSignals
from app.settings import Settings

# After its last request a worker still closes its connections to the database.
STOP_TIMEOUT_S = GRACE_S + 10
LOOK_INTERVAL_S = 0.2
RESTART_DELAY_S = 1.0

_spawn = multiprocessing.get_context("spawn")


def serve_with_workers(
    settings: Settings,
    sockets: list[socket.socket],
    signals: StopSignals,
    on_up: Callable[[], None],
) -> bool:
    """Serve with ``settings.workers`` processes until a stop signal; False if one cannot start."""
    workers = [_Worker(settings, sockets) for _ in range(settings.workers)]
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
                note(f"worker {worker.process.pid} has died ({worker.process.exitcode}); replaced")
                if not worker.has_started():
                    # Whatever kept it from starting may pass, but not at once.
                    time.sleep(RESTART_DELAY_S)
                workers[index] = _Worker(settings, sockets)
        return True
    finally:
        _stop(workers, signals)


class _Worker:
    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        self._started, its_end = _spawn.Pipe(duplex=False)
        self.process = _spawn.Process(target=_work, args=(settings, sockets, its_end))
        # A Ctrl-C or a closed terminal signals every process of it. To the workers the signals stay
        # blocked from their first instruction on: this process tells them to stop, and when.
        signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINAL_SIGNALS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERMINAL_SIGNALS)
        its_end.close()

    def has_started(self) -> bool:
        """Whether it has come so far as to accept connections."""
        try:
            return self._started.poll() and ...
        except EOFError:
            return False

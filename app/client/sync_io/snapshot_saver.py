"""Saves snapshots in a thread of its own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from app.client.snapshot_saves import CLOSE_WITHIN_S, AggregateKey, SnapshotSaves


class SnapshotSaver:
    """One thread, which begins with the first save and ends with the client."""

    def __init__(self) -> None:
        self._saves = SnapshotSaves()
        # No daemon: a process that ends without closing its client waits for what was begun.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="eventstore-snapshots")
        self._futures: set[Future[None]] = set()

    def start(self, key: AggregateKey, save: Callable[[], None], rest_s: float = 0.0) -> None:
        """Have a snapshot saved, if none of this aggregate is; ``rest_s``: no other so soon."""
        if not self._saves.begin(key):
            return
        try:
            future = self._thread.submit(self._run, key, save, rest_s)
        except RuntimeError:  # the client has just been closed, or the interpreter is at its end
            self._saves.end(key)
            return
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def close(self) -> None:
        """Wait for what has been begun, for a bounded time."""
        self._saves.close()
        _, unfinished = wait(tuple(self._futures), CLOSE_WITHIN_S)
        self._thread.shutdown(wait=not unfinished, cancel_futures=True)

    def _run(self, key: AggregateKey, save: Callable[[], None], rest_s: float) -> None:
        error: Exception | None = None
        try:
            if self._saves.may_go_on():
                save()
        except Exception as caught:  # noqa: BLE001 - logged: whoever has appended is gone
            error = caught
        finally:
            self._saves.end(key, error, rest_s)

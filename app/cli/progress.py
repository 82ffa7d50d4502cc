"""A progress bar on stderr, for people only: a pipe or a log sees nothing of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bar:
    """How far a command has come, and how many events that were."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._events = 0

    def advance(self, done: int, events: int, total: int | None = None) -> None:
        """Move on by ``done`` of ``total`` (bytes, positions) and by a number of events."""
        self._events += events
        elapsed_s = self._progress.tasks[self._task].elapsed or 0
        rate = self._events / elapsed_s if elapsed_s else 0
        self._progress.update(self._task, advance=done, total=total, events=self._events, rate=rate)


@contextmanager
def progress_of(doing: str, total: int | None = None) -> Iterator[Bar]:
    """Show a bar while the block runs."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[events]:,} events"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # A redirected stdout would get its lines through the bar, re-wrapped.
        redirect_stdout=False,
        disable=not console.is_terminal,
    )
    with progress:
        yield Bar(progress, progress.add_task(doing, total=total, events=0, rate=0))

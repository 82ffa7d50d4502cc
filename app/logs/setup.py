"""Opens the logs of a process: everything that it logs goes to standard error, in one form."""

import asyncio
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from app.logs.line import as_json, as_text, collect
from app.logs.writer import LineWriter
from app.settings import Settings

# uvicorn brings handlers of its own; a second line for each event would be one too many.
UVICORN_LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.error")

logger = logging.getLogger(__name__)


@contextmanager
def open_logs(settings: Settings) -> Iterator[None]:
    """Write all records of this process to standard error until the block ends, and the rest then.

    Everything logs through the standard library; structlog only renders
    (https://www.structlog.org/en/stable/standard-library.html). Warnings are records, too, and what
    nobody has caught. All of it stays so: what comes after the block is lost rather than told in a
    form that nobody bounds.
    """
    writer = LineWriter(None if sys.stderr is None else sys.stderr.fileno())
    writer.setFormatter(formatter(is_json=_is_json(settings)))
    root = logging.getLogger()
    root.handlers = [writer]
    root.setLevel(settings.log_level.upper())
    for name in UVICORN_LOGGERS:
        uvicorn_logger = logging.getLogger(name)
        uvicorn_logger.handlers = []
        uvicorn_logger.propagate = True
    logging.captureWarnings(True)
    threading.excepthook = _log_end_of_thread
    sys.unraisablehook = _log_unraisable
    writer.start()
    try:
        yield
    finally:
        writer.close()


def formatter(*, is_json: bool) -> ProcessorFormatter:
    """What renders a record, of whichever library."""
    render: Processor = as_json if is_json else as_text
    return ProcessorFormatter(processors=[collect, render])


def log_failures_of(loop: asyncio.AbstractEventLoop) -> None:
    """Log what fails in a callback or a task that nobody waits for, without what it works with.

    The loop's own message has the task or callback with all its arguments, which may be payloads
    (https://docs.python.org/3.11/library/asyncio-eventloop.html#error-handling-api).
    """
    loop.set_exception_handler(_log_failure_of_loop)


def _log_failure_of_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # «Exception in callback Append.settle(<Append …>)»
    what = re.split("[(<]", str(context["message"]), maxsplit=1)[0].strip()
    logging.getLogger("asyncio").error("%s", what, exc_info=context.get("exception"))


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    name = None if ended.thread is None else ended.thread.name
    logger.error("the thread %r has ended by a defect", name, exc_info=ended.exc_value)


def _log_unraisable(failed: "sys.UnraisableHookArgs") -> None:
    # Not the object at which it happened: what that has in it would be told.
    logger.error("%s", failed.err_msg or "an exception was ignored", exc_info=failed.exc_value)


def _is_json(settings: Settings) -> bool:
    if settings.log_format is not None:
        return settings.log_format == "json"
    return sys.stderr is None or not sys.stderr.isatty()

"""app.logs.setup: whatever a process has to say goes the same way."""

import asyncio
import json
import logging
import os
import subprocess
import sys

import pytest

from app.logs.setup import log_failures_of

SECRET = "s3cret-value"
PROCESS = f"""
import logging, threading, warnings
from app.logs.setup import open_logs
from app.settings import Settings

def fail():
    raise ValueError({SECRET!r})

class Failing:
    def __del__(self):
        fail()

with open_logs(Settings(_env_file=None, log_level="info")):
    logging.getLogger("uvicorn.error").info("from %s", "uvicorn")
    logging.getLogger("app.some").debug("too little")
    warnings.warn("be warned")
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    Failing()
logging.getLogger("app.some").error("after the end")
"""


def test_a_process_logs_in_one_form() -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS], stderr=subprocess.PIPE, check=True)
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(each["logger"], each["level"]) for each in told] == [
        ("uvicorn.error", "info"),
        ("py.warnings", "warning"),
        ("app.logs.setup", "error"),
        ("app.logs.setup", "error"),
    ]
    assert told[0]["event"] == "from uvicorn"
    assert "UserWarning: be warned" in told[1]["event"]
    assert told[2]["event"] == "the thread 'worker' has ended by a defect"
    assert [each["exception"].split()[0] for each in told[2:]] == ["ValueError", "ValueError"]
    assert SECRET.encode() not in done.stderr


def test_on_a_terminal_it_is_text() -> None:
    ours, theirs = os.openpty()
    try:
        subprocess.run([sys.executable, "-c", PROCESS], stderr=theirs, check=True)
        text = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert " info     uvicorn.error: from uvicorn\r\n" in text


async def test_what_fails_in_the_event_loop_is_logged_without_what_it_works_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(value: str) -> None:
        raise ValueError(value)

    loop = asyncio.get_running_loop()
    log_failures_of(loop)
    loop.call_soon(fail, SECRET)
    await asyncio.sleep(0)
    failed = loop.create_future()
    loop.call_exception_handler({"message": "Task exception was never retrieved", "future": failed})
    failed.cancel()
    told = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    assert told[0][2].startswith("Exception in callback ")
    assert told[1:] == [("asyncio", logging.ERROR, "Task exception was never retrieved")]
    assert SECRET not in told[0][2]
    assert caplog.records[0].exc_info is not None

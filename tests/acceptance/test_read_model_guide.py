"""The programs of the guide run as printed, and do what it says."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.client import EventStoreClient, NewEvent

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "guides" / "read-model.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", GUIDE, re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert set(PROGRAMS) == {"read_model.py", "shop.py"}
    assert GUIDE.count("```python") == len(PROGRAMS)
    for name, program in PROGRAMS.items():
        (tmp_path / name).write_text(program, encoding="utf-8")
    return tmp_path


@contextmanager
def started(folder: Path, program: str, url: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, program],
        cwd=folder,
        env={**os.environ, "EVENTSTORE_URL": url},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def orders(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "orders.db")) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'orders'").fetchone():
            return []
        return database.execute("SELECT * FROM orders ORDER BY order_id").fetchall()


def stop(read_model: "subprocess.Popen[str]") -> None:
    read_model.send_signal(signal.SIGTERM)
    assert read_model.wait(timeout=10) == 0


def test_the_programs_do_what_the_guide_says(folder: Path, service_url: str) -> None:
    with started(folder, "read_model.py", service_url) as read_model:
        with started(folder, "shop.py", service_url) as shop:
            printed = shop.communicate(timeout=60)[0]
        assert shop.returncode == 0
        (row,) = re.findall(r"print\(.*\)  # (\(.*\))", PROGRAMS["shop.py"])
        assert printed.splitlines() == [row, row]
        read_model.kill()

    with EventStoreClient(service_url) as client:
        placed = client.append("Order", "ord-2", [NewEvent("OrderPlaced", {"cents": 7})])
        with started(folder, "read_model.py", service_url) as read_model:
            position = placed.events[0].global_position
            client.get_position("order-list", wait_for=position, wait_s=30)
            stop(read_model)
    everything = [("ord-1", 4548, "paid"), ("ord-2", 7, "placed")]
    assert orders(folder) == everything

    (folder / "orders.db").unlink()
    with started(folder, "read_model.py", service_url) as read_model:
        until = time.monotonic() + 30
        while orders(folder) != everything:
            assert time.monotonic() < until
            time.sleep(0.05)
        stop(read_model)

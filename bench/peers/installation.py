"""The packages of other event stores, in exactly the locked versions, out of the project's way."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

INSTALLS_WITHIN_S: Final = 600.0
_STAMP: Final = "installed.lock"


class NotInstalled(Exception):
    """It cannot be had on this machine; the message says why."""


def install_eventsourcing(source: Path, target: Path) -> list[str]:
    """A virtual environment with the locked packages, and the command that measures with them."""
    lock, python = source / "requirements.txt", target / "bin/python"
    if not _is_installed(lock, target):
        _run(sys.executable, "-m", "venv", "--clear", str(target))
        pip = (str(python), "-m", "pip", "--quiet", "--disable-pip-version-check")
        _run(*pip, "install", "--require-hashes", "-r", str(lock))
        shutil.copyfile(lock, target / _STAMP)
    return [str(python), str(source / "load.py")]


def install_emmett(source: Path, target: Path) -> list[str]:
    """A folder with the locked packages and the program, and the command that runs it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstalled("it needs node and npm")
    lock = source / "package-lock.json"
    if not _is_installed(lock, target):
        target.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(source / name, target / name)
        # None of the packages needs a script of its own to be installed.
        _run(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(target))
        shutil.copyfile(lock, target / _STAMP)
    # Packages are looked for from the folder of the program on.
    shutil.copyfile(source / "load.mjs", target / "load.mjs")
    return [node, str(target / "load.mjs")]


def _is_installed(lock: Path, target: Path) -> bool:
    """Whether the last installation went through, and was of this lock."""
    stamp = target / _STAMP
    return stamp.exists() and stamp.read_bytes() == lock.read_bytes()


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=INSTALLS_WITHIN_S
    )
    if done.returncode != 0:
        raise NotInstalled(f"{Path(command[0]).name} says: {done.stderr.strip()[-500:]}")

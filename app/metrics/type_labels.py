"""Which aggregate types have a label of their own; there may be any number of types."""

import fcntl
import logging
from pathlib import Path

import msgspec

# Each costs Prometheus a few series; all further ones are counted together.
MAX_TYPES = 100
OTHER = "other"

FILE_NAME = "aggregate_types"

logger = logging.getLogger(__name__)


class TypeLabels(dict[str, str]):
    """The label of each type: ``labels[aggregate_type]``.

    The first types that are met have one of their own, for as long as the service runs; all others
    have `OTHER`. Workers agree on which, by a file that they share: else the sum over all of them
    would tell of a type only what those have counted who know it by name.
    """

    def __init__(self, directory: Path | None = None) -> None:
        """``directory``: that of all workers; None: there is one process."""
        super().__init__()
        self._file = None if directory is None else directory / FILE_NAME

    def __missing__(self, aggregate_type: str) -> str:
        """Give a type its label, if there is one left."""
        if len(self) >= MAX_TYPES:
            return OTHER
        names = [aggregate_type]
        if self._file is not None:
            try:
                names = _admitted(self._file, aggregate_type)
            except OSError:
                # No append fails for it: this worker goes by what it has met itself.
                logger.warning("workers cannot agree on the types that they count", exc_info=True)
                self._file = None
        self.update(zip(names, names, strict=True))
        return self.get(aggregate_type, OTHER)


def _admitted(path: Path, aggregate_type: str) -> list[str]:
    """The types of the file, with one more where there was room: a JSON string a line."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        names = [msgspec.json.decode(line, type=str) for line in file]
        if aggregate_type not in names and len(names) < MAX_TYPES:
            file.write(msgspec.json.encode(aggregate_type) + b"\n")
            names.append(aggregate_type)
    return names

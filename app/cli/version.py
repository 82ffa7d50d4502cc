"""``eventstore version``."""

from importlib import metadata

from app.cli.streams import write_line


def version() -> None:
    """Print the version of this program."""
    write_line(f"eventstore {metadata.version('eventstore')}")

"""Divides the feed for whoever reads all of it."""

from collections.abc import Iterator

# Of positions: a statement of half a second, after which vacuum may go on and the connection is
# somebody else's.
WINDOW = 500_000


def windows_up_to(position: int, *, size: int = WINDOW) -> Iterator[tuple[int, int]]:
    """Windows ``after`` (exclusive), ``up_to`` (inclusive) of all positions up to this one.

    Events never change, and each stays at its position also where it is archived, so what is read
    window by window is what one statement would have read.
    """
    for after in range(0, position, size):
        yield after, min(after + size, position)

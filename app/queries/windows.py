"""Divides the feed for whoever reads all of it."""

from collections.abc import Iterator

from app.events import LostPositions

# Of positions: a statement of half a second, after which vacuum may go on and the connection is
# somebody else's.
WINDOW = 500_000


def windows_up_to(
    position: int, lost: LostPositions, *, size: int = WINDOW
) -> Iterator[tuple[int, int]]:
    """Windows ``after`` (exclusive), ``up_to`` (inclusive) of all positions up to this one.

    Those that a restore has ``lost`` are passed by one of them: no event has one.

    Events never change, and each stays at its position also where it is archived, so what is read
    window by window is what one statement would have read.
    """
    after = 0
    while after < position:
        up_to = after + size
        if lost.has(up_to):
            up_to = lost.up_to
        up_to = min(up_to, position)
        yield after, up_to
        after = up_to

"""How much of the feed is looked at by one statement."""

from app.events import LostPositions

# Of positions. A statement that takes longer than is good for others is followed by a smaller one.
FIRST_WINDOW = 2_000
SMALLEST_WINDOW = 200
LARGEST_WINDOW = 20_000
SHORT_S = 0.01
LONG_S = 0.04


class Window:
    """A number of positions that follows how long a statement takes for them."""

    def __init__(self) -> None:
        self.size = FIRST_WINDOW

    def end(self, position: int, safe_position: int, lost: LostPositions) -> int:
        """Where the window behind a position ends: at most at the safe one."""
        end = position + self.size
        if lost.has(end):
            # Nothing is in that hole, which may be a million times as wide.
            end = lost.up_to + self.size
        return min(end, safe_position)

    def adapt(self, took_s: float) -> None:
        """Heed how long the last statement took."""
        if took_s > LONG_S:
            self.size = max(self.size // 2, SMALLEST_WINDOW)
        elif took_s < SHORT_S:
            self.size = min(self.size * 2, LARGEST_WINDOW)

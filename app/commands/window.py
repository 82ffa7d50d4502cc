"""How much of the feed is looked at by one statement."""

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

    def adapt(self, took_s: float) -> None:
        """Heed how long the last statement took."""
        if took_s > LONG_S:
            self.size = max(self.size // 2, SMALLEST_WINDOW)
        elif took_s < SHORT_S:
            self.size = min(self.size * 2, LARGEST_WINDOW)

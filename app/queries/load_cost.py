"""Estimates how long a load takes, by the loads that there were."""

# A load of so many events has taken so many seconds, by the benchmark of loads: what goes before
# this process has had loads of its own, and keeps a line through loads of one size from tilting.
EXPECTED = ((0, 0.001), (1_000, 0.009))
EXPECTED_WEIGHT = 5.0
# The last few hundred loads count.
FADING = 0.995


class LoadCost:
    """A straight line through loads by their number of events, older ones fading."""

    def __init__(self) -> None:
        self.loads = 0
        self._weight = self._events = self._seconds = self._squares = self._products = 0.0

    def note(self, events: int, seconds: float) -> None:
        """Take a load into account."""
        self.loads += 1
        self._weight = self._weight * FADING + 1
        self._events = self._events * FADING + events
        self._seconds = self._seconds * FADING + seconds
        self._squares = self._squares * FADING + events * events
        self._products = self._products * FADING + events * seconds

    def estimate_s(self, events: int) -> float:
        """How long a load of so many events takes; an estimate, never negative."""
        weight, sum_x, sum_y = self._weight, self._events, self._seconds
        sum_xx, sum_xy = self._squares, self._products
        for x, y in EXPECTED:
            weight += EXPECTED_WEIGHT
            sum_x += EXPECTED_WEIGHT * x
            sum_y += EXPECTED_WEIGHT * y
            sum_xx += EXPECTED_WEIGHT * x * x
            sum_xy += EXPECTED_WEIGHT * x * y
        slope = (weight * sum_xy - sum_x * sum_y) / (weight * sum_xx - sum_x * sum_x)
        slope = max(slope, 0.0)
        return max((sum_y - slope * sum_x) / weight, 0.0) + slope * events

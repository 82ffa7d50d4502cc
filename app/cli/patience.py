"""When to try again, and when to give up."""

import random
import time
from collections.abc import Callable

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0


class Patience:
    """Exponential backoff with jitter until a time budget is used up."""

    def __init__(self, budget_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget_s = budget_s
        self._clock = clock
        self._give_up_at = clock() + budget_s
        self._delay_s = FIRST_DELAY_S

    def next_delay_s(self, asked_for_s: float = 0) -> float | None:
        """Seconds to wait before the next attempt; None when it is time to give up.

        ``asked_for_s`` is what the service asks for (``Retry-After``), up to the longest delay.
        """
        left_s = self._give_up_at - self._clock()
        if left_s <= 0:
            return None
        # Half fixed, half random: clients that were cut off together do not come back together.
        delay_s = self._delay_s * random.uniform(0.5, 1)  # noqa: S311 - not a secret
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)
        return min(max(delay_s, min(asked_for_s, LONGEST_DELAY_S)), left_s)

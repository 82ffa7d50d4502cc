"""When to try again: exponential backoff with full jitter."""

import math
import random
import time
from collections.abc import Callable


class Backoff:
    """Delays between attempts, until a time budget is used up.

    Each delay is random between 0 and a bound that doubles: clients that were cut off together do
    not come back together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    first_delay_s = 0.1
    longest_delay_s = 5.0

    def __init__(
        self, budget_s: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.budget_s = budget_s
        self._clock = clock
        self._give_up_at = clock() + budget_s
        self._bound_s = self.first_delay_s

    def next_delay_s(self, asked_for_s: float = 0) -> float | None:
        """Seconds to wait before the next attempt; None when it is time to give up.

        ``asked_for_s`` is what the service asks for (``Retry-After``): heeded up to the longest
        delay, and with jitter on top.
        """
        left_s = self._give_up_at - self._clock()
        if left_s <= 0:
            return None
        delay_s = random.uniform(0, self._bound_s)  # noqa: S311 - not a secret
        self._bound_s = min(self._bound_s * 2, self.longest_delay_s)
        return min(min(asked_for_s, self.longest_delay_s) + delay_s, left_s)

    def reset(self) -> None:
        """Begin again with the first delay; the budget stays as it is."""
        self._bound_s = self.first_delay_s


class ConflictBackoff(Backoff):
    """Delays after a version conflict: whoever was faster is mostly done within milliseconds."""

    first_delay_s = 0.01

    def after_attempt(self, duration_s: float) -> float:
        """Seconds to wait after an attempt that has taken so long.

        Among n who want the same aggregate one attempt succeeds when they come n durations apart:
        with the bound beginning at a duration, that is reached after log2(n) doublings.
        """
        self._bound_s = max(self._bound_s, duration_s)
        return self.next_delay_s() or 0.0

"""Follows the feed for several at once."""

from app.commands.snapshot_worker import PacedWork, Work


class Followers:
    """Followers of the feed that take a step each; the first tells how long to rest in between."""

    def __init__(self, first: PacedWork, *others: Work) -> None:
        self._first = first
        self._others: tuple[Work, ...] = others

    @property
    def rest(self) -> float:
        """How long to rest for each second of work."""
        return self._first.rest

    async def step(self) -> bool:
        """Let each take a step, whether or not another has more to do."""
        is_more = [await self._first.step()]
        is_more += [await follower.step() for follower in self._others]
        return any(is_more)

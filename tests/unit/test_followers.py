"""app.commands.followers: all take a step, whoever has more to do."""

import pytest

from app.commands.followers import Followers


class Follower:
    rest = 3.0

    def __init__(self, name: str, steps: list[str], is_more: bool) -> None:
        self._name = name
        self._steps = steps
        self._is_more = is_more

    async def step(self) -> bool:
        self._steps.append(self._name)
        return self._is_more


@pytest.mark.parametrize("first_has_more", [False, True])
@pytest.mark.parametrize("second_has_more", [False, True])
async def test_each_takes_a_step(first_has_more: bool, second_has_more: bool) -> None:
    steps: list[str] = []
    followers = Followers(
        Follower("first", steps, first_has_more), Follower("second", steps, second_has_more)
    )
    assert await followers.step() == (first_has_more or second_has_more)
    assert steps == ["first", "second"]
    assert followers.rest == 3.0

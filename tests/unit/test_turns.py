"""app.store.turns: one at a time for each key."""

import asyncio

import pytest

from app.store.turns import Turns


async def test_those_who_want_the_same_key_take_turns_in_the_order_of_their_coming() -> None:
    turns = Turns()
    order: list[str] = []

    async def take(name: str, *keys: str) -> None:
        async with turns.of(keys, timeout_s=60):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(take("a", "x"), take("b", "x"), take("c", "x"))
    assert order == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


async def test_another_key_does_not_wait() -> None:
    turns = Turns()
    async with turns.of(["x"], timeout_s=60), turns.of(["y", "z"], timeout_s=0):
        pass


async def test_waiting_ends_after_the_timeout_and_leaves_nothing_behind() -> None:
    turns = Turns()
    async with turns.of(["x", "y"], timeout_s=60):
        with pytest.raises(TimeoutError):
            # z is had before x is waited for, and is given back.
            async with turns.of(["z", "x"], timeout_s=0.01):
                raise AssertionError("it was not its turn")
        async with turns.of(["z"], timeout_s=0):
            pass
    async with turns.of(["x", "y", "z"], timeout_s=0):
        pass
    assert turns._queues == {}


async def test_an_error_in_the_body_ends_the_turn_and_a_timeout_there_is_its_own() -> None:
    turns = Turns()
    for error in (ValueError("of the body"), TimeoutError("of the body")):
        with pytest.raises(type(error), match="of the body"):
            async with turns.of(["x"], timeout_s=60):
                raise error
    async with turns.of(["x"], timeout_s=0):
        pass


async def test_one_who_is_cancelled_while_waiting_is_passed_over() -> None:
    turns = Turns()
    taken: list[str] = []

    async def take(name: str) -> None:
        async with turns.of(["x"], timeout_s=60):
            taken.append(name)

    async with turns.of(["x"], timeout_s=60):
        waiting = [asyncio.create_task(take(name)) for name in "abc"]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert taken == ["a", "c"]
    assert turns._queues == {}

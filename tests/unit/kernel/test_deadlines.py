"""Limits end waits, never later than a step, and are not mistaken for a cancellation from elsewhere."""

from __future__ import annotations

import asyncio

import pytest

from voltyard.kernel.deadlines import STEP_S, Deadlines


async def test_a_wait_within_its_limit_is_left_alone():
    deadlines = Deadlines()
    with deadlines.within(5.0) as limit:
        assert await asyncio.sleep(0, "done") == "done"
    assert not limit.has_passed


async def test_a_wait_beyond_its_limit_ends_with_a_timeout_soon():
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError), Deadlines().within(0.01):
        await loop.create_future()
    assert loop.time() - began < 0.01 + 50 * STEP_S
    assert asyncio.current_task().cancelling() == 0


async def test_many_limits_share_a_timer_and_each_ends_its_own_wait():
    deadlines = Deadlines()
    ended: list[float] = []

    async def wait(seconds: float) -> None:
        try:
            with deadlines.within(seconds):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            ended.append(seconds)

    await asyncio.gather(*(wait(seconds) for seconds in (0.5, 0.01, 0.25)))
    assert ended == [0.01, 0.25, 0.5]


async def test_a_cancellation_from_elsewhere_stays_one():
    is_waiting = asyncio.Event()

    async def wait() -> None:
        with Deadlines().within(60):
            is_waiting.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    await is_waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_at_once_are_a_cancellation():
    async def wait() -> None:
        with Deadlines().within(60) as limit:
            limit.pass_by()
            asyncio.current_task().cancel()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_inside_is_not_hidden():
    with pytest.raises(KeyError), Deadlines().within(60):
        raise KeyError


async def test_an_own_timeout_inside_is_not_taken_for_the_limit():
    with pytest.raises(TimeoutError), Deadlines().within(60) as limit:
        raise TimeoutError
    assert not limit.has_passed

"""The machine's clock, and the one that stands still."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel.clock import Clock, FakeClock, SystemClock

delays = st.integers(1, 600).map(lambda tenths: tenths / 10)


async def settle() -> None:
    """Let the loop do all that it can do without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


class Sleepers:
    """Tasks that sleep on a clock and note their names when they wake."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.woken: list[object] = []

    async def sleep(self, name: object, delay_s: float) -> None:
        await self.clock.sleep(delay_s)
        self.woken.append(name)


def test_the_machine_s_clock_is_aware_and_in_utc():
    before, told, after = datetime.now(UTC), SystemClock().now(), datetime.now(UTC)
    assert before <= told <= after
    assert told.utcoffset() == timedelta(0)


async def test_the_machine_s_clock_waits_at_least_as_long_as_asked():
    clock: Clock = SystemClock()
    began = clock.monotonic()
    await clock.sleep(0.01)
    # The loop may round its timers by the resolution of the machine's clock.
    assert clock.monotonic() - began >= 0.009


def test_a_fake_clock_stands_still_until_it_is_advanced():
    start = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
    clock = FakeClock(start)
    assert (clock.now(), clock.monotonic()) == (start, 0)
    clock.advance(90)
    assert (clock.now(), clock.monotonic()) == (start + timedelta(seconds=90), 90)


def test_a_fake_clock_does_not_start_at_a_naive_time():
    with pytest.raises(AssertionError):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001 - a naive one is the point


async def test_a_fake_clock_wakes_nobody_too_early():
    clock = FakeClock()
    sleepers = Sleepers(clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(sleepers.sleep("a", 10))
        await settle()
        clock.advance(9.999)
        await settle()
        assert sleepers.woken == []
        clock.advance(0.001)
        await settle()
        assert sleepers.woken == ["a"]


async def test_a_fake_clock_wakes_sleepers_in_the_order_of_their_times():
    clock = FakeClock()
    sleepers = Sleepers(clock)
    async with asyncio.TaskGroup() as group:
        for delay_s in (30, 10, 20, 5, 40):
            group.create_task(sleepers.sleep(delay_s, delay_s))
        await settle()
        clock.advance(30)
        await settle()
        assert sleepers.woken == [5, 10, 20, 30]
        clock.advance(100)
    assert sleepers.woken == [5, 10, 20, 30, 40]


async def test_who_sleeps_until_the_same_instant_wakes_in_the_order_of_going_to_sleep():
    clock = FakeClock()
    sleepers = Sleepers(clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(sleepers.sleep("first", 10))
        await settle()
        clock.advance(4)
        group.create_task(sleepers.sleep("second", 6))
        group.create_task(sleepers.sleep("third", 6))
        await settle()
        clock.advance(6)
    assert sleepers.woken == ["first", "second", "third"]


@given(st.lists(delays, min_size=1, max_size=12))
def test_the_order_of_waking_is_the_order_of_the_times(delays_s: list[float]):
    async def sleep_all() -> list[object]:
        clock = FakeClock()
        sleepers = Sleepers(clock)
        async with asyncio.TaskGroup() as group:
            for number, delay_s in enumerate(delays_s):
                group.create_task(sleepers.sleep((delay_s, number), delay_s))
            await settle()
            clock.advance(60)
        return sleepers.woken

    woken = asyncio.run(sleep_all())
    assert woken == sorted((delay_s, number) for number, delay_s in enumerate(delays_s))


@pytest.mark.parametrize(("step_s", "steps", "delay_s"), [(0.1, 10, 1.0), (0.1, 3, 0.3), (0.7, 10, 7.0)])
async def test_many_small_steps_are_as_long_as_one(step_s: float, steps: int, delay_s: float):
    clock = FakeClock()
    sleepers = Sleepers(clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(sleepers.sleep("a", delay_s))
        await settle()
        for _ in range(steps):
            clock.advance(step_s)
        await settle()
        assert sleepers.woken == ["a"]
    assert clock.monotonic() == delay_s


@pytest.mark.parametrize("delay_s", [0, -1])
async def test_no_delay_lets_others_run_and_does_not_wait(delay_s: float):
    clock = FakeClock()
    async with asyncio.timeout(5):
        await clock.sleep(delay_s)
    assert clock.monotonic() == 0


async def test_a_sleeper_that_was_cancelled_harms_nobody():
    clock = FakeClock()
    sleepers = Sleepers(clock)
    async with asyncio.TaskGroup() as group:
        cancelled = group.create_task(sleepers.sleep("cancelled", 1))
        group.create_task(sleepers.sleep("other", 2))
        await settle()
        cancelled.cancel()
        await settle()
        clock.advance(2)
    assert sleepers.woken == ["other"]

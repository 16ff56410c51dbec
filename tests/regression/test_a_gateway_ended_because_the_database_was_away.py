"""A gateway that started while the database was restarting ended at once instead of waiting.

It waited only for a desk that nobody served yet, not for one that could not work.
"""

import asyncio

from tests.unit.gateway.peers import until
from tests.unit.gateway.test_server import House
from voltyard.kernel.errors import Unavailable
from voltyard.speech import Thanked


async def test_a_gateway_waits_for_a_desk_that_cannot_work_yet(bus, clock):
    house = House(bus, clock)
    faults = [Unavailable("restarting"), Unavailable("restarting")]

    async def started(_what):
        if faults:
            raise faults.pop()
        return Thanked()

    house.desk.on_started = started  # type: ignore[method-assign]
    await house.desk.serve(bus)
    house.task = asyncio.create_task(house.gateway.run(house.ready))

    def is_open() -> bool:
        clock.advance(1.0)
        return bool(house.port)

    await until(is_open)
    await house.stop()
    assert not faults

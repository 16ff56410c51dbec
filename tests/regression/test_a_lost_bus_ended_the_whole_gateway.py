"""When the bus was away for a moment, one charger that connected took all others of the gateway with it.

Serving the charger's asks stood outside of the exchange's own error handling, so the task group ended.
"""

from tests.unit.gateway.peers import Conversation, until
from tests.unit.gateway.test_exchange import BrokenBus


async def test_one_exchange_that_cannot_be_served_ends_alone(clock):
    talk = await Conversation(BrokenBus(), clock).begin()
    await until(talk.task.done)
    assert talk.task.exception() is None
    assert talk.wire.closed == (1011, "internal error")

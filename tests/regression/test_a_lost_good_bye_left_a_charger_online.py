"""A charger that went while central restarted was shown as online until it came back.

Its good-bye was tried once. Now it is repeated for a minute.
"""

from tests.unit.gateway.peers import Conversation, settle, until
from voltyard.kernel.errors import Unavailable


async def test_a_good_bye_is_repeated_until_it_is_heard(bus, clock):
    talk = await Conversation(bus, clock).begin()
    talk.desk.gone_faults = [Unavailable("restarting")]
    talk.exchange.lost("cut")
    await until(lambda: len(talk.desk.gone) == 1)
    await settle()
    clock.advance(1.0)
    await until(talk.task.done)
    assert len(talk.desk.gone) == 2

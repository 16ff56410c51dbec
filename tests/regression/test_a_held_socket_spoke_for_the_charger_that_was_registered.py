"""A held socket without a password outlived the import that gave its identity one, and spoke for the charger.

Registering changed the row and left the socket alone; now the gateway is told to close it.
"""

from tests.factories import PIN, SYSTEM, charger_by_identity
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Delivered
from voltyard.speech import Hello, Superseded


async def test_the_socket_of_a_held_charger_is_closed_when_it_is_registered(ctx):
    key = ctx.settings.secret_key()
    hello = Hello("CP-1", "soc_old", "gateway", "ocpp1.6", "192.0.2.1")
    (welcome,) = await ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=True)
    listening = await ctx.bus.listen("charger.*.superseded", queue_max=5)
    await ctx.db.work(SYSTEM, chargers.register, [Delivered("CP-1", PIN, password="sesame")], key)
    told = (await listening.next())[1]
    assert isinstance(told, Superseded)
    assert told.charger_id == welcome.charger_id
    assert told.session_id != "soc_old"
    assert not (await charger_by_identity(ctx, "CP-1")).is_online

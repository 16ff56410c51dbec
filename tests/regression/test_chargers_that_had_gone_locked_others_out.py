"""Unknown chargers that had connected once filled the waiting room for ever, and new ones were refused.

Held rows were never deleted; housekeeping now forgets those that left over a day ago.
"""

from tests.factories import SYSTEM, make_transaction
from voltyard.chargers import service as chargers
from voltyard.speech import Hello
from voltyard.worker import main as worker


async def test_held_chargers_that_left_are_forgotten_unless_they_have_a_history(ctx, clock):
    names = ["gone", "charged", "here"]
    hellos = [Hello(name, f"soc_{name}", "gateway", "ocpp1.6", "192.0.2.1") for name in names]
    key = ctx.settings.secret_key()
    welcomes = await ctx.db.work(SYSTEM, chargers.connect, hellos, key=key, is_holding=True)
    ids = [welcome.charger_id for welcome in welcomes]
    await make_transaction(ctx, await ctx.db.read(SYSTEM, chargers.get, ids[1]))
    for name, charger_id in zip(names[:2], ids[:2], strict=True):
        await ctx.db.work(SYSTEM, chargers.disconnect, charger_id, f"soc_{name}")

    async def left() -> set[str]:
        await worker.keep_house(ctx)
        return set(await ctx.db.read(SYSTEM, chargers.store.find_by_keys, names))

    clock.advance(23 * 3600)
    assert await left() == set(names)
    clock.advance(2 * 3600)
    assert await left() == {"charged", "here"}

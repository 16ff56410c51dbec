"""A charger whose handshake timed out behind a locked database was shown as online with no socket at all.

Its hello was committed after the gateway had given up, and nobody took it back.
"""

import asyncio

from tests.factories import make_charger
from tests.unit.central.test_desk import SlowDatabase, hello, knock, open_desk, see
from voltyard.kernel.context import Context


async def test_a_welcome_that_nobody_waits_for_is_taken_back(sqlite_ctx):
    ctx = sqlite_ctx
    charger = await make_charger(ctx, identity="CP-1")
    slow = SlowDatabase(ctx.db)
    async with open_desk(Context(slow, ctx.bus, ctx.clock, ctx.files, ctx.settings)):
        knocking = asyncio.create_task(knock(ctx, hello("CP-1")))
        await slow.is_inside.wait()
        knocking.cancel()
        slow.gate.set()
        async with asyncio.timeout(10):
            while (await see(ctx, charger.id)).disconnected_at is None:  # noqa: ASYNC110 - it reads the database
                await asyncio.sleep(0)
    assert not (await see(ctx, charger.id)).is_online

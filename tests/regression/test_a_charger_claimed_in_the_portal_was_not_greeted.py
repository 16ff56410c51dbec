"""A charger that was claimed in the portal stayed Pending for up to a minute.

Only the API asked it to boot again; now both doors call the same function after they have answered.
"""

from types import SimpleNamespace

import pytest
from starlette.responses import Response

from tests.factories import PIN, SYSTEM, make_charger, make_location, make_user
from voltyard.chargers import service as chargers
from voltyard.portal.chargers import claim_waiting
from voltyard.portal.locations import add_charger
from voltyard.speech import Answer, Asked, Hello, Told, Trigger


@pytest.mark.parametrize("way", ["sticker", "waiting"])
async def test_the_portal_greets_a_claimed_charger(ctx, way):
    owner = await make_user(ctx, is_admin=way == "waiting")
    home, charger = await make_location(ctx, owner), await make_charger(ctx)
    hello = Hello(charger.identity, "soc_1", "gateway", "ocpp1.6", "192.0.2.1")
    key = ctx.settings.secret_key()
    await ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=False)
    heard: list[Asked] = []

    async def answer(asked: Asked) -> Told:
        heard.append(asked)
        return Told(Answer(True, "Accepted", "{}"), "TriggerMessage", "{}")

    await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, answer)
    here = SimpleNamespace(ctx=ctx, actor=owner.actor, go=lambda _address, _said: Response())
    if way == "sticker":
        response = await add_charger(here, home.id, identity=charger.identity, pin=PIN)
    else:
        response = await claim_waiting(here, identity=charger.identity, location_id=home.id)
    assert heard == []
    await response.background()
    assert [asked.ask for asked in heard] == [Trigger("BootNotification")]

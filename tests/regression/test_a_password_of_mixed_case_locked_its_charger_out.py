"""A password typed as hexadecimal digits of mixed case locked its charger out for good.

Many chargers take the digits for bytes and show those bytes; of bytes only the spellings in lower and in
upper case were compared. A password that is hexadecimal counts in one spelling now, whoever gave it.
"""

import base64

import pytest

from tests.factories import SYSTEM, make_charger, make_location
from tests.unit.chargers.papers import Answering
from voltyard.chargers import security
from voltyard.chargers import service as chargers
from voltyard.kernel.ids import new_id
from voltyard.speech import Entry, Hello

MIXED = "aAbBcCdDeEfF00112233"
SHOWN = (MIXED.encode(), bytes.fromhex(MIXED), MIXED.lower().encode(), MIXED.upper().encode())


async def knock(ctx, charger, sent: bytes) -> Entry:
    hello = Hello(
        charger.identity, new_id("soc"), "gateway", "ocpp1.6", "192.0.2.1", base64.b64encode(sent).decode()
    )
    key = ctx.settings.secret_key()
    return (await ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=False))[0].entry


@pytest.mark.parametrize("sent", SHOWN)
async def test_a_charger_comes_back_with_the_password_it_was_given(ctx, sent):
    charger = await make_charger(ctx, (await make_location(ctx)).id, password="0011223344556677")
    async with Answering(ctx, charger.id):
        await security.rotate_password(ctx, SYSTEM, charger.id, MIXED)
    assert await knock(ctx, charger, sent) is Entry.WELCOME
    assert await knock(ctx, charger, b"0011223344556677") is Entry.WRONG_PASSWORD


@pytest.mark.parametrize("sent", SHOWN)
async def test_a_charger_comes_with_the_password_it_was_delivered_with(ctx, sent):
    charger = await make_charger(ctx, (await make_location(ctx)).id, password=MIXED)
    assert await knock(ctx, charger, sent) is Entry.WELCOME

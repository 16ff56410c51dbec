"""The chargers of an archived location stayed in the lists, and more could be brought there.

Only the list of locations looked at whether one is archived; now what scopes every list does.
"""

import pytest

from tests.factories import PIN, make_card, make_charger, make_location, make_transaction, make_user
from voltyard.cards import service as cards
from voltyard.chargers import service as chargers
from voltyard.kernel.errors import Conflict
from voltyard.locations import service as locations
from voltyard.transactions import service as transactions


async def test_an_archived_location_is_hidden_and_takes_nothing_in(ctx):
    owner = await make_user(ctx)
    home = await make_location(ctx, owner)
    charger, waiting = await make_charger(ctx, home.id), await make_charger(ctx)
    await make_card(ctx, home.id)
    await make_transaction(ctx, charger)
    await ctx.db.work(owner.actor, locations.archive, home.id)
    assert await ctx.db.read(owner.actor, chargers.list_chargers) == []
    assert await ctx.db.read(owner.actor, cards.list_cards) == []
    assert len(await ctx.db.read(owner.actor, transactions.list_transactions)) == 1
    with pytest.raises(Conflict, match="archived"):
        await chargers.claim(ctx, owner.actor, home.id, identity=waiting.identity, pin=PIN)
    with pytest.raises(Conflict, match="archived"):
        await ctx.db.work(owner.actor, lambda work: cards.add(work, home.id, name="A", id_tag="AB12"))
    await ctx.db.work(owner.actor, chargers.unlink, home.id, charger.id)

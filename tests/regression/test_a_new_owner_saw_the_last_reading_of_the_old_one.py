"""After a charger changed hands its new team saw the old team's last reading; a new charge showed an old one.

Now only what was heard since the claim counts, and a running transaction shows its own readings alone.
"""

from datetime import timedelta

from tests.factories import PIN, SYSTEM, make_location, make_user, place_of
from tests.unit.transactions.test_service import reading, scene  # noqa: F401 - a fixture
from voltyard.chargers import service as chargers
from voltyard.portal.chargers import live_view
from voltyard.speech import ConnectorStatus, StatusTold
from voltyard.transactions import service as transactions


async def test_a_reading_from_before_the_claim_is_not_shown(scene):  # noqa: F811
    ctx, charger = scene.ctx, scene.charger
    # Its clock ran ahead, and it was told before the claim all the same.
    await scene.meter(None, reading(scene.now + timedelta(seconds=90), 77_000))
    await ctx.db.work(SYSTEM, chargers.unlink, charger.location_id, charger.id)
    scene.pass_s(1)
    buyer = await make_user(ctx)
    home = await make_location(ctx, buyer)
    bought = await chargers.claim(ctx, buyer.actor, home.id, identity=charger.identity, pin=PIN)
    assert await ctx.db.read(buyer.actor, transactions.latest_sample, charger.id, 1) is None
    await scene.meter(None, reading(scene.now, 78_000), place=place_of(bought))
    newest = await ctx.db.read(buyer.actor, transactions.latest_sample, charger.id, 1)
    assert newest.energy_wh == 78_000


async def test_a_running_transaction_shows_its_own_readings_alone(scene):  # noqa: F811
    ctx, charger = scene.ctx, scene.charger
    told = StatusTold(1, ConnectorStatus.CHARGING)
    await ctx.db.work(SYSTEM, chargers.tell_status, [(scene.place, told)])
    await scene.meter(None, reading(scene.now, 77_000))
    scene.pass_s(60)
    number = await scene.start(meter=77_000)

    async def shown():
        view = await ctx.db.read(SYSTEM, live_view, charger.id)
        return next(each for each in view["outlets"] if each.connector.number == 1)

    outlet = await shown()
    assert outlet.running is not None
    assert outlet.sample is None
    assert (await ctx.db.read(SYSTEM, transactions.latest_sample, charger.id, 1)).energy_wh == 77_000
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 77_100))
    assert (await shown()).sample.energy_wh == 77_100

"""A charger whose certificate had ended could not come in at all, nor could anybody see why.

Its TLS handshake failed, so that lowering its security profile to a password did not help either, as long as
it went on showing the certificate. The desk decides now, which looks at the times of certificates itself.
"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import SYSTEM, make_charger, make_location
from tests.unit.chargers.papers import der, pairs
from tests.unit.gateway.test_tls import DAY, NOW, client_context, house_of, make_world
from voltyard.chargers import service as chargers
from voltyard.kernel import certificates
from voltyard.kernel.ids import new_id
from voltyard.speech import Entry, Hello


async def test_an_ended_certificate_reaches_the_desk(tmp_path):
    world = make_world()
    ended = world.charger(now=NOW - 3 * DAY, until_at=NOW - DAY)
    async with house_of(world) as house:
        async with house.connect(client_context(world, tmp_path, ended)):
            pass
        (hello,) = house.desk.hellos
        assert hello.certificate is not None


@pytest.mark.parametrize("whose", ["certificate", "authority"])
async def test_an_ended_certificate_of_a_trusted_authority_is_not_good(ctx, whose):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    _, issuer = pairs()
    request, _ = certificates.new_request(charger.identity, "")
    begin = datetime(2025, 6, 1, tzinfo=UTC)
    ends_at = begin + timedelta(days=1 if whose == "certificate" else 9_000)
    pem = certificates.sign_request(issuer, request, identity=charger.identity, now=begin, until_at=ends_at)
    if whose == "authority":
        ctx.clock.advance(timedelta(days=8_000).total_seconds())
    hello = Hello(charger.identity, new_id("soc"), "gateway", "ocpp1.6", "192.0.2.1", None, True, der(pem))

    def knock(work) -> Entry:
        key, others = ctx.settings.secret_key(), (issuer.certificate_pem,)
        work.run(chargers.store.chargers.update().values(security_profile=3))
        return chargers.connect(work, [hello], key=key, is_holding=False, others=others)[0].entry

    assert await ctx.db.work(SYSTEM, knock) is Entry.WRONG_CERTIFICATE

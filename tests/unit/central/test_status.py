"""What chargers say of their state: statuses are kept, news and vendors' words are thanked for."""

from tests.factories import SYSTEM
from tests.unit.central.speakers import handle, make_places
from voltyard.central import status
from voltyard.chargers import security
from voltyard.chargers import service as chargers
from voltyard.kernel import certificates
from voltyard.speech import (
    ConnectorStatus,
    Decided,
    DiagnosticsTold,
    FirmwareTold,
    LogTold,
    SecurityTold,
    SignedFirmwareTold,
    SigningAsked,
    StatusTold,
    Thanks,
    VendorReply,
    VendorTold,
)


async def test_statuses_of_connectors_are_kept_the_last_of_a_batch_counts(ctx):
    one, two = await make_places(ctx, 2)
    told = [
        (one, StatusTold(1, ConnectorStatus.PREPARING)),
        (two, StatusTold(0, ConnectorStatus.FAULTED, "GroundFailure")),
        (one, StatusTold(1, ConnectorStatus.CHARGING)),
        (one, StatusTold(2, ConnectorStatus.AVAILABLE)),
    ]
    assert await handle(ctx, status.told, *told) == [Thanks()] * 4
    first = await ctx.db.read(SYSTEM, chargers.get, one.charger_id)
    assert [(each.number, each.status) for each in first.connectors] == [
        (1, ConnectorStatus.CHARGING),
        (2, ConnectorStatus.AVAILABLE),
    ]
    second = await ctx.db.read(SYSTEM, chargers.get, two.charger_id)
    assert (second.status, second.error) == (ConnectorStatus.FAULTED, "GroundFailure")


async def test_news_of_updates_is_thanked_for(ctx):
    one, two = await make_places(ctx, 2)
    said = [(one, FirmwareTold("Installed")), (two, DiagnosticsTold("Uploaded"))]
    said += [(one, LogTold("Uploaded", 5)), (two, SignedFirmwareTold("SignatureVerified", 5))]
    assert await handle(ctx, status.progress, *said) == [Thanks()] * 4


async def test_news_of_what_concerns_security_are_thanked_for(ctx):
    (place,) = await make_places(ctx, 1)
    said = SecurityTold("TamperDetectionActivated")
    assert await handle(ctx, status.told_security, (place, said)) == [Thanks()]
    (event,) = await ctx.db.read(SYSTEM, security.list_events, place.charger_id)
    assert (event.kind, event.is_critical) == ("TamperDetectionActivated", True)


async def test_a_certificate_is_promised_for_a_good_request_only(ctx):
    good, bad = await make_places(ctx, 2)
    charger = await ctx.db.read(SYSTEM, chargers.get, good.charger_id)
    request, _ = certificates.new_request(charger.identity, "")
    asked = [(good, SigningAsked(request)), (bad, SigningAsked("-----BEGIN"))]
    assert await handle(ctx, status.signing, *asked) == [
        Decided(is_accepted=True),
        Decided(is_accepted=False),
    ]


async def test_a_vendors_own_words_are_not_known_here(ctx):
    (place,) = await make_places(ctx, 1)
    assert await handle(ctx, status.vendor, (place, VendorTold("v"))) == [VendorReply("UnknownVendorId")]

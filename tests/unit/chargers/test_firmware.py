"""Firmware: whose it is, how a charger is asked to fetch it, and what proves that it came in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import make_charger, make_location, make_member, make_user
from tests.unit.chargers.deliveries import (
    BARE,
    UNABLE,
    YES,
    a_charger,
    answering,
    boot,
    look,
    tell,
    token_of,
)
from voltyard.chargers import firmware, transfers
from voltyard.chargers.firmware import BringFirmware, FirmwareInUse, TooMuchFirmware, UpdateRunning, Wish
from voltyard.chargers.stages import Kind, Stage
from voltyard.chargers.transfers import AddressEnded, UnderWay
from voltyard.kernel import jobs
from voltyard.kernel.errors import Forbidden, Invalid, NotFound
from voltyard.kernel.limits import ADDRESS_HOURS, FIRMWARE_FILES_OF_TEAM_MAX
from voltyard.kernel.wire import decode
from voltyard.locations.access import Level
from voltyard.speech import (
    AnswerRefused,
    FirmwareTold,
    SignedFirmwareTold,
    UpdateFirmware,
    UpdateSignedFirmware,
)

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


async def upload(ctx, person, data: bytes = b"firmware", **said):
    """Upload firmware, without the door."""
    tidy = firmware.tidy(**{"name": "eve-6.5.1.bin", "version": "6.5.1"} | said)
    arriving = ctx.files.arriving()
    arriving.write(data)
    try:
        return await firmware.add(ctx, person.actor, arriving, tidy)
    finally:
        arriving.drop()


async def update(ctx, owner, charger, **said):
    return await firmware.update(ctx, owner.actor, charger.id, **said)


async def do_jobs(ctx) -> int:
    """Do the updates that are due, as the worker does."""
    due = await ctx.db.work(firmware.ACTOR, jobs.claim, "tests", most=100)
    ours = [job for job in due if job.kind == "BringFirmware"]
    for job in ours:
        await firmware.bring(ctx, decode(job.body, BringFirmware))
        await ctx.db.work(firmware.ACTOR, jobs.done, job.id, "tests")
    return len(ours)


async def test_firmware_is_fetched_installed_and_proven_by_the_next_start(ctx, clock):
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, BARE)
    file = await upload(ctx, owner)
    begun = await update(ctx, owner, charger, firmware_id=file.id, wish=Wish(retries=2, retry_interval_s=60))
    (ask,) = heard
    assert ask == UpdateFirmware(ask.location_url, clock.now(), 2, 60)
    assert ask.location_url.startswith("http://localhost:8080/files/down/vyf_")
    assert ask.location_url.endswith("/eve-6.5.1.bin")
    assert (begun.kind, begun.stage, begun.name, begun.version_wanted, begun.version_before) == (
        Kind.FIRMWARE, Stage.ASKED, "eve-6.5.1.bin", "6.5.1", "6.5.0",
    )  # fmt: skip
    looked = await transfers.serve(ctx, token_of(ask.location_url), is_looking=True)
    assert (await look(ctx, owner, begun)).stage is Stage.ASKED
    assert await transfers.serve(ctx, token_of(ask.location_url)) == looked
    assert ctx.files.load(looked.stored) == b"firmware"
    assert (await look(ctx, owner, begun)).stage is Stage.DOWNLOADING
    await tell(ctx, charger, *map(FirmwareTold, ("Downloading", "Downloaded", "Installing")))
    clock.advance(60)
    await boot(ctx, charger, "6.5.1")
    done = await look(ctx, owner, begun)
    assert (done.stage, done.version_after, done.is_proven) == (Stage.INSTALLED, "6.5.1", True)
    assert [step.stage for step in done.steps] == [
        Stage.ASKED, Stage.DOWNLOADING, Stage.DOWNLOADED, Stage.INSTALLING, Stage.INSTALLED,
    ]  # fmt: skip
    await tell(ctx, charger, FirmwareTold("Installed"))
    assert (await look(ctx, owner, begun)).stage is Stage.INSTALLED


async def test_a_charger_that_says_installed_but_tells_the_old_version_has_proven_nothing(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    await answering(ctx, charger.id, BARE)
    begun = await update(ctx, owner, charger, firmware_id=(await upload(ctx, owner)).id)
    await tell(ctx, charger, FirmwareTold("Installed"))
    assert (await look(ctx, owner, begun)).is_proven is None
    await boot(ctx, charger, "6.5.0")
    done = await look(ctx, owner, begun)
    assert (done.stage, done.version_after, done.is_proven) == (Stage.INSTALLED, "6.5.0", False)


async def test_a_start_in_between_proves_nothing_and_ends_nothing(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    await answering(ctx, charger.id, BARE)
    begun = await update(ctx, owner, charger, firmware_id=(await upload(ctx, owner)).id)
    await boot(ctx, charger, "6.5.0")
    await boot(ctx, charger, None)
    assert (await look(ctx, owner, begun)).stage is Stage.ASKED
    await tell(ctx, charger, FirmwareTold("DownloadFailed"))
    assert (await look(ctx, owner, begun)).stage is Stage.DOWNLOAD_FAILED
    await tell(ctx, charger, FirmwareTold("Downloading"), FirmwareTold("Downloaded"))
    await boot(ctx, charger, "6.5.2")
    done = await look(ctx, owner, begun)
    assert (done.stage, done.is_proven) == (Stage.INSTALLED, False)


async def test_an_address_of_ones_own_is_told_as_it_is_and_kept_without_its_password(ctx, clock):
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, BARE)
    at = clock.now() + timedelta(hours=3)
    begun = await update(
        ctx, owner, charger, address="ftp://u:s3cret@fw.example/6.5.2.bin", version=" 6.5.2 ",
        wish=Wish(retrieve_at=at),
    )  # fmt: skip
    assert heard == [UpdateFirmware("ftp://u:s3cret@fw.example/6.5.2.bin", at)]
    assert (begun.address, begun.version_wanted) == ("ftp://***@fw.example/6.5.2.bin", "6.5.2")
    assert begun.ends_at == at + timedelta(hours=ADDRESS_HOURS)
    clock.advance((ADDRESS_HOURS + 3) * 3600)
    assert (await look(ctx, owner, begun)).stage is Stage.TIMED_OUT


async def test_a_signed_update_carries_signature_and_certificate(sqlite_ctx, clock):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, YES)
    file = await upload(ctx, owner, signature="c2lnbmVk", certificate_pem=PEM)
    at = clock.now() + timedelta(hours=1)
    begun = await update(ctx, owner, charger, firmware_id=file.id, wish=Wish(is_signed=True, install_at=at))
    (ask,) = heard
    assert ask == UpdateSignedFirmware(1, ask.location_url, clock.now(), PEM, "c2lnbmVk", at)
    for word, stage in (
        ("SignatureVerified", Stage.VERIFIED),
        ("InstallScheduled", Stage.INSTALL_SCHEDULED),
        ("InstallRebooting", Stage.REBOOTING),
        ("InvalidSignature", Stage.BAD_SIGNATURE),
    ):
        await tell(ctx, charger, SignedFirmwareTold(word, 1))
        assert (await look(ctx, owner, begun)).stage is stage


async def test_a_charger_that_knows_no_signed_updates_says_so(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, UNABLE)
    file = await upload(ctx, owner, signature="c2lnbmVk", certificate_pem=PEM)
    begun = await update(ctx, owner, charger, firmware_id=file.id, wish=Wish(is_signed=True))
    assert begun.stage is Stage.UNABLE
    with pytest.raises(AddressEnded):
        await transfers.serve(ctx, token_of(heard[0].location_url))


async def test_one_update_at_a_time_and_a_silent_one_holds_nothing_up_for_ever(ctx, clock):
    charger, owner = await a_charger(ctx)
    await answering(ctx, charger.id, BARE)
    file = await upload(ctx, owner)
    first = await update(ctx, owner, charger, firmware_id=file.id)
    with pytest.raises(UpdateRunning):
        await update(ctx, owner, charger, firmware_id=file.id)
    with pytest.raises(UnderWay):
        await transfers.remove(ctx, owner.actor, first.id)
    with pytest.raises(FirmwareInUse):
        await firmware.remove(ctx, owner.actor, file.id)
    clock.advance(3600)
    second = await update(ctx, owner, charger, firmware_id=file.id)
    await tell(ctx, charger, FirmwareTold("Downloading"))
    assert (await look(ctx, owner, first)).stage is Stage.ASKED
    assert (await look(ctx, owner, second)).stage is Stage.DOWNLOADING
    clock.advance(25 * 3600)
    await firmware.remove(ctx, owner.actor, file.id)
    await transfers.remove(ctx, owner.actor, second.id)


async def test_a_failed_update_holds_the_next_one_up_no_longer(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    await answering(ctx, charger.id, BARE)
    file = await upload(ctx, owner)
    await update(ctx, owner, charger, firmware_id=file.id)
    await tell(ctx, charger, FirmwareTold("InstallationFailed"))
    assert (await update(ctx, owner, charger, firmware_id=file.id)).number == 2


async def test_wishes_that_make_no_sense_are_refused(sqlite_ctx, clock):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    file = await upload(ctx, owner)
    signed = await upload(ctx, owner, b"more", signature="c2lnbmVk", certificate_pem=PEM)
    now = clock.now()
    for said, where in (
        ({}, "/firmware_id"),
        ({"firmware_id": file.id, "address": "ftp://a/b"}, "/firmware_id"),
        ({"address": "nowhere"}, "/address"),
        ({"address": "ftp://a/b", "version": "a\n"}, "/version"),
        ({"address": "ftp://a/b", "wish": Wish(is_signed=True)}, "/is_signed"),
        ({"firmware_id": file.id, "wish": Wish(is_signed=True)}, "/is_signed"),
        ({"firmware_id": file.id, "wish": Wish(retrieve_at=now + timedelta(days=31))}, "/retrieve_at"),
        ({"firmware_id": file.id, "wish": Wish(install_at=now)}, "/install_at"),
        (
            {
                "firmware_id": signed.id,
                "wish": Wish(now + timedelta(hours=2), now + timedelta(hours=1), is_signed=True),
            },
            "/install_at",
        ),
        ({"firmware_id": file.id, "wish": Wish(retries=-1)}, "/retries"),
    ):
        with pytest.raises(Invalid) as refused:
            await update(ctx, owner, charger, **said)
        assert refused.value.errors[0][0] == where


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"name": ""}, "/name"),
        ({"version": " "}, "/version"),
        ({"vendor": "x" * 121}, "/vendor"),
        ({"model": "a\nb"}, "/model"),
        ({"signature": "c2ln"}, "/signature"),
        ({"certificate_pem": PEM}, "/signature"),
        ({"signature": "c2ln", "certificate_pem": "no PEM"}, "/certificate"),
        ({"signature": "ä", "certificate_pem": PEM}, "/signature"),
    ],
)
def test_what_is_said_about_firmware_is_looked_at(said, where):
    with pytest.raises(Invalid) as refused:
        firmware.tidy(**{"name": "a.bin", "version": "1"} | said)
    assert refused.value.errors[0][0] == where


async def test_firmware_belongs_to_the_team_of_whoever_uploaded_it(ctx):
    charger, owner = await a_charger(ctx)
    await answering(ctx, charger.id, BARE)
    file = await upload(ctx, owner)
    assert (file.team_id, file.size_bytes, file.is_signed) == (owner.team_id, 8, False)
    friend = await make_member(ctx, charger.location_id, Level.FULL)
    assert await ctx.db.read(friend.actor, firmware.list_firmware) == []
    with pytest.raises(NotFound):
        await update(ctx, friend, charger, firmware_id=file.id)
    with pytest.raises(NotFound):
        await firmware.remove(ctx, friend.actor, file.id)
    own = await upload(ctx, friend)
    assert own.id != file.id
    assert (await update(ctx, friend, charger, firmware_id=own.id)).stage is Stage.ASKED
    assert await ctx.db.read(owner.actor, firmware.list_firmware) == [file]


async def test_only_who_may_change_a_charger_uploads_and_updates(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    file = await upload(ctx, owner)
    driver = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    stranger = await make_user(ctx)
    with pytest.raises(Forbidden):
        await upload(ctx, driver)
    with pytest.raises(Forbidden):
        await upload(ctx, stranger)
    with pytest.raises(Forbidden):
        await update(ctx, driver, charger, address="ftp://a.example/fw.bin")
    with pytest.raises(NotFound):
        await update(ctx, stranger, charger, address="ftp://a.example/fw.bin")
    assert await ctx.db.read(owner.actor, firmware.list_firmware) == [file]
    stored = [path for path in (ctx.settings.data / "files").rglob("*") if path.is_file()]
    assert len(stored) == 1


async def test_the_same_bytes_with_the_same_version_are_there_once(sqlite_ctx):
    ctx = sqlite_ctx
    _, owner = await a_charger(ctx)
    first = await upload(ctx, owner)
    assert await upload(ctx, owner) == first
    assert (await upload(ctx, owner, version="6.5.2")).id != first.id
    with pytest.raises(Invalid):
        await upload(ctx, owner, b"")


async def test_a_team_has_so_much_firmware_and_no_more(sqlite_ctx):
    ctx = sqlite_ctx
    _, owner = await a_charger(ctx)
    for number in range(FIRMWARE_FILES_OF_TEAM_MAX):
        await upload(ctx, owner, f"{number}".encode())
    with pytest.raises(TooMuchFirmware):
        await upload(ctx, owner, b"one more")


async def test_firmware_for_another_model_is_told_apart(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    for said, differs in (
        ({}, ()),
        ({"vendor": "alfen", "model": "eve"}, ()),
        ({"vendor": "Zaptec"}, ("vendor",)),
        ({"vendor": "Zaptec", "model": "Pro"}, ("vendor", "model")),
    ):
        file = await upload(ctx, owner, repr(said).encode(), **said)
        assert firmware.differs(file, charger) == differs


async def test_many_chargers_are_asked_as_soon_as_they_are_online(ctx, clock):
    charger, owner = await a_charger(ctx)
    absent = await make_charger(ctx, charger.location_id)
    heard = await answering(ctx, charger.id, BARE)
    file = await upload(ctx, owner)
    ordered = await firmware.update_many(
        ctx, owner.actor, [charger.id, absent.id, charger.id], firmware_id=file.id
    )
    assert [each.stage for each in ordered.transfers] == [Stage.WAITING] * 2
    again = await firmware.update_many(ctx, owner.actor, [charger.id], firmware_id=file.id)
    assert (again.transfers, again.skipped) == ((), (charger.id,))
    clock.advance(1)
    assert await do_jobs(ctx) == 2
    assert await do_jobs(ctx) == 0
    one, other = ordered.transfers
    assert (await look(ctx, owner, one)).stage is Stage.ASKED
    assert (await look(ctx, owner, other)).stage is Stage.WAITING
    assert [type(ask) for ask in heard] == [UpdateFirmware]
    assert (await transfers.serve(ctx, token_of(heard[0].location_url))).name == "eve-6.5.1.bin"
    clock.advance(firmware.LOOK_AGAIN_S)
    assert await do_jobs(ctx) == 1
    await transfers.remove(ctx, owner.actor, other.id)
    clock.advance(firmware.LOOK_AGAIN_S)
    assert await do_jobs(ctx) == 1
    assert await do_jobs(ctx) == 0
    assert len(heard) == 1


async def test_an_order_is_for_all_or_for_none(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    foreign = await make_charger(ctx, (await make_location(ctx)).id)
    file = await upload(ctx, owner)
    with pytest.raises(NotFound):
        await firmware.update_many(ctx, owner.actor, [charger.id, foreign.id], firmware_id=file.id)
    with pytest.raises(Invalid):
        await firmware.update_many(ctx, owner.actor, [], firmware_id=file.id)
    assert await ctx.db.read(owner.actor, transfers.list_transfers, charger.id) == []


async def test_an_ordered_update_that_a_charger_refuses_is_refused(sqlite_ctx, clock):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    await answering(ctx, charger.id, AnswerRefused("InternalError"))
    file = await upload(ctx, owner)
    ordered = await firmware.update_many(ctx, owner.actor, [charger.id], firmware_id=file.id)
    await do_jobs(ctx)
    assert (await look(ctx, owner, ordered.transfers[0])).stage is Stage.REFUSED


async def test_an_ordered_update_waits_for_a_charger_that_goes_while_it_is_asked(sqlite_ctx, clock):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    file = await upload(ctx, owner)
    ordered = await firmware.update_many(ctx, owner.actor, [charger.id], firmware_id=file.id)
    await do_jobs(ctx)  # nobody holds its socket
    assert (await look(ctx, owner, ordered.transfers[0])).stage is Stage.WAITING
    heard = await answering(ctx, charger.id, BARE)
    clock.advance(firmware.LOOK_AGAIN_S)
    await do_jobs(ctx)
    assert (await look(ctx, owner, ordered.transfers[0])).stage is Stage.ASKED
    assert len(heard) == 1

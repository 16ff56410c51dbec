"""The local authority, certificates of chargers from the request to the renewal, and roots in chargers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user, place_of
from tests.unit.chargers.papers import Answering, give_authority, pairs
from tests.unit.chargers.test_credentials import a_charger, certificate_for, hello, knock
from voltyard.chargers import certificates as room
from voltyard.chargers import parameters_store
from voltyard.chargers import service as chargers
from voltyard.chargers.certificates import AskRenewal, NotInForce, SignFor
from voltyard.chargers.keys import fold
from voltyard.kernel import certificates, jobs
from voltyard.kernel.certificates import BadCertificate
from voltyard.kernel.errors import ChargerOffline, Forbidden, NotFound, Unavailable
from voltyard.kernel.limits import (
    CERTIFICATE_RENEWAL_DAYS,
    CHARGER_CERTIFICATE_DAYS,
    SIGNINGS_OF_CHARGER_PER_DAY_MAX,
)
from voltyard.kernel.seal import SealBroken
from voltyard.kernel.wire import decode
from voltyard.locations.access import Level
from voltyard.speech import (
    CertificateHash,
    CertificateKind,
    DeleteCertificate,
    Entry,
    InstallCertificate,
    InstalledCertificates,
    SigningAsked,
    TellCertificates,
    TriggerExtended,
    UseCertificate,
)


async def owned(ctx):
    """Make a charger and its owner."""
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    return await make_charger(ctx, location.id), owner


async def ask(ctx, charger, request=None) -> bool:
    request = request or certificates.new_request(charger.identity, "")[0]
    (is_accepted,) = await ctx.db.work(SYSTEM, room.asked, [(place_of(charger), SigningAsked(request))])
    return is_accepted


async def due(ctx) -> list:
    """Return the jobs that are waiting, as messages."""
    ctx.clock.advance(5)
    found = await ctx.db.work(SYSTEM, jobs.claim, "test", most=50)
    kinds = {"SignFor": SignFor, "AskRenewal": AskRenewal}
    for job in found:
        await ctx.db.work(SYSTEM, jobs.done, job.id, "test")
    return [decode(job.body, kinds[job.kind]) for job in found if job.kind in kinds]


async def held(ctx, charger):
    return await ctx.db.read(SYSTEM, room.of_charger, charger.id)


# --- the authority --------------------------------------------------------------------------------


async def test_the_authority_is_made_once_and_survives(sqlite_ctx):
    root, issuer = await room.authority(sqlite_ctx)
    assert certificates.is_issued_by(issuer.certificate_pem, root.certificate_pem)
    assert await room.authority(sqlite_ctx) == (root, issuer)
    assert await room.root_pem(sqlite_ctx) == root.certificate_pem


async def test_its_keys_do_not_open_without_the_secret_of_the_installation(sqlite_ctx):
    await give_authority(sqlite_ctx)
    settings = sqlite_ctx.settings.model_copy(update={"secret": SecretStr("another one")})
    with pytest.raises(SealBroken, match="secret"):
        await room.authority(replace(sqlite_ctx, settings=settings))


async def test_the_listener_gets_a_certificate_of_each_kind_and_a_new_one_before_they_end(sqlite_ctx, clock):
    ctx = sqlite_ctx
    _, issuer = await give_authority(ctx)
    settings = ctx.settings.model_copy(update={"public_ocpp_url": "wss://cs.example.com/ocpp"})
    ctx = replace(ctx, settings=settings)
    first = await room.server_pairs(ctx)
    assert await room.server_pairs(ctx) == first
    for pair in first:
        leaf, above, _ = certificates.split(pair.chain_pem)
        assert certificates.is_issued_by(leaf, issuer.certificate_pem)
        assert above == issuer.certificate_pem
        assert certificates.describe(leaf).common_name == "cs.example.com"
    clock.advance(timedelta(days=365 - CERTIFICATE_RENEWAL_DAYS + 1).total_seconds())
    assert await room.server_pairs(ctx) != first


async def test_a_certificate_of_ones_own_comes_from_files(sqlite_ctx, tmp_path: Path):
    for name in ("chain", "key"):
        (tmp_path / name).write_text(name)
    settings = sqlite_ctx.settings.model_copy(
        update={"ocpp_tls_certificate": tmp_path / "chain", "ocpp_tls_key": tmp_path / "key"}
    )
    (pair,) = await room.server_pairs(replace(sqlite_ctx, settings=settings))
    assert (pair.chain_pem, pair.key_pem) == ("chain", "key")


def test_the_names_of_this_machine_begin_with_the_public_ones(settings):
    told = settings.model_copy(
        update={"public_url": "https://Volt.example.com", "public_ocpp_url": "ws://10.0.0.7/x"}
    )
    names = room.server_names(told)
    assert names[:2] == ("10.0.0.7", "volt.example.com")
    assert {"localhost", "127.0.0.1"} <= set(names)


async def test_other_authorities_come_from_a_file(sqlite_ctx, tmp_path: Path):
    root, issuer = await give_authority(sqlite_ctx)
    (tmp_path / "others").write_text(root.certificate_pem + issuer.certificate_pem)
    settings = sqlite_ctx.settings.model_copy(update={"ocpp_tls_client_authorities": tmp_path / "others"})
    assert room.other_authorities(settings) == (root.certificate_pem, issuer.certificate_pem)
    assert room.other_authorities(sqlite_ctx.settings) == ()


# --- from the request to the certificate ----------------------------------------------------------


async def test_a_request_is_signed_handed_over_and_opens_the_door(ctx):
    await give_authority(ctx)
    charger, owner = await owned(ctx)
    assert await ask(ctx, charger)
    (job,) = await due(ctx)
    async with Answering(ctx, charger.id) as there:
        await room.sign_for(ctx, job)
        await room.sign_for(ctx, job)
    (asked,) = there.asked
    assert isinstance(asked, UseCertificate)
    leaf, issuer = certificates.split(asked.chain_pem)
    assert certificates.describe(leaf).common_name == charger.identity
    assert issuer == pairs()[1].certificate_pem
    (kept,) = await ctx.db.read(owner.actor, room.of_charger, charger.id)
    assert (kept.status, kept.word) == ("accepted", "Accepted")
    assert kept.valid_until_at - ctx.clock.now() <= timedelta(days=CHARGER_CERTIFICATE_DAYS)


@pytest.mark.parametrize(("longest", "count"), [("10000", 2), ("2500", 1), ("100", 0), ("many", 2)])
async def test_a_chain_is_as_long_as_the_charger_takes(ctx, longest, count):
    await give_authority(ctx)
    charger, _ = await owned(ctx)
    row = {"charger_id": charger.id, "key": fold("CertificateSignedMaxChainSize"), "reported": longest,
           "name": "CertificateSignedMaxChainSize", "reported_at": ctx.clock.now()}  # fmt: skip
    await ctx.db.work(SYSTEM, parameters_store.upsert_parameters, [row])
    await ask(ctx, charger)
    (job,) = await due(ctx)
    async with Answering(ctx, charger.id) as there:
        await room.sign_for(ctx, job)
    chains = [certificates.split(asked.chain_pem) for asked in there.asked]
    assert [len(chain) for chain in chains] == ([count] if count else [])
    (kept,) = await held(ctx, charger)
    assert kept.status == ("accepted" if count else "failed")


async def test_what_the_charger_says_to_its_certificate_is_kept(ctx):
    await give_authority(ctx)
    charger, _ = await owned(ctx)
    await ask(ctx, charger)
    (job,) = await due(ctx)
    async with Answering(ctx, charger.id) as there:
        there.reject()
        await room.sign_for(ctx, job)
    (kept,) = await held(ctx, charger)
    assert (kept.status, kept.word) == ("rejected", "Rejected")


async def test_without_an_answer_the_same_certificate_is_handed_over_again(ctx):
    await give_authority(ctx)
    charger, _ = await owned(ctx)
    await ask(ctx, charger)
    (job,) = await due(ctx)
    with pytest.raises(Unavailable):
        await room.sign_for(ctx, job)
    async with Answering(ctx, charger.id) as there:
        there.wrong = ChargerOffline()
        with pytest.raises(Unavailable):
            await room.sign_for(ctx, job)
        there.wrong = None
        await room.sign_for(ctx, job)
    assert there.asked[0] == there.asked[1]
    assert [each.status for each in await held(ctx, charger)] == ["accepted"]


@pytest.mark.parametrize("request_pem", ["-----BEGIN", "", "\0", "another name"])
async def test_a_bad_request_is_refused_with_the_reason(ctx, request_pem):
    charger, _ = await owned(ctx)
    if request_pem == "another name":
        request_pem, _ = certificates.new_request("CP-OTHER", "")
    assert not await ask(ctx, charger, request_pem.replace("\0", "x") or "x")
    (kept,) = await held(ctx, charger)
    assert kept.status == "refused"
    assert kept.word
    assert await due(ctx) == []


async def test_an_unclaimed_charger_gets_no_certificate(ctx):
    assert not await ask(ctx, await make_charger(ctx))
    assert await due(ctx) == []


async def test_a_charger_that_was_unlinked_meanwhile_gets_none_either(ctx):
    await give_authority(ctx)
    charger, owner = await owned(ctx)
    await ask(ctx, charger)
    (job,) = await due(ctx)
    await ctx.db.work(owner.actor, chargers.unlink, charger.location_id, charger.id)
    async with Answering(ctx, charger.id) as there:
        await room.sign_for(ctx, job)
    assert there.asked == []


async def test_the_organisation_counts_where_the_installation_has_one(ctx):
    await give_authority(ctx)
    charger, _ = await owned(ctx)
    ctx = replace(ctx, settings=ctx.settings.model_copy(update={"cpo_name": "Current Ltd"}))
    await ask(ctx, charger, certificates.new_request(charger.identity, "Power Ltd")[0])
    (job,) = await due(ctx)
    async with Answering(ctx, charger.id) as there:
        await room.sign_for(ctx, job)
    assert there.asked == []
    (kept,) = await held(ctx, charger)
    assert kept.status == "failed"
    assert "Current Ltd" in kept.word


async def test_a_charger_cannot_ask_for_ever(ctx, clock):
    charger, _ = await owned(ctx)
    request, _ = certificates.new_request(charger.identity, "")
    for _ in range(SIGNINGS_OF_CHARGER_PER_DAY_MAX):
        assert await ask(ctx, charger, request)
    assert not await ask(ctx, charger, request)
    clock.advance(24 * 3600 + 1)
    assert await ask(ctx, charger, request)


async def test_a_newer_certificate_takes_the_place_of_the_older(ctx):
    await give_authority(ctx)
    charger, _ = await owned(ctx)
    for _ in range(2):
        await ask(ctx, charger)
        (job,) = await due(ctx)
        async with Answering(ctx, charger.id):
            await room.sign_for(ctx, job)
    assert [each.status for each in await held(ctx, charger)] == ["accepted", "replaced"]


# --- renewal and revocation -----------------------------------------------------------------------


async def test_before_its_end_a_certificate_is_renewed_once_a_day(ctx, clock):
    charger = await a_charger(ctx)
    await certificate_for(ctx, charger, until_at=clock.now() + timedelta(days=CERTIFICATE_RENEWAL_DAYS + 1))
    assert await ctx.db.work(SYSTEM, room.renew_due) == 0
    clock.advance(2 * 24 * 3600)
    assert await ctx.db.work(SYSTEM, room.renew_due) == 1
    assert await ctx.db.work(SYSTEM, room.renew_due) == 0
    (job,) = await due(ctx)
    async with Answering(ctx, charger.id) as there:
        await room.ask_renewal(ctx, job)
    assert there.asked == [TriggerExtended("SignChargePointCertificate")]
    clock.advance(24 * 3600)
    assert await ctx.db.work(SYSTEM, room.renew_due) == 1
    await room.ask_renewal(ctx, AskRenewal(charger.id))


async def test_a_revoked_certificate_opens_no_door_and_its_socket_is_closed(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    charger = await make_charger(ctx, location.id)
    paper = await certificate_for(ctx, charger)
    assert await knock(ctx, hello(charger, is_tls=True, certificate=paper)) == [Entry.WELCOME]
    (kept,) = await held(ctx, charger)
    listening = await ctx.bus.listen(f"charger.{charger.id}.superseded", queue_max=10)
    await ctx.db.work(owner.actor, room.revoke, charger.id, kept.id)
    await listening.next()
    await listening.stop()
    assert not (await ctx.db.read(SYSTEM, chargers.get, charger.id)).is_online
    with pytest.raises(NotInForce):
        await ctx.db.work(owner.actor, room.revoke, charger.id, kept.id)
    other = await make_charger(ctx, location.id)
    with pytest.raises(NotFound):
        await ctx.db.work(owner.actor, room.revoke, other.id, kept.id)


# --- who may --------------------------------------------------------------------------------------


async def test_only_those_who_may_change_chargers_change_certificates(ctx):
    charger, _ = await owned(ctx)
    member = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    basic = await make_member(ctx, charger.location_id, Level.BASIC)
    stranger = await make_user(ctx)
    hashed = CertificateHash("SHA256", "aa", "bb", "1")
    for person, wrong in ((member, Forbidden), (stranger, NotFound)):
        for act in (
            room.ask_for_request(ctx, person.actor, charger.id),
            room.install_root(ctx, person.actor, charger.id),
            room.read_roots(ctx, person.actor, charger.id, CertificateKind.CENTRAL),
            room.delete_root(ctx, person.actor, charger.id, hashed),
        ):
            with pytest.raises(wrong):
                await act
        with pytest.raises(wrong):
            await ctx.db.work(person.actor, room.revoke, charger.id, "cert_01JD00000000000000000000AA")
    for look in (room.roots, room.of_charger):
        assert await ctx.db.read(member.actor, look, charger.id) == []
        with pytest.raises(Forbidden):
            await ctx.db.read(basic.actor, look, charger.id)
        with pytest.raises(NotFound):
            await ctx.db.read(stranger.actor, look, charger.id)


# --- roots ----------------------------------------------------------------------------------------


async def test_our_root_is_installed_listed_and_deleted(ctx):
    root, _ = await give_authority(ctx)
    charger, owner = await owned(ctx)
    central = CertificateKind.CENTRAL
    async with Answering(ctx, charger.id) as there:
        await room.install_root(ctx, owner.actor, charger.id)
        assert there.asked == [InstallCertificate(central, root.certificate_pem)]
        assert await ctx.db.read(SYSTEM, room.trusts_us, charger.id)
        (kept,) = await ctx.db.read(owner.actor, room.roots, charger.id)
        assert (kept.name, kept.is_ours, kept.kind) == ("Test root", True, central)
        # Chargers spell the same hashes differently.
        told = replace_hash(kept.hash, serial=f"00{kept.hash.serial.upper()}")
        there.details = InstalledCertificates((told, CertificateHash("SHA256", "aa", "bb", "1")))
        await room.read_roots(ctx, owner.actor, charger.id, central)
        assert there.asked[-1] == TellCertificates(central)
        listed = await ctx.db.read(owner.actor, room.roots, charger.id)
        assert {(each.name, each.is_ours) for each in listed} == {("Test root", True), ("", False)}
        assert told in {each.hash for each in listed}
        await room.delete_root(ctx, owner.actor, charger.id, told)
        assert there.asked[-1] == DeleteCertificate(told)
        assert not await ctx.db.read(SYSTEM, room.trusts_us, charger.id)


def replace_hash(one: CertificateHash, **over: str) -> CertificateHash:
    names = ("algorithm", "issuer_name_hash", "issuer_key_hash", "serial")
    return CertificateHash(**({name: getattr(one, name) for name in names} | over))


async def test_what_a_charger_refuses_is_not_believed_to_be_there_or_gone(ctx):
    await give_authority(ctx)
    charger, owner = await owned(ctx)
    async with Answering(ctx, charger.id) as there:
        await room.install_root(ctx, owner.actor, charger.id)
        (kept,) = await ctx.db.read(owner.actor, room.roots, charger.id)
        there.reject("Failed")
        await room.delete_root(ctx, owner.actor, charger.id, kept.hash)
        assert len(await ctx.db.read(owner.actor, room.roots, charger.id)) == 1
        there.reject("NotFound")
        await room.delete_root(ctx, owner.actor, charger.id, kept.hash)
        assert await ctx.db.read(owner.actor, room.roots, charger.id) == []
        there.reject("Rejected")
        await room.install_root(ctx, owner.actor, charger.id)
        assert await ctx.db.read(owner.actor, room.roots, charger.id) == []


async def test_a_root_of_somebody_elses_is_checked_before_it_is_sent(ctx):
    _, issuer = await give_authority(ctx)
    charger, owner = await owned(ctx)
    request, _ = certificates.new_request("CP-9", "")
    now = ctx.clock.now()
    leaf = certificates.sign_request(
        issuer, request, identity="CP-9", now=now, until_at=now + timedelta(days=1)
    )
    async with Answering(ctx, charger.id) as there:
        for wrong in (leaf, "nonsense", pairs()[0].certificate_pem + pairs()[1].certificate_pem):
            with pytest.raises(BadCertificate):
                await room.install_root(ctx, owner.actor, charger.id, certificate_pem=wrong)
        assert there.asked == []
        await room.install_root(
            ctx, owner.actor, charger.id, kind=CertificateKind.MANUFACTURER,
            certificate_pem=pairs()[0].certificate_pem,
        )  # fmt: skip
    assert not await ctx.db.read(SYSTEM, room.trusts_us, charger.id), "trusted for firmware only"

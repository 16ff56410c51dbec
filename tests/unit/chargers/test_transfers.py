"""Transfers: what is asked, what arrives, what is said of it, who may see it, and when it ends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import PIN, SYSTEM, make_location, make_member, make_user
from tests.unit.chargers.deliveries import (
    BARE,
    NAMED,
    UNABLE,
    YES,
    a_charger,
    answering,
    look,
    send,
    tell,
    token_of,
)
from voltyard.chargers import commands, transfers
from voltyard.chargers import service as chargers
from voltyard.chargers.events import TransferChanged
from voltyard.chargers.stages import Kind, Stage
from voltyard.chargers.transfers import AddressEnded, StorageFull, TooManyFiles
from voltyard.kernel.errors import Forbidden, Invalid, NotFound
from voltyard.kernel.limits import (
    ADDRESS_HOURS,
    RECEIVED_DAYS,
    RECEIVED_FILES_MAX,
    TRANSFER_DAYS,
    UPLOAD_HOURS_MAX,
)
from voltyard.locations.access import Level
from voltyard.speech import (
    Answer,
    AnswerRefused,
    DiagnosticsTold,
    LogKind,
    LogTold,
    SendDiagnostics,
    SendLog,
)


def everything(ctx) -> list[str]:
    folder = ctx.settings.data / "files"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def test_diagnostics_are_asked_for_told_of_and_received(ctx, clock):
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    listening = await ctx.bus.listen(f"live.{charger.location_id}.>", queue_max=50)
    since = clock.now() - timedelta(hours=24)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id, from_at=since, retries=3)
    (ask,) = heard
    assert ask == SendDiagnostics(ask.location_url, since, None, 3)
    assert ask.location_url.startswith("http://localhost:8080/files/up/vyf_")
    assert ask.location_url.endswith("/")
    assert (asked.kind, asked.stage, asked.name, asked.number) == (
        Kind.DIAGNOSTICS, Stage.ASKED, "cp.log", 1,
    )  # fmt: skip
    clock.advance(5)
    await tell(ctx, charger, DiagnosticsTold("Uploading"))
    assert (await look(ctx, owner, asked)).stage is Stage.UPLOADING
    await send(ctx, ask.location_url, b"all is well")
    await tell(ctx, charger, DiagnosticsTold("Uploaded"), DiagnosticsTold("Idle"))
    done = await look(ctx, owner, asked)
    assert done.stage is Stage.RECEIVED
    assert [(step.stage, step.word) for step in done.steps] == [
        (Stage.ASKED, ""), (Stage.UPLOADING, "Uploading"), (Stage.RECEIVED, ""),
    ]  # fmt: skip
    assert done.steps[1].at == done.steps[0].at + timedelta(seconds=5)
    (file,) = done.files
    assert (file.name, file.size_bytes) == ("cp.log", 11)
    assert ctx.files.load(file.stored) == b"all is well"
    kept = await ctx.db.read(owner.actor, transfers.received, asked.id)
    assert kept == file
    stages = []
    while not stages or stages[-1] != "received":
        _, event = await listening.next()
        if isinstance(event, TransferChanged):
            assert event == TransferChanged(asked.id, charger.id, charger.location_id, event.stage)
            stages.append(event.stage)
    assert stages == ["asked", "uploading", "received"]


async def test_an_upload_that_nothing_is_said_of_is_a_success_as_well(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    await send(ctx, heard[0].location_url, b"x", name="")
    done = await look(ctx, owner, asked)
    assert (done.stage, done.files[0].name) == (Stage.RECEIVED, "cp.log")


async def test_a_charger_that_names_no_file_has_nothing_to_send_unless_something_comes(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, BARE)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    assert asked.stage is Stage.NOTHING
    await send(ctx, heard[0].location_url, b"x", name="")
    done = await look(ctx, owner, asked)
    assert (done.stage, done.files[0].name) == (Stage.RECEIVED, "diagnostics-1.bin")


@pytest.mark.parametrize(
    ("kind", "asks"),
    [
        (Kind.DIAGNOSTICS, ["SendDiagnostics", "SendLog"]),
        (Kind.LOG, ["SendLog", "SendDiagnostics"]),
        (Kind.SECURITY_LOG, ["SendLog"]),
    ],
)
async def test_what_a_charger_cannot_do_in_one_way_is_asked_in_the_other(sqlite_ctx, kind, asks):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, UNABLE)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id, kind=kind)
    assert [type(ask).__name__ for ask in heard] == asks
    assert (asked.stage, asked.word) == (Stage.UNABLE, "NotImplemented")
    with pytest.raises(AddressEnded):
        await send(ctx, heard[0].location_url, b"late")


async def test_a_log_has_a_number_by_which_its_news_is_known(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, YES)
    first = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id, kind=Kind.SECURITY_LOG)
    second = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id, kind=Kind.LOG)
    assert [(ask.kind, ask.request_number) for ask in heard] == [
        (LogKind.SECURITY, 1), (LogKind.DIAGNOSTICS, 2),
    ]  # fmt: skip
    assert (await look(ctx, owner, first)).stage is Stage.REPLACED
    await tell(ctx, charger, LogTold("Uploading", 2), LogTold("PermissionDenied", 2))
    failed = await look(ctx, owner, second)
    assert (failed.stage, failed.word) == (Stage.FAILED, "PermissionDenied")


async def test_a_charger_that_says_uploaded_without_a_file_is_not_believed(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    await tell(ctx, charger, DiagnosticsTold("Uploaded"))
    assert (await look(ctx, owner, asked)).stage is Stage.MISSING
    await send(ctx, heard[0].location_url, b"after all")
    assert (await look(ctx, owner, asked)).stage is Stage.RECEIVED


async def test_a_file_that_goes_elsewhere_is_believed_to_be_sent_and_its_password_is_kept_nowhere(ctx):
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(
        ctx, owner.actor, charger.id, address=" ftp://ann:s3cret@files.example/in/ "
    )
    assert heard[0].location_url == "ftp://ann:s3cret@files.example/in/"
    assert (asked.is_ours, asked.address) == (False, "ftp://***@files.example/in/")
    await tell(ctx, charger, DiagnosticsTold("Uploaded"))
    assert (await look(ctx, owner, asked)).stage is Stage.SENT
    shown = await ctx.db.read(owner.actor, commands.list_commands, charger.id)
    assert "s3cret" not in repr(shown)


@pytest.mark.parametrize(
    "address",
    [
        "gopher://a.example/", "ftp://", "//a.example", "a.example/in", "ftp://a b/", "ftp://a.example/a b",
        "ftp://a.example:port/", "http://[::1/", f"ftp://a.example/{'a' * 500}", "ftp://ä.example/",
    ],
)  # fmt: skip
async def test_what_is_no_address_is_refused_before_anything_is_kept(sqlite_ctx, address: str):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    with pytest.raises(Invalid) as refused:
        await transfers.fetch_diagnostics(ctx, owner.actor, charger.id, address=address)
    assert refused.value.errors[0][0] == "/address"
    assert await ctx.db.read(owner.actor, transfers.list_transfers, charger.id) == []


async def test_wishes_that_make_no_sense_are_refused(sqlite_ctx, clock):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    for wrong in (
        {"from_at": clock.now(), "until_at": clock.now()},
        {"kind": Kind.FIRMWARE},
        {"retries": 11},
        {"retry_interval_s": 0},
    ):
        with pytest.raises(Invalid):
            await transfers.fetch_diagnostics(ctx, owner.actor, charger.id, **wrong)


@pytest.mark.parametrize(
    ("answer", "stage", "ended"),
    [
        (Answer(False, "Rejected", '{"status":"Rejected"}'), Stage.REFUSED, True),
        (AnswerRefused("InternalError"), Stage.REFUSED, True),
        (None, Stage.OFFLINE, True),
    ],
)
async def test_a_refusal_and_an_absent_charger_end_the_address(sqlite_ctx, answer, stage, ended):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    if answer is not None:
        await answering(ctx, charger.id, answer)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id, kind=Kind.SECURITY_LOG)
    assert asked.stage is stage
    assert not asked.is_going_on


async def test_a_transfer_of_which_nothing_came_has_timed_out_and_its_address_still_holds(sqlite_ctx, clock):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    clock.advance(UPLOAD_HOURS_MAX * 3600)
    assert (await look(ctx, owner, asked)).stage is Stage.TIMED_OUT
    await send(ctx, heard[0].location_url, b"late")
    assert (await look(ctx, owner, asked)).stage is Stage.RECEIVED
    clock.advance(ADDRESS_HOURS * 3600)
    with pytest.raises(AddressEnded):
        await send(ctx, heard[0].location_url, b"too late")


async def test_some_files_are_taken_and_one_of_the_same_name_takes_the_place_of_the_older(ctx):
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    for number in range(RECEIVED_FILES_MAX):
        await send(ctx, heard[0].location_url, b"old", name=f"{number}.log")
    await send(ctx, heard[0].location_url, b"newer", name="0.log")
    with pytest.raises(TooManyFiles):
        await send(ctx, heard[0].location_url, b"x", name="another.log")
    done = await look(ctx, owner, asked)
    assert [(file.name, file.size_bytes) for file in done.files] == [
        ("1.log", 3), ("2.log", 3), ("3.log", 3), ("4.log", 3), ("0.log", 5),
    ]  # fmt: skip
    assert len(everything(ctx)) == RECEIVED_FILES_MAX


async def test_an_empty_file_is_none_and_a_full_installation_takes_none(sqlite_ctx, monkeypatch):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    with pytest.raises(Invalid):
        await send(ctx, heard[0].location_url, b"")
    monkeypatch.setattr(transfers, "FILES_BYTES_MAX", 10)
    with pytest.raises(StorageFull):
        await send(ctx, heard[0].location_url, b"0123456789")
    assert everything(ctx) == []


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("a.log", "a.log"),
        ("../../secret.key", "secret.key"),
        ("C:\\logs\\a.log", "a.log"),
        ("in/2026/", "2026"),
        ("a\r\nb\0.log", "ab.log"),
        ('<img src="x">', "img src=x"),
        ("...", ""),
        ("x" * 300, "x" * 120),
    ],
)
def test_a_name_is_kept_without_what_could_mislead(told: str, kept: str):
    assert transfers.clean_name(told) == kept


async def test_an_unknown_token_and_one_of_the_other_direction_lead_nowhere(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    with pytest.raises(NotFound):
        await send(ctx, "http://localhost/files/up/vyf_0000/", b"x")
    with pytest.raises(NotFound):
        await transfers.serve(ctx, token_of(heard[0].location_url))


async def test_files_are_for_those_who_may_see_sensitive_data(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    await send(ctx, heard[0].location_url, b"x")
    guest = await make_member(ctx, charger.location_id, Level.BASIC)
    driver = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    stranger = await make_user(ctx)
    assert (await ctx.db.read(guest.actor, transfers.get, asked.id)).files == ()
    with pytest.raises(Forbidden):
        await ctx.db.read(guest.actor, transfers.received, asked.id)
    with pytest.raises(Forbidden):
        await transfers.fetch_diagnostics(ctx, guest.actor, charger.id)
    assert (await ctx.db.read(driver.actor, transfers.received, asked.id)).size_bytes == 1
    with pytest.raises(Forbidden):
        await transfers.remove(ctx, driver.actor, asked.id)
    for act in (transfers.get, transfers.received):
        with pytest.raises(NotFound):
            await ctx.db.read(stranger.actor, act, asked.id)
    with pytest.raises(NotFound):
        await ctx.db.read(owner.actor, transfers.received, asked.id, "file_00000000000000000000000000")
    with pytest.raises(NotFound):
        await ctx.db.read(owner.actor, transfers.get, "xfr_00000000000000000000000000")


async def test_what_was_sent_before_a_charger_changed_hands_stays_with_nobody(ctx, clock):
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    await ctx.db.work(owner.actor, chargers.unlink, charger.location_id, charger.id)
    clock.advance(60)
    buyer = await make_user(ctx)
    location = await make_location(ctx, buyer)
    await chargers.claim(ctx, buyer.actor, location.id, identity=charger.identity, pin=PIN)
    await send(ctx, heard[0].location_url, b"x")
    for person in (owner, buyer):
        with pytest.raises(NotFound):
            await ctx.db.read(person.actor, transfers.get, asked.id)
    assert await ctx.db.read(buyer.actor, transfers.list_transfers, charger.id) == []


async def test_a_transfer_is_deleted_with_its_files(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    await send(ctx, heard[0].location_url, b"x")
    await transfers.remove(ctx, owner.actor, asked.id)
    assert everything(ctx) == []
    with pytest.raises(NotFound):
        await look(ctx, owner, asked)
    with pytest.raises(NotFound):
        await send(ctx, heard[0].location_url, b"x")


async def test_old_files_are_forgotten_and_much_later_the_transfers(ctx, clock):
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    await send(ctx, heard[0].location_url, b"x")
    clock.advance(RECEIVED_DAYS * 24 * 3600 - 1)
    await transfers.forget_old(ctx)
    assert len(everything(ctx)) == 1
    clock.advance(2)
    await transfers.forget_old(ctx)
    assert everything(ctx) == []
    assert (await look(ctx, owner, asked)).files == ()
    clock.advance(TRANSFER_DAYS * 24 * 3600)
    await transfers.forget_old(ctx)
    with pytest.raises(NotFound):
        await look(ctx, owner, asked)


async def test_news_that_concerns_nothing_of_ours_is_borne(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    await tell(ctx, charger, DiagnosticsTold("Uploaded"), LogTold("Uploading", 9), DiagnosticsTold("Idle"))
    assert await ctx.db.read(owner.actor, transfers.list_transfers, charger.id) == []


async def test_a_charger_that_never_ends_its_story_does_not_fill_the_tables(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    for _ in range(transfers.STEPS_MAX):
        await tell(ctx, charger, DiagnosticsTold("Uploading"), DiagnosticsTold("UploadFailed"))
    assert len((await look(ctx, owner, asked)).steps) == transfers.STEPS_MAX


async def test_a_cut_upload_is_told_and_may_come_again(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    asked = await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    token, key = token_of(heard[0].location_url), ctx.settings.secret_key()
    slot = await ctx.db.work(SYSTEM, transfers.open_upload, token, "a.log", key)
    await ctx.db.work(SYSTEM, transfers.upload_cut, slot, "cut")
    assert (await look(ctx, owner, asked)).stage is Stage.FAILED
    await send(ctx, heard[0].location_url, b"whole")
    await ctx.db.work(SYSTEM, transfers.upload_cut, slot, "cut")
    assert (await look(ctx, owner, asked)).stage is Stage.RECEIVED


async def test_an_own_address_for_chargers_counts(sqlite_ctx):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    heard = await answering(ctx, charger.id, NAMED)
    object.__setattr__(
        ctx, "settings", ctx.settings.model_copy(update={"charger_files_url": "http://10.0.0.2/"})
    )
    await transfers.fetch_diagnostics(ctx, owner.actor, charger.id)
    assert heard[0].location_url.startswith("http://10.0.0.2/files/up/")
    assert isinstance(heard[0], SendDiagnostics)
    assert not isinstance(heard[0], SendLog)

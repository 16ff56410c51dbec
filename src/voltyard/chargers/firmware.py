"""Firmware: files that people upload for their chargers, and updates of chargers with them.

Firmware belongs to the team of whoever uploaded it. A charger fetches it by itself (OCPP 1.6 §5.19), or
compares it with a signature first (white paper, use case L01). Whether an update came to its end is proven
by the version that the charger tells when it starts the next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voltyard.chargers import commands, firmware_store, runs, service, transfers, transfers_store
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.service import Charger, Place
from voltyard.chargers.stages import GOING_ON, Kind, Stage, seen
from voltyard.chargers.transfers import Sent, Transfer
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Forbidden, Invalid, NotFound, VoltyardError
from voltyard.kernel.files import Arriving
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import (
    ADDRESS_HOURS,
    FIRMWARE_CHARGERS_MAX,
    FIRMWARE_FILES_OF_TEAM_MAX,
    RETRIEVE_DAYS_MAX,
)
from voltyard.kernel.wire import Message
from voltyard.locations.access import Permission
from voltyard.locations.service import WHO_CAN_FIX
from voltyard.speech import Priority, UpdateFirmware, UpdateSignedFirmware

ACTOR = system("firmware")
TEXT_LENGTH = 120
SIGNATURE_LENGTH_MAX = 800
CERTIFICATE_LENGTH_MAX = 5_500
"""Both as the security white paper has them, §5.21."""
LOOK_AGAIN_S = 300.0
"""How soon a charger that is offline is looked for again."""
STILL = timedelta(hours=1)
"""An update of which nothing was heard for this long holds no other one up."""


class UpdateRunning(Conflict):
    """A charger takes one update at a time, and one is under way: wait until it is done."""

    title = "An update of this charger is under way"


class TooMuchFirmware(Conflict):
    """A team keeps a limited number of firmware files: delete one that is not needed any more."""

    title = "There are as many firmware files as a team may have"


class FirmwareInUse(Conflict):
    """Chargers are still to fetch this firmware: delete it once their updates are done."""

    title = "This firmware is still needed"


class BringFirmware(Message, frozen=True):
    """A duty: ask one charger for an update that was ordered for many."""

    transfer_id: str


@dataclass(frozen=True, slots=True)
class Firmware:
    """Firmware that somebody uploaded; ``vendor`` and ``model`` are empty where it is for any."""

    id: str
    team_id: str
    name: str
    version: str
    vendor: str
    model: str
    size_bytes: int
    sha256: str
    signature: str
    certificate_pem: str
    actor_id: str
    created_at: datetime

    @property
    def is_signed(self) -> bool:
        """Say whether it came with a signature, so that a charger can be asked to check it."""
        return bool(self.signature)


@dataclass(frozen=True, slots=True)
class Wish:
    """When and how often a charger shall try; ``None`` leaves it to the charger, or means at once."""

    retrieve_at: datetime | None = None
    install_at: datetime | None = None
    retries: int | None = None
    retry_interval_s: int | None = None
    is_signed: bool = False


def _firmware(row: Any) -> Firmware:
    return Firmware(
        row.id,
        row.team_id,
        row.name,
        row.version,
        row.vendor,
        row.model,
        row.size_bytes,
        row.sha256,
        row.signature,
        row.certificate_pem,
        row.actor_id,
        row.created_at,
    )


# --- the files ------------------------------------------------------------------------------------


def get(work: Work, firmware_id: str) -> Firmware:
    """Return firmware of one of the actor's teams. Raises: NotFound."""
    row = firmware_store.find_firmware(work, check("fw", firmware_id))
    if row is None or not (work.actor.is_system or row.team_id in work.actor.team_ids):
        raise NotFound("there is no such firmware, or it belongs to another team", id=firmware_id)
    return _firmware(row)


def list_firmware(work: Work, *, after: str | None = None, limit: int = 25) -> list[Firmware]:
    """Return a page of the firmware of the actor's teams, newest first."""
    return [_firmware(row) for row in firmware_store.list_firmware(work, after=after, limit=limit)]


def require_upload(work: Work, team_id: str | None = None) -> str:
    """Return the team for which the actor may upload firmware now.

    Raises: Forbidden for those who may change no charger, or are not in that team; TooMuchFirmware;
    StorageFull.
    """
    if not work.actor.team_ids or not transfers_store.may_somewhere(work, Permission.EDIT_CHARGERS):
        raise Forbidden(f"only those who may change a charger may upload firmware: {WHO_CAN_FIX}")
    team = team_id or work.actor.team_ids[0]
    if team not in work.actor.team_ids:
        raise Forbidden("you are not in that team: ask one of its members to upload the firmware")
    if firmware_store.count_of_team(work, team) >= FIRMWARE_FILES_OF_TEAM_MAX:
        raise TooMuchFirmware(
            f"a team may have {FIRMWARE_FILES_OF_TEAM_MAX} firmware files: delete one first"
        )
    transfers.require_space(work)
    return team


def tidy(
    *,
    name: str,
    version: str,
    vendor: str = "",
    model: str = "",
    signature: str = "",
    certificate_pem: str = "",
) -> dict[str, str]:
    """Return what was said about a firmware file as it is kept. Raises: Invalid."""
    wrong: list[tuple[str, str]] = []
    kept = {"name": transfers.clean_name(name), "version": version, "vendor": vendor, "model": model}
    for field, value in kept.items():
        kept[field] = value.strip()
        if len(kept[field]) > TEXT_LENGTH or not value.isprintable():
            wrong.append((f"/{field}", f"at most {TEXT_LENGTH} characters, in one line"))
    if not kept["name"]:
        wrong.append(("/name", "the file needs a name, such as firmware-6.5.1.bin"))
    if not kept["version"]:
        wrong.append(("/version", "as the charger will tell it, so that we can see whether it worked"))
    signature, certificate_pem = signature.strip(), certificate_pem.strip()
    if bool(signature) != bool(certificate_pem):
        wrong.append(("/signature", "signature and certificate go together"))
    if len(signature) > SIGNATURE_LENGTH_MAX or not signature.isascii() or not signature.isprintable():
        wrong.append(("/signature", f"base64, at most {SIGNATURE_LENGTH_MAX} characters"))
    is_pem = certificate_pem.startswith("-----BEGIN CERTIFICATE-----")
    if certificate_pem and (not is_pem or len(certificate_pem) > CERTIFICATE_LENGTH_MAX):
        wrong.append(("/certificate", f"PEM, at most {CERTIFICATE_LENGTH_MAX} characters"))
    if wrong:
        raise Invalid("the firmware was not kept: " + "; ".join(why for _, why in wrong), tuple(wrong))
    return kept | {"signature": signature, "certificate_pem": certificate_pem}


async def add(
    ctx: Context, actor: Actor, arriving: Arriving, said: dict[str, str], team_id: str | None = None
) -> Firmware:
    """Keep firmware that has arrived whole; ``said`` is what ``tidy`` returned.

    The same bytes with the same version are there once: what is there is returned.
    Raises: Invalid for an empty file; Forbidden; TooMuchFirmware; StorageFull.
    """
    if not arriving.size_bytes:
        raise Invalid("the file is empty", (("/file", "choose a file that holds something"),))
    firmware_id = new_id("fw")
    stored = f"firmware/{firmware_id}"
    await asyncio.to_thread(arriving.keep, stored)
    try:
        kept = await ctx.db.work(actor, _add, firmware_id, stored, arriving, said, team_id)
    except BaseException:
        ctx.files.delete(stored)
        raise
    if kept.id != firmware_id:
        await asyncio.to_thread(ctx.files.delete, stored)
    return kept


def _add(
    work: Work, firmware_id: str, stored: str, arriving: Arriving, said: dict[str, str], team_id: str | None
) -> Firmware:
    team = team_id or (work.actor.team_ids[0] if work.actor.team_ids else "")
    same = firmware_store.find_same(work, team, arriving.sha256, said["version"])
    if same is not None and team in work.actor.team_ids:
        return _firmware(same)
    team = require_upload(work, team_id)
    transfers.require_space(work, arriving.size_bytes)
    firmware_store.insert_firmware(
        work,
        id=firmware_id,
        team_id=team,
        stored=stored,
        size_bytes=arriving.size_bytes,
        sha256=arriving.sha256,
        actor_id=work.actor.subject_id,
        **said,
    )
    return get(work, firmware_id)


async def remove(ctx: Context, actor: Actor, firmware_id: str) -> None:
    """Delete firmware. Raises: NotFound; FirmwareInUse while chargers are still to fetch it."""
    stored = await ctx.db.work(actor, _remove, firmware_id)
    await asyncio.to_thread(ctx.files.delete, stored)


def _remove(work: Work, firmware_id: str) -> str:
    get(work, firmware_id)
    if transfers_store.find_using(work, firmware_id, [stage.value for stage in GOING_ON]) is not None:
        raise FirmwareInUse("chargers are still to fetch this firmware: wait until their updates are done")
    row = firmware_store.find_firmware(work, firmware_id)
    assert row is not None, "firmware that was just seen is gone"
    firmware_store.delete_firmware(work, firmware_id)
    stored: str = row.stored
    return stored


def differs(firmware: Firmware, charger: Charger) -> tuple[str, ...]:
    """Return what of a charger is not what the firmware is for: ``vendor``, ``model``.

    What either of them leaves open differs from nothing.
    """
    pairs = {"vendor": (firmware.vendor, charger.vendor), "model": (firmware.model, charger.model)}
    return tuple(
        name for name, (wanted, told) in pairs.items() if wanted and told and not _is_like(wanted, told)
    )


def _is_like(wanted: str, told: str) -> bool:
    return wanted.strip().casefold() in told.strip().casefold()


# --- updates --------------------------------------------------------------------------------------


async def update(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    *,
    firmware_id: str = "",
    address: str = "",
    version: str = "",
    wish: Wish | None = None,
) -> Transfer:
    """Ask a charger to fetch and install new firmware: one that was uploaded, or one at an address.

    ``version`` is what is expected from an address. A refusal, a silence and an absent charger are
    outcomes, not exceptions. Raises: NotFound; Forbidden; Invalid; UpdateRunning.
    """
    if bool(firmware_id) == bool(address.strip()):
        raise Invalid("name either firmware or an address", (("/firmware_id", "one of the two"),))
    wish = _checked(wish or Wish(), ctx.clock.now())
    if address.strip():
        if wish.is_signed:
            raise Invalid(
                "a signed update needs firmware that was uploaded with its signature",
                (("/is_signed", "upload the firmware with signature and certificate"),),
            )
        sent = Sent(transfers.check_address(address), None)
        if len(version) > TEXT_LENGTH or not version.isprintable():
            raise Invalid("that is no version", (("/version", f"at most {TEXT_LENGTH} characters"),))
        file = None
    else:
        file = await ctx.db.read(actor, get, firmware_id)
        sent = transfers.download_address(ctx, file.name)
        version = file.version
        _check_signed(file, wish)
    transfer_id, number = await ctx.db.work(
        actor, _begin, charger_id, Stage.ASKED, sent, file, version.strip(), wish
    )
    done = await _send(ctx, actor, charger_id, transfer_id, number, sent, file, wish)
    await ctx.db.work(actor, transfers.note_answer, transfer_id, done)
    return await ctx.db.read(actor, transfers.get, transfer_id)


def _checked(wish: Wish, now: datetime) -> Wish:
    """Return a wish that a charger may be told. Raises: Invalid."""
    transfers.check_retries(wish.retries, wish.retry_interval_s)
    retrieve_at = max(wish.retrieve_at or now, now)
    if retrieve_at > now + timedelta(days=RETRIEVE_DAYS_MAX):
        raise Invalid(
            "that is too far ahead", (("/retrieve_at", f"at most {RETRIEVE_DAYS_MAX} days from now"),)
        )
    if wish.install_at is not None and not wish.is_signed:
        raise Invalid(
            "only signed updates are installed at a time of one's own",
            (("/install_at", "leave it out, or ask for a signed update"),),
        )
    if wish.install_at is not None and wish.install_at < retrieve_at:
        raise Invalid(
            "it would be installed before it is fetched", (("/install_at", "later than retrieve_at"),)
        )
    return Wish(retrieve_at, wish.install_at, wish.retries, wish.retry_interval_s, wish.is_signed)


def _check_signed(file: Firmware, wish: Wish) -> None:
    if wish.is_signed and not file.is_signed:
        raise Invalid(
            "this firmware has no signature",
            (("/is_signed", "upload the firmware with signature and certificate"),),
        )


def running(work: Work, charger: Charger) -> Any | None:
    """Return the update of a charger that holds another one up, if there is one.

    One of which nothing was heard for an hour holds nothing up.
    """
    since = transfers_store.claimed_at(work, charger.id) or charger.created_at
    for row in transfers_store.find_of_charger(work, charger.id, [Kind.FIRMWARE.value], since):
        if seen(Stage(row.stage), row.ends_at, work.now) not in GOING_ON:
            continue
        if row.stage == Stage.WAITING or work.now < max(row.changed_at, row.retrieve_at) + STILL:
            return row
    return None


def _begin(
    work: Work,
    charger_id: str,
    stage: Stage,
    sent: Sent | None,
    file: Firmware | None,
    version: str,
    wish: Wish,
) -> tuple[str, int]:
    charger = service.get(work, charger_id, Permission.EDIT_CHARGERS)
    service.get(work, charger_id, Permission.CONTROL)
    if running(work, charger) is not None:
        raise UpdateRunning("an update of this charger is under way: wait until it is done or gives up")
    since = transfers_store.claimed_at(work, charger.id) or charger.created_at
    for row in transfers_store.find_of_charger(work, charger.id, [Kind.FIRMWARE.value], since):
        # What it says from now on is about the new one.
        transfers_store.set_transfer(work, row.id, heard_until_at=work.now)
    assert wish.retrieve_at is not None, "a wish is checked before it is begun"
    ends_at = wish.retrieve_at + timedelta(hours=ADDRESS_HOURS)
    if wish.install_at is not None:
        ends_at = max(ends_at, wish.install_at + timedelta(hours=ADDRESS_HOURS))
    transfer_id = transfers.begin(
        work,
        charger,
        Kind.FIRMWARE,
        stage,
        sent,
        name=file.name if file is not None else "",
        firmware_id=file.id if file is not None else None,
        version_wanted=version,
        is_signed=wish.is_signed,
        retrieve_at=wish.retrieve_at,
        install_at=wish.install_at,
        retries=wish.retries,
        retry_interval_s=wish.retry_interval_s,
        ends_at=ends_at,
        address_ends_at=wish.retrieve_at + timedelta(hours=ADDRESS_HOURS),
        heard_until_at=ends_at,
    )
    begun = transfers_store.find_transfer(work, transfer_id)
    assert begun is not None, "a transfer that was begun is gone"
    return transfer_id, begun.number


async def _send(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    transfer_id: str,
    number: int,
    sent: Sent,
    file: Firmware | None,
    wish: Wish,
    priority: Priority = Priority.PORTAL,
) -> Command:
    """Ask a charger for an update that was begun."""
    assert wish.retrieve_at is not None, "a wish is checked before it is sent"
    ask: UpdateFirmware | UpdateSignedFirmware = UpdateFirmware(
        sent.url, wish.retrieve_at, wish.retries, wish.retry_interval_s
    )
    if wish.is_signed and file is not None:
        ask = UpdateSignedFirmware(
            number,
            sent.url,
            wish.retrieve_at,
            file.certificate_pem,
            file.signature,
            wish.install_at,
            wish.retries,
            wish.retry_interval_s,
        )
    try:
        return await commands.ask(ctx, actor, charger_id, ask, priority=priority)
    except VoltyardError:
        await ctx.db.work(actor, transfers.note_unsent, transfer_id)
        raise


@dataclass(frozen=True, slots=True)
class Ordered:
    """What became of an order for many chargers; ``skipped`` are those that an update is under way for."""

    transfers: tuple[Transfer, ...]
    skipped: tuple[str, ...]


async def update_many(
    ctx: Context, actor: Actor, charger_ids: Sequence[str], *, firmware_id: str, wish: Wish | None = None
) -> Ordered:
    """Order an update for many chargers; each is asked as soon as it is online, a few at a time.

    Raises: NotFound and Forbidden for any of them, and nothing is ordered then; Invalid.
    """
    chosen = list(dict.fromkeys(charger_ids))
    if not 1 <= len(chosen) <= FIRMWARE_CHARGERS_MAX:
        raise Invalid(
            "name the chargers to update", (("/charger_ids", f"1 to {FIRMWARE_CHARGERS_MAX} chargers"),)
        )
    checked = _checked(wish or Wish(), ctx.clock.now())
    file = await ctx.db.read(actor, get, firmware_id)
    _check_signed(file, checked)
    return await ctx.db.work(actor, _order, chosen, file, checked)


def _order(work: Work, charger_ids: Sequence[str], file: Firmware, wish: Wish) -> Ordered:
    begun: list[str] = []
    skipped: list[str] = []
    for charger_id in charger_ids:
        try:
            transfer_id, _ = _begin(work, charger_id, Stage.WAITING, None, file, file.version, wish)
        except UpdateRunning:
            skipped.append(charger_id)
            continue
        jobs.enqueue(work, BringFirmware(transfer_id))
        begun.append(transfer_id)
    return Ordered(tuple(transfers.get(work, each) for each in begun), tuple(skipped))


async def bring(ctx: Context, message: BringFirmware) -> None:
    """Ask a charger for an update that was ordered; one that is offline is looked for again later."""
    plan = await ctx.db.work(ACTOR, _plan, message)
    if plan is None:
        return
    transfer, file = plan
    sent = transfers.download_address(ctx, file.name)
    await ctx.db.work(ACTOR, _set_address, transfer.id, sent)
    now = ctx.clock.now()
    wish = Wish(
        max(transfer.retrieve_at or now, now),
        transfer.install_at,
        transfer.retries,
        transfer.retry_interval_s,
        transfer.is_signed,
    )
    done = await _send(
        ctx, ACTOR, transfer.charger_id, transfer.id, transfer.number, sent, file, wish, Priority.BACKGROUND
    )
    if done.status is CommandStatus.OFFLINE:
        await ctx.db.work(ACTOR, _look_again, message)
    else:
        await ctx.db.work(ACTOR, transfers.note_answer, transfer.id, done)


def _plan(work: Work, message: BringFirmware) -> tuple[Transfer, Firmware] | None:
    """Return what is to be asked now, None where nothing is, or later."""
    try:
        transfer = transfers.get(work, message.transfer_id)
    except NotFound:
        return None  # it was cancelled, or the charger went to somebody else
    if transfer.stage is not Stage.WAITING:
        return None
    if transfer.firmware_id is None:
        transfers.note_unsent(work, transfer.id)
        return None
    charger = service.get(work, transfer.charger_id)
    if not _may_still(work, transfer):
        row = transfers_store.find_transfer(work, transfer.id)
        transfers.move(work, row, Place(charger.id, charger.location_id), Stage.CANCELLED, "AccessEnded")
        return None
    if not charger.is_online:
        _look_again(work, message)
        return None
    return transfer, get(work, transfer.firmware_id)


def _may_still(work: Work, transfer: Transfer) -> bool:
    """Say whether whoever ordered an update might order it now: access can end while a charger is away."""
    orderer = runs.actor_of(work, transfer)
    if orderer is None:
        return False
    theirs = Work(work.connection, work.now, orderer)
    try:
        service.get(theirs, transfer.charger_id, Permission.EDIT_CHARGERS)
        service.get(theirs, transfer.charger_id, Permission.CONTROL)
    except (NotFound, Forbidden):
        return False
    return True


def _look_again(work: Work, message: BringFirmware) -> None:
    jobs.enqueue(work, message, delay_s=LOOK_AGAIN_S)


def _set_address(work: Work, transfer_id: str, sent: Sent) -> None:
    transfers_store.set_transfer(
        work,
        transfer_id,
        token_hash=sent.token_hash,
        address_ends_at=work.now + timedelta(hours=ADDRESS_HOURS),
    )

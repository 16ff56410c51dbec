"""Transfers: one file on its way to a charger, or from it, with its steps.

A charger is told an address of ours that is good for one transfer and for a day; of its token we keep a hash.
What arrives there counts, whatever the charger says or fails to say about it (OCPP 1.6 §4.4, §5.9; white
paper, use case N01). Whether a transfer has timed out shows when it is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

from voltyard.accounts.secrets import machine_hash, new_secret
from voltyard.chargers import commands, service, transfers_store
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.events import TransferChanged, subject
from voltyard.chargers.masks import masked_address
from voltyard.chargers.service import Charger, Place
from voltyard.chargers.stages import (
    GOING_ON,
    UPLOADS,
    Kind,
    Stage,
    after_boot,
    after_firmware_word,
    after_upload_word,
    is_idle,
    is_same_version,
    seen,
)
from voltyard.kernel.actor import ANYONE, Actor, system
from voltyard.kernel.actor import charger as charger_actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Gone, Invalid, NotFound, Unavailable, VoltyardError
from voltyard.kernel.files import Arriving
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import (
    ADDRESS_HOURS,
    BODY_S_MAX,
    FILES_BYTES_MAX,
    RECEIVED_DAYS,
    RECEIVED_FILES_MAX,
    TRANSFER_DAYS,
    UPLOAD_HOURS_MAX,
)
from voltyard.locations.access import Permission
from voltyard.locations.service import permissions
from voltyard.speech import (
    Booted,
    DiagnosticsTold,
    FileNamed,
    FirmwareTold,
    LogKind,
    LogTold,
    SendDiagnostics,
    SendLog,
    SignedFirmwareTold,
)

ADDRESS_LENGTH_MAX = 500
SCHEMES: Final = ("http", "https", "ftp", "ftps", "sftp")
RETRIES_MAX = 10
RETRY_INTERVAL_S_MAX = 86_400
STEPS_MAX = 200
NAME_LENGTH = 120
FORGET_STEP = 200
LATE = timedelta(hours=1)
"""How long news is heard once the outcome of an update is proven."""
TOKEN_PREFIX = "vyf"
ACTOR = system("transfers")
_BEGUN: Final = frozenset((Stage.ASKED, Stage.SILENT, Stage.SCHEDULED, Stage.DOWNLOAD_FAILED))

Progress = FirmwareTold | SignedFirmwareTold | DiagnosticsTold | LogTold


class AddressEnded(Gone):
    """The address at which a charger fetches or leaves a file has ended: ask the charger again."""

    title = "This address has ended"


class TooManyFiles(Conflict):
    """A charger may leave a few files for one request; it has left them."""

    title = "No more files are taken for this request"


class StorageFull(Unavailable):
    """The files of this installation fill what they may: delete some, or wait until old ones are deleted."""

    title = "No more files can be stored here"


class UnderWay(Conflict):
    """The charger was asked already and cannot be called back: wait until it is done or gives up."""

    title = "This is under way and cannot be called back"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a transfer; ``word`` is the charger's own, empty where we noticed it ourselves."""

    stage: Stage
    word: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that a charger sent; ``stored`` is where the bytes are."""

    id: str
    name: str
    stored: str
    size_bytes: int
    sha256: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer as one who may see its charger sees it.

    ``stage`` tells how far it is at this moment, ``word`` is the charger's own. ``address`` is empty where
    the file comes to us or from us; secrets in it are masked. Files are shown only to those who may see
    sensitive data.
    """

    id: str
    charger_id: str
    number: int
    kind: Kind
    stage: Stage
    word: str
    is_ours: bool
    address: str
    name: str
    from_at: datetime | None
    until_at: datetime | None
    retrieve_at: datetime | None
    install_at: datetime | None
    retries: int | None
    retry_interval_s: int | None
    firmware_id: str | None
    is_signed: bool
    version_wanted: str
    version_before: str
    version_after: str | None
    actor_kind: str
    actor_id: str
    door: str
    created_at: datetime
    changed_at: datetime
    ends_at: datetime
    steps: tuple[Step, ...]
    files: tuple[ReceivedFile, ...]

    @property
    def is_going_on(self) -> bool:
        """Say whether something more is expected."""
        return self.stage in GOING_ON

    @property
    def is_proven(self) -> bool | None:
        """Say whether the charger told the new firmware after it started; None while it has not started."""
        if self.version_after is None:
            return None
        if self.version_wanted:
            return is_same_version(self.version_after, self.version_wanted)
        return self.version_after != self.version_before


@dataclass(frozen=True, slots=True)
class Slot:
    """The right of a charger to leave a file for one transfer."""

    transfer_id: str
    charger_id: str
    location_id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Serving:
    """Firmware that a charger fetches: where the bytes are, and how the file is called."""

    transfer_id: str
    charger_id: str
    stored: str
    name: str


@dataclass(frozen=True, slots=True)
class Sent:
    """An address that a charger is told, the hash of its token, and whether it is ours."""

    url: str
    token_hash: str | None

    @property
    def is_ours(self) -> bool:
        """Say whether the address is one of ours."""
        return self.token_hash is not None

    @property
    def shown(self) -> str:
        """The address as it may be kept: nothing for ours, no secrets for another one."""
        return "" if self.is_ours else masked_address(self.url)


# --- addresses ------------------------------------------------------------------------------------


def check_address(address: str) -> str:
    """Return an address that a charger may be told. Raises: Invalid."""
    tidy = address.strip()
    try:
        parts = urlsplit(tidy)
        is_one = parts.scheme.lower() in SCHEMES and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_one = False
    if not is_one or len(tidy) > ADDRESS_LENGTH_MAX or not tidy.isascii() or not tidy.isprintable():
        raise Invalid(
            "that is no address from which a charger could fetch, or at which it could leave, a file",
            (("/address", f"it begins with one of {', '.join(SCHEMES)}, as in ftp://files.example/in/"),),
        )
    if " " in tidy:
        raise Invalid("an address holds no blanks", (("/address", "write blanks as %20"),))
    return tidy


def upload_address(ctx: Context, address: str) -> Sent:
    """Return where a charger leaves a file: at ours, or where a person wants it. Raises: Invalid."""
    if address.strip():
        return Sent(check_address(address), None)
    token = new_secret(TOKEN_PREFIX)
    # Chargers append a name of their own, or do not.
    return Sent(f"{ctx.settings.files_url}/files/up/{token}/", machine_hash(token, ctx.settings.secret_key()))


def download_address(ctx: Context, name: str) -> Sent:
    """Return where a charger fetches a file of ours."""
    token = new_secret(TOKEN_PREFIX)
    url = f"{ctx.settings.files_url}/files/down/{token}/{quote(name, safe='')}"
    return Sent(url, machine_hash(token, ctx.settings.secret_key()))


def check_retries(retries: int | None, retry_interval_s: int | None) -> None:
    """Refuse numbers that no charger is to be told. Raises: Invalid."""
    wrong: list[tuple[str, str]] = []
    if retries is not None and not 0 <= retries <= RETRIES_MAX:
        wrong.append(("/retries", f"0 to {RETRIES_MAX}"))
    if retry_interval_s is not None and not 1 <= retry_interval_s <= RETRY_INTERVAL_S_MAX:
        wrong.append(("/retry_interval_s", f"1 to {RETRY_INTERVAL_S_MAX} seconds"))
    if wrong:
        raise Invalid("; ".join(f"{where[1:]}: {why}" for where, why in wrong), tuple(wrong))


# --- looking --------------------------------------------------------------------------------------


def _transfers(work: Work, rows: Sequence[Any], location_id: str | None) -> list[Transfer]:
    steps: dict[str, list[Step]] = {row.id: [] for row in rows}
    files: dict[str, list[ReceivedFile]] = {row.id: [] for row in rows}
    is_sensitive = Permission.VIEW_SENSITIVE in permissions(work, location_id)
    if rows:
        for row in transfers_store.find_steps(work, steps):
            steps[row.transfer_id].append(Step(Stage(row.stage), row.word, row.at))
    if rows and is_sensitive:
        for row in transfers_store.find_files(work, files):
            files[row.transfer_id].append(
                ReceivedFile(row.id, row.name, row.stored, row.size_bytes, row.sha256, row.received_at)
            )
    return [
        Transfer(
            id=row.id,
            charger_id=row.charger_id,
            number=row.number,
            kind=Kind(row.kind),
            stage=seen(Stage(row.stage), row.ends_at, work.now),
            word=row.word,
            is_ours=row.is_ours,
            address=row.address if is_sensitive else "",
            name=row.name,
            from_at=row.from_at,
            until_at=row.until_at,
            retrieve_at=row.retrieve_at,
            install_at=row.install_at,
            retries=row.retries,
            retry_interval_s=row.retry_interval_s,
            firmware_id=row.firmware_id,
            is_signed=row.is_signed,
            version_wanted=row.version_wanted,
            version_before=row.version_before,
            version_after=row.version_after,
            actor_kind=row.actor_kind,
            actor_id=row.actor_id,
            door=row.door,
            created_at=row.created_at,
            changed_at=row.changed_at,
            ends_at=row.ends_at,
            steps=tuple(steps[row.id]),
            files=tuple(files[row.id]),
        )
        for row in rows
    ]


def _reachable(work: Work, transfer_id: str, permission: Permission) -> tuple[Any, Charger]:
    """Return the row of a transfer, and its charger, if the actor may do this with it."""
    row = transfers_store.find_transfer(work, check("xfr", transfer_id))
    if row is None:
        raise NotFound("there is no such transfer", id=transfer_id)
    try:
        charger = service.get(work, row.charger_id, permission)
    except NotFound:
        raise NotFound("there is no such transfer", id=transfer_id) from None
    if row.claimed_at is not None and row.created_at < row.claimed_at:
        # It took place at another location, before the charger came to this one.
        raise NotFound("there is no such transfer", id=transfer_id)
    return row, charger


def get(work: Work, transfer_id: str) -> Transfer:
    """Return a transfer of a charger that the actor may see. Raises: NotFound."""
    row, charger = _reachable(work, transfer_id, Permission.VIEW)
    return _transfers(work, [row], charger.location_id)[0]


def list_transfers(
    work: Work, charger_id: str, *, after: str | None = None, limit: int = 25
) -> list[Transfer]:
    """Return a page of a charger's transfers, newest first. Raises: NotFound."""
    charger = service.get(work, charger_id)
    rows = transfers_store.list_transfers(work, charger_id, after=after, limit=limit)
    return _transfers(work, rows, charger.location_id)


def received(work: Work, transfer_id: str, file_id: str | None = None) -> ReceivedFile:
    """Return a file that came of a transfer, the newest unless one is named. Raises: NotFound; Forbidden."""
    row, charger = _reachable(work, transfer_id, Permission.VIEW_SENSITIVE)
    files = _transfers(work, [row], charger.location_id)[0].files
    for file in reversed(files):
        if file_id in {None, file.id}:
            return file
    raise NotFound("the charger has sent no such file, or it was deleted", id=transfer_id)


# --- beginning ------------------------------------------------------------------------------------


def begin(work: Work, charger: Charger, kind: Kind, stage: Stage, sent: Sent | None, **values: Any) -> str:
    """Begin a transfer with its first step; return its id. Raises: AlreadyThere for two at the same time.

    ``values`` are columns; without ``sent`` an address is told later.
    """
    transfer_id = new_id("xfr")
    address_ends_at = work.now + timedelta(hours=ADDRESS_HOURS)
    plain = {
        "name": "",
        "ends_at": address_ends_at,
        "address_ends_at": address_ends_at,
        "heard_until_at": address_ends_at,
        "is_signed": False,
        "version_wanted": "",
        "version_before": (charger.firmware or "")[:NAME_LENGTH],
    }
    transfers_store.insert_transfer(
        work,
        **plain
        | {
            "id": transfer_id,
            "charger_id": charger.id,
            "kind": kind.value,
            "stage": stage.value,
            "word": "",
            "steps": 1,
            "is_ours": sent is None or sent.is_ours,
            "address": sent.shown if sent is not None else "",
            "token_hash": sent.token_hash if sent is not None else None,
            "actor_kind": work.actor.kind.value,
            "actor_id": work.actor.subject_id,
            "door": work.actor.door,
        }
        | values,
    )
    _add_step(work, transfer_id, stage, "")
    _tell(work, transfer_id, Place(charger.id, charger.location_id), stage)
    return transfer_id


def _add_step(work: Work, transfer_id: str, stage: Stage, word: str) -> None:
    step = {"transfer_id": transfer_id, "stage": stage.value, "word": word[:64], "at": work.now}
    transfers_store.insert_steps(work, [step])


def _tell(work: Work, transfer_id: str, place: Place, stage: Stage) -> None:
    work.emit(
        subject(place.location_id, place.charger_id),
        TransferChanged(transfer_id, place.charger_id, place.location_id, stage.value),
    )


def move(work: Work, row: Any, place: Place, stage: Stage, word: str = "") -> None:
    """Bring a transfer to another stage and note the step; without a change of stage nothing is noted."""
    if stage.value == row.stage:
        return
    is_noted = row.steps < STEPS_MAX
    transfers_store.set_transfer(
        work,
        row.id,
        stage=stage.value,
        word=word[:64],
        changed_at=work.now,
        steps=row.steps + is_noted,
    )
    if is_noted:
        _add_step(work, row.id, stage, word)
    _tell(work, row.id, place, stage)


async def fetch_diagnostics(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    *,
    kind: Kind = Kind.DIAGNOSTICS,
    from_at: datetime | None = None,
    until_at: datetime | None = None,
    address: str = "",
    retries: int | None = None,
    retry_interval_s: int | None = None,
) -> Transfer:
    """Ask a charger for its diagnostics or a log of a time, for us or for an address of one's own.

    What a charger cannot do in one way is asked in the other: diagnostics as a log, a log as diagnostics.
    A refusal, a silence and an absent charger are outcomes, not exceptions.
    Raises: NotFound; Forbidden; Invalid; StorageFull; AlreadyThere for two requests at the same time.
    """
    if from_at is not None and until_at is not None and from_at >= until_at:
        raise Invalid("the time ends before it begins", (("/until_at", "later than from_at"),))
    if kind not in UPLOADS:
        raise Invalid("that is no log of a charger", (("/kind", ", ".join(UPLOADS)),))
    check_retries(retries, retry_interval_s)
    sent = upload_address(ctx, address)
    values = {
        "from_at": from_at,
        "until_at": until_at,
        "retries": retries,
        "retry_interval_s": retry_interval_s,
    }
    transfer_id, number = await ctx.db.work(actor, _begin_upload, charger_id, kind, sent, values)
    diagnostics = SendDiagnostics(sent.url, from_at, until_at, retries, retry_interval_s)
    log_kind = LogKind.SECURITY if kind is Kind.SECURITY_LOG else LogKind.DIAGNOSTICS
    log = SendLog(log_kind, number, sent.url, from_at, until_at, retries, retry_interval_s)
    asks: list[SendDiagnostics | SendLog] = [diagnostics, log]
    if kind is not Kind.DIAGNOSTICS:
        asks = [log, diagnostics] if kind is Kind.LOG else [log]
    first, *others = asks
    try:
        ask, done = first, await commands.ask(ctx, actor, charger_id, first)
        if others and is_unable(done):
            ask, done = others[0], await commands.ask(ctx, actor, charger_id, others[0])
    except VoltyardError:
        await ctx.db.work(actor, note_unsent, transfer_id)
        raise
    is_nothing = isinstance(ask, SendDiagnostics) and not isinstance(done.details, FileNamed)
    await ctx.db.work(actor, note_answer, transfer_id, done, is_nothing=is_nothing)
    return await ctx.db.read(actor, get, transfer_id)


def _begin_upload(
    work: Work, charger_id: str, kind: Kind, sent: Sent, values: dict[str, Any]
) -> tuple[str, int]:
    charger = service.get(work, charger_id, Permission.CONTROL)
    if sent.is_ours:
        require_space(work)
    _replace_older(work, charger)
    transfer_id = begin(
        work,
        charger,
        kind,
        Stage.ASKED,
        sent,
        ends_at=work.now + timedelta(hours=UPLOAD_HOURS_MAX),
        **values,
    )
    row = transfers_store.find_transfer(work, transfer_id)
    assert row is not None, "a transfer that was begun is gone"
    return transfer_id, row.number


def _replace_older(work: Work, charger: Charger) -> None:
    """End what the charger was asked for before: it does one upload at a time (white paper, N01)."""
    since = transfers_store.claimed_at(work, charger.id) or charger.created_at
    for row in transfers_store.find_of_charger(work, charger.id, UPLOADS, since):
        if Stage(row.stage) in GOING_ON:
            move(work, row, Place(charger.id, charger.location_id), Stage.REPLACED)
        transfers_store.set_transfer(work, row.id, heard_until_at=work.now)


def is_unable(done: Command) -> bool:
    """Say whether a charger does not know what it was asked for."""
    return done.status is CommandStatus.REJECTED and done.word.lower() in {"notsupported", "notimplemented"}


def note_unsent(work: Work, transfer_id: str) -> None:
    """Note that a charger could not even be asked."""
    row = transfers_store.find_transfer(work, transfer_id)
    if row is not None:
        place = service.places(work, [row.charger_id])[0]
        move(work, row, place, Stage.REFUSED, "NotSendable")
        _end_address(work, transfer_id)


def _end_address(work: Work, transfer_id: str) -> None:
    transfers_store.set_transfer(work, transfer_id, heard_until_at=work.now, address_ends_at=work.now)


def note_answer(work: Work, transfer_id: str, done: Command, *, is_nothing: bool = False) -> None:
    """Note what a charger answered; what it has told or sent meanwhile counts for more.

    ``is_nothing`` tells that it named no file, which means that there is nothing to send (OCPP 1.6 §6.26).
    A file that comes all the same is taken.
    """
    row = transfers_store.find_transfer(work, transfer_id)
    if row is None:
        return
    place = service.places(work, [row.charger_id])[0]
    if isinstance(done.details, FileNamed):
        transfers_store.set_transfer(work, transfer_id, name=clean_name(done.details.name))
    stage = {
        CommandStatus.EXECUTED: Stage.NOTHING if is_nothing else Stage.ASKED,
        CommandStatus.REJECTED: Stage.UNABLE if is_unable(done) else Stage.REFUSED,
        CommandStatus.OFFLINE: Stage.OFFLINE,
    }.get(done.status, Stage.SILENT)
    if Stage(row.stage) not in {Stage.WAITING, Stage.ASKED}:
        return
    move(work, row, place, stage, done.word if stage is not Stage.ASKED else "")
    if stage in {Stage.UNABLE, Stage.REFUSED, Stage.OFFLINE}:
        _end_address(work, transfer_id)


# --- what comes to us, and what is fetched --------------------------------------------------------


def clean_name(name: str) -> str:
    """Return the last part of a file's name as a charger told it, without what could mislead anybody."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    plain = "".join(character for character in last if character.isprintable() and character not in '"<>:|?*')
    return plain.strip(" .")[:NAME_LENGTH]


def require_space(work: Work, more_bytes: int = 0) -> None:
    """Refuse what would fill the installation. Raises: StorageFull."""
    if transfers_store.total_bytes(work) + more_bytes >= FILES_BYTES_MAX:
        raise StorageFull(
            "the files of this installation fill what they may: delete received files or firmware, "
            "or ask whoever runs it",
            bytes_max=FILES_BYTES_MAX,
        )


def _by_token(work: Work, token: str, key: bytes) -> Any:
    row = transfers_store.find_by_token(work, machine_hash(token, key))
    if row is None or row.kind not in UPLOADS:
        raise NotFound("there is nothing at this address")
    if work.now >= row.address_ends_at:
        raise AddressEnded("this address has ended; ask the charger again")
    return row


def open_upload(work: Work, token: str, name: str, key: bytes) -> Slot:
    """Let a charger begin to send a file. Raises: NotFound; AddressEnded; TooManyFiles; StorageFull."""
    row = _by_token(work, token, key)
    require_space(work)
    files = transfers_store.find_files(work, [row.id])
    tidy = clean_name(name) or row.name
    if len(files) >= RECEIVED_FILES_MAX and all(each.name != tidy for each in files):
        raise TooManyFiles(f"{RECEIVED_FILES_MAX} files have arrived already, and no more are taken")
    place = Place(row.charger_id, row.location_id)
    if Stage(row.stage) is not Stage.RECEIVED:
        move(work, row, place, Stage.UPLOADING)
    return Slot(row.id, row.charger_id, row.location_id, tidy)


def upload_cut(work: Work, slot: Slot, why: str) -> None:
    """Note that a file did not arrive whole; the charger may try again."""
    row = transfers_store.find_transfer(work, slot.transfer_id)
    if row is not None and Stage(row.stage) is Stage.UPLOADING:
        move(work, row, Place(slot.charger_id, slot.location_id), Stage.FAILED, why)


async def keep(ctx: Context, slot: Slot, name: str, arriving: Arriving) -> ReceivedFile:
    """Keep a file that has arrived whole; one of the same name takes the place of the older one.

    Raises: Invalid for an empty file; TooManyFiles; StorageFull; NotFound when the transfer is gone.
    """
    if not arriving.size_bytes:
        raise Invalid("the file is empty", (("", "send what is in it"),))
    file_id = new_id("file")
    stored = f"received/{file_id}"
    await asyncio.to_thread(arriving.keep, stored)
    try:
        file, left_over = await ctx.db.work(
            charger_actor(slot.charger_id),
            _keep,
            slot,
            clean_name(name) or slot.name,
            file_id,
            stored,
            arriving,
        )
    except BaseException:
        ctx.files.delete(stored)
        raise
    for each in left_over:
        await asyncio.to_thread(ctx.files.delete, each)
    return file


def _keep(
    work: Work, slot: Slot, name: str, file_id: str, stored: str, arriving: Arriving
) -> tuple[ReceivedFile, list[str]]:
    row = transfers_store.find_transfer(work, slot.transfer_id)
    if row is None:
        raise NotFound("there is nothing at this address")
    require_space(work, arriving.size_bytes)
    name = name or f"{Kind(row.kind).value}-{row.number}.bin"
    files = transfers_store.find_files(work, [row.id])
    same = [each for each in files if each.name == name]
    if len(files) - len(same) >= RECEIVED_FILES_MAX:
        raise TooManyFiles(f"{RECEIVED_FILES_MAX} files have arrived already, and no more are taken")
    for each in same:
        transfers_store.delete_file(work, each.id)
    file = ReceivedFile(file_id, name, stored, arriving.size_bytes, arriving.sha256, work.now)
    transfers_store.insert_file(
        work,
        id=file_id,
        transfer_id=row.id,
        name=name,
        stored=stored,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
    )
    place = Place(slot.charger_id, slot.location_id)
    if Stage(row.stage) is Stage.RECEIVED:
        _tell(work, row.id, place, Stage.RECEIVED)
    else:
        move(work, row, place, Stage.RECEIVED)
    return file, [each.stored for each in same]


async def serve(ctx: Context, token: str, *, is_looking: bool = False) -> Serving:
    """Return the firmware that a charger fetches at an address; ``is_looking`` only asks how large it is.

    Raises: NotFound; AddressEnded.
    """
    key = ctx.settings.secret_key()
    serving, stage = await ctx.db.read(ANYONE, _serve, token, key)
    if not await asyncio.to_thread(ctx.files.is_there, serving.stored):
        raise AddressEnded("this firmware was deleted")
    if stage in _BEGUN and not is_looking:
        await ctx.db.work(charger_actor(serving.charger_id), _note_fetching, serving.transfer_id)
    return serving


def _serve(work: Work, token: str, key: bytes) -> tuple[Serving, Stage]:
    row = transfers_store.find_by_token(work, machine_hash(token, key))
    if row is None or row.kind != Kind.FIRMWARE:
        raise NotFound("there is nothing at this address")
    if work.now >= row.address_ends_at or row.stored is None:
        raise AddressEnded("this address has ended; ask for the update again")
    return Serving(row.id, row.charger_id, row.stored, row.firmware_name), Stage(row.stage)


def _note_fetching(work: Work, transfer_id: str) -> None:
    row = transfers_store.find_transfer(work, transfer_id)
    if row is not None and Stage(row.stage) in _BEGUN:
        move(work, row, service.places(work, [row.charger_id])[0], Stage.DOWNLOADING)


# --- what chargers say ----------------------------------------------------------------------------


def _meant(rows: Sequence[Any], charger_id: str, number: int | None) -> Any | None:
    """Return the transfer that news concerns: the one with its number, else the newest."""
    own = [row for row in rows if row.charger_id == charger_id]
    return next((row for row in own if row.number == number), own[0] if own else None)


def told(work: Work, items: Iterable[tuple[Place, Progress]]) -> None:
    """Note how far chargers are; what concerns no transfer of ours, and Idle, changes nothing."""
    news = [(place, said) for place, said in items if not is_idle(said.status)]
    if not news:
        return
    about = [place.charger_id for place, _ in news]
    kinds = {Kind.FIRMWARE.value} if any(_is_firmware(said) for _, said in news) else set()
    if not all(_is_firmware(said) for _, said in news):
        kinds |= {kind.value for kind in UPLOADS}
    rows = transfers_store.find_heard(work, about, sorted(kinds))
    for place, said in news:
        of_kind = [
            row
            for row in rows
            if (row.kind == Kind.FIRMWARE) == _is_firmware(said) and row.stage != Stage.WAITING
        ]
        row = _meant(of_kind, place.charger_id, getattr(said, "request_number", None))
        if row is None:
            continue
        stage = Stage(row.stage)
        after = (
            after_firmware_word(stage, said.status)
            if _is_firmware(said)
            else after_upload_word(stage, said.status, is_ours=row.is_ours)
        )
        move(work, row, place, after, said.status)


def _is_firmware(said: Progress) -> bool:
    return isinstance(said, FirmwareTold | SignedFirmwareTold)


def booted(work: Work, items: Sequence[tuple[Place, Booted]]) -> None:
    """Compare the firmware that starting chargers tell with what they were to install."""
    rows = transfers_store.find_heard(work, [place.charger_id for place, _ in items], [Kind.FIRMWARE.value])
    if not rows:
        return
    moved: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for place, said in items:
        row = _meant(rows, place.charger_id, None)
        version = (said.firmware or "")[:NAME_LENGTH]
        if row is None or not version or row.stage == Stage.WAITING:
            continue
        before = Stage(row.stage)
        stage = after_boot(before, before=row.version_before, wanted=row.version_wanted, told=version)
        is_new = stage is not before and row.steps < STEPS_MAX
        moved.append(
            {
                "key": row.id,
                "to_stage": stage.value,
                "to_steps": row.steps + is_new,
                "version": version,
                "at": work.now,
                "until": work.now + LATE if stage is Stage.INSTALLED else row.heard_until_at,
            }
        )
        if is_new:
            steps.append({"transfer_id": row.id, "stage": stage.value, "word": "", "at": work.now})
        _tell(work, row.id, place, stage)
    transfers_store.set_versions(work, moved)
    transfers_store.insert_steps(work, steps)


# --- the end --------------------------------------------------------------------------------------


async def remove(ctx: Context, actor: Actor, transfer_id: str) -> None:
    """Delete a transfer with what came of it; one that waits to be asked for is cancelled by it.

    Raises: NotFound; Forbidden; UnderWay for an update that the charger was asked for already.
    """
    for stored in await ctx.db.work(actor, _remove, transfer_id):
        await asyncio.to_thread(ctx.files.delete, stored)


def _remove(work: Work, transfer_id: str) -> list[str]:
    row, charger = _reachable(work, transfer_id, Permission.EDIT_CHARGERS)
    stage = seen(Stage(row.stage), row.ends_at, work.now)
    if row.kind == Kind.FIRMWARE and stage in GOING_ON and stage is not Stage.WAITING:
        # OCPP 1.6 has no message that takes UpdateFirmware back.
        raise UnderWay(
            "the charger was asked for this update and cannot be called back: "
            "wait until it is done or gives up"
        )
    stored = [file.stored for file in transfers_store.find_files(work, [row.id])]
    transfers_store.delete_transfer(work, row.id)
    _tell(work, row.id, Place(charger.id, charger.location_id), Stage.CANCELLED)
    return stored


async def forget_old(ctx: Context) -> None:
    """Delete what chargers sent long ago, transfers that nobody looks at any more, and halves of files."""
    while True:
        before = ctx.clock.now() - timedelta(days=RECEIVED_DAYS)
        old = await ctx.db.read(ACTOR, transfers_store.find_old_files, before, FORGET_STEP)
        if not old:
            break
        for row in old:
            # First the bytes: a row without them tells that they are gone, bytes without a row nobody finds.
            await asyncio.to_thread(ctx.files.delete, row.stored)
        await ctx.db.work(ACTOR, _forget_files, [row.id for row in old])
    while await ctx.db.work(ACTOR, _forget_transfers):
        pass
    await asyncio.to_thread(ctx.files.sweep, 2 * BODY_S_MAX)


def _forget_files(work: Work, file_ids: Sequence[str]) -> None:
    for file_id in file_ids:
        transfers_store.delete_file(work, file_id)


def _forget_transfers(work: Work) -> int:
    return transfers_store.delete_old_transfers(work, work.now - timedelta(days=TRANSFER_DAYS), FORGET_STEP)

"""What one can do with chargers: register, connect, claim, look at, rename, unlink.

Functions that take lists serve group commit: one call for many chargers, one statement each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from voltyard.accounts.secrets import is_same, machine_hash
from voltyard.chargers import credentials, findings, store
from voltyard.chargers.credentials import Paper, Proof, Shown, Trust
from voltyard.chargers.events import ChargerChanged, ChargerMoved, subject
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Invalid, NotFound, TooMany
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import (
    CLOCK_SKEW_S,
    IDENTITY_LENGTH_MAX,
    PIN_TRIES_OF_USER_PER_HOUR_MAX,
    PIN_TRIES_PER_HOUR_MAX,
    TOLD_DAYS_MAX,
    UNKNOWN_CHARGERS_HELD_DAYS,
    UNKNOWN_CHARGERS_HELD_MAX,
)
from voltyard.kernel.seal import seal
from voltyard.locations.access import Permission
from voltyard.locations.service import permissions, require, require_open
from voltyard.speech import (
    Booted,
    ConnectorStatus,
    Entry,
    FlawTold,
    Hello,
    StatusTold,
    Superseded,
    Welcome,
)

IDENTITY = re.compile(rf"[\x21-\x7e]([\x20-\x7e]{{0,{IDENTITY_LENGTH_MAX - 2}}}[\x21-\x7e])?")
SKEW = timedelta(seconds=CLOCK_SKEW_S)
PAST_MAX = timedelta(days=TOLD_DAYS_MAX)
PIN_WINDOW = timedelta(hours=1)
FORGET_STEP = 500
CONNECTOR_NUMBER_MAX = 1_000
"""A connector with a higher number is none: rows that a charger makes up must not be without end."""


class ChargerElsewhere(Conflict):
    """The charger belongs to another location already."""

    title = "This charger belongs to another location already"


class WrongPin(NotFound):
    """No charger has this serial number and PIN together."""

    title = "Serial number and PIN do not belong together"


@dataclass(frozen=True, slots=True)
class Connector:
    """One connector and its state; number 0 is the charger itself and never listed here."""

    number: int
    status: ConnectorStatus
    error: str
    info: str | None
    vendor_error: str | None
    status_at: datetime


@dataclass(frozen=True, slots=True)
class Charger:
    """A charger as one who may see it sees it."""

    id: str
    identity: str
    name: str
    location_id: str | None
    vendor: str | None
    model: str | None
    serial: str | None
    firmware: str | None
    version: str | None
    is_online: bool
    connected_at: datetime | None
    disconnected_at: datetime | None
    seen_at: datetime | None
    booted_at: datetime | None
    created_at: datetime
    status: ConnectorStatus | None
    error: str
    connectors: tuple[Connector, ...]

    @property
    def connection(self) -> str:
        """Return online, offline or never_seen."""
        if self.is_online:
            return "online"
        return "offline" if self.seen_at is not None else "never_seen"

    @property
    def label(self) -> str:
        """Return the name that people gave it, else its identity."""
        return self.name or self.identity


@dataclass(frozen=True, slots=True)
class Place:
    """Which charger speaks, and at which location it stands; None while nobody has claimed it."""

    charger_id: str
    location_id: str | None


def is_believed(told_at: datetime | None, now: datetime) -> bool:
    """Say whether an instant that a charger told can be right: not in the future, nor absurdly long ago."""
    return told_at is not None and now - PAST_MAX <= told_at <= now + SKEW


def believed(told_at: datetime | None, now: datetime) -> datetime:
    """Return the instant that counts: the charger's own if it can be right, else ours."""
    return told_at if told_at is not None and is_believed(told_at, now) else now


def identity_key(identity: str) -> str:
    """Return an identity in the form in which identities are compared (quirk Q6)."""
    return identity.strip().lower()


def _charger(row: Any, connectors: Sequence[Any]) -> Charger:
    whole = next((each for each in connectors if each.number == 0), None)
    return Charger(
        id=row.id,
        identity=row.identity,
        name=row.name,
        location_id=row.location_id,
        vendor=row.vendor,
        model=row.model,
        serial=row.serial,
        firmware=row.firmware,
        version=row.version,
        is_online=row.session_id is not None,
        connected_at=row.connected_at,
        disconnected_at=row.disconnected_at,
        seen_at=row.seen_at,
        booted_at=row.booted_at,
        created_at=row.created_at,
        status=ConnectorStatus(whole.status) if whole is not None else None,
        error=whole.error if whole is not None else "NoError",
        connectors=tuple(
            Connector(
                each.number,
                ConnectorStatus(each.status),
                each.error,
                each.info,
                each.vendor_error,
                each.status_at,
            )
            for each in connectors
            if each.number > 0
        ),
    )


def _assemble(work: Work, rows: Sequence[Any]) -> list[Charger]:
    by_charger: dict[str, list[Any]] = {row.id: [] for row in rows}
    if rows:
        for connector in store.find_connectors(work, by_charger):
            by_charger[connector.charger_id].append(connector)
    return [_charger(row, by_charger[row.id]) for row in rows]


def get(work: Work, charger_id: str, permission: Permission = Permission.VIEW) -> Charger:
    """Return a charger if the actor may do this with it. Raises: NotFound; Forbidden."""
    row = store.find_charger(work, check("chg", charger_id))
    if row is None or Permission.VIEW not in permissions(work, row.location_id):
        raise NotFound("there is no such charger, or you have no access to it", id=charger_id)
    require(work, row.location_id, permission)
    return _assemble(work, [row])[0]


def find(work: Work, identity: str) -> Place | None:
    """Return where the charger of this identity stands; for the system."""
    row = store.find_by_keys(work, [identity_key(identity)]).get(identity_key(identity))
    return None if row is None else Place(row.id, row.location_id)


def path_of(identity: str) -> str:
    """Return an identity as it stands at the end of a URL."""
    return quote(identity, safe="")


def list_chargers(
    work: Work,
    *,
    q: str = "",
    location_id: str | None = None,
    is_online: bool | None = None,
    is_seen: bool | None = None,
    status: str | None = None,
    after: str | None = None,
    limit: int = 25,
) -> list[Charger]:
    """Return a page of the actor's chargers, newest first; ``is_seen`` tells whether one ever connected."""
    rows = store.list_chargers(
        work,
        q=q.strip(),
        location_id=location_id,
        is_online=is_online,
        is_seen=is_seen,
        status=status,
        after=after,
        limit=limit,
    )
    return _assemble(work, rows)


def list_waiting(work: Work, limit: int = 50) -> list[Charger]:
    """Return connected chargers that nobody has claimed; only an administrator sees any."""
    if not (work.actor.is_admin or work.actor.is_system):
        return []
    return _assemble(work, store.list_waiting(work, limit))


def places(work: Work, charger_ids: Sequence[str]) -> list[Place]:
    """Return where each of these chargers stands; for the system."""
    found = store.find_places(work, charger_ids)
    return [Place(charger_id, found.get(charger_id)) for charger_id in charger_ids]


# --- the inventory --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivered:
    """One charger as it was delivered."""

    identity: str
    pin: str = ""
    password: str = ""
    vendor: str = ""
    model: str = ""


def check_identity(identity: str) -> str:
    """Return an identity if a charger may carry it. Raises: Invalid."""
    tidy = identity.strip()
    if not IDENTITY.fullmatch(tidy) or "/" in tidy:
        raise Invalid(
            f"{identity!r} cannot be the identity of a charger",
            (("/identity", f"1 to {IDENTITY_LENGTH_MAX} printable characters without a slash"),),
        )
    return tidy


def register(work: Work, delivered: Sequence[Delivered], key: bytes) -> list[str]:
    """Put chargers into the inventory; return the identities that were there already.

    A charger that is only held becomes registered, and has to connect anew: the socket that it was
    held with has proved nothing. Raises: Invalid.
    """
    assert work.actor.is_system or work.actor.is_admin
    identities = [check_identity(one.identity) for one in delivered]
    known = store.find_by_keys(work, map(identity_key, identities))
    skipped: list[str] = []
    rows: dict[str, dict[str, Any]] = {}
    for identity, one in zip(identities, delivered, strict=True):
        values = {
            "vendor": _cut(one.vendor, 120),
            "model": _cut(one.model, 120),
            "password_hash": credentials.kept_hash(one.password, key) if one.password else None,
            "pin_hash": machine_hash(one.pin, key) if one.pin else None,
            "pin_sealed": _sealed_pin(identity, one.pin, key),
            "password_at": work.now if one.password else None,
        }
        old = known.get(identity_key(identity))
        if identity_key(identity) in rows or (old is not None and not old.is_held):
            skipped.append(identity)
            _keep_pin(work, old, one.pin, values, key)
        elif old is None:
            rows[identity_key(identity)] = _new_charger(work, identity) | values | {"is_held": False}
        else:
            # What the charger said of itself when it booted stays, unless the delivery says otherwise.
            told = {name: value for name, value in values.items() if value is not None}
            store.set_charger(work, old.id, is_held=False, **told)
            part(work, Place(old.id, old.location_id))
    store.insert_chargers(work, list(rows.values()))
    return skipped


def _keep_pin(work: Work, old: Any, pin: str, values: dict[str, Any], key: bytes) -> None:
    """Keep the PIN of a charger of before PINs were kept, if it is the right one."""
    if old is None or old.pin_sealed is not None or old.pin_hash is None or not pin:
        return
    if is_same(old.pin_hash, machine_hash(pin, key)):
        store.set_charger(work, old.id, pin_sealed=values["pin_sealed"])


def seal_of_pin(key_of_identity: str) -> str:
    """Return whose a sealed PIN is; see ``kernel.seal``."""
    return f"pin:{key_of_identity}"


def _sealed_pin(identity: str, pin: str, key: bytes) -> str | None:
    return seal(pin.encode(), key, seal_of_pin(identity_key(identity))) if pin else None


def part(work: Work, place: Place) -> None:
    """Have the gateway close whatever socket a charger has."""
    work.emit(f"charger.{place.charger_id}.superseded", Superseded(place.charger_id, new_id("soc")))
    if store.clear_presence(work, place.charger_id):
        _tell(work, place, "disconnected")


def _new_charger(work: Work, identity: str) -> dict[str, Any]:
    return {
        "id": new_id("chg"),
        "identity": identity,
        "identity_key": identity_key(identity),
        "location_id": None,
        "name": "",
        "created_at": work.now,
    }


async def claim(ctx: Context, actor: Actor, location_id: str, *, identity: str, pin: str = "") -> Charger:
    """Bring a charger to a location with the serial number and PIN of its sticker.

    An administrator of the installation may claim a waiting charger without its PIN.
    Raises: NotFound; Forbidden; Conflict; WrongPin; ChargerElsewhere; TooMany.
    """
    outcome = await ctx.db.work(
        actor, _claim, location_id, check_identity(identity), pin.strip(), ctx.settings.secret_key()
    )
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _claim(
    work: Work, location_id: str, identity: str, pin: str, key: bytes
) -> Charger | WrongPin | ChargerElsewhere | TooMany:
    """Claim, or return why not: a wrong PIN must be counted, so this Work commits all the same."""
    require(work, check("loc", location_id), Permission.EDIT_CHARGERS)
    require_open(work, location_id)
    key_of_identity = identity_key(identity)
    if work.actor.is_admin:
        row = store.lock_by_key(work, key_of_identity)
        if row is None:
            return WrongPin()
    else:
        # Counted whether there is such a charger or not, so that nobody learns which ones there are.
        tries = _pin_tries(work, key_of_identity)
        if any(count >= most for _, _, count, most in tries):
            return TooMany("too many wrong PINs: try again in an hour", retry_after_s=3600)
        row = store.lock_by_key(work, key_of_identity)
        if row is None or row.pin_hash is None or not is_same(row.pin_hash, machine_hash(pin, key)):
            for about, since_at, count, _ in tries:
                store.set_pin_tries(work, about, since_at, count + 1)
            return WrongPin()
        store.set_pin_tries(work, _about(key_of_identity), work.now, 0)
    if row.location_id == location_id:
        return get(work, row.id)
    if row.location_id is not None:
        return ChargerElsewhere(
            "this charger belongs to another location: its owner must unlink it there first"
        )
    store.set_charger(work, row.id, location_id=location_id, claimed_at=work.now, is_held=False)
    work.emit(subject(location_id, row.id), ChargerChanged(row.id, location_id, "claimed"))
    _note_move(work, row.id)
    return get(work, row.id)


def _about(key: str) -> str:
    return f"serial:{key}"


def _pin_tries(work: Work, key: str) -> list[tuple[str, datetime, int, int]]:
    """Return what counts for a claim: about what, since when, how many wrong PINs, and how many may be."""
    most = {_about(key): PIN_TRIES_PER_HOUR_MAX}
    if not work.actor.is_system:
        most[f"user:{work.actor.subject_id}"] = PIN_TRIES_OF_USER_PER_HOUR_MAX
    return [
        (row.about, row.since_at, row.tries, most[row.about])
        if row.since_at > work.now - PIN_WINDOW
        else (row.about, work.now, 0, most[row.about])
        for row in store.lock_pin_tries(work, list(most))
    ]


def forget_old_tries(work: Work) -> int:
    """Forget the wrong PINs whose hour is over; return of how many serial numbers and people."""
    return store.delete_old_pin_tries(work, work.now - PIN_WINDOW)


def forget_left(work: Work) -> int:
    """Forget some of the held chargers that left long ago; return how many, 0 when none are left."""
    return store.delete_left(work, work.now - timedelta(days=UNKNOWN_CHARGERS_HELD_DAYS), FORGET_STEP)


def rename(work: Work, charger_id: str, name: str) -> Charger:
    """Give a charger a name of people's own; an empty one takes it away.

    Raises: NotFound; Forbidden; Invalid.
    """
    charger = get(work, charger_id, Permission.EDIT_CHARGERS)
    if len(name) > 255 or not name.isprintable():
        raise Invalid("that cannot be the name of a charger", (("/name", "at most 255 characters"),))
    store.set_charger(work, charger_id, name=name.strip())
    work.emit(
        subject(charger.location_id, charger_id),
        ChargerChanged(charger_id, charger.location_id, "renamed"),
    )
    return get(work, charger_id)


def unlink(work: Work, location_id: str, charger_id: str) -> None:
    """Take a charger out of a location; it keeps existing and may be claimed again.

    Raises: NotFound; Forbidden.
    """
    charger = get(work, charger_id, Permission.EDIT_CHARGERS)
    if charger.location_id != location_id:
        raise NotFound("this charger is not at that location", id=charger_id)
    store.set_charger(work, charger_id, location_id=None, claimed_at=None, name="")
    work.emit(subject(location_id, charger_id), ChargerChanged(charger_id, location_id, "unlinked"))
    _note_move(work, charger_id)


def _note_move(work: Work, charger_id: str) -> None:
    """Have taken out of a charger what it was given for the place before, its cards above all."""
    jobs.enqueue(work, ChargerMoved(charger_id), key=f"charger-moved:{charger_id}")


# --- sockets --------------------------------------------------------------------------------------


def connect(
    work: Work, hellos: Sequence[Hello], *, key: bytes, is_holding: bool, others: Sequence[str] = ()
) -> list[Welcome]:
    """Let chargers in, or not; the newest session of a charger is the one that counts.

    ``others`` are authorities, as PEM, whose certificates are good beside those of our own.
    """
    trust = Trust(key, tuple(others))
    known = store.find_by_keys(
        work, [identity_key(hello.identity) for hello in hellos if IDENTITY.fullmatch(hello.identity)]
    )
    free = 0
    if is_holding and len(known) < len(hellos):
        free = UNKNOWN_CHARGERS_HELD_MAX - store.count_held(work)
    welcomes: list[Welcome] = []
    presences: dict[str, dict[str, Any]] = {}
    odd: list[FlawTold] = []
    for hello in hellos:
        row = known.get(identity_key(hello.identity))
        if row is None:
            charger_id, entry = _hold(work, hello, is_holding=is_holding, free=free)
            if charger_id is None:
                welcomes.append(Welcome(entry))
                continue
            free -= 1
            proof = Proof(hello.is_tls, Shown.NONE, Paper.ABSENT)
        else:
            entry, proof = credentials.let_in(work, row, hello, trust)
            if entry is not Entry.WELCOME:
                welcomes.append(Welcome(entry))
                continue
            charger_id = row.id
        welcomes.append(_welcome(charger_id, row))
        odd += [FlawTold(charger_id, kind, 1, "", "") for kind in (*hello.flaws, *_oddities(hello, row, key))]
        presences[charger_id] = {
            "charger_id": charger_id,
            "session_id": hello.session_id,
            "gateway": hello.gateway,
            "version": hello.version,
            "address": hello.address,
            "is_tls": hello.is_tls,
            "security_profile": proof.profile,
            "certificate_serial": proof.serial if proof.paper is Paper.GOOD else None,
            "via": ",".join(hello.via)[:200] or None,
            "connected_at": work.now,
            "seen_at": work.now,
        }
        work.emit(f"charger.{charger_id}.superseded", Superseded(charger_id, hello.session_id))
        place = row.location_id if row is not None else None
        work.emit(subject(place, charger_id), ChargerChanged(charger_id, place, "connected"))
    store.upsert_presences(work, list(presences.values()))
    if odd:
        findings.told(work, odd)
    return welcomes


def _welcome(charger_id: str, row: Any) -> Welcome:
    """Let a charger in; with what it is by its last boot, by which its known quirks are found."""
    if row is None:
        return Welcome(Entry.WELCOME, charger_id)
    return Welcome(
        Entry.WELCOME,
        charger_id,
        row.vendor or "",
        row.model or "",
        row.firmware or "",
        row.timezone or "UTC",
    )


def _oddities(hello: Hello, row: Any, key: bytes) -> list[str]:
    """Return the kinds of deviations that show only beside what is registered."""
    if row is None:
        return []
    found = []
    if hello.identity.strip() != row.identity:
        found.append("identity_spelling")
    sent = credentials.forms(hello.password)
    if row.password_hash is not None and sent:
        # The first form is the password as it came.
        is_plain = is_same(row.password_hash, machine_hash(sent[0], key))
        if not is_plain and credentials.shown(hello.password, row, key) is Shown.PRESENT:
            found.append("password_as_hex")
    return found


def _hold(work: Work, hello: Hello, *, is_holding: bool, free: int) -> tuple[str | None, Entry]:
    if not is_holding or not IDENTITY.fullmatch(hello.identity):
        return None, Entry.UNKNOWN
    if free <= 0:
        return None, Entry.FULL
    row = _new_charger(work, hello.identity) | {"is_held": True}
    store.insert_chargers(work, [row])
    # Two sockets of one new charger may come in one batch: whichever row is there counts.
    return store.find_by_keys(work, [row["identity_key"]])[row["identity_key"]].id, Entry.WELCOME


def disconnect(work: Work, charger_id: str, session_id: str) -> None:
    """Note that a session has ended, if it is still the charger's own."""
    if store.end_presence(work, charger_id, session_id):
        place = store.find_places(work, [charger_id]).get(charger_id)
        work.emit(subject(place, charger_id), ChargerChanged(charger_id, place, "disconnected"))


def forget_sockets(work: Work, gateway: str) -> int:
    """Note that a gateway that starts anew holds no sockets; return how many it had held."""
    gone = store.end_presences_of(work, gateway)
    for place in places(work, gone) if gone else ():
        _tell(work, place, "disconnected")
    return len(gone)


def seen(work: Work, charger_ids: Sequence[str]) -> None:
    """Note that these chargers were heard just now."""
    store.set_seen(work, charger_ids)


# --- what chargers say of themselves --------------------------------------------------------------


def _cut(text: str | None, most: int) -> str | None:
    return text[:most] if text else None


def boot(work: Work, booted: Sequence[tuple[Place, Booted]]) -> list[bool]:
    """Store what booting chargers say of themselves; for each say whether it is claimed."""
    store.set_booted(
        work,
        [
            {
                "key": place.charger_id,
                "vendor": _cut(said.vendor, 120),
                "model": _cut(said.model, 120),
                "serial": _cut(said.serial or said.box_serial, 120),
                "firmware": _cut(said.firmware, 120),
                "iccid": _cut(said.iccid, 40),
                "imsi": _cut(said.imsi, 40),
                "meter_type": _cut(said.meter_type, 120),
                "meter_serial": _cut(said.meter_serial, 120),
                "booted_at": work.now,
            }
            for place, said in booted
        ],
    )
    for place, _ in booted:
        _tell(work, place, "booted")
    return [place.location_id is not None for place, _ in booted]


def _tell(work: Work, place: Place, what: str) -> None:
    work.emit(
        subject(place.location_id, place.charger_id),
        ChargerChanged(place.charger_id, place.location_id, what),
    )


def tell_status(work: Work, told: Sequence[tuple[Place, StatusTold]]) -> None:
    """Store the status of connectors; an instant that the charger's clock got badly wrong is not used."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for place, said in told:
        if said.connector > CONNECTOR_NUMBER_MAX:
            continue
        rows[place.charger_id, said.connector] = {
            "charger_id": place.charger_id,
            "number": said.connector,
            "status": said.status.value,
            "error": said.error[:64],
            "info": _cut(said.info, 120),
            "vendor_error": _cut(said.vendor_error, 120),
            "status_at": believed(said.told_at, work.now),
            "heard_at": work.now,
        }
        _tell(work, place, "status")
    store.upsert_connectors(work, list(rows.values()))

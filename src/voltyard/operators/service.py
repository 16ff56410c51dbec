"""What people do with links: connect an operator, look at it, change it, swap it, disconnect it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from voltyard.chargers import calls
from voltyard.chargers import service as chargers
from voltyard.chargers.events import ChargerMoved, subject
from voltyard.chargers.service import Charger
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work, pack
from voltyard.kernel.errors import Conflict, Invalid, NotFound
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import HTTP_TIMEOUT_S, LINKS_OF_CHARGER_MAX, LINKS_OF_LOCATION_MAX, TAG_LENGTH_MAX
from voltyard.kernel.seal import seal
from voltyard.kernel.settings import PrivateNetworks, Settings
from voltyard.locations.access import Permission
from voltyard.operators import deliveries_store, store
from voltyard.operators.addresses import check_url
from voltyard.operators.directory import DIRECTORY, OTHER
from voltyard.operators.events import (
    WAKE,
    Attune,
    Compose,
    FreeConnectors,
    LinkChanged,
    TrialAsked,
    Tried,
    Woken,
)
from voltyard.operators.words import words
from voltyard.speech import Fallback, Role

CONSENTS: Final = ("firmware", "diagnostics", "vendor")
"""What an owner may allow an operator beyond its role."""
HISTORY_MAX = 100
COMPARED_MAX = 500
PASSWORD_BYTES_MAX = 40
PEM_LENGTH_MAX = 20_000
NAME_LENGTH_MAX = 120
IDENTITY_LENGTH_MAX = 48
TEST_BUDGET_S = 20.0
ACTOR = system("operators")

assert TEST_BUDGET_S < HTTP_TIMEOUT_S


class TooManyOperators(Conflict):
    """No more operators fit at this charger or location: disconnect one that is not needed any more."""

    title = "There are too many operators"


class BillingTaken(Conflict):
    """Another operator bills for this charger already: change its role first, or swap the two."""

    title = "Another operator bills for this charger already"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants of a link; None leaves a value as it is, or as it is by default.

    ``password`` is text, or hexadecimal with ``is_password_hex``; an empty one takes it away, as an empty
    certificate or authority does.
    """

    name: str | None = None
    preset: str | None = None
    url: str | None = None
    is_identity_appended: bool | None = None
    identity: str | None = None
    role: Role | None = None
    fallback: Fallback | None = None
    username: str | None = None
    password: str | None = None
    is_password_hex: bool = False
    certificate_pem: str | None = None
    key_pem: str | None = None
    authority_pem: str | None = None
    tag_alias: str | None = None
    is_limiting: bool | None = None
    is_boot_on_connect: bool | None = None
    consents: tuple[str, ...] | None = None
    is_running_told: bool = False
    """Whether a new operator is told of transactions that run already, from their start."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link as those see it who may; secrets stay where they are."""

    id: str
    charger_id: str
    charger_label: str
    location_id: str
    name: str
    preset: str
    url: str
    is_identity_appended: bool
    identity: str
    role: Role
    fallback: Fallback
    username: str
    has_password: bool
    has_certificate: bool
    has_authority: bool
    is_password_changing: bool
    tag_alias: str
    is_limiting: bool
    is_boot_on_connect: bool
    consents: tuple[str, ...]
    state: str
    reason: str
    state_at: datetime
    delivered_at: datetime | None
    created_at: datetime
    waiting: int = 0
    """Sayings that the operator was not told yet, ``calls.COUNTED_MAX`` for that many or more."""
    waiting_since_at: datetime | None = None
    parked: int = 0
    """… and of those that it refused and that are tried again, or wait for somebody to decide."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that somebody did to a link."""

    at: datetime
    actor_kind: str
    actor_id: str
    door: str
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One transaction as we know it and as an operator knows it; theirs is None where it was not told."""

    number: int
    id_tag: str
    started_at: datetime | None
    stopped_at: datetime | None
    energy_wh: int | None
    theirs: int | None
    state: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an operator has seen, and which cards it would have refused."""

    transactions: tuple[Compared, ...]
    refused_tags: tuple[str, ...]
    energy_wh: int


def _link(row: Any) -> Link:
    return Link(
        id=row.id,
        charger_id=row.charger_id,
        charger_label=row.charger_name or row.charger_identity,
        location_id=row.location_id,
        name=row.name,
        preset=row.preset,
        url=row.url,
        is_identity_appended=row.is_identity_appended,
        identity=row.identity,
        role=Role(row.role),
        fallback=Fallback(row.fallback),
        username=row.username,
        has_password=row.password_sealed is not None,
        has_certificate=row.certificate_pem is not None,
        has_authority=row.authority_pem is not None,
        is_password_changing=row.password_next_sealed is not None,
        tag_alias=row.tag_alias,
        is_limiting=row.is_limiting,
        is_boot_on_connect=row.is_boot_on_connect,
        consents=words(row.consents),
        state=row.state,
        reason=row.reason,
        state_at=row.state_at,
        delivered_at=row.delivered_at,
        created_at=row.created_at,
    )


def seal_of(link_id: str, what: str) -> str:
    """Return whose a sealed secret of a link is; see ``kernel.seal``."""
    return f"link:{link_id}:{what}"


def tell(work: Work, link_id: str, charger_id: str, location_id: str | None) -> None:
    """Tell those who look that a link is not as it was, and the lines that they should look again."""
    work.emit(subject(location_id, charger_id), LinkChanged(link_id, charger_id, location_id))
    work.emit(WAKE, Woken((charger_id,), is_changed=True))


# --- looking --------------------------------------------------------------------------------------


def _with_queue(work: Work, row: Any, open_count: int) -> Link:
    count, since_at = calls.count_said_after(work, row.charger_id, row.cursor)
    return replace(_link(row), waiting=count + open_count, waiting_since_at=since_at, parked=open_count)


def _get(work: Work, link_id: str, permission: Permission = Permission.VIEW_SENSITIVE) -> tuple[Any, Charger]:
    row = store.find_link(work, check("link", link_id))
    if row is None or row.ended_at is not None or row.location_id != row.charger_location_id:
        raise NotFound("there is no such operator, or you have no access to it", id=link_id)
    return row, chargers.get(work, row.charger_id, permission)


def get(work: Work, link_id: str) -> Link:
    """Return a link with its queue. Raises: NotFound; Forbidden."""
    row, _ = _get(work, link_id)
    return _with_queue(work, row, deliveries_store.count_open(work, [link_id]).get(link_id, 0))


def list_links(
    work: Work, *, charger_id: str | None = None, after: str | None = None, limit: int = 25
) -> list[Link]:
    """Return a page of the links that the actor may see, oldest first. Raises: NotFound; Forbidden."""
    if charger_id is not None:
        chargers.get(work, charger_id, Permission.VIEW_SENSITIVE)
    rows = store.list_links(work, charger_id=charger_id, after=after, limit=limit)
    owed = deliveries_store.count_open(work, [row.id for row in rows])
    return [_with_queue(work, row, owed.get(row.id, 0)) for row in rows]


def require(work: Work, link_id: str, permission: Permission) -> None:
    """Let the actor pass if it may do this with a link. Raises: NotFound; Forbidden."""
    _get(work, link_id, permission)


def history(work: Work, link_id: str) -> list[Change]:
    """Return what was done to a link, newest first. Raises: NotFound; Forbidden."""
    _get(work, link_id)
    return [
        Change(row.at, row.actor_kind, row.actor_id, row.door, row.what, row.detail)
        for row in store.history_of(work, link_id, limit=HISTORY_MAX)
    ]


def compare(work: Work, link_id: str) -> Comparison:
    """Return what an operator has seen of the latest transactions. Raises: NotFound; Forbidden."""
    _get(work, link_id)
    rows = store.newest_numbers(work, link_id, limit=COMPARED_MAX)
    refused = {row.id_tag for row in rows if row.verdict and row.verdict != "Accepted"}
    return Comparison(
        tuple(
            Compared(
                row.number,
                row.id_tag,
                row.started_at,
                row.stopped_at,
                row.energy_wh,
                row.theirs,
                row.state,
                row.verdict,
            )
            for row in rows
        ),
        tuple(sorted(refused)),
        sum(row.energy_wh or 0 for row in rows),
    )


# --- changing -------------------------------------------------------------------------------------


def _password(wanted: Wanted, wrong: list[tuple[str, str]]) -> bytes | None:
    if wanted.password is None:
        return None
    if not wanted.is_password_hex:
        found = wanted.password.encode()
    else:
        try:
            found = bytes.fromhex(wanted.password)
        except ValueError:
            wrong.append(("/password", "hexadecimal digits, two for each byte"))
            return None
    if len(found) > PASSWORD_BYTES_MAX:
        wrong.append(("/password", f"at most {PASSWORD_BYTES_MAX} bytes"))
    return found


def _values(link_id: str, wanted: Wanted, settings: Settings) -> dict[str, Any]:
    """Return the columns that somebody wants, tidy. Raises: Invalid."""
    wrong: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    if wanted.url is not None:
        is_private = settings.operator_private_networks is PrivateNetworks.ALLOW
        values["url"] = check_url(wanted.url.strip(), is_private_allowed=is_private)
    for field, text, most in (
        ("name", wanted.name, NAME_LENGTH_MAX),
        ("identity", wanted.identity, IDENTITY_LENGTH_MAX),
        ("username", wanted.username, NAME_LENGTH_MAX),
        ("tag_alias", wanted.tag_alias, TAG_LENGTH_MAX),
        ("certificate_pem", wanted.certificate_pem, PEM_LENGTH_MAX),
        ("authority_pem", wanted.authority_pem, PEM_LENGTH_MAX),
        ("key_pem", wanted.key_pem, PEM_LENGTH_MAX),
    ):
        if text is None:
            continue
        if len(text) > most or not (text.isprintable() or field.endswith("_pem")):
            wrong.append((f"/{field}", f"at most {most} characters, in one line"))
        elif field.endswith("_pem"):
            values[field] = text.strip() or None
        else:
            values[field] = text.strip()
    if ":" in (wanted.username or ""):
        wrong.append(("/username", "a user name has no colon"))
    if wanted.name is not None and not wanted.name.strip():
        wrong.append(("/name", "give the operator a name"))
    if wanted.identity is not None:
        values["identity"] = chargers.check_identity(wanted.identity)
    choices: dict[str, object] = {
        "is_identity_appended": wanted.is_identity_appended,
        "is_limiting": wanted.is_limiting,
        "is_boot_on_connect": wanted.is_boot_on_connect,
        "role": wanted.role and wanted.role.value,
        "fallback": wanted.fallback and wanted.fallback.value,
    }
    values |= {field: value for field, value in choices.items() if value is not None}
    if wanted.consents is not None:
        if strange := set(wanted.consents) - set(CONSENTS):
            wrong.append(("/consents", f"not {', '.join(sorted(strange))}: only {', '.join(CONSENTS)}"))
        values["consents"] = ",".join(sorted(set(wanted.consents)))
    password = _password(wanted, wrong)
    if wrong:
        raise Invalid("the operator was not saved: " + "; ".join(why for _, why in wrong), tuple(wrong))
    key = settings.secret_key()
    if password is not None:
        values["password_sealed"] = seal(password, key, seal_of(link_id, "password")) if password else None
        values["password_next_sealed"] = None
    if (pem := values.pop("key_pem", None)) is not None:
        values["key_sealed"] = seal(pem.encode(), key, seal_of(link_id, "key"))
    if wanted.certificate_pem == "":
        values["key_sealed"] = None
    return values


def connect(work: Work, charger_id: str, wanted: Wanted, settings: Settings) -> Link:
    """Connect an operator to a charger; it is told what is said from now on.

    Raises: NotFound; Forbidden; Invalid; BillingTaken; TooManyOperators.
    """
    charger = chargers.get(work, charger_id, Permission.EDIT_CHARGERS)
    if charger.location_id is None:
        raise Conflict("claim the charger first: operators serve chargers of a location", id=charger_id)
    preset = DIRECTORY.get(wanted.preset or OTHER)
    url = wanted.url or (preset.url if preset is not None else "")
    if not url:
        raise Invalid("the operator's address is missing", (("/url", "an address such as wss://…"),))
    if wanted.role is None:
        raise Invalid("choose what the operator may do", (("/role", "billing, data_control or observer"),))
    is_full = store.count_links(work, charger_id=charger_id) >= LINKS_OF_CHARGER_MAX
    if is_full or store.count_links(work, location_id=charger.location_id) >= LINKS_OF_LOCATION_MAX:
        raise TooManyOperators("disconnect an operator that is not needed any more, then connect this one")
    link_id = new_id("link")
    role = wanted.role
    wanted = replace(
        wanted,
        url=url,
        name=wanted.name or (preset.name if preset is not None else None) or "Operator",
        identity=wanted.identity or charger.identity,
    )
    values = _values(link_id, wanted, settings)
    _require_billing_free(work, charger_id, role)
    # Of this charger alone: on PostgreSQL a lower number of another one may be committed later.
    number = calls.last_number_of(work, charger_id)
    store.insert_link(
        work,
        **{
            "fallback": Fallback.REFUSE.value,
            "is_boot_on_connect": preset.is_boot_on_connect if preset is not None else True,
        }
        | values
        | {
            "id": link_id,
            "charger_id": charger_id,
            "location_id": charger.location_id,
            "preset": preset.key if preset is not None else OTHER,
            "cursor": number,
            "attached_number": number,
            "state": "connecting",
            "state_at": work.now,
        },
    )
    if wanted.is_running_told:
        store.set_link(
            work, link_id, cursor=_tell_running(work, link_id, charger_id, charger.location_id, number)
        )
    _note(work, link_id, charger, "connected", {"name": wanted.name, "role": role.value, "url": url})
    if role is Role.BILLING:
        _authority_changed(work, charger_id)
    tell(work, link_id, charger_id, charger.location_id)
    return get(work, link_id)


def _tell_running(work: Work, link_id: str, charger_id: str, location_id: str, number: int) -> int:
    """Have a link begin where the oldest of the running transactions began; return its cursor."""
    running = [
        int(row.number)
        for row in store.running_of(work, charger_id)
        # What began under a former owner is nobody else's business.
        if row.location_id == location_id
    ]
    began = calls.started_numbers(work, charger_id, running)
    store.upsert_numbers(work, [{"link_id": link_id, "number": each, "state": "pending"} for each in began])
    return min((*began.values(), number + 1)) - 1


def _require_billing_free(work: Work, charger_id: str, role: Role, but: str = "") -> None:
    if role is not Role.BILLING:
        return
    taken = store.billing_links(work, [charger_id]).get(charger_id)
    if taken is not None and taken.id != but:
        raise BillingTaken(
            f"{taken.name} bills for this charger: give it another role first, or swap the two",
            link=taken.id,
        )


def _authority_changed(work: Work, charger_id: str) -> None:
    jobs.enqueue(work, Attune(charger_id), key=f"attune:{charger_id}")


def _note(work: Work, link_id: str, charger: Charger, what: str, detail: Mapping[str, object]) -> None:
    store.insert_history(
        work,
        id=new_id("lh"),
        link_id=link_id,
        charger_id=charger.id,
        location_id=charger.location_id or "",
        actor_kind=work.actor.kind.value,
        actor_id=work.actor.subject_id,
        door=work.actor.door,
        what=what,
        detail=pack(detail),
    )


def _host(url: str) -> str:
    return urlsplit(url).netloc.lower()


_SECRET = frozenset(("password_sealed", "password_next_sealed", "key_sealed"))


def change(work: Work, link_id: str, wanted: Wanted, settings: Settings) -> Link:
    """Change what is wanted of a link; it connects anew. Raises: NotFound; Forbidden; Invalid;
    BillingTaken.
    """
    row, charger = _get(work, link_id, Permission.EDIT_CHARGERS)
    values = {
        name: value
        for name, value in _values(link_id, wanted, settings).items()
        if name in _SECRET or getattr(row, name) != value
    }
    if not values:
        return get(work, link_id)
    if wanted.role is not None:
        _require_billing_free(work, row.charger_id, wanted.role, but=link_id)
    if "url" in values and _host(values["url"]) != _host(row.url):
        # Whoever may type an address could otherwise have the secrets of another one sent there.
        for secret in ("password_sealed", "key_sealed"):
            values.setdefault(secret, None)
        values["password_next_sealed"] = None
    store.set_link(work, link_id, **values)
    shown = {name: "changed" if name in _SECRET else value for name, value in values.items()}
    _note(work, link_id, charger, "changed", shown)
    if "role" in values and Role.BILLING.value in {values["role"], row.role}:
        _authority_changed(work, row.charger_id)
    if "role" in values:
        _free_from(work, link_id, row.charger_id, wanted.role)
    if {"role", "is_limiting"} & values.keys():
        jobs.enqueue(work, Compose(row.charger_id), key=f"compose:{row.charger_id}")
    tell(work, link_id, row.charger_id, row.location_id)
    return get(work, link_id)


def make_billing(work: Work, link_id: str, *, former: Role = Role.OBSERVER) -> Link:
    """Give a link the Billing role, and the one that had it another one, in one step.

    Neither misses a message: both go on from where they are. Raises: NotFound; Forbidden; Invalid.
    """
    row, charger = _get(work, link_id, Permission.EDIT_CHARGERS)
    if former is Role.BILLING:
        raise Invalid("the former one needs another role", (("/former_role", "data_control or observer"),))
    before = store.billing_links(work, [row.charger_id]).get(row.charger_id)
    if before is not None and before.id == link_id:
        return get(work, link_id)
    if before is not None:
        store.set_link(work, before.id, role=former.value)
        _free_from(work, before.id, row.charger_id, former)
        _note(work, before.id, charger, "swapped", {"role": former.value, "for": link_id})
        tell(work, before.id, row.charger_id, row.location_id)
    store.set_link(work, link_id, role=Role.BILLING.value)
    of = before.id if before is not None else None
    _note(work, link_id, charger, "swapped", {"role": Role.BILLING.value, "for": of})
    _authority_changed(work, row.charger_id)
    jobs.enqueue(work, Compose(row.charger_id), key=f"compose:{row.charger_id}")
    tell(work, link_id, row.charger_id, row.location_id)
    return get(work, link_id)


def _free_from(work: Work, link_id: str, charger_id: str, role: Role | None) -> None:
    """Free the connectors that an operator wants out of use, if it may not want anything any more."""
    row = store.find_link(work, link_id)
    assert row is not None
    wished = words(row.inoperative)
    if wished and role in {None, Role.OBSERVER}:
        store.set_link(work, link_id, inoperative="")
        jobs.enqueue(work, FreeConnectors(charger_id, tuple(int(word) for word in wished)))


def disconnect(work: Work, link_id: str) -> None:
    """Disconnect an operator; one that bills is told that running transactions end for it.

    Raises: NotFound; Forbidden.
    """
    row, charger = _get(work, link_id, Permission.EDIT_CHARGERS)
    is_owed = row.role == Role.BILLING.value and bool(store.open_numbers(work, link_id))
    store.set_link(
        work,
        link_id,
        ended_at=work.now,
        is_over=not is_owed,
        state="leaving" if is_owed else "ended",
        state_at=work.now,
        **({} if is_owed else store.NO_SECRETS),
    )
    _note(work, link_id, charger, "disconnected", {"name": row.name, "role": row.role})
    if row.role == Role.BILLING.value:
        _authority_changed(work, row.charger_id)
    jobs.enqueue(work, Compose(row.charger_id), key=f"compose:{row.charger_id}")
    _free_from(work, link_id, row.charger_id, None)
    tell(work, link_id, row.charger_id, row.location_id)


async def charger_moved(ctx: Context, message: ChargerMoved) -> None:
    """End the links of a charger that is not where they were made."""
    await ctx.db.work(ACTOR, _end_strays, message.charger_id)


def _end_strays(work: Work, charger_id: str) -> None:
    for link_id in store.end_strays(work, charger_id):
        _free_from(work, link_id, charger_id, None)
        work.emit(WAKE, Woken((charger_id,), is_changed=True))
        jobs.enqueue(work, Compose(charger_id), key=f"compose:{charger_id}")
    # Whether there is one here who decides about cards or not: the list was emptied of the one before.
    _authority_changed(work, charger_id)


# --- testing --------------------------------------------------------------------------------------


async def try_out(ctx: Context, actor: Actor, charger_id: str, wanted: Wanted, link_id: str = "") -> Tried:
    """Try to reach an operator as a link would, and tell each step; nothing is stored.

    With ``link_id``, what is not wanted anew is as that link has it.
    Raises: NotFound; Forbidden; Invalid; TooMany; Unserved where no part of Voltyard may go out.
    """
    asked = await ctx.db.read(actor, _test_asked, charger_id, wanted, link_id, ctx.settings)
    return await ctx.bus.request("lines.test", asked, Tried, timeout_s=TEST_BUDGET_S)


def _test_asked(work: Work, charger_id: str, wanted: Wanted, link_id: str, settings: Settings) -> TrialAsked:
    charger = chargers.get(work, charger_id, Permission.EDIT_CHARGERS)
    row = _get(work, link_id, Permission.EDIT_CHARGERS)[0] if link_id else None
    if row is not None and row.charger_id != charger_id:
        raise NotFound("this operator is not connected to that charger", id=link_id)
    preset = DIRECTORY.get(wanted.preset or OTHER)
    wanted = replace(
        wanted,
        url=wanted.url or (row.url if row is not None else "") or (preset.url if preset is not None else ""),
        identity=wanted.identity or (row.identity if row is not None else charger.identity),
    )
    values = _values(link_id or charger_id, wanted, settings)
    is_elsewhere = row is not None and _host(values["url"]) != _host(row.url)

    def value(name: str, otherwise: Any = "") -> Any:
        if name in values:
            return values[name]
        if row is None or (is_elsewhere and name in _SECRET):
            return otherwise  # secrets go only where they were entered for
        return getattr(row, name)

    return TrialAsked(
        charger_id,
        values["url"],
        values["identity"],
        value("is_identity_appended", otherwise=True),
        value("username"),
        link_id or charger_id,
        value("password_sealed") or "",
        value("certificate_pem") or "",
        value("key_sealed") or "",
        value("authority_pem") or "",
        work.actor.subject_id,
    )

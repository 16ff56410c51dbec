"""Operators of a charger: who they are, how they stand, what each was told, and connecting another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fastapi import APIRouter
from starlette.datastructures import FormData, QueryParams
from starlette.responses import Response

from voltyard.accounts import service as accounts
from voltyard.cards import service as cards
from voltyard.chargers import calls_report
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Invalid, NotFound, TimedOut, TooMany, Unavailable
from voltyard.kernel.limits import LINKS_OF_CHARGER_MAX
from voltyard.kernel.settings import PrivateNetworks
from voltyard.kernel.wire import decode
from voltyard.locations.access import Permission
from voltyard.operators import deliveries, limits
from voltyard.operators import service as operators
from voltyard.operators.deliveries import Delivery, DeliveryStatus
from voltyard.operators.directory import DIRECTORY, OTHER, Preset
from voltyard.operators.events import Tried
from voltyard.operators.service import CONSENTS, Change, Compared, Link, Wanted
from voltyard.portal import formats, operator_words
from voltyard.portal import shell as shells
from voltyard.portal.call_words import Piece, summary
from voltyard.portal.charger_logs import Text, clock, shown_text, to_place
from voltyard.portal.chargers import CARDS_MAX, frame
from voltyard.portal.shell import BLANK, Here, Visit, refused, sentence
from voltyard.portal.words import _
from voltyard.speech import Fallback, Role
from voltyard.transactions import service as transactions
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)

PAGE = 25
COMPARED_SHOWN = 50
RECENT = 200
WAITS: Final = "waiting"
"""The choice of all that an operator has not taken yet."""
WAYS: Final[Mapping[str, bool]] = {"operator": False, "charger": True}
TEXTS: Final = (
    "name",
    "url",
    "identity",
    "username",
    "tag_alias",
    "certificate_pem",
    "key_pem",
    "authority_pem",
)
CHECKS: Final = (
    "is_identity_appended", "is_limiting", "is_boot_on_connect", "is_running_told", "password_away",
    "certificate_away", "authority_away", *(f"may_{name}" for name in CONSENTS),
)  # fmt: skip
ADVANCED: Final = frozenset(("certificate_pem", "key_pem", "authority_pem", "tag_alias", "consents"))


# --- the list -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """A limit that operators hold a connector at, with their names."""

    connector: int
    limit_a: float
    names: str
    is_taken: bool


def view(work: Work, charger_id: str) -> dict[str, Any]:
    """Return the operators of a charger, and who decides about its cards and its current."""
    values = frame(work, charger_id) | {"links": [], "billing": None, "held": []}
    if Permission.VIEW_SENSITIVE not in values["may"]:
        return values
    links = operators.list_links(work, charger_id=charger_id, limit=LINKS_OF_CHARGER_MAX)
    return values | {
        "links": links,
        "billing": next((link for link in links if link.role is Role.BILLING), None),
        "held": _held(work, charger_id, {link.id: link.name for link in links}),
    }


def _held(work: Work, charger_id: str, names: Mapping[str, str]) -> list[Held]:
    return [
        Held(
            each.connector,
            each.limit_a,
            ", ".join(names[link_id] for link_id in each.by if link_id in names),
            each.word in {"", "Accepted"},
        )
        for each in limits.limits_now(work, charger_id)
        if each.limit_a is not None
    ]


def _page(here: Visit, name: str, values: Mapping[str, Any], *, status: int = 200, **more: Any) -> Response:
    return here.page(name, status=status, tab="operators", speak=operator_words, **(dict(values) | more))


@router.get("/chargers/{charger_id}/operators")
async def show(here: Here, charger_id: str) -> Response:
    """Show who else hears this charger, and who decides about it."""
    return _page(here, "charger_operators.html", await here.read(view, charger_id))


@router.post("/chargers/{charger_id}/operators/{link_id}/disconnect")
async def disconnect(here: Here, charger_id: str, link_id: str) -> Response:
    """Disconnect an operator."""
    await here.read(_owned, charger_id, link_id)
    await here.work(operators.disconnect, link_id)
    return _went(here, f"/chargers/{charger_id}/operators", _("The operator is disconnected."))


def _went(here: Visit, address: str, said: str) -> Response:
    """Send the browser on to another page, whether it sent the form by itself or a script did."""
    response = here.go(address, said)
    if here.request.headers.get("hx-request"):
        response.status_code = 200
        response.headers["HX-Redirect"] = response.headers["location"]
        del response.headers["location"]
    return response


def _owned(work: Work, charger_id: str, link_id: str) -> Link:
    """Return a link of this charger. Raises: NotFound; Forbidden."""
    link = operators.get(work, link_id)
    if link.charger_id != charger_id:
        raise NotFound("there is no such operator, or you have no access to it", id=link_id)
    return link


# --- forms ----------------------------------------------------------------------------------------


def _typed(form: FormData) -> dict[str, str]:
    """Return what stands in the form, but for the password, which is not said back."""
    names = (*TEXTS, *CHECKS, "role", "preset", "fallback", "password_form")
    return {name: str(form.get(name, "")) for name in names}


def _wanted(form: FormData, *, is_new: bool) -> Wanted:
    """Return what a form wants; an empty secret is left as it is, unless it is to be taken away."""
    typed = _typed(form)
    password = str(form.get("password", ""))

    def secret(field: str, away: str) -> str | None:
        return "" if typed[away] else typed[field].strip() or None

    return Wanted(
        name=typed["name"],
        preset=(typed["preset"] or OTHER) if is_new else None,
        url=typed["url"],
        is_identity_appended=bool(typed["is_identity_appended"]),
        identity=typed["identity"],
        role=Role(typed["role"]) if typed["role"] in set(Role) else None,
        fallback=Fallback(typed["fallback"]) if typed["fallback"] in set(Fallback) else None,
        username=typed["username"],
        password="" if typed["password_away"] else password or None,
        is_password_hex=typed["password_form"] == "hex",
        certificate_pem=secret("certificate_pem", "certificate_away"),
        key_pem=typed["key_pem"].strip() or None,
        authority_pem=secret("authority_pem", "authority_away"),
        tag_alias=typed["tag_alias"],
        is_limiting=bool(typed["is_limiting"]),
        is_boot_on_connect=bool(typed["is_boot_on_connect"]),
        consents=tuple(name for name in CONSENTS if typed[f"may_{name}"]),
        is_running_told=bool(typed["is_running_told"]),
    )


def _check_named(wanted: Wanted) -> None:
    if not (wanted.name or "").strip():
        raise Invalid("the operator was not saved", (("/name", _("give the operator a name")),))


def _fresh(preset: Preset | None, role: Role, identity: str) -> dict[str, str]:
    """Return what the form of a new operator begins with."""
    begun = {
        "role": role.value,
        "preset": preset.key if preset is not None else OTHER,
        "name": preset.name if preset is not None else "",
        "url": preset.url if preset is not None else "",
        "identity": identity,
        "is_identity_appended": "yes",
        "is_limiting": "yes",
        "fallback": Fallback.REFUSE.value,
    }
    return begun | ({"is_boot_on_connect": "yes"} if preset is None or preset.is_boot_on_connect else {})


def _filled(link: Link) -> dict[str, str]:
    """Return what the form of a link begins with; secrets stay where they are."""
    checks = {
        "is_identity_appended": link.is_identity_appended,
        "is_limiting": link.is_limiting,
        "is_boot_on_connect": link.is_boot_on_connect,
        **{f"may_{name}": True for name in link.consents},
    }
    return {
        "name": link.name,
        "url": link.url,
        "identity": link.identity,
        "username": link.username,
        "tag_alias": link.tag_alias,
        "role": link.role.value,
        "fallback": link.fallback.value,
        **{name: "yes" for name, is_set in checks.items() if is_set},
    }


# --- connecting -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen on the way to a new operator."""

    role: Role | None
    preset: Preset | None
    is_other: bool
    q: str

    @classmethod
    def of(cls, asked: Mapping[str, str] | QueryParams) -> Choice:
        """Read it from an address."""
        role, preset = asked.get("role", ""), asked.get("preset", "")
        return cls(
            Role(role) if role in set(Role) else None,
            DIRECTORY.get(preset),
            preset == OTHER,
            asked.get("q", "")[:100],
        )

    @property
    def found(self) -> Sequence[Preset]:
        """Return the operators of the directory that fit what is looked for."""
        sought = self.q.casefold().strip()
        return [entry for entry in DIRECTORY.values() if sought in entry.name.casefold()]

    @property
    def step(self) -> int:
        """Return the step that one is at."""
        if self.role is None:
            return 1
        return 3 if self.preset is not None or self.is_other else 2


async def _connect_page(
    here: Visit, charger_id: str, choice: Choice, form: shells.Form | None = None, *, status: int = 200
) -> Response:
    values = await here.read(view, charger_id)
    if choice.role is Role.BILLING and values["billing"] is not None and form is None:
        choice = Choice(None, None, is_other=False, q="")
    if form is None:
        role = choice.role or Role.OBSERVER
        form = shells.Form(_fresh(choice.preset, role, values["charger"].identity), {})
    return _page(
        here,
        "operators/connect.html",
        values,
        status=status,
        choice=choice,
        other=OTHER,
        form=form,
        link=None,
        advanced=ADVANCED,
        is_private_allowed=here.ctx.settings.operator_private_networks is PrivateNetworks.ALLOW,
    )


@router.get("/chargers/{charger_id}/operators/connect")
async def choose(here: Here, charger_id: str) -> Response:
    """Show the steps to another operator: its role, who it is, how it is reached."""
    return await _connect_page(here, charger_id, Choice.of(here.request.query_params))


@router.post("/chargers/{charger_id}/operators")
async def connect(here: Here, charger_id: str) -> Response:
    """Connect an operator."""
    sent = await here.request.form()
    typed = _typed(sent)
    try:
        wanted = _wanted(sent, is_new=True)
        _check_named(wanted)
        link = await here.work(operators.connect, charger_id, wanted, here.ctx.settings)
    except (Invalid, Conflict, TooMany) as wrong:
        form = refused(typed, wrong)
        return await _connect_page(here, charger_id, Choice.of(typed), form, status=status_of(type(wrong)))
    return _went(here, f"/chargers/{charger_id}/operators/{link.id}", _("The operator is connected."))


# --- testing --------------------------------------------------------------------------------------


@router.post("/chargers/{charger_id}/operators/test")
async def test_new(here: Here, charger_id: str) -> Response:
    """Try to reach an operator as the form says."""
    sent = await here.request.form()
    typed = _typed(sent)
    tried = await _tried(here, charger_id, _wanted(sent, is_new=True), typed)
    if isinstance(tried, Tried):
        return _steps(here, tried, BLANK)
    if not tried.errors:
        return _steps(here, None, tried)
    return _marked(await _connect_page(here, charger_id, Choice.of(typed), tried))


@router.post("/chargers/{charger_id}/operators/{link_id}/test")
async def test(here: Here, charger_id: str, link_id: str) -> Response:
    """Try to reach an operator as the form of its link says."""
    sent = await here.request.form()
    tried = await _tried(here, charger_id, _wanted(sent, is_new=False), _typed(sent), link_id)
    if isinstance(tried, Tried):
        return _steps(here, tried, BLANK)
    if not tried.errors:
        return _steps(here, None, tried)
    return _marked(await _settings_page(here, charger_id, link_id, tried))


async def _tried(
    here: Visit, charger_id: str, wanted: Wanted, typed: Mapping[str, str], link_id: str = ""
) -> Tried | shells.Form:
    try:
        # How it is called does not matter to a test.
        return await operators.try_out(here.ctx, here.actor, charger_id, replace(wanted, name=None), link_id)
    except Invalid as wrong:
        return refused(typed, wrong)
    except TimedOut:
        return shells.Form(typed, {}, _("The test took too long: try it again in a moment."))
    except (Unavailable, TooMany) as wrong:
        told = refused(typed, wrong)
        return shells.Form(typed, {}, _("The connection could not be tried."), told.help)


def _steps(here: Visit, tested: Tried | None, form: shells.Form) -> Response:
    attempts = tested.attempts if tested is not None else ()
    return here.page("operators/_tested.html", speak=operator_words, attempts=attempts, form=form)


def _marked(response: Response) -> Response:
    """Have the whole form drawn, with what is wrong beside its fields."""
    response.headers["HX-Retarget"] = response.headers["HX-Reselect"] = "#link-form"
    response.headers["HX-Reswap"] = "outerMorph"
    return response


# --- one link -------------------------------------------------------------------------------------


def link_view(work: Work, charger_id: str, link_id: str) -> dict[str, Any]:
    """Return a link, with what was done to it and by whom."""
    values = view(work, charger_id)
    link = _owned(work, charger_id, link_id)
    changes = operators.history(work, link_id)
    done = [(each, _did(each)) for each in changes]
    return values | {"link": link, "changes": done, "people": _people(work, changes)}


def _did(change: Change) -> Piece:
    return operator_words.did(change.what, decode(change.detail, dict[str, Any]))


def _people(work: Work, changes: Sequence[Change]) -> dict[str, str]:
    asked = {each.actor_id for each in changes if each.actor_kind in {"user", "token"}}
    names: dict[str, str] = {}
    for user_id in asked:
        try:
            names[user_id] = accounts.user(work, user_id).name
        except NotFound:
            continue
    return names


async def _link_page(
    here: Visit, charger_id: str, link_id: str, form: shells.Form = BLANK, *, status: int = 200
) -> Response:
    values = await here.read(link_view, charger_id, link_id)
    return _page(here, "operators/link.html", values, status=status, part="", form=form)


@router.get("/chargers/{charger_id}/operators/{link_id}")
async def show_link(here: Here, charger_id: str, link_id: str) -> Response:
    """Show how a link stands, its role, and who did what to it."""
    return await _link_page(here, charger_id, link_id)


@router.post("/chargers/{charger_id}/operators/{link_id}/billing")
async def make_billing(here: Here, charger_id: str, link_id: str) -> Response:
    """Make this the Billing operator; the one that was gets another role."""
    await here.read(_owned, charger_id, link_id)
    typed = str((await here.request.form()).get("former_role", ""))
    former = Role(typed) if typed in {Role.DATA_CONTROL, Role.OBSERVER} else Role.OBSERVER
    await here.work(operators.make_billing, link_id, former=former)
    return _went(here, f"/chargers/{charger_id}/operators/{link_id}", _("It decides about cards now."))


async def _settings_page(
    here: Visit, charger_id: str, link_id: str, form: shells.Form | None = None, *, status: int = 200
) -> Response:
    values = await here.read(link_view, charger_id, link_id)
    return _page(
        here,
        "operators/settings.html",
        values,
        status=status,
        part="settings",
        form=shells.Form(_filled(values["link"]), {}) if form is None else form,
        advanced=ADVANCED,
        is_private_allowed=here.ctx.settings.operator_private_networks is PrivateNetworks.ALLOW,
    )


@router.get("/chargers/{charger_id}/operators/{link_id}/settings")
async def show_settings(here: Here, charger_id: str, link_id: str) -> Response:
    """Show how an operator is reached, and what it may do."""
    return await _settings_page(here, charger_id, link_id)


@router.post("/chargers/{charger_id}/operators/{link_id}/settings")
async def change(here: Here, charger_id: str, link_id: str) -> Response:
    """Change what is wanted of a link."""
    await here.read(_owned, charger_id, link_id)
    sent = await here.request.form()
    try:
        wanted = _wanted(sent, is_new=False)
        _check_named(wanted)
        await here.work(operators.change, link_id, wanted, here.ctx.settings)
    except (Invalid, Conflict) as wrong:
        form = refused(_typed(sent), wrong)
        return await _settings_page(here, charger_id, link_id, form, status=status_of(type(wrong)))
    return _went(here, f"/chargers/{charger_id}/operators/{link_id}", _("The operator was changed."))


# --- comparing ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """A transaction as its operator knows it, beside ours."""

    theirs: Compared
    ours: transactions.Transaction | None
    card: str

    @property
    def is_apart(self) -> bool:
        """Say whether the two tell different energies."""
        told_wh = self.theirs.energy_wh
        return told_wh is not None and self.ours is not None and told_wh != self.ours.energy_wh


def comparison_view(work: Work, charger_id: str, link_id: str) -> dict[str, Any]:
    """Return the latest transactions as we know them and as an operator does."""
    values = link_view(work, charger_id, link_id)
    compared = operators.compare(work, link_id)
    recent = transactions.list_transactions(work, charger_id=charger_id, limit=RECENT)
    ours = {each.number: each for each in recent}
    known = cards.list_cards(work, location_id=values["location"].id, limit=CARDS_MAX)
    names = {cards.tag_key(card.id_tag): card.name for card in known}
    pairs = [
        Pair(each, ours.get(each.number), names.get(cards.tag_key(each.id_tag), ""))
        for each in compared.transactions[:COMPARED_SHOWN]
    ]
    refused_cards = [(tag, names.get(cards.tag_key(tag), "")) for tag in compared.refused_tags]
    return values | {"compared": compared, "pairs": pairs, "refused_cards": refused_cards}


@router.get("/chargers/{charger_id}/operators/{link_id}/comparison")
async def compare(here: Here, charger_id: str, link_id: str) -> Response:
    """Show the operator's numbers, verdicts and energies beside ours."""
    values = await here.read(comparison_view, charger_id, link_id)
    return _page(here, "operators/comparison.html", values, part="comparison")


# --- deliveries -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A message between an operator and us as it is shown."""

    delivery: Delivery
    day: str
    day_key: str
    clock: str
    pieces: Sequence[Piece]
    notes: Sequence[str]
    said: Text | None
    payload: Text | None
    answer: Text | None

    @property
    def waits(self) -> bool:
        """Say whether somebody can have it told again, or skip it."""
        return self.delivery.status in {DeliveryStatus.RETRYING, DeliveryStatus.PARKED}


def _row(each: Delivery, zone: Any, locale: str) -> Row:
    payload, answer = calls_report.said(each.payload), calls_report.said(each.answer)
    return Row(
        delivery=each,
        day=formats.day(each.at, zone, locale),
        day_key=each.at.astimezone(zone).date().isoformat(),
        clock=clock(each.at, zone)[:8],
        pieces=summary(each.action, payload, answer),
        notes=operator_words.notes(each),
        said=shown_text(calls_report.said(each.said), is_whole=False),
        payload=shown_text(payload, is_whole=False),
        answer=shown_text(answer, is_whole=False),
    )


def deliveries_view(
    work: Work, charger_id: str, link_id: str, chosen: Mapping[str, str], locale: str
) -> dict[str, Any]:
    """Return a page of what an operator was told and asked."""
    values = link_view(work, charger_id, link_id)
    status = chosen["status"]
    if status == WAITS:
        statuses: Sequence[DeliveryStatus] = operator_words.WAITING
    else:
        statuses = [DeliveryStatus(status)] if status in set(DeliveryStatus) else []
    found = deliveries.list_deliveries(
        work,
        link_id,
        statuses=statuses,
        is_significant=chosen["noise"] != "show" and not status,
        is_inward=WAYS.get(chosen["direction"]),
        before=to_place(chosen["before"]),
        limit=PAGE + 1,
    )
    shown = found[:PAGE]
    return values | {
        "rows": [_row(each, values["zone"], locale) for each in shown],
        "older": shown[-1].number if len(found) > PAGE else "",
        "chosen": chosen,
    }


async def _deliveries_page(here: Visit, charger_id: str, link_id: str) -> Response:
    names = ("status", "direction", "noise", "before")
    chosen = {name: here.request.query_params.get(name, "") for name in names}
    values = await here.read(deliveries_view, charger_id, link_id, chosen, here.user.language)
    return _page(
        here,
        "operators/deliveries.html",
        values,
        part="deliveries",
        insignificant=deliveries.INSIGNIFICANT,
        waits=WAITS,
    )


@router.get("/chargers/{charger_id}/operators/{link_id}/deliveries")
async def show_deliveries(here: Here, charger_id: str, link_id: str) -> Response:
    """Show what an operator was told and asked, and what became of it."""
    return await _deliveries_page(here, charger_id, link_id)


@router.post("/chargers/{charger_id}/operators/{link_id}/deliveries/{number:int}/retry")
async def retry(here: Here, charger_id: str, link_id: str, number: int) -> Response:
    """Have a message told again now."""
    await here.read(_owned, charger_id, link_id)
    await here.work(deliveries.retry, link_id, number)
    return await _decided(here, charger_id, link_id, _("It is told again now."))


@router.post("/chargers/{charger_id}/operators/{link_id}/deliveries/{number:int}/skip")
async def skip(here: Here, charger_id: str, link_id: str, number: int) -> Response:
    """Give a message up, so that what follows is told."""
    await here.read(_owned, charger_id, link_id)
    await here.work(deliveries.skip, link_id, number)
    return await _decided(here, charger_id, link_id, _("It is skipped."))


async def _decided(here: Visit, charger_id: str, link_id: str, said: str) -> Response:
    if not here.request.headers.get("hx-request"):
        return here.go(f"/chargers/{charger_id}/operators/{link_id}/deliveries", said)
    response = await _deliveries_page(here, charger_id, link_id)
    response.headers["HX-Trigger"] = shells.toast("good", sentence(here.text(said)))
    return response

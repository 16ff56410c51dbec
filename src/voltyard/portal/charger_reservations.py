"""The reservations of a charger, and the cards that it knows when it is offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form
from starlette.responses import Response

from voltyard.cards import service as cards
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, NotFound, Refused, Unavailable, VoltyardError
from voltyard.kernel.limits import PAGE_DEFAULT
from voltyard.local_lists import service as local_lists
from voltyard.portal import shell as shells
from voltyard.portal.chargers import CARDS_MAX, frame
from voltyard.portal.shell import BLANK, Here, Visit, refused, sentence
from voltyard.portal.words import _
from voltyard.reservations import service as reservations
from voltyard.reservations.service import Reservation, ReservationUnsupported
from voltyard.web.doorway import GuardedRoute
from voltyard.web.paging import to_number
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
ACTIVE_MAX = 50
TYPED: Final = "typed"
"""The value of a choice that means: what stands in the field beside it."""
LENGTHS: Final[Mapping[str, str]] = {"15": _("15 min"), "30": _("30 min"), "60": _("1 hour")}


def view(work: Work, charger_id: str, after: str) -> dict[str, Any]:
    """Return the reservations of a charger, the cards one may reserve for, and how its list stands."""
    values = frame(work, charger_id)
    active = reservations.list_reservations(work, charger_id, is_active=True, limit=ACTIVE_MAX)
    over = reservations.list_reservations(
        work, charger_id, is_active=False, after=after or None, limit=PAGE_DEFAULT + 1
    )
    shown = over[:PAGE_DEFAULT]
    rows = cards.list_cards(work, location_id=values["location"].id, limit=CARDS_MAX)
    return values | {
        "active": active,
        "over": shown,
        "more": shown[-1].id if len(over) > PAGE_DEFAULT else "",
        "names": _names(work, [*active, *shown]),
        "card_choices": [card for card in rows if not card.is_blocked],
        "listed": local_lists.get(work, charger_id),
        "lengths": LENGTHS,
    }


def _names(work: Work, rows: Sequence[Reservation]) -> dict[str, str]:
    """Return the names of the cards of these reservations; a removed card has none."""
    names: dict[str, str] = {}
    for card_id in {each.card_id for each in rows if each.card_id is not None}:
        try:
            names[card_id] = cards.get(work, card_id).name
        except NotFound:
            continue
    return names


async def _page(
    here: Visit,
    charger_id: str,
    form: shells.Form = BLANK,
    *,
    after: str = "",
    status: int = 200,
    may_insist: bool = False,
) -> Response:
    values = await here.read(view, charger_id, after)
    return here.page(
        "charger_reservations.html",
        status=status,
        tab="reservations",
        form=form,
        after=after,
        may_insist=may_insist,
        **values,
    )


@router.get("/chargers/{charger_id}/reservations")
async def show(here: Here, charger_id: str, after: str = "") -> Response:
    """Show which connectors are kept for which cards."""
    return await _page(here, charger_id, after=after)


def _until(length: str, until: str, zone: tzinfo, now: datetime) -> datetime:
    """Return the instant that was chosen: a time from now, or one of the charger's own place."""
    if length in LENGTHS:
        return now + timedelta(minutes=int(length))
    try:
        return datetime.fromisoformat(until).replace(tzinfo=zone)
    except ValueError:
        raise Invalid(
            "nothing was reserved", (("/expires_at", _("choose how long, or type a time")),)
        ) from None


@router.post("/chargers/{charger_id}/reservations")
async def reserve(
    here: Here,
    charger_id: str,
    card: Text = "",
    id_tag: Text = "",
    connector: Text = "0",
    length: Text = "",
    until: Text = "",
    even_unsupported: Text = "",
) -> Response:
    """Keep a connector for a card."""
    typed = {
        "card": card,
        "id_tag": id_tag,
        "connector": connector,
        "length": length,
        "until": until,
        "even_unsupported": even_unsupported,
    }
    zone = (await here.read(frame, charger_id))["zone"]
    number = to_number(connector)
    try:
        await reservations.create(
            here.ctx,
            here.actor,
            charger_id,
            connector=-1 if number is None else number,
            expires_at=_until(length, until, zone, here.now),
            id_tag=id_tag if card in {"", TYPED} else "",
            card_id=None if card in {"", TYPED} else card,
            is_insisting=bool(even_unsupported),
        )
    except (Refused, Unavailable) as wrong:
        may_insist = isinstance(wrong, ReservationUnsupported) and number != 0
        return await _page(
            here, charger_id, refused(typed, wrong), status=status_of(type(wrong)), may_insist=may_insist
        )
    return await _done(here, charger_id, _("The connector is reserved."))


async def _done(here: Visit, charger_id: str, said: str) -> Response:
    if not here.request.headers.get("hx-request"):
        return here.go(f"/chargers/{charger_id}/reservations", said)
    response = await _page(here, charger_id)
    response.headers["HX-Trigger"] = shells.toast("good", sentence(here.text(said)))
    return response


@router.post("/chargers/{charger_id}/reservations/{reservation_id}/cancel")
async def cancel(here: Here, charger_id: str, reservation_id: str) -> Response:
    """Give a connector free."""
    try:
        await reservations.cancel(here.ctx, here.actor, reservation_id)
    except reservations.ReservationEnded as wrong:
        return await _told(here, charger_id, wrong)
    return await _done(here, charger_id, _("The connector is free again."))


async def _told(here: Visit, charger_id: str, wrong: VoltyardError) -> Response:
    return await _page(here, charger_id, refused({}, wrong), status=status_of(type(wrong)))


@router.post("/chargers/{charger_id}/local-list")
async def sync(here: Here, charger_id: str) -> Response:
    """Have the charger's list of cards brought in step now."""
    await here.work(local_lists.request_sync, charger_id)
    return await _done(here, charger_id, _("The cards are on their way to the charger."))

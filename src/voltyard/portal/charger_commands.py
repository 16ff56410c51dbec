"""A charger's commands: what was asked of it and what became of that, and any command of OCPP by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Form
from starlette.responses import Response

from voltyard.accounts import service as accounts
from voltyard.chargers import commands
from voltyard.chargers.commands import Command
from voltyard.chargers.effects import Effect
from voltyard.chargers.outcomes import Told, purpose
from voltyard.chargers.service import Charger
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, NotFound
from voltyard.kernel.limits import PAGE_DEFAULT
from voltyard.kernel.wire import decode
from voltyard.locations.access import Permission
from voltyard.operators import origins
from voltyard.portal import asking, ocpp_forms
from voltyard.portal import shell as shells
from voltyard.portal.asking import Asking
from voltyard.portal.chargers import frame
from voltyard.portal.outcomes import explain, say
from voltyard.portal.shell import Here, Visit
from voltyard.speech import ByHand, Restart, SetAvailability, Unlock
from voltyard.web.doorway import GuardedRoute
from voltyard.web.paging import to_number
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
TAB = "commands"
ALL = "all"
PERIODS_MAX = 200


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of a composite schedule, from an instant on if the charger told one."""

    start: timedelta
    at: datetime | None
    limit: str
    phases: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A command as its row shows it."""

    command: Command
    told: Told
    who: str
    request: str
    answer: str
    late_answer: str
    periods: Sequence[Period]

    @property
    def is_going_on(self) -> bool:
        """Say whether more is to be heard of it without any event: an effect may be missed."""
        return not self.command.status.is_final or self.command.effect is Effect.WAITING


def _names(work: Work, rows: Sequence[Command]) -> dict[str, str]:
    found: dict[str, str] = {}
    for user_id in {each.actor_id for each in rows if each.actor_kind in {"user", "token"}}:
        try:
            found[user_id] = accounts.user(work, user_id).name
        except NotFound:
            found[user_id] = ""
    return found | origins.names(work, {each.actor_id for each in rows if each.actor_kind == "link"})


def _shown(work: Work, charger: Charger, rows: Sequence[Command]) -> list[Shown]:
    names = _names(work, rows)
    return [
        Shown(
            each,
            explain(each, charger.connectors),
            names.get(each.actor_id, "") or "Voltyard",
            asking.pretty_text(each.request),
            asking.pretty_text(each.answer),
            asking.pretty_text(each.late_answer),
            _periods(each),
        )
        for each in rows
    ]


def _periods(command: Command) -> list[Period]:
    """Return the limits that a charger told, as far as they can be understood."""
    answer = command.answer or command.late_answer
    if purpose(command.kind) != "GetCompositeSchedule" or not answer:
        return []
    try:
        said = decode(answer, dict[str, Any])
    except Invalid:
        return []
    schedule = said.get("chargingSchedule")
    listed = schedule.get("chargingSchedulePeriod") if isinstance(schedule, dict) else None
    if not isinstance(schedule, dict) or not isinstance(listed, list):
        return []
    begins = _instant(said.get("scheduleStart")) or _instant(schedule.get("startSchedule"))
    unit = schedule.get("chargingRateUnit")
    return [
        found
        for each in listed[:PERIODS_MAX]
        if (found := _period(each, begins, str(unit or ""))) is not None
    ]


def _period(told: Any, begins: datetime | None, unit: str) -> Period | None:
    if not isinstance(told, dict):
        return None
    start_s, limit, phases = (told.get(name) for name in ("startPeriod", "limit", "numberPhases"))
    if not isinstance(start_s, int) or not isinstance(limit, int | float) or not 0 <= start_s < 2**31:
        return None
    start = timedelta(seconds=start_s)
    return Period(
        start,
        begins + start if begins is not None else None,
        f"{limit:g}\u00a0{unit}".strip(),
        phases if isinstance(phases, int) else None,
    )


def _instant(told: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else None


def view(
    work: Work, charger_id: str, after: str | None, done_id: str = "", *, is_all: bool = False
) -> dict[str, Any]:
    """Return a page of the commands of a charger, and the one that was just given.

    Voltyard's own, of which there are many, are only among them if all are asked for.
    """
    values = frame(work, charger_id)
    rows = commands.list_commands(
        work, charger_id, is_by_people=None if is_all else True, after=after, limit=PAGE_DEFAULT + 1
    )
    done: list[Shown] = []
    if done_id:
        found = commands.get(work, done_id)
        if found.charger_id == charger_id:
            done = _shown(work, values["charger"], [found])
    return values | {
        "rows": _shown(work, values["charger"], rows[:PAGE_DEFAULT]),
        "more": rows[PAGE_DEFAULT - 1].id if len(rows) > PAGE_DEFAULT else "",
        "after": after or "",
        "is_all": is_all,
        "shown_as": {"by": ALL} if is_all else {},
        "done": done[0] if done else None,
        "sees_all": Permission.VIEW_SENSITIVE in values["may"],
        "profiles": ocpp_forms.PROFILES,
    }


def _shows_all(here: Visit) -> bool:
    """Say whether the list that somebody looks at holds Voltyard's own commands as well."""
    if here.request.method == "GET":
        return here.request.query_params.get("by") == ALL
    # A command is sent to an address of its own: that of the page around it tells what is looked at.
    page = urlsplit(here.request.headers.get("hx-current-url", ""))
    return parse_qs(page.query).get("by") == [ALL]


def _page(
    here: Visit, charger_id: str, values: dict[str, Any], written: Asking, status: int = 200
) -> Response:
    home = f"/chargers/{charger_id}/commands"
    return here.page(
        "charger_commands.html", status=status, tab=TAB, asking=written, step=f"{home}/step", **values
    )


@router.get("/chargers/{charger_id}/commands")
async def show(
    here: Here, charger_id: str, after: str = "", action: str = asking.FIRST, done: str = ""
) -> Response:
    """Show what was asked of a charger and what became of it, and the form of one command."""
    values = await here.read(view, charger_id, after or None, done, is_all=_shows_all(here))
    return _page(here, charger_id, values, asking.untouched(action, values["zone"]))


@router.post("/chargers/{charger_id}/commands/step")
async def step(here: Here, charger_id: str) -> Response:
    """Show a command that is being written in its other shape."""
    values = await here.read(frame, charger_id)
    written = asking.written(await asking.typed(here.request), values["zone"])
    # What is not filled in yet is no mistake while one is writing.
    quiet = replace(written, form=replace(written.form, errors={}))
    shown = written if written.mode == asking.AS_JSON else quiet
    return here.page("_asking.html", asking=shown, step=f"/chargers/{charger_id}/commands/step", **values)


@router.post("/chargers/{charger_id}/commands")
async def send(here: Here, charger_id: str) -> Response:
    """Send a command that was written by hand, and show what becomes of it."""
    zone = (await here.read(frame, charger_id))["zone"]
    written = asking.written(await asking.typed(here.request), zone)
    action = written.command.action
    if not written.is_ready:
        return _page(here, charger_id, await here.read(view, charger_id, None), written, status_of(Invalid))
    try:
        asked = ByHand(action, written.payload_text)
        done = await commands.ask(here.ctx, here.actor, charger_id, asked)
    except Invalid as wrong:
        values = await here.read(view, charger_id, None)
        return _page(here, charger_id, values, asking.refused(written, wrong), status_of(Invalid))
    if not here.request.headers.get("hx-request"):
        return here.go(f"/chargers/{charger_id}/commands?action={action}&done={done.id}#outcome")
    return _page(here, charger_id, await here.read(view, charger_id, None, done.id), written)


# --- the useful ones ------------------------------------------------------------------------------


async def _commanded(here: Visit, charger_id: str, done: Command) -> Response:
    charger = (await here.read(frame, charger_id))["charger"]
    said = say(here, explain(done, charger.connectors))
    if not here.request.headers.get("hx-request"):
        return here.go(f"/chargers/{charger_id}/commands", said.text)
    response = await show(here, charger_id)
    response.headers["HX-Trigger"] = shells.toast(said.tone, said.text)
    return response


@router.post("/chargers/{charger_id}/restart")
async def restart(here: Here, charger_id: str, kind: Text = "soft") -> Response:
    """Ask a charger to restart."""
    done = await commands.ask(here.ctx, here.actor, charger_id, Restart(is_hard=kind == "hard"))
    return await _commanded(here, charger_id, done)


@router.post("/chargers/{charger_id}/unlock")
async def unlock(here: Here, charger_id: str, connector: Text = "1") -> Response:
    """Ask a charger to release the cable of a connector."""
    number = to_number(connector)
    done = await commands.ask(here.ctx, here.actor, charger_id, Unlock(1 if number is None else number))
    return await _commanded(here, charger_id, done)


@router.post("/chargers/{charger_id}/availability")
async def change_availability(
    here: Here, charger_id: str, connector: Text = "0", kind: Text = "operative"
) -> Response:
    """Ask a charger to put a connector, or itself, out of service or back into it."""
    asked = SetAvailability(to_number(connector) or 0, is_operative=kind != "inoperative")
    return await _commanded(here, charger_id, await commands.ask(here.ctx, here.actor, charger_id, asked))


@router.post("/chargers/{charger_id}/trigger")
async def trigger(
    here: Here, charger_id: str, what: Text = "StatusNotification", connector: Text = ""
) -> Response:
    """Ask a charger to send one of its messages now."""
    done = await commands.trigger(here.ctx, here.actor, charger_id, what, to_number(connector))
    return await _commanded(here, charger_id, done)

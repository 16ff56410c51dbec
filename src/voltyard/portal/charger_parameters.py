"""The parameters of a charger: look at them, change them after a second look, read them anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.responses import Response

from voltyard.accounts import service as accounts
from voltyard.chargers import commands, keys, parameters
from voltyard.chargers.commands import CommandStatus
from voltyard.chargers.keys import Elsewhere
from voltyard.chargers.masks import is_secret
from voltyard.chargers.parameters import Objection, Parameter, Result
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Invalid, Unavailable, VoltyardError
from voltyard.portal import shell as shells
from voltyard.portal.chargers import frame
from voltyard.portal.shell import Here, Visit, refused
from voltyard.portal.words import Look, _
from voltyard.speech import Restart
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
FIELDS_MAX = 3 * parameters.PARAMETERS_MAX
VALUE, WAS = "value.", "was."

RESULT: Final[Mapping[str, Look]] = MappingProxyType(
    {
        Result.ACCEPTED.value: Look(_("Accepted"), "good", _("The charger has this value now.")),
        Result.UNCHANGED.value: Look(
            _("As it was"), "mute", _("The charger had this value already; nothing was sent.")
        ),
        Result.CUT.value: Look(
            _("Shortened"), "info", _("The charger takes a part of this list only; that part is set.")
        ),
        Result.REBOOT_REQUIRED.value: Look(
            _("Needs a restart"), "warn", _("The charger has taken it and uses it once it has restarted.")
        ),
        Result.NOT_APPLIED.value: Look(
            _("Not applied"), "bad", _("The charger said yes and kept another value all the same.")
        ),
        Result.REJECTED.value: Look(
            _("Rejected"),
            "bad",
            _("The charger refuses this value. Its manual says which ones it takes."),
        ),
        Result.NOT_SUPPORTED.value: Look(_("Not supported"), "bad", _("The charger does not know this key.")),
        Result.NO_ANSWER.value: Look(
            _("No answer"), "warn", _("The charger did not answer. Read it, then save again if need be.")
        ),
        Result.PENDING.value: Look(
            _("Waits for the charger"), "info", _("It is sent as soon as the charger starts again.")
        ),
    }
)
ELSEWHERE: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        Elsewhere.SECURITY.value: ("diagnostics", _("Set on the tab Diagnostics")),
        Elsewhere.CONFIGURATION.value: ("configuration", _("Set on the tab Configuration")),
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """One change as the second look shows it."""

    name: str
    before: str | None
    after: str
    is_secret: bool
    is_risky: bool
    is_sent: bool
    objection: Objection | None


def parameters_view(work: Work, charger_id: str, asked: str) -> dict[str, Any]:
    """Return the parameters of a charger that are asked for, with the names of those who set them."""
    values = frame(work, charger_id) | {"result": RESULT, "elsewhere": ELSEWHERE, "form": shells.BLANK}
    if "view_sensitive" not in values["may"]:
        return values | {"known": None, "rows": (), "total": 0, "people": {}}
    known = parameters.get(work, charger_id)
    rows = [each for each in known.items if not each.is_unknown or each.desired is not None]
    total = len(rows)
    if asked.strip():
        rows = [each for each in rows if asked.strip().casefold() in _words_of(each)]
    people: dict[str, str] = {}
    for user_id in {each.actor_id for each in rows if each.actor_kind in {"user", "token"}}:
        people[user_id] = accounts.user(work, user_id).name
    newest = max(
        (at for each in known.items for at in (each.reported_at, each.desired_at) if at), default=None
    )
    return values | {
        "known": known,
        "rows": rows,
        "total": total,
        "people": people,
        "drifted": [each for each in rows if each.is_drifted],
        "pending": [each for each in rows if each.is_pending],
        "newest": newest.isoformat() if newest is not None else "",
    }


def _words_of(parameter: Parameter) -> str:
    about = parameter.standard.about if parameter.standard is not None else ""
    return f"{parameter.name} {parameter.reported or ''} {parameter.desired or ''} {about}".casefold()


async def _page(here: Visit, charger_id: str, *, status: int = 200, **more: Any) -> Response:
    asked = here.request.query_params.get("q", "")
    values = await here.read(parameters_view, charger_id, asked)
    seen = here.request.query_params.get("seen", values.get("newest", ""))
    saved = here.request.query_params.get("saved", "")
    done = [row for row in values["rows"] if row.desired_at and row.desired_at.isoformat() == saved]
    return here.page(
        "charger_parameters.html",
        status=status,
        tab="parameters",
        done=done,
        **(values | {"seen": seen, "asked": asked} | more),
    )


@router.get("/chargers/{charger_id}/parameters")
async def show(here: Here, charger_id: str) -> Response:
    """Show the parameters of a charger."""
    return await _page(here, charger_id)


@router.get("/chargers/{charger_id}/parameters/state")
async def state(here: Here, charger_id: str) -> Response:
    """Show anew what holds for all of them."""
    return await _page(here, charger_id)


@router.post("/chargers/{charger_id}/parameters/read")
async def read(here: Here, charger_id: str) -> Response:
    """Ask the charger for its parameters."""
    form = await here.request.form()
    try:
        found = await parameters.read(
            here.ctx, here.actor, charger_id, is_listing_anew=form.get("list") == "1"
        )
    except (Conflict, Unavailable) as wrong:
        return await _wrong(here, charger_id, wrong)
    said = _("The charger told its parameters.")
    if not found.is_complete:
        said = _("The charger tells its parameters one by one; the rest follows in a few minutes.")
    return here.go(f"/chargers/{charger_id}/parameters", said)


async def _wrong(here: Visit, charger_id: str, wrong: VoltyardError) -> Response:
    return await _page(here, charger_id, status=status_of(type(wrong)), form=refused({}, wrong))


@router.post("/chargers/{charger_id}/parameters/restart")
async def restart(here: Here, charger_id: str) -> Response:
    """Ask the charger to restart, for the values that wait for it."""
    done = await commands.ask(here.ctx, here.actor, charger_id, Restart())
    if done.status is not CommandStatus.EXECUTED:
        return await _page(
            here,
            charger_id,
            status=409,
            form=shells.Form(
                {}, {}, _("The charger did not take the restart."), _("Try it from the tab Commands.")
            ),
        )
    return here.go(
        f"/chargers/{charger_id}/parameters", _("The charger restarts and is back in a minute or two.")
    )


# --- changing -------------------------------------------------------------------------------------


def typed(form: FormData) -> dict[str, str]:
    """Return what was changed in the table, and the key that was added below it."""
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    changes = {
        name.removeprefix(VALUE): value
        for name, value in fields.items()
        if name.startswith(VALUE) and value != fields.get(WAS + name.removeprefix(VALUE))
    }
    added = fields.get("new_key", "").strip()
    if added:
        changes[added] = fields.get("new_value", "")
    return changes


def lines(work: Work, charger_id: str, changes: Mapping[str, str]) -> list[Line]:
    """Return what these changes come to, the ones that can take the charger off the line first."""
    against = parameters.objections(work, charger_id, changes)
    known = parameters.find(work, charger_id)
    found = [_line(known.find(name), name, value, against.get(name)) for name, value in changes.items()]
    return sorted(found, key=lambda line: (not line.is_risky, line.name.casefold()))


def _line(told: Parameter | None, name: str, value: str, objection: Objection | None) -> Line:
    before = told.reported if told is not None else None
    is_hidden = is_secret(name)
    return Line(
        name=told.name if told is not None else name,
        before=before,
        after=value,
        is_secret=is_hidden,
        is_risky=keys.is_risky(name),
        is_sent=is_hidden or before is None or not keys.is_same(name, before, value),
        objection=objection,
    )


def _again(work: Work, charger_id: str, again: str, keep: str) -> dict[str, str]:
    """Return the change that sends a value once more, or makes one's peace with the charger's own."""
    known = parameters.get(work, charger_id)
    told = known.find(again or keep)
    if told is None:
        return {}
    return {told.name: (told.desired if again else told.reported) or ""}


@router.post("/chargers/{charger_id}/parameters/review")
async def review(here: Here, charger_id: str) -> Response:
    """Show what would be sent, before it is."""
    form = await here.request.form(max_fields=FIELDS_MAX)
    again, keep = str(form.get("again") or ""), str(form.get("keep") or "")
    changes = await here.read(_again, charger_id, again, keep) if again or keep else typed(form)
    return await _review(here, charger_id, changes)


async def _review(
    here: Visit, charger_id: str, changes: Mapping[str, str], *, status: int = 200, alert: str = ""
) -> Response:
    values = await here.read(frame, charger_id)
    found = await here.read(lines, charger_id, changes)
    can_send = [line for line in found if line.objection is None or line.objection.may_insist]
    is_fragment = bool(here.request.headers.get("hx-request"))
    return here.page(
        "_parameters_review.html" if is_fragment else "charger_parameters_review.html",
        status=status,
        tab="parameters",
        lines=found,
        can_send=can_send,
        doubtful=[line for line in can_send if line.objection is not None],
        risky=[line for line in can_send if line.is_risky and line.is_sent],
        alert=alert,
        **values,
    )


@router.post("/chargers/{charger_id}/parameters")
async def save(here: Here, charger_id: str) -> Response:
    """Send the changes that were looked at."""
    form = await here.request.form(max_fields=FIELDS_MAX)
    changes = typed(form)
    try:
        saving = await parameters.save(
            here.ctx, here.actor, charger_id, changes, is_forced=form.get("force") == "1"
        )
    except Invalid as wrong:
        return await _review(here, charger_id, changes, status=status_of(Invalid), alert=wrong.detail)
    response = here.go(f"/chargers/{charger_id}/parameters")
    response.headers["location"] += f"?saved={saving.saved_at.isoformat().replace('+', '%2B')}"
    return response

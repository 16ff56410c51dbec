"""How a charger hangs on its grid: the questions for whoever installed it, and what came of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Form
from starlette.responses import Response

from voltyard.accounts import service as accounts
from voltyard.chargers import setup
from voltyard.chargers.keys import ROTATIONS
from voltyard.chargers.setup import ONE_PHASE_ROTATIONS, Answers, NetType
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, TooMany
from voltyard.portal import shell as shells
from voltyard.portal.chargers import frame
from voltyard.portal.shell import Here, refused
from voltyard.portal.words import _
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]

NET_TYPES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        NetType.TN.value: (
            _("TN: neutral and earth come with the supply"),
            _("230 V between phase and neutral. Usual in most towns of Europe."),
        ),
        NetType.TT.value: (
            _("TT: earth comes from a rod at the building"),
            _("230 V between phase and neutral. Usual in the countryside, in Denmark, Italy and Spain."),
        ),
        NetType.IT.value: (
            _("IT: no neutral"),
            _("230 V between two phases. Usual in Norway. A car then charges between phases."),
        ),
        NetType.UNKNOWN.value: (_("I do not know"), _("The electrician who installed the charger does.")),
    }
)


def configuration_view(work: Work, charger_id: str) -> dict[str, Any]:
    """Return how a charger was set up, with the name of whoever did it."""
    values = frame(work, charger_id) | {
        "net_types": NET_TYPES,
        "rotations": ROTATIONS,
        "one_phase": ONE_PHASE_ROTATIONS,
    }
    if "view_sensitive" not in values["may"]:
        return values | {"made": None, "by": ""}
    made = setup.get(work, charger_id)
    by = accounts.user(work, made.actor_id).name if made and made.actor_kind in {"user", "token"} else ""
    return values | {"made": made, "by": by}


def _filled(made: setup.Setup | None) -> dict[str, str]:
    """Return what the form begins with."""
    if made is None:
        return {"phases": "3", "net_type": "unknown", "phase_rotation": "RST"}
    answers = made.answers
    return {
        "phases": str(answers.phases),
        "max_current_a": f"{answers.max_current_a:g}",
        "breaker_a": f"{answers.breaker_a:g}" if answers.breaker_a is not None else "",
        "net_type": answers.net_type.value,
        "phase_rotation": answers.phase_rotation,
    }


@router.get("/chargers/{charger_id}/configuration")
async def show(here: Here, charger_id: str) -> Response:
    """Show how a charger was set up, and the questions."""
    values = await here.read(configuration_view, charger_id)
    form = shells.Form(_filled(values["made"]), {})
    return here.page("charger_configuration.html", tab="configuration", form=form, **values)


def typed_setup(
    phases: Text = "",
    max_current_a: Text = "",
    breaker_a: Text = "",
    net_type: Text = "",
    phase_rotation: Text = "",
) -> dict[str, str]:
    """Return what was typed into the form."""
    return {
        "phases": phases.strip(),
        "max_current_a": max_current_a.strip().replace(",", "."),
        "breaker_a": breaker_a.strip().replace(",", "."),
        "net_type": net_type,
        "phase_rotation": phase_rotation,
    }


Typed = Annotated[dict[str, str], Depends(typed_setup)]


def read_answers(typed: Mapping[str, str]) -> Answers:
    """Return the answers that were typed. Raises: Invalid."""
    wrong: list[tuple[str, str]] = []
    numbers: dict[str, float | None] = {}
    for name in ("max_current_a", "breaker_a"):
        try:
            numbers[name] = float(typed[name]) if typed[name] else None
        except ValueError:
            wrong.append((f"/{name}", "a number of amperes"))
    if not typed["max_current_a"]:
        wrong.append(("/max_current_a", "type how much the charger may draw"))
    if typed["phases"] not in {"1", "3"}:
        wrong.append(("/phases", "choose one or three phases"))
    if typed["net_type"] not in set(NetType):
        wrong.append(("/net_type", "choose one"))
    if wrong:
        raise Invalid("an answer is missing or cannot be", tuple(wrong))
    return Answers(
        int(typed["phases"]),
        numbers["max_current_a"] or 0.0,
        NetType(typed["net_type"]),
        typed["phase_rotation"],
        numbers["breaker_a"],
    )


@router.post("/chargers/{charger_id}/configuration")
async def set_up(here: Here, charger_id: str, typed: Typed) -> Response:
    """Keep the answers and tell the charger its part of them."""
    try:
        made = await setup.set_up(here.ctx, here.actor, charger_id, read_answers(typed))
    except (Invalid, TooMany) as wrong:
        values = await here.read(configuration_view, charger_id)
        form = refused(typed, wrong)
        status = status_of(type(wrong))
        return here.page(
            "charger_configuration.html", status=status, tab="configuration", form=form, **values
        )
    said = _("The charger is set up.")
    if made.state is setup.State.PENDING:
        said = _("Saved. The charger still has to take its part of it.")
    return here.go(f"/chargers/{charger_id}/configuration", said)

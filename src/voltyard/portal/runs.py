"""Runs: one command for many chargers, chosen from the table, with a result for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from voltyard.chargers import runs
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Charger
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, TooMany
from voltyard.kernel.limits import PAGE_DEFAULT, RUN_CHARGERS_MAX
from voltyard.portal import asking, ocpp_forms
from voltyard.portal.asking import Asking
from voltyard.portal.figures import all_locations
from voltyard.portal.shell import Form, Here, Visit, sentence
from voltyard.portal.words import Look, _
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
CONNECTIONS: Final[Mapping[str, bool | None]] = {"online": True, "offline": False}
ITEM_LOOKS: Final[Mapping[str, Look]] = {
    "pending": Look(_("Waiting"), "info"),
    "sent": Look(_("Done"), "good"),
    "offline": Look(_("Offline"), "warn"),
    "error": Look(_("Error"), "bad"),
    "skipped_forbidden": Look(_("Skipped"), "mute"),
}
RUN_LOOKS: Final[Mapping[str, Look]] = {
    "running": Look(_("Running"), "live"),
    "completed": Look(_("Completed"), "good"),
    "cancelled": Look(_("Cancelled"), "mute"),
}


# --- all of them ----------------------------------------------------------------------------------


def list_view(work: Work, after: str) -> dict[str, Any]:
    """Return a page of the person's runs."""
    rows = runs.list_runs(work, after=after or None, limit=PAGE_DEFAULT + 1)
    return {
        "rows": rows[:PAGE_DEFAULT],
        "more": rows[PAGE_DEFAULT - 1].id if len(rows) > PAGE_DEFAULT else "",
    }


@router.get("/runs")
async def show_all(here: Here, after: str = "") -> Response:
    """Show one's runs."""
    return here.page("runs.html", after=after, run_looks=RUN_LOOKS, **await here.read(list_view, after))


# --- a new one ------------------------------------------------------------------------------------


def choice(work: Work, asked: Mapping[str, str], chosen: Sequence[str]) -> dict[str, Any]:
    """Return the chargers that were chosen in the table, or else all that fit its filters."""
    found: list[Charger] = []
    after: str | None = None
    while len(found) < RUN_CHARGERS_MAX:
        rows = chargers.list_chargers(
            work,
            q="" if chosen else asked.get("q", ""),
            location_id=None if chosen else asked.get("location") or None,
            is_online=None if chosen else CONNECTIONS.get(asked.get("connection", "")),
            status=None if chosen else asked.get("status") or None,
            after=after,
            limit=RUN_CHARGERS_MAX,
        )
        found += [row for row in rows if not chosen or row.id in chosen]
        if len(rows) < RUN_CHARGERS_MAX:
            break
        after = rows[-1].id
    places = {location.id: location.name for location in all_locations(work)}
    return {
        "rows": found[:RUN_CHARGERS_MAX],
        "names": places,
        "most": RUN_CHARGERS_MAX,
        "profiles": ocpp_forms.PROFILES,
    }


def _new(
    here: Visit, values: Mapping[str, Any], written: Asking, picked: Collection[str], status: int = 200
) -> Response:
    return here.page(
        "run_new.html",
        status=status,
        asking=written,
        picked=picked,
        step="/runs/step",
        asked=[(name, value) for name, value in here.request.query_params.multi_items() if name != "action"],
        **values,
    )


@router.get("/runs/new")
async def show_new(here: Here, action: str = asking.FIRST) -> Response:
    """Show the chargers that were chosen, and the form of a command for them."""
    asked = here.request.query_params
    values = await here.read(choice, asked, asked.getlist("charger"))
    is_chosen = "charger" in asked or "all" in asked
    picked = {charger.id for charger in values["rows"]} if is_chosen else set()
    return _new(here, values, asking.untouched(action, here.zone), picked)


@router.post("/runs/step")
async def step(here: Here) -> Response:
    """Show a command that is being written in its other shape."""
    written = asking.written(await asking.typed(here.request), here.zone)
    quiet = replace(written, form=replace(written.form, errors={}))
    return here.page(
        "_asking.html", asking=written if written.mode == asking.AS_JSON else quiet, step="/runs/step"
    )


@router.post("/runs")
async def begin(here: Here) -> Response:
    """Begin a run."""
    chosen = [str(each) for each in (await here.request.form()).getlist("charger")]
    written = asking.written(await asking.typed(here.request), here.zone)
    status = status_of(Invalid)
    if not chosen:
        alert = _("Choose at least one charger.")
        written = replace(written, form=Form(written.form.values, written.form.errors, alert))
    if written.is_ready:
        try:
            run = await here.work(runs.begin, written.command.action, written.payload_text, chosen)
        except Invalid as wrong:
            written = asking.refused(written, wrong)
        except TooMany as wrong:
            status = status_of(type(wrong))
            alert = sentence(wrong.detail)
            written = replace(written, form=Form(written.form.values, written.form.errors, alert))
        else:
            return here.go(f"/runs/{run.id}")
    return _new(here, await here.read(choice, {}, chosen), written, chosen, status)


# --- one of them ----------------------------------------------------------------------------------


def view(work: Work, run_id: str) -> dict[str, Any]:
    """Return a run with its chargers."""
    run = runs.get(work, run_id)
    return {"run": run, "payload": asking.pretty_text(run.payload), "items": runs.list_items(work, run_id)}


@router.get("/runs/{run_id}")
async def show(here: Here, run_id: str) -> Response:
    """Show how far a run is."""
    return here.page("run.html", item_looks=ITEM_LOOKS, run_looks=RUN_LOOKS, **await here.read(view, run_id))


@router.post("/runs/{run_id}/cancel")
async def cancel(here: Here, run_id: str) -> Response:
    """Ask no more chargers."""
    await here.work(runs.cancel, run_id)
    return here.go(f"/runs/{run_id}", _("Cancelled: no more chargers are asked."))

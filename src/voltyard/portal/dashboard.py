"""The dashboard: how things stand at all locations."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from voltyard.kernel.db import Work
from voltyard.portal.figures import all_locations, card_names, figures, zones_of
from voltyard.portal.shell import Here
from voltyard.web.doorway import GuardedRoute

router = APIRouter(route_class=GuardedRoute)


def view(work: Work, zone: tzinfo) -> dict[str, Any]:
    """Return what the dashboard shows."""
    now = figures(work, zone)
    places = all_locations(work)
    return {
        "figures": now,
        "cards": card_names(work, now.running),
        "first_location": places[0] if places else None,
        "zones": zones_of(places),
    }


@router.get("/")
async def show(here: Here) -> Response:
    """Show the dashboard."""
    return here.page("dashboard.html", **await here.read(view, here.zone))


@router.get("/dashboard/live")
async def live(here: Here) -> Response:
    """Show the part that changes while one looks."""
    return here.page("_dashboard_live.html", **await here.read(view, here.zone))

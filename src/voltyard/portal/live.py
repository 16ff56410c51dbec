"""What changes, told to browsers as it happens."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from voltyard.web.auth import SignedIn
from voltyard.web.door import door_of
from voltyard.web.doorway import GuardedRoute
from voltyard.web.live import EventStream, Watch

router = APIRouter(route_class=GuardedRoute)
SENSITIVE = frozenset({"TransactionChanged", "LinkChanged"})


@router.get("/live")
async def live(request: Request, caller: SignedIn) -> Response:
    """Tell events for as long as the page is open; a browser that comes back is told to draw itself anew."""
    watch = Watch(door_of(request), caller, SENSITIVE)
    return EventStream(watch, is_return="last-event-id" in request.headers)

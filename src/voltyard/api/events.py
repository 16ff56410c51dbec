"""Live changes as server-sent events."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from voltyard.api.shapes import refusals
from voltyard.operators.events import LinkChanged
from voltyard.transactions.events import TransactionChanged
from voltyard.web.auth import SignedIn
from voltyard.web.door import door_of
from voltyard.web.idempotency import OnceRoute
from voltyard.web.live import EventStream, Watch

router = APIRouter(route_class=OnceRoute, tags=["events"])

SENSITIVE = (TransactionChanged.__name__, LinkChanged.__name__)


@router.get(
    "/events",
    response_class=Response,
    responses={
        **refusals(),
        200: {
            "description": "A stream that goes on: the name of an event is its kind, its data JSON. "
            "After `lost`, read again what you show: nothing is replayed.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
    },
)
async def hear_events(request: Request, caller: SignedIn) -> Response:
    """Hear what changes at the locations that one may see."""
    watch = Watch(door_of(request), caller, SENSITIVE)
    return EventStream(watch, is_return="last-event-id" in request.headers)

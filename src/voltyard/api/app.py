"""The REST door: ``build(ctx)`` gives the app that stands at ``/api/v1``."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from voltyard.api import (
    accounts,
    cards,
    chargers,
    commands,
    events,
    findings,
    firmware,
    local_lists,
    locations,
    log,
    operators,
    parameters,
    reservations,
    runs,
    security,
    transactions,
    transfers,
)
from voltyard.api.manual import POLICY, manual
from voltyard.api.shapes import Problem, ValueProblem, refusals
from voltyard.kernel.context import Context
from voltyard.kernel.limits import PAGE_MAX, REQUESTS_PER_MINUTE_MAX
from voltyard.web.auth import COOKIE
from voltyard.web.door import open_door
from voltyard.web.doorway import furnish, larger
from voltyard.web.idempotency import HEADER, HOLDS_SECRET

BASE = "/api/v1"
VERSION = "1"
DESCRIPTION = f"""
Send `Authorization: Bearer TOKEN`; a token is made with `voltyard token add`, or with another one.

Times are RFC 3339 in UTC. Lists are `{{"items": […], "next": cursor or null}}`, with `limit` up to
{PAGE_MAX}. Errors are RFC 9457 problem documents; their `code` is stable.

A POST with an `{HEADER}` is carried out once, however often it is sent within a day.
{REQUESTS_PER_MINUTE_MAX} requests a minute are free; the `RateLimit` headers tell what is left.
""".strip()


class RestApi(FastAPI):
    """The app, with a description that tells what holds for every route."""

    def openapi(self) -> dict[str, Any]:
        """Return the description."""
        if not self.openapi_schema:
            self.openapi_schema = _complete(super().openapi())
        return self.openapi_schema


def _complete(api: dict[str, Any]) -> dict[str, Any]:
    parts = api.setdefault("components", {})
    shapes = parts.setdefault("schemas", {})
    for shape in (Problem, ValueProblem):
        drawn = shape.model_json_schema(ref_template="#/components/schemas/{model}")
        drawn.pop("$defs", None)
        shapes[shape.__name__] = drawn
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    api["security"] = [{"token": []}, {"session": []}]
    for item in api["paths"].values():
        for method, said in item.items():
            # Any write may come from a foreign page; any POST may carry a key that is in use.
            more = {"get": (), "post": (403, 409, 413)}.get(method, (403, 413))
            told = {str(status): answer for status, answer in refusals(*more).items()} | said["responses"]
            said["responses"] = dict(sorted(told.items()))
        if "post" in item:
            item["post"].pop(HOLDS_SECRET, None)
            item["post"].setdefault("parameters", []).append(
                {
                    "name": HEADER,
                    "in": "header",
                    "required": False,
                    "description": "Carry this request out once, however often it is sent.",
                    "schema": {"type": "string", "maxLength": 255},
                }
            )
    return api


def _name(route: APIRoute) -> str:
    return route.name


def describe() -> RestApi:
    """Return the app without the parts that make it work: enough for its description."""
    app = RestApi(
        title="Voltyard API",
        version=VERSION,
        description=DESCRIPTION,
        servers=[{"url": BASE}],
        root_path_in_servers=False,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_name,
    )
    for room in (
        accounts,
        locations,
        cards,
        chargers,
        # Before commands: what stands first is found first, and /commands/bulk is no command called bulk.
        runs,
        commands,
        security,
        transactions,
        transfers,
        firmware,
        events,
        log,
        findings,
        parameters,
        local_lists,
        reservations,
        operators,
    ):
        app.include_router(room.router)
    app.include_router(firmware.uploads)

    async def docs(_request: Request) -> Response:
        return HTMLResponse(manual(app.openapi()), headers={"Content-Security-Policy": POLICY})

    app.add_route("/docs", docs, include_in_schema=False)
    return app


def build(ctx: Context) -> FastAPI:
    """Return the app, ready to be mounted at ``/api/v1``."""
    app = describe()
    furnish(app, open_door("api", ctx), limit=larger(firmware.LARGER))
    return app

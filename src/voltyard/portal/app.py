"""The portal as one application, to be mounted at the root."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from voltyard.kernel.context import Context
from voltyard.portal import (
    account,
    cards,
    charger_commands,
    charger_configuration,
    charger_diagnostics,
    charger_findings,
    charger_logs,
    charger_operators,
    charger_parameters,
    charger_reservations,
    charger_updates,
    chargers,
    dashboard,
    live,
    locations,
    proofs,
    runs,
    session,
    transactions,
)
from voltyard.portal.shell import Shell, show_error
from voltyard.web.door import open_door
from voltyard.web.doorway import furnish, larger

ROOMS = (
    session,
    proofs,
    dashboard,
    locations,
    chargers,
    runs,
    cards,
    transactions,
    account,
    live,
    charger_logs,
    charger_diagnostics,
    charger_commands,
    charger_findings,
    charger_reservations,
    charger_configuration,
    charger_parameters,
    charger_updates,
    charger_operators,
)
GZIP_BYTES_MIN = 1_000


def build(ctx: Context) -> FastAPI:
    """Return the portal."""
    app = FastAPI(title="Voltyard", docs_url=None, redoc_url=None, openapi_url=None)
    shell = Shell(ctx)
    app.state.shell = shell
    app.router.routes.extend(
        (
            shell.assets.route(),
            Route("/manifest.webmanifest", _manifest),
            Route("/favicon.ico", _favicon),
        )
    )
    for room in ROOMS:
        app.include_router(room.router)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN)
    furnish(app, open_door("portal", ctx), show_error, larger(charger_updates.LARGER))
    return app


def _manifest(request: Request) -> Response:
    """Tell a phone how to install the portal."""
    shell: Shell = request.app.state.shell
    icons = [
        {"src": shell.assets.url(name), "sizes": size, "type": kind, "purpose": purpose}
        for name, size, kind, purpose in (
            ("brand.svg", "any", "image/svg+xml", "any"),
            ("icon-192.png", "192x192", "image/png", "any"),
            ("icon-512.png", "512x512", "image/png", "any"),
            ("icon-512.png", "512x512", "image/png", "maskable"),
        )
    ]
    content = {
        "name": "Voltyard",
        "short_name": "Voltyard",
        "description": "Your chargers, at a glance.",
        "start_url": "/",
        "id": "/",
        "display": "standalone",
        "background_color": "#0e1211",
        "theme_color": "#0e1211",
        "icons": icons,
    }
    return JSONResponse(content, media_type="application/manifest+json")


def _favicon(request: Request) -> Response:
    """Lead browsers that ask by habit to the icon."""
    shell: Shell = request.app.state.shell
    return RedirectResponse(shell.assets.url("icon-192.png"))

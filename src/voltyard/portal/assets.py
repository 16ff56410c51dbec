"""The built scripts, styles, fonts and icons: their hashed names, and how they are handed out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from voltyard.kernel.errors import NotFound, Unavailable

STATIC = Path(__file__).parent / "static"
FOREVER = "public, max-age=31536000, immutable"
NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")
TYPES: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}


def _is_file(path: Path) -> bool:
    """Say whether there is such a file; there is none whose name is longer than a name can be."""
    try:
        return path.is_file()
    except OSError:
        return False


class NotBuilt(Unavailable):
    """The portal's scripts and styles were not built into this installation."""

    title = "The portal is not built yet: run `make setup`"


class Assets:
    """The names that the build gave to what a page asks for."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder
        self._read_at = 0.0
        self._names: Mapping[str, str] = {}

    def url(self, name: str) -> str:
        """Return the address of a built file. Raises: NotBuilt."""
        manifest = self._folder / "manifest.json"
        try:
            changed_at = manifest.stat().st_mtime
            if changed_at != self._read_at:
                self._names, self._read_at = json.loads(manifest.read_text()), changed_at
            return f"/static/{self._names[name]}"
        except (FileNotFoundError, KeyError) as missing:
            raise NotBuilt from missing

    def serve(self, request: Request) -> Response:
        """Hand out a built file, squeezed where the browser takes that; its name changes with its content."""
        parts = request.path_params["path"].split("/")
        path = self._folder.joinpath(*parts)
        is_name = all(NAME.fullmatch(part) or part.isidentifier() for part in parts)
        if not is_name or not _is_file(path):
            raise NotFound("there is no such file")
        headers = {"Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}
        media = TYPES.get(path.suffix, "application/octet-stream")
        squeezed = path.with_name(path.name + ".br")
        if _is_file(squeezed):
            headers["Vary"] = "Accept-Encoding"
            if "br" in request.headers.get("accept-encoding", ""):
                return FileResponse(squeezed, media_type=media, headers=headers | {"Content-Encoding": "br"})
        return FileResponse(path, media_type=media, headers=headers)

    def route(self) -> Route:
        """Return the route of the built files."""
        return Route("/static/{path:path}", self.serve)

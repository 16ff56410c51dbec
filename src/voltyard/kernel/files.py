"""Stored files: exports, logos, diagnostics. A folder now; an object store when one is needed.

A name is a relative path of plain words; a file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from voltyard.kernel.errors import Invalid, NotFound

WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}"
NAME = re.compile(f"{WORD}(/{WORD})*")


class Files:
    """Files under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return where a name lives. Raises: Invalid for a name that could leave the folder."""
        if not NAME.fullmatch(name) or ".." in name:
            raise Invalid(f"{name!r} is not a file name")
        return self._folder / name

    def save(self, name: str, data: bytes) -> Path:
        """Store a file whole, over an older one of that name."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own for each save: two at once must not write into one another.
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def load(self, name: str) -> bytes:
        """Read a file. Raises: NotFound."""
        try:
            return self.path(name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"there is no file {name!r}", name=name) from None

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        path = self.path(name)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            path.unlink()

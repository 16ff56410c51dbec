"""Stored files: exports, logos, diagnostics. A folder now; an object store when one is needed.

A name is a relative path of plain words; a file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from pathlib import Path

from voltyard.kernel.errors import Invalid, NotFound

WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}"
NAME = re.compile(f"{WORD}(/{WORD})*")
PARTS = ".arriving"


class Arriving:
    """A file that arrives piece by piece; nobody sees it before ``keep``, and ``drop`` leaves no trace.

    Writing blocks: call it from a thread when the pieces are large.
    """

    def __init__(self, files: Files, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files = files
        self._path = path
        self._file = path.open("xb")
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """The SHA-256 of what has arrived so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, piece: bytes) -> None:
        """Add a piece to the end."""
        self._file.write(piece)
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def keep(self, name: str) -> None:
        """Let the file appear whole under its name, over an older one of that name. Raises: Invalid."""
        path = self._files.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._path.replace(path)

    def drop(self) -> None:
        """Forget what has arrived; after ``keep`` this does nothing."""
        self._file.close()
        self._path.unlink(missing_ok=True)


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

    def arriving(self) -> Arriving:
        """Begin a file that arrives piece by piece."""
        return Arriving(self, self._folder / PARTS / secrets.token_hex(16))

    def sweep(self, older_than_s: float) -> int:
        """Remove what began to arrive this long ago and never became a file; return how many."""
        before_s = time.time() - older_than_s
        left = 0
        for path in (self._folder / PARTS).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before_s:
                    path.unlink()
                    left += 1
        return left

    def is_there(self, name: str) -> bool:
        """Say whether there is a file of this name."""
        return self.path(name).is_file()

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

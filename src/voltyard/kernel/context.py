"""The handful of parts that a use-case needs when it must wait for more than the database."""

from __future__ import annotations

from dataclasses import dataclass

from voltyard.kernel.bus import Bus
from voltyard.kernel.clock import Clock
from voltyard.kernel.db import Database
from voltyard.kernel.files import Files
from voltyard.kernel.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """Database, bus, clock, files and settings in one frozen value."""

    db: Database
    bus: Bus
    clock: Clock
    files: Files
    settings: Settings

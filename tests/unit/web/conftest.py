"""A door over an empty SQLite database, and requests made by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from fastapi import FastAPI
from starlette.requests import Request

import voltyard.accounts.tables
import voltyard.locations.tables
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database, metadata
from voltyard.kernel.files import Files
from voltyard.kernel.settings import Settings
from voltyard.web.door import Door, open_door

TABLES = (voltyard.accounts.tables, voltyard.locations.tables)


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Log nowhere: drawing a traceback for a terminal takes seconds."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    url = f"sqlite:///{tmp_path / 'voltyard.db'}"
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    clock, bus = FakeClock(), LocalBus(is_strict=True)
    settings = Settings(data=tmp_path, secret="a secret of the tests", public_url="http://voltyard.test")
    db = Database(url, clock=clock, bus=bus)
    yield open_door("test", Context(db, bus, clock, Files(tmp_path / "files"), settings))
    await db.close()


Make = Callable[..., Request]


@pytest.fixture
def make(door: Door) -> Make:
    app = FastAPI()
    app.state.door = door

    def request(method: str = "GET", **headers: str) -> Request:
        return Request(
            {
                "type": "http",
                "method": method,
                "path": "/",
                "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
                "query_string": b"",
                "client": ("192.0.2.1", 1),
                "server": ("voltyard.test", 80),
                "scheme": "http",
                "app": app,
                "state": {},
            }
        )

    return request

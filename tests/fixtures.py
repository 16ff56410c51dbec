"""Databases and contexts for tests: migrated once, copied for each test, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from voltyard.kernel.actor import Actor
from voltyard.kernel.actor import system as system_actor
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database
from voltyard.kernel.files import Files
from voltyard.kernel.migrate import upgrade
from voltyard.kernel.settings import Settings

SECRET = "a secret for tests"


def run(coroutine):
    """Run a coroutine outside of any test's event loop."""
    with asyncio.Runner() as runner:
        return runner.run(coroutine)


async def administer(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def on_server(server: str, name: str) -> str:
    """Return the address of one database of a server."""
    return f"{server.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[tuple[str, str]]:
    """Give the server and the name of a migrated database to copy."""
    name = f"template_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    run(administer(postgres_server, f"create database {name}"))
    upgrade(on_server(postgres_server, name))
    yield postgres_server, name


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "voltyard.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest_asyncio.fixture
async def postgres_url(postgres_template: tuple[str, str]) -> AsyncIterator[str]:
    server, template = postgres_template
    name = f"test_{uuid.uuid4().hex}"
    await administer(server, f"create database {name} template {template} strategy file_copy")
    yield on_server(server, name)
    await administer(server, f"drop database {name} with (force)")


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give a fresh migrated database; every test that asks for it runs on both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest_asyncio.fixture
async def bus() -> AsyncIterator[LocalBus]:
    local = LocalBus(is_strict=True)
    yield local
    await local.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, secret=SECRET)


async def context(url: str, clock: FakeClock, bus: LocalBus, settings: Settings) -> AsyncIterator[Context]:
    database = Database(url, clock=clock, bus=bus)
    yield Context(database, bus, clock, Files(settings.data / "files"), settings)
    await database.close()


@pytest_asyncio.fixture
async def ctx(
    database_url: str, clock: FakeClock, bus: LocalBus, settings: Settings
) -> AsyncIterator[Context]:
    """Give a context on SQLite, then on PostgreSQL."""
    async for one in context(database_url, clock, bus, settings):
        yield one


@pytest_asyncio.fixture
async def sqlite_ctx(
    sqlite_url: str, clock: FakeClock, bus: LocalBus, settings: Settings
) -> AsyncIterator[Context]:
    """Give a context where one database is enough."""
    async for one in context(sqlite_url, clock, bus, settings):
        yield one


@pytest.fixture
def system() -> Actor:
    return system_actor("test")

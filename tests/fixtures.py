"""Databases and contexts for tests: migrated once, copied for each test, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
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


# What a test left is taken out of the migrated database, which takes a quarter of copying it anew.
EMPTY = """
do $$ declare one record; begin
  perform pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend';
  set local session_replication_role = replica;
  for one in select tablename from pg_tables
    where schemaname = 'public' and tablename <> 'alembic_version' loop
    execute format('delete from %I', one.tablename);
  end loop;
  perform setval(seqrelid, 1, false) from pg_sequence;
end $$
"""
SHAPE = """
select string_agg(relname, ' ' order by relname) || (select string_agg(version_num, ' ') from alembic_version)
from pg_class where relnamespace = 'public'::regnamespace
"""


class PostgresCopy:
    """A migrated database that tests use one after the other; made anew when one has changed its tables."""

    def __init__(self, server: str) -> None:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self.server, self.template, self.name = server, f"template_{worker}", f"test_{worker}"
        self.url = on_server(server, self.name)
        run(administer(server, f"create database {self.template}"))
        upgrade(on_server(server, self.template))
        run(self.make())

    async def make(self) -> None:
        await administer(self.server, f"drop database if exists {self.name} with (force)")
        copy = f"create database {self.name} template {self.template} strategy file_copy"
        await administer(self.server, copy)
        connection = await asyncpg.connect(self.url)
        try:
            self.shape = await connection.fetchval(SHAPE)
        finally:
            await connection.close()

    async def empty(self) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            is_whole = await connection.fetchval(SHAPE) == self.shape
            if is_whole:
                await connection.execute(EMPTY)
        except asyncpg.PostgresError:
            is_whole = False
        finally:
            await connection.close()
        if not is_whole:
            await self.make()


@pytest.fixture(scope="session")
def postgres_copy(postgres_server: str) -> PostgresCopy:
    return PostgresCopy(postgres_server)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "voltyard.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest_asyncio.fixture
async def postgres_url(postgres_copy: PostgresCopy) -> str:
    await postgres_copy.empty()
    return postgres_copy.url


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

"""The way to the newest tables, on both databases: complete, once, whole or not at all, and never back."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import re
import shutil
import sqlite3
import uuid
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

import voltyard
from dev_servers import free_port
from tests.fixtures import administer, on_server
from voltyard.kernel import migrate
from voltyard.kernel.db import DatabaseUnavailable, metadata
from voltyard.kernel.migrate import DatabaseNewer, upgrade

CHECKOUT = Path(__file__).parents[2] / "migrations"


def import_all_tables() -> None:
    """Import every module that can define a table, so that none can be forgotten."""
    for module in pkgutil.walk_packages(voltyard.__path__, "voltyard."):
        if module.name.endswith(".tables") or module.name in {
            "voltyard.kernel.jobs",
            "voltyard.kernel.leases",
        }:
            importlib.import_module(module.name)


@pytest.fixture
def empty_sqlite_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'deep' / 'empty.db'}"


@pytest_asyncio.fixture
async def empty_postgres_url(postgres_server):
    name = f"empty_{uuid.uuid4().hex}"
    await administer(postgres_server, f"create database {name}")
    yield on_server(postgres_server, name)
    await administer(postgres_server, f"drop database {name} with (force)")


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request) -> str:
    """Give the address of a database without any table."""
    return request.getfixturevalue(f"empty_{request.param}_url")


async def in_database(url: str, act):
    """Run an act on a plain synchronous connection of either database."""
    if url.startswith("sqlite"):
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            result = act(connection)
        engine.dispose()
        return result
    lofty = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with lofty.begin() as connection:
        result = await connection.run_sync(act)
    await lofty.dispose()
    return result


def tables(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names())


def version(connection: sa.Connection) -> str:
    (found,) = MigrationContext.configure(connection).get_current_heads()
    return found


async def test_the_migrations_make_exactly_the_tables_of_the_rooms(database_url):
    import_all_tables()

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    assert await in_database(database_url, differences) == []


async def test_the_migrations_write_word_for_word_what_the_rooms_would(sqlite_url):
    """What the comparison does not see: numbers that never return, tables without row ids, conditions."""
    import_all_tables()

    def words(connection):
        found = connection.exec_driver_sql(
            "select name, sql from sqlite_master where sql is not null and name not like 'alembic%'"
        )
        return {
            row.name: sorted(re.sub(r"([(),])", r" \1 ", row.sql).replace(",", " ").split()) for row in found
        }

    made = sa.create_engine("sqlite://")
    with made.begin() as connection:
        metadata.create_all(connection)
        wanted = words(connection)
    made.dispose()
    assert await in_database(sqlite_url, words) == wanted
    assert "AUTOINCREMENT" in wanted["transactions"]
    assert "WITHOUT" in wanted["samples"]


async def test_an_empty_database_comes_to_the_newest_form_inside_a_running_loop(empty_url):
    await asyncio.to_thread(upgrade, empty_url)
    assert {"users", "transactions", "jobs", "leases"} <= await in_database(empty_url, tables)
    assert await in_database(empty_url, version) == migrate.scripts().get_current_head()


async def test_a_second_upgrade_changes_nothing(database_url):
    await asyncio.to_thread(upgrade, database_url)
    assert await in_database(database_url, version) == migrate.scripts().get_current_head()


async def test_several_processes_may_upgrade_at_once(empty_url):
    await asyncio.gather(*(asyncio.to_thread(upgrade, empty_url) for _ in range(4)))
    assert "users" in await in_database(empty_url, tables)


async def test_a_database_that_is_newer_than_the_code_is_refused(database_url):
    await in_database(
        database_url,
        lambda connection: connection.execute(sa.text("update alembic_version set version_num = '9999'")),
    )
    with pytest.raises(DatabaseNewer) as caught:
        await asyncio.to_thread(upgrade, database_url)
    assert caught.value.facts["revision"] == "9999"
    assert "newer" in caught.value.detail
    assert await in_database(database_url, version) == "9999"


async def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_url, tmp_path, monkeypatch):
    folder = tmp_path / "with spaces and 100%" / "_migrations"
    shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0009_fails.py").write_text(
        f"revision = '0009'\ndown_revision = {migrate.scripts().get_current_head()!r}\n"
        "from alembic import op\n"
        "def upgrade():\n    op.execute('create table half (id integer)')\n    raise RuntimeError('broken')\n"
    )
    monkeypatch.setattr(migrate, "FOLDERS", (folder, CHECKOUT))
    with pytest.raises(RuntimeError):
        await asyncio.to_thread(upgrade, empty_url)
    assert await in_database(empty_url, tables) <= {"alembic_version"}
    # The next version of Voltyard, which has it mended, goes on from there.
    monkeypatch.undo()
    await asyncio.to_thread(upgrade, empty_url)
    assert "half" not in await in_database(empty_url, tables)


async def test_the_scripts_of_an_installed_package_come_first(tmp_path, monkeypatch, empty_sqlite_url):
    installed = tmp_path / "site-packages" / "voltyard" / "_migrations"
    shutil.copytree(
        CHECKOUT, installed, ignore=shutil.ignore_patterns("__pycache__", "alembic.ini", "env.py")
    )
    monkeypatch.setattr(migrate, "FOLDERS", (installed, CHECKOUT))
    assert Path(migrate.scripts().dir) == installed
    monkeypatch.chdir(tmp_path)
    upgrade(empty_sqlite_url)
    assert "users" in await in_database(empty_sqlite_url, tables)
    monkeypatch.setattr(migrate, "FOLDERS", (tmp_path / "nowhere", CHECKOUT))
    assert Path(migrate.scripts().dir) == CHECKOUT


def test_there_is_no_way_back_and_the_scripts_are_numbered_in_one_line():
    assert not hasattr(migrate, "downgrade")
    scripts = list(migrate.scripts().walk_revisions())[::-1]
    assert [script.revision for script in scripts] == [f"{n:04}" for n in range(1, len(scripts) + 1)]
    assert not any(hasattr(script.module, "downgrade") for script in scripts)


async def test_a_database_that_cannot_be_reached_is_unavailable(postgres_server, tmp_path):
    unreachable = f"postgresql://postgres@127.0.0.1:{free_port()}/x"
    for url in (unreachable, on_server(postgres_server, "nowhere"), f"sqlite:///{tmp_path}"):
        with pytest.raises(DatabaseUnavailable):
            await asyncio.to_thread(upgrade, url)


async def test_an_upgrade_waits_for_the_lock_of_another_process(tmp_path, monkeypatch, empty_sqlite_url):
    path = Path(empty_sqlite_url.removeprefix("sqlite:///"))
    path.parent.mkdir()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    monkeypatch.setattr(migrate, "SQLITE_WAIT_S", 0.05)
    with pytest.raises(DatabaseUnavailable):
        await asyncio.to_thread(upgrade, empty_sqlite_url)
    monkeypatch.undo()
    waiting = asyncio.create_task(asyncio.to_thread(upgrade, empty_sqlite_url))
    await asyncio.sleep(0)
    other.execute("rollback")
    other.close()
    await waiting
    assert "users" in await in_database(empty_sqlite_url, tables)

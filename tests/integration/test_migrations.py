from __future__ import annotations

import asyncio
import importlib
import pkgutil

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

import voltyard
from voltyard.kernel.db import metadata
from voltyard.kernel.migrate import DatabaseNewer, upgrade


def import_all_tables() -> None:
    """Import every module that can define a table, so that none can be forgotten."""
    for module in pkgutil.walk_packages(voltyard.__path__, "voltyard."):
        if module.name.endswith(".tables") or module.name in {
            "voltyard.kernel.jobs",
            "voltyard.kernel.leases",
        }:
            importlib.import_module(module.name)


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


async def test_the_migrations_make_exactly_the_tables_of_the_rooms(database_url):
    import_all_tables()

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await in_database(database_url, differences) == []


async def test_a_second_upgrade_changes_nothing(database_url):
    await asyncio.to_thread(upgrade, database_url)


async def test_two_processes_may_upgrade_at_once(postgres_server, tmp_path):
    await asyncio.gather(*(asyncio.to_thread(upgrade, postgres_server) for _ in range(2)))


async def test_a_database_that_is_newer_than_the_code_is_refused(database_url):
    await in_database(
        database_url,
        lambda connection: connection.execute(sa.text("update alembic_version set version_num = '9999'")),
    )
    with pytest.raises(DatabaseNewer):
        await asyncio.to_thread(upgrade, database_url)

"""Migrations: bring a database to the newest form of its tables.

The scripts lie in ``migrations`` of a checkout, or in ``voltyard/_migrations`` of an installed wheel.
There is no way back: a database that is newer than the code is refused.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from voltyard.kernel.errors import Conflict, VoltyardError

LOCK_NUMBER = 0x766F6C74
"""The advisory lock under which PostgreSQL is migrated: processes may start together."""


class DatabaseNewer(Conflict):
    """The database was migrated by a newer Voltyard than this one."""

    title = "The database is newer than this Voltyard: install the newer version again"


def scripts() -> Path:
    """Return the folder of the migration scripts. Raises: VoltyardError when it is missing."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_migrations", package.parent.parent / "migrations"):
        if (folder / "env.py").exists():
            return folder
    raise VoltyardError("the migration scripts are missing: install Voltyard again")


def configuration() -> Config:
    """Return Alembic's configuration; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(url: str) -> None:
    """Bring a database to the newest form; call it from a thread when an event loop runs.

    Raises: DatabaseNewer.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed, poolclass=NullPool, connect_args={"timeout": 30.0})
        with engine.begin() as connection:
            upgrade_connection(connection)
        engine.dispose()
    else:
        asyncio.run(_upgrade_postgres(parsed))


async def _upgrade_postgres(url: sa.URL) -> None:
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            # Held until the transaction ends, so whoever comes second finds the work done.
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_NUMBER)))
            await connection.run_sync(upgrade_connection)
    finally:
        await engine.dispose()


def upgrade_connection(connection: sa.Connection) -> None:
    """Bring the database of an open connection to the newest form. Raises: DatabaseNewer."""
    config = configuration()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = MigrationContext.configure(connection).get_current_heads()
    if not set(present) <= known:
        raise DatabaseNewer
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

"""The way of a database to the newest form of its tables.

The migrations are read from a checkout or from the installed package, without any file of settings.
All that are missing run in one transaction, and one process at a time: of several that start at once
the others wait and then find nothing to do. There is no way back: an older form is restored from a
backup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from voltyard.kernel.db import DatabaseUnavailable, problem_of
from voltyard.kernel.errors import Conflict

PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / "_migrations", PACKAGE.parents[1] / "migrations")
# Any number will do, as long as nobody else takes it: "voltyard" in ASCII.
LOCK = int.from_bytes(b"voltyard", "big")
SQLITE_WAIT_S = 60.0


class DatabaseNewer(Conflict):
    """The database was used by a newer Voltyard, whose tables this one does not know."""

    title = "The database belongs to a newer version of Voltyard"


def scripts() -> ScriptDirectory:
    """Return the migrations, from the installed package or else from the checkout."""
    folder = next((each for each in FOLDERS if each.is_dir()), None)
    assert folder is not None, f"there are no migrations in {FOLDERS}"
    return ScriptDirectory(folder)


def upgrade(url: str) -> None:
    """Bring a database to the newest form; waits for it, so call it in a thread of its own.

    Raises: DatabaseNewer; DatabaseUnavailable.
    """
    parsed = sa.make_url(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            _upgrade_sqlite(parsed)
        else:
            asyncio.run(_upgrade_postgres(parsed))
    except DBAPIError as wrong:
        problem = problem_of(wrong)
        if problem is None:
            raise
        raise problem from wrong
    except (OSError, TimeoutError) as wrong:
        raise DatabaseUnavailable from wrong


def _upgrade_sqlite(url: sa.URL) -> None:
    path = Path(url.database or "voltyard.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Foreign keys stay off, as is the default of a connection: a batch change copies and drops tables.
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"timeout": SQLITE_WAIT_S, "isolation_level": None},
        poolclass=NullPool,
    )

    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sa.event.listen(engine, "begin", start)
    with engine.begin() as connection:
        run(connection)
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        assert not broken, f"a migration left rows that name nothing: {broken[:5]}"


async def _upgrade_postgres(url: sa.URL) -> None:
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def run(connection: sa.Connection) -> None:
    """Run the missing migrations on a connection whose transaction is open. Raises: DatabaseNewer."""
    script = scripts()

    def missing(current: tuple[str, ...], _context: MigrationContext) -> Iterable[Any]:
        known = {each.revision for each in script.walk_revisions()}
        if strange := set(current) - known:
            raise DatabaseNewer(
                "install the Voltyard that this database was last used with, or a newer one",
                revision=", ".join(sorted(strange)),
            )
        steps = script.iterate_revisions("heads", current, implicit_base=True)
        return [
            MigrationStep.upgrade_from_script(script.revision_map, each) for each in reversed(list(steps))
        ]

    context = MigrationContext.configure(connection, opts={"fn": missing})
    with Operations.context(context):
        context.run_migrations()

"""What `make migration` runs: compare the tables in the code with a fresh database at the newest migration.

Upgrades of real databases do not come through here, but through voltyard.kernel.migrate.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext

import voltyard
from voltyard.kernel import jobs, leases, migrate
from voltyard.kernel.db import UtcTime, metadata

PACKAGE = Path(voltyard.__file__).parent

assert jobs.jobs.metadata is leases.leases.metadata is metadata
for tables in sorted(PACKAGE.glob("*/tables.py")):
    importlib.import_module(f"voltyard.{tables.parent.name}.tables")


def render(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our column type by its name, and a default that is true or false so that both databases take it.

    As an expression it would have SQLite's table copied, and the copy gives numbers a second time.
    """
    if kind == "server_default" and isinstance(arg := getattr(item, "arg", None), sa.False_ | sa.True_):
        return "'1'" if isinstance(arg, sa.True_) else "'0'"
    if kind == "type" and isinstance(item, UtcTime):
        autogen.imports.add("from voltyard.kernel.db import UtcTime")
        return "UtcTime()"
    return False


def number(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Give the next number to a new migration; a file without changes is not written."""
    for script in directives:
        if script.upgrade_ops.is_empty():
            directives.clear()
            return
        script.rev_id = f"{int(migrate.scripts().get_current_head() or 0) + 1:04}"


engine = sa.create_engine("sqlite://")
with engine.begin() as connection:
    migrate.run(connection)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        compare_type=True,
        render_item=render,
        process_revision_directives=number,
    )
    context.run_migrations()
engine.dispose()

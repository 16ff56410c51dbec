"""What Alembic runs: on the connection that voltyard.kernel.migrate hands over, or, for a new
migration (``make migration``), on an empty SQLite database in memory that is migrated first.
"""

import importlib

import sqlalchemy as sa
from alembic import context

from voltyard.kernel.db import UtcTime, metadata

TABLES = (
    "voltyard.kernel.jobs",
    "voltyard.kernel.leases",
    "voltyard.accounts.tables",
    "voltyard.locations.tables",
    "voltyard.cards.tables",
    "voltyard.chargers.tables",
    "voltyard.transactions.tables",
)


def render(kind, thing, autogen_context):
    if kind == "type" and isinstance(thing, UtcTime):
        autogen_context.imports.add("from voltyard.kernel.db import UtcTime")
        return "UtcTime()"
    return False


def migrate(connection):
    for module in TABLES:
        importlib.import_module(module)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_item=render,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with sa.create_engine("sqlite://").connect() as own:
        migrate(own)

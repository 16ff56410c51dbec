"""blocks of the log: an index in which a batch of messages shares its pages."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not as a batch: that would copy the table, and the copy gives numbers a second time.
    op.add_column("calls", sa.Column("block", sa.BigInteger(), nullable=False, server_default="0"))
    calls = sa.table("calls", sa.column("number", sa.BigInteger), sa.column("block", sa.BigInteger))
    size = 512 if op.get_bind().dialect.name == "sqlite" else 65_536
    op.execute(sa.update(calls).values(block=calls.c.number.op("/")(sa.literal_column(str(size)))))
    op.create_index("ix_calls_block_charger_id_number", "calls", ["block", "charger_id", "number"])
    op.drop_index("ix_calls_charger_id_number", "calls")

"""Tables of local lists."""

from __future__ import annotations

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, metadata

# What we believe of the list in a charger. ``newest_version`` is the highest that was ever sent there,
# ``location_id`` whose cards are in it, ``forget_at`` since when the charger's cache has to be emptied.
local_lists = sa.Table(
    "local_lists",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), primary_key=True),
    sa.Column("location_id", sa.String(40)),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("word", sa.String(64), nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("newest_version", sa.Integer, nullable=False),
    sa.Column("card_count", sa.Integer, nullable=False),
    sa.Column("left_out_count", sa.Integer, nullable=False),
    sa.Column("cards_max", sa.Integer),
    sa.Column("step_max", sa.Integer),
    sa.Column("firmware", sa.String(120)),
    sa.Column("asked_at", UtcTime),
    sa.Column("in_step_at", UtcTime),
    sa.Column("checked_at", UtcTime),
    sa.Column("forget_at", UtcTime),
    sa.Column("busy_until", UtcTime),
    # Who decides about cards in the place of the location: the link of a Billing operator, the cards that it
    # wants in the list, packed, and the version that it gave them.
    sa.Column("author_id", sa.String(40)),
    sa.Column("authored", sa.Text),
    sa.Column("authored_version", sa.Integer, nullable=False, server_default="0"),
)

local_list_cards = sa.Table(
    "local_list_cards",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), primary_key=True),
    sa.Column("tag_key", sa.String(20), primary_key=True),
    sa.Column("id_tag", sa.String(20), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("expires_at", UtcTime),
    sqlite_with_rowid=False,
)

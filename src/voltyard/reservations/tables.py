"""Table of reservations."""

from __future__ import annotations

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, metadata

reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), nullable=False),
    sa.Column("location_id", sa.ForeignKey("locations.id"), nullable=False),
    sa.Column("connector", sa.Integer, nullable=False),
    sa.Column("card_id", sa.String(40)),
    sa.Column("id_tag", sa.String(20), nullable=False),
    sa.Column("tag_key", sa.String(20), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("word", sa.String(64), nullable=False),
    sa.Column("is_kept_by_charger", sa.Boolean, nullable=False),
    sa.Column("made_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("transaction_number", sa.Integer),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Index("ix_reservations_charger_id_number", "charger_id", "number"),
    sa.Index(
        "ix_reservations_open",
        "charger_id",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

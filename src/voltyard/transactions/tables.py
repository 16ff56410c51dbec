"""Tables of transactions."""

from __future__ import annotations

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, metadata

transactions = sa.Table(
    "transactions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    sa.Column("start_key", sa.String(160), nullable=False, unique=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), nullable=False),
    sa.Column("location_id", sa.ForeignKey("locations.id")),
    sa.Column("connector", sa.Integer, nullable=False),
    sa.Column("card_id", sa.String(40)),
    sa.Column("id_tag", sa.String(64), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("start_told_at", UtcTime),
    sa.Column("start_heard_at", UtcTime, nullable=False),
    sa.Column("meter_start_wh", sa.BigInteger),
    sa.Column("meter_last_wh", sa.BigInteger),
    sa.Column("is_start_estimated", sa.Boolean, nullable=False),
    sa.Column("metered_at", UtcTime),
    sa.Column("power_w", sa.Float),
    sa.Column("soc_percent", sa.Float),
    sa.Column("ended_at", UtcTime),
    sa.Column("end_told_at", UtcTime),
    sa.Column("end_heard_at", UtcTime),
    sa.Column("meter_stop_wh", sa.BigInteger),
    sa.Column("stop_reason", sa.String(32)),
    sa.Column("is_estimated", sa.Boolean, nullable=False),
    # Made by us from status and readings, because its start was never told (quirk Q40).
    sa.Column("is_synthetic", sa.Boolean, nullable=False, server_default="0"),
    sa.Index("ix_transactions_location_id_number", "location_id", "number"),
    sa.Index("ix_transactions_charger_id_number", "charger_id", "number"),
    sa.Index(
        "ix_transactions_open",
        "charger_id",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    sa.Index(
        "ix_transactions_synthetic",
        "charger_id",
        sqlite_where=sa.text("is_synthetic"),
        postgresql_where=sa.text("is_synthetic"),
    ),
    sqlite_autoincrement=True,
)

samples = sa.Table(
    "samples",
    metadata,
    sa.Column("charger_id", sa.String(40), primary_key=True),
    sa.Column("connector", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("heard_at", UtcTime, nullable=False),
    sa.Column("context", sa.String(32), nullable=False),
    sa.Column("energy_wh", sa.Float),
    sa.Column("power_w", sa.Float),
    sa.Column("current_l1_a", sa.Float),
    sa.Column("current_l2_a", sa.Float),
    sa.Column("current_l3_a", sa.Float),
    sa.Column("offered_a", sa.Float),
    sa.Column("voltage_l1_v", sa.Float),
    sa.Column("voltage_l2_v", sa.Float),
    sa.Column("voltage_l3_v", sa.Float),
    sa.Column("soc_percent", sa.Float),
    sa.Column("others", sa.Text),
    sa.Index("ix_samples_number_at", "number", "at"),
    sqlite_with_rowid=False,
)

orphan_stops = sa.Table(
    "orphan_stops",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("stop_key", sa.String(160), nullable=False, unique=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), nullable=False, index=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("meter_wh", sa.BigInteger, nullable=False),
    sa.Column("id_tag", sa.String(64)),
    sa.Column("reason", sa.String(32)),
    sa.Column("told_at", UtcTime),
    sa.Column("heard_at", UtcTime, nullable=False),
    sa.Column("resolved_number", sa.Integer),
)

"""Tables of chargers."""

from __future__ import annotations

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, metadata
from voltyard.kernel.limits import IDENTITY_LENGTH_MAX

chargers = sa.Table(
    "chargers",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("identity", sa.String(IDENTITY_LENGTH_MAX), nullable=False),
    sa.Column("identity_key", sa.String(IDENTITY_LENGTH_MAX), nullable=False, unique=True),
    sa.Column("location_id", sa.ForeignKey("locations.id"), index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("vendor", sa.String(120)),
    sa.Column("model", sa.String(120)),
    sa.Column("serial", sa.String(120)),
    sa.Column("firmware", sa.String(120)),
    sa.Column("iccid", sa.String(40)),
    sa.Column("imsi", sa.String(40)),
    sa.Column("meter_type", sa.String(120)),
    sa.Column("meter_serial", sa.String(120)),
    sa.Column("password_hash", sa.String(64)),
    sa.Column("pin_hash", sa.String(64)),
    sa.Column("is_held", sa.Boolean, nullable=False),
    sa.Column("booted_at", UtcTime),
    sa.Column("claimed_at", UtcTime),
    sa.Column("created_at", UtcTime, nullable=False),
)

# How many wrong PINs there were for a serial number, which need not exist, or by a person.
pin_tries = sa.Table(
    "pin_tries",
    metadata,
    sa.Column("about", sa.String(64), primary_key=True),
    sa.Column("since_at", UtcTime, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
)

presences = sa.Table(
    "presences",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), primary_key=True),
    sa.Column("session_id", sa.String(40)),
    sa.Column("gateway", sa.String(64)),
    sa.Column("version", sa.String(16)),
    sa.Column("address", sa.String(64)),
    sa.Column("connected_at", UtcTime),
    sa.Column("disconnected_at", UtcTime),
    sa.Column("seen_at", UtcTime),
)

connectors = sa.Table(
    "connectors",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("error", sa.String(64), nullable=False),
    sa.Column("info", sa.String(120)),
    sa.Column("vendor_error", sa.String(120)),
    sa.Column("status_at", UtcTime, nullable=False),
    sa.Column("heard_at", UtcTime, nullable=False),
)

commands = sa.Table(
    "commands",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("word", sa.String(64), nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("deadline_at", UtcTime, nullable=False),
    sa.Column("sent_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Index("ix_commands_charger_id_id", "charger_id", "id"),
    sa.Index(
        "ix_commands_open",
        "deadline_at",
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    ),
)

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("charger_id", sa.String(40), nullable=False),
    sa.Column("session_id", sa.String(40), nullable=False),
    sa.Column("message_id", sa.String(64), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("ix_calls_charger_id_number", "charger_id", "number"),
    sa.Index("ix_calls_at", "at"),
    sqlite_autoincrement=True,
)

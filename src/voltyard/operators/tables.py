"""Tables of the operators."""

from __future__ import annotations

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, metadata

_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

links = sa.Table(
    "links",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), nullable=False),
    # Where the charger stood when the link was made: elsewhere it does not count.
    sa.Column("location_id", sa.String(40), nullable=False),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("preset", sa.String(64), nullable=False, server_default=""),
    sa.Column("url", sa.String(500), nullable=False),
    sa.Column("is_identity_appended", sa.Boolean, nullable=False, server_default="1"),
    sa.Column("identity", sa.String(48), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("fallback", sa.String(16), nullable=False),
    sa.Column("username", sa.String(120), nullable=False, server_default=""),
    sa.Column("password_sealed", sa.Text),
    # What the operator told us to use from now on: it counts once it has let us in.
    sa.Column("password_next_sealed", sa.Text),
    sa.Column("certificate_pem", sa.Text),
    sa.Column("key_sealed", sa.Text),
    sa.Column("authority_pem", sa.Text),
    # The tag that this operator is shown in the place of all others.
    sa.Column("tag_alias", sa.String(20), nullable=False, server_default=""),
    sa.Column("is_limiting", sa.Boolean, nullable=False, server_default="1"),
    sa.Column("is_boot_on_connect", sa.Boolean, nullable=False, server_default="1"),
    # What the owner allows beyond the role: words with commas.
    sa.Column("consents", sa.String(120), nullable=False, server_default=""),
    # Connectors that this operator wants out of use: numbers with commas.
    sa.Column("inoperative", sa.String(200), nullable=False, server_default=""),
    sa.Column("cursor", sa.BigInteger, nullable=False),
    # Where the log stood when the link was made; what is older is told of running transactions only.
    sa.Column("attached_number", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(300), nullable=False, server_default=""),
    sa.Column("state_at", UtcTime, nullable=False),
    sa.Column("delivered_at", UtcTime),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    # Nothing is left to do for it after its end.
    sa.Column("is_over", sa.Boolean, nullable=False, server_default="0"),
    sa.Index("ix_links_charger_id", "charger_id"),
    sa.Index(
        "uq_links_billing",
        "charger_id",
        unique=True,
        sqlite_where=sa.text("role = 'billing' AND ended_at IS NULL"),
        postgresql_where=sa.text("role = 'billing' AND ended_at IS NULL"),
    ),
)

# Configuration keys that are a link's own and never reach the charger.
link_keys = sa.Table(
    "link_keys",
    metadata,
    sa.Column("link_id", sa.ForeignKey("links.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
)

# The limits that an operator has set, as the charger that it believes in would hold them.
link_profiles = sa.Table(
    "link_profiles",
    metadata,
    sa.Column("link_id", sa.ForeignKey("links.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("changed_at", UtcTime, nullable=False),
)

link_numbers = sa.Table(
    "link_numbers",
    metadata,
    sa.Column("link_id", sa.ForeignKey("links.id", ondelete="CASCADE"), primary_key=True),
    # Ours.
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("theirs", sa.BigInteger),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False, server_default=""),
    sa.Column("id_tag", sa.String(64), nullable=False, server_default=""),
    sa.Column("started_at", UtcTime),
    sa.Column("stopped_at", UtcTime),
    sa.Column("energy_wh", sa.BigInteger),
    sa.Index("ix_link_numbers_link_id_theirs", "link_id", "theirs"),
)

# Cards that a Billing operator has accepted; what counts while it is silent.
link_verdicts = sa.Table(
    "link_verdicts",
    metadata,
    sa.Column("link_id", sa.ForeignKey("links.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag_key", sa.String(64), primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("parent_tag", sa.String(64)),
)

# What operators were sent and what they asked: the other legs of the flight recorder, and receipts.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("number", _Number, primary_key=True),
    sa.Column("link_id", sa.String(40), nullable=False),
    sa.Column("charger_id", sa.String(40), nullable=False),
    # The saying in the log that was told; None for what is between the operator and us alone.
    sa.Column("call_number", sa.BigInteger),
    sa.Column("transaction_number", sa.Integer),
    # The operator asked us.
    sa.Column("is_inward", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("message_id", sa.String(64), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    # None where it is the saying's own, byte for byte.
    sa.Column("payload", sa.Text),
    # What was changed and why, or why it was refused: words with commas.
    sa.Column("note", sa.String(200), nullable=False, server_default=""),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("answer", sa.Text, nullable=False, server_default=""),
    sa.Column("latency_ms", sa.Float),
    sa.Column("tries", sa.Integer, nullable=False, server_default="1"),
    sa.Column("next_at", UtcTime),
    # See ``kernel.blocks``.
    sa.Column("block", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("ix_deliveries_block_link_id_number", "block", "link_id", "number"),
    sa.Index("ix_deliveries_call_number", "call_number"),
    sa.Index(
        "ix_deliveries_open",
        "link_id",
        "call_number",
        sqlite_where=sa.text("status IN ('retrying', 'held', 'parked')"),
        postgresql_where=sa.text("status IN ('retrying', 'held', 'parked')"),
    ),
    sqlite_autoincrement=True,
)

# Reservations that a Billing operator made, by its own numbers.
link_reservations = sa.Table(
    "link_reservations",
    metadata,
    sa.Column("link_id", sa.ForeignKey("links.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("theirs", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reservation_id", sa.String(40), nullable=False),
)

# What a charger was last given of the limits of all operators together, for each connector.
composed_limits = sa.Table(
    "composed_limits",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("connector", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("limit_a", sa.Float),
    # The links that hold it there, with commas.
    sa.Column("by", sa.String(400), nullable=False, server_default=""),
    # What was sent, packed: the same again is not sent.
    sa.Column("sent", sa.Text, nullable=False),
    sa.Column("word", sa.String(64), nullable=False, server_default=""),
    sa.Column("sent_at", UtcTime, nullable=False),
)

# Who connected, changed and disconnected operators; rows are only ever added.
link_history = sa.Table(
    "link_history",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("link_id", sa.String(40), nullable=False),
    sa.Column("charger_id", sa.String(40), nullable=False),
    sa.Column("location_id", sa.String(40), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("what", sa.String(40), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("ix_link_history_link_id_id", "link_id", "id"),
)

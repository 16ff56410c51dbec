"""Table of cards."""

from __future__ import annotations

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, metadata

cards = sa.Table(
    "cards",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("location_id", sa.ForeignKey("locations.id"), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("id_tag", sa.String(20), nullable=False),
    sa.Column("tag_key", sa.String(20), nullable=False),
    sa.Column("is_blocked", sa.Boolean, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("used_at", UtcTime),
    sa.UniqueConstraint("location_id", "tag_key"),
)

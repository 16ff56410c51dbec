"""Tables of locations."""

from __future__ import annotations

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, metadata

locations = sa.Table(
    "locations",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("street", sa.String(200), nullable=False),
    sa.Column("postcode", sa.String(20), nullable=False),
    sa.Column("city", sa.String(120), nullable=False),
    sa.Column("country", sa.String(2), nullable=False),
    sa.Column("timezone", sa.String(64), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("archived_at", UtcTime),
)

memberships = sa.Table(
    "memberships",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("location_id", sa.ForeignKey("locations.id"), nullable=False),
    sa.Column("team_id", sa.ForeignKey("teams.id"), nullable=False, index=True),
    sa.Column("level", sa.String(16), nullable=False),
    sa.Column("is_owner", sa.Boolean, nullable=False),
    sa.Column("since_at", UtcTime, nullable=False),
    sa.Column("until_at", UtcTime),
    sa.UniqueConstraint("location_id", "team_id"),
)

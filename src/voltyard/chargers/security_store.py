"""SQL of passwords, profiles, certificates, security events and looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import (
    authorities,
    charger_certificates,
    charger_roots,
    chargers,
    looks,
    presences,
    security_events,
)
from voltyard.kernel.db import Work
from voltyard.locations.service import visible

Row = sa.Row[Any]

IN_FORCE = ("signed", "accepted", "rejected", "replaced")
"""What a certificate of ours may be and still open the door: whoever holds its key got it from us."""

# --- credentials ----------------------------------------------------------------------------------


def set_credentials(work: Work, charger_id: str, **values: Any) -> None:
    """Change what is kept of how a charger proves who it is."""
    work.run(sa.update(chargers).where(chargers.c.id == charger_id).values(**values))


def want_profile(work: Work, charger_id: str, profile: int) -> None:
    """Note the profile that a charger has accepted, if it is higher than the one that is enforced."""
    work.run(
        sa.update(chargers)
        .where(chargers.c.id == charger_id, chargers.c.security_profile < profile)
        .values(wanted_profile=profile, wanted_profile_at=work.now)
    )


def lock_credentials(work: Work, charger_id: str) -> Row | None:
    """Return a charger; until the end of the Work nobody else may change what it proves itself with."""
    return work.row(sa.select(chargers).where(chargers.c.id == charger_id).with_for_update())


def find_credentials(work: Work, charger_id: str) -> Row | None:
    """Return a charger with all of its credentials and its presence; whoever asks."""
    return work.row(
        sa.select(
            chargers,
            presences.c.session_id,
            presences.c.address,
            presences.c.is_tls,
            presences.c.security_profile.label("profile_in_use"),
            presences.c.certificate_serial,
            presences.c.connected_at,
            presences.c.disconnected_at,
        )
        .outerjoin(presences, presences.c.charger_id == chargers.c.id)
        .where(chargers.c.id == charger_id)
    )


# --- authorities ----------------------------------------------------------------------------------


def find_authority(work: Work, name: str) -> Row | None:
    """Return a certificate of our own with its sealed key."""
    return work.row(sa.select(authorities).where(authorities.c.name == name))


def insert_authority(work: Work, row: Mapping[str, Any]) -> None:
    """Add a certificate of our own; one that another process was first with stays."""
    work.insert_new(authorities, [{**row, "created_at": work.now}], key=("name",))


def replace_authority(work: Work, row: Mapping[str, Any]) -> None:
    """Put a newer certificate in the place of one of our own."""
    work.upsert(authorities, [{**row, "created_at": work.now}], key=("name",))


# --- certificates of chargers ---------------------------------------------------------------------


def insert_certificate(work: Work, **values: Any) -> None:
    """Add what a charger asked to have signed."""
    work.insert(charger_certificates, asked_at=work.now, **values)


def find_certificate(work: Work, certificate_id: str) -> Row | None:
    """Return what a charger asked to have signed; whoever asks."""
    return work.row(sa.select(charger_certificates).where(charger_certificates.c.id == certificate_id))


def set_certificate(work: Work, certificate_id: str, *, was: Sequence[str], **values: Any) -> bool:
    """Change a certificate if it is in one of these states; say whether it was."""
    return (
        work.run(
            sa.update(charger_certificates)
            .where(charger_certificates.c.id == certificate_id, charger_certificates.c.status.in_(was))
            .values(**values)
        )
        == 1
    )


def replace_older(work: Work, charger_id: str, certificate_id: str) -> None:
    """Note that a newer certificate has taken the place of the older ones."""
    work.run(
        sa.update(charger_certificates)
        .where(
            charger_certificates.c.charger_id == charger_id,
            charger_certificates.c.id < certificate_id,
            charger_certificates.c.status.in_(("asked", "signed", "accepted")),
        )
        .values(status="replaced")
    )


def take_certificate(work: Work, charger_id: str, fingerprint: str) -> bool:
    """Say whether a charger may come with this certificate of ours; that it does proves that it took it."""
    row = work.row(
        sa.select(charger_certificates.c.id, charger_certificates.c.status).where(
            charger_certificates.c.charger_id == charger_id,
            charger_certificates.c.fingerprint == fingerprint,
            charger_certificates.c.status.in_(IN_FORCE),
        )
    )
    if row is not None and row.status == "signed":
        set_certificate(work, row.id, was=("signed",), status="accepted", answered_at=work.now)
        replace_older(work, charger_id, row.id)
    return row is not None


def find_certificate_in_force(work: Work, charger_id: str) -> Row | None:
    """Return the newest certificate that a charger has accepted and that is good now."""
    return work.row(
        sa.select(charger_certificates)
        .where(
            charger_certificates.c.charger_id == charger_id,
            charger_certificates.c.status == "accepted",
            charger_certificates.c.valid_until > work.now,
        )
        .order_by(charger_certificates.c.id.desc())
        .limit(1)
    )


def count_asked(work: Work, charger_id: str, since: datetime) -> int:
    """Count what a charger asked to have signed since an instant."""
    return int(
        work.value(
            sa.select(sa.func.count()).where(
                charger_certificates.c.charger_id == charger_id, charger_certificates.c.asked_at >= since
            )
        )
    )


def delete_spent_certificates(work: Work, charger_id: str, kept: int) -> None:
    """Forget the oldest of a charger's requests beyond a number, but none that could still open a door."""
    newest = (
        sa.select(charger_certificates.c.id)
        .where(charger_certificates.c.charger_id == charger_id)
        .order_by(charger_certificates.c.id.desc())
        .limit(kept)
    )
    work.run(
        sa.delete(charger_certificates).where(
            charger_certificates.c.charger_id == charger_id,
            charger_certificates.c.id.not_in(newest),
            sa.or_(
                charger_certificates.c.status.in_(("refused", "failed", "asked")),
                charger_certificates.c.valid_until < work.now,
            ),
        )
    )


def list_certificates(work: Work, charger_id: str, limit: int) -> list[Row]:
    """Return a charger's certificates, newest first: the one in force, and what came since it was claimed."""
    return list(
        work.rows(
            sa.select(charger_certificates)
            .join(chargers, chargers.c.id == charger_certificates.c.charger_id)
            .where(
                charger_certificates.c.charger_id == charger_id,
                chargers.c.location_id.in_(visible(work, work.actor)),
                sa.or_(
                    charger_certificates.c.asked_at >= chargers.c.claimed_at,
                    charger_certificates.c.status == "accepted",
                ),
            )
            .order_by(charger_certificates.c.id.desc())
            .limit(limit)
        )
    )


def find_ending(work: Work, before: datetime, asked_before: datetime, most: int) -> list[Row]:
    """Return certificates in force that end soon and whose renewal was not asked for lately."""
    return list(
        work.rows(
            sa.select(charger_certificates)
            .where(
                charger_certificates.c.status == "accepted",
                charger_certificates.c.valid_until < before,
                charger_certificates.c.valid_until > work.now,
                sa.or_(
                    charger_certificates.c.renewal_asked_at.is_(None),
                    charger_certificates.c.renewal_asked_at < asked_before,
                ),
            )
            .order_by(charger_certificates.c.valid_until)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
    )


# --- roots in chargers ----------------------------------------------------------------------------

ROOT_KEY = ("charger_id", "kind", "algorithm", "issuer_name_hash", "issuer_key_hash", "serial")


def insert_roots(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note roots that a charger has; those that are known already keep their certificate."""
    work.insert_new(charger_roots, [{**row, "heard_at": work.now} for row in rows], key=ROOT_KEY)


def delete_roots(work: Work, charger_id: str, kind: str) -> None:
    """Forget which roots of a kind a charger has."""
    work.run(
        sa.delete(charger_roots).where(charger_roots.c.charger_id == charger_id, charger_roots.c.kind == kind)
    )


def delete_root(work: Work, charger_id: str, row: Row) -> None:
    """Forget that a charger has a root, for whatever it trusts it."""
    names = ("algorithm", "issuer_name_hash", "issuer_key_hash", "serial")
    work.run(
        sa.delete(charger_roots).where(
            charger_roots.c.charger_id == charger_id,
            *(charger_roots.c[name] == getattr(row, name) for name in names),
        )
    )


def find_roots(work: Work, charger_id: str) -> list[Row]:
    """Return the roots that a charger has, as far as is known; whoever asks."""
    return list(
        work.rows(
            sa.select(charger_roots)
            .where(charger_roots.c.charger_id == charger_id)
            .order_by(charger_roots.c.kind, charger_roots.c.heard_at, charger_roots.c.serial)
        )
    )


# --- security events ------------------------------------------------------------------------------


def insert_events(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add security events."""
    work.insert_many(security_events, [{**row, "heard_at": work.now} for row in rows])


def list_events(work: Work, charger_id: str, *, after: int | None, limit: int) -> list[Row]:
    """Return a page of a charger's security events since it was claimed, newest first."""
    query = (
        sa.select(security_events)
        .join(chargers, chargers.c.id == security_events.c.charger_id)
        .where(
            security_events.c.charger_id == charger_id,
            chargers.c.location_id.in_(visible(work, work.actor)),
            security_events.c.heard_at >= chargers.c.claimed_at,
        )
        .order_by(security_events.c.number.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(security_events.c.number < after)
    return list(work.rows(query))


def delete_old_events(work: Work, before: datetime, most: int) -> int:
    """Forget some of the security events before an instant."""
    old = sa.select(security_events.c.number).where(security_events.c.heard_at < before).limit(most)
    return work.run(sa.delete(security_events).where(security_events.c.number.in_(old)))


def delete_events_beyond(work: Work, charger_ids: Sequence[str], kept: int) -> None:
    """Forget the oldest events of chargers that told more than a number of them."""
    for charger_id in charger_ids:
        newest = (
            sa.select(security_events.c.number)
            .where(security_events.c.charger_id == charger_id)
            .order_by(security_events.c.number.desc())
            .offset(kept)
            .limit(1)
        )
        last = work.value(newest)
        if last is not None:
            work.run(
                sa.delete(security_events).where(
                    security_events.c.charger_id == charger_id, security_events.c.number <= last
                )
            )


# --- looks ----------------------------------------------------------------------------------------


def insert_look(work: Work, **values: Any) -> None:
    """Note that somebody looked at something that is shown to few."""
    work.insert(looks, at=work.now, **values)


def list_looks(work: Work, charger_id: str, limit: int) -> list[Row]:
    """Return who looked, since the charger was claimed, newest first."""
    return list(
        work.rows(
            sa.select(looks)
            .join(chargers, chargers.c.id == looks.c.charger_id)
            .where(
                looks.c.charger_id == charger_id,
                chargers.c.location_id.in_(visible(work, work.actor)),
                looks.c.at >= chargers.c.claimed_at,
            )
            .order_by(looks.c.id.desc())
            .limit(limit)
        )
    )


def delete_old_looks(work: Work, before: datetime) -> int:
    """Forget the looks before an instant."""
    return work.run(sa.delete(looks).where(looks.c.at < before))

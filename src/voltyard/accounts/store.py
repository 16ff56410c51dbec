"""All SQL of the accounts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from voltyard.accounts.tables import idempotency_keys, sessions, teammates, teams, tokens, users
from voltyard.kernel.db import Work

Row = sa.Row[Any]
USED_STEP = timedelta(minutes=5)


def find_user(work: Work, user_id: str) -> Row | None:
    """Return a user."""
    return work.row(sa.select(users).where(users.c.id == user_id))


def find_user_by_email(work: Work, email: str) -> Row | None:
    """Return the user with this e-mail address, in lower case."""
    return work.row(sa.select(users).where(users.c.email == email))


def insert_user(work: Work, **values: Any) -> None:
    """Add a user."""
    work.insert(users, created_at=work.now, **values)


def set_user(work: Work, user_id: str, **values: Any) -> None:
    """Change a user's own fields."""
    work.run(sa.update(users).where(users.c.id == user_id).values(**values))


def insert_team(work: Work, team_id: str, name: str, *, is_personal: bool) -> None:
    """Add a team."""
    work.insert(teams, id=team_id, name=name, is_personal=is_personal, created_at=work.now)


def insert_teammate(work: Work, team_id: str, user_id: str, role: str) -> None:
    """Put a user into a team."""
    work.insert(teammates, team_id=team_id, user_id=user_id, role=role, since_at=work.now)


def teams_of(work: Work, user_id: str) -> list[Row]:
    """Return the teams of a user with the role there, personal team first."""
    return list(
        work.rows(
            sa.select(teams.c.id, teams.c.name, teams.c.is_personal, teammates.c.role)
            .join(teammates, teammates.c.team_id == teams.c.id)
            .where(teammates.c.user_id == user_id)
            .order_by(teams.c.is_personal.desc(), teams.c.name)
        )
    )


def insert_session(
    work: Work, session_id: str, secret_hash: str, user_id: str, days: int, *, address: str, agent: str
) -> None:
    """Remember a browser."""
    work.insert(
        sessions,
        id=session_id,
        secret_hash=secret_hash,
        user_id=user_id,
        created_at=work.now,
        until_at=work.now + timedelta(days=days),
        address=address,
        agent=agent,
        seen_at=work.now,
    )


def find_session(work: Work, secret_hash: str) -> Row | None:
    """Return a browser, while its session lasts."""
    return work.row(
        sa.select(sessions).where(sessions.c.secret_hash == secret_hash, sessions.c.until_at > work.now)
    )


def touch_session(work: Work, session_id: str) -> None:
    """Note that a browser is in use, at most every few minutes."""
    is_due = sa.or_(sessions.c.seen_at.is_(None), sessions.c.seen_at < work.now - USED_STEP)
    work.run(sa.update(sessions).where(sessions.c.id == session_id, is_due).values(seen_at=work.now))


def sessions_of(work: Work, user_id: str) -> list[Row]:
    """Return the browsers of a person whose sessions last, the latest first."""
    return list(
        work.rows(
            sa.select(sessions)
            .where(sessions.c.user_id == user_id, sessions.c.until_at > work.now)
            .order_by(sessions.c.id.desc())
        )
    )


def delete_session_of(work: Work, user_id: str, session_id: str) -> int:
    """Forget one of a person's browsers."""
    return work.run(sa.delete(sessions).where(sessions.c.id == session_id, sessions.c.user_id == user_id))


def delete_sessions_of(work: Work, user_id: str, *, but: str = "") -> int:
    """Forget all of a person's browsers but this one."""
    return work.run(sa.delete(sessions).where(sessions.c.user_id == user_id, sessions.c.id != but))


def delete_session(work: Work, secret_hash: str) -> None:
    """Forget a browser."""
    work.run(sa.delete(sessions).where(sessions.c.secret_hash == secret_hash))


def delete_old_sessions(work: Work) -> int:
    """Forget browsers whose time is over."""
    return work.run(sa.delete(sessions).where(sessions.c.until_at <= work.now))


def insert_token(work: Work, token_id: str, user_id: str, name: str, secret_hash: str) -> None:
    """Remember an API token."""
    work.insert(tokens, id=token_id, user_id=user_id, name=name, secret_hash=secret_hash, created_at=work.now)


def find_token(work: Work, secret_hash: str) -> Row | None:
    """Return the token with this hash."""
    return work.row(sa.select(tokens).where(tokens.c.secret_hash == secret_hash))


def touch_token(work: Work, token_id: str) -> None:
    """Note that a token was used, at most every few minutes."""
    work.run(
        sa.update(tokens)
        .where(
            tokens.c.id == token_id,
            sa.or_(tokens.c.used_at.is_(None), tokens.c.used_at < work.now - USED_STEP),
        )
        .values(used_at=work.now)
    )


def tokens_of(work: Work, user_id: str) -> list[Row]:
    """Return a user's tokens, newest first."""
    return list(
        work.rows(
            sa.select(tokens)
            .where(tokens.c.user_id == user_id)
            .order_by(tokens.c.created_at.desc(), tokens.c.id.desc())
        )
    )


def delete_token(work: Work, user_id: str, token_id: str) -> int:
    """Revoke one of a user's own tokens."""
    return work.run(sa.delete(tokens).where(tokens.c.id == token_id, tokens.c.user_id == user_id))


def find_key(work: Work, user_id: str, key: str) -> Row | None:
    """Return what is remembered of a request with this idempotency key."""
    return work.row(
        sa.select(idempotency_keys).where(
            idempotency_keys.c.user_id == user_id, idempotency_keys.c.key == key
        )
    )


def insert_key(work: Work, user_id: str, key: str, request_hash: str) -> None:
    """Remember that a request with this idempotency key is being carried out."""
    work.insert(idempotency_keys, user_id=user_id, key=key, request_hash=request_hash, created_at=work.now)


def set_key(work: Work, user_id: str, key: str, *, status: int, body: str | None) -> None:
    """Remember the answer to a request with this idempotency key."""
    work.run(
        sa.update(idempotency_keys)
        .where(idempotency_keys.c.user_id == user_id, idempotency_keys.c.key == key)
        .values(status=status, body=body)
    )


def delete_key(work: Work, user_id: str, key: str) -> None:
    """Forget an idempotency key."""
    work.run(
        sa.delete(idempotency_keys).where(
            idempotency_keys.c.user_id == user_id, idempotency_keys.c.key == key
        )
    )


def delete_old_keys(work: Work, before: datetime) -> int:
    """Forget the idempotency keys from before an instant."""
    return work.run(sa.delete(idempotency_keys).where(idempotency_keys.c.created_at < before))

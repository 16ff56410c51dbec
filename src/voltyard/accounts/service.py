"""What one can do with accounts: add people, log in and out, make and revoke tokens."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from voltyard.accounts import proofs_store, store
from voltyard.accounts.secrets import hash_password, is_password, machine_hash, new_secret
from voltyard.kernel.actor import ANYONE, Actor, Kind
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Invalid, NotFound, Unauthenticated
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import SESSION_DAYS

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
EMAIL = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}(?:\.{_LABEL})+|localhost)")
"""RFC 5321 §4.1.2 without quoted parts: one spelling for one mailbox, and no list of them."""
EMAIL_LENGTH_MAX = 254
NAME_LENGTH_MAX = 120
PASSWORD_LENGTH_MIN = 10
LANGUAGES = ("en", "nl", "da")
THEMES = ("auto", "light", "dark")


class EmailTaken(Conflict):
    """A person with this e-mail address is registered already."""

    title = "This e-mail address is registered already"


class WrongPassword(Unauthenticated):
    """The e-mail address and password do not belong together."""

    title = "E-mail address or password is wrong"


@dataclass(frozen=True, slots=True)
class Team:
    """A team as one of its members sees it."""

    id: str
    name: str
    is_personal: bool
    role: str


@dataclass(frozen=True, slots=True)
class User:
    """A person with the teams they belong to."""

    id: str
    email: str
    name: str
    language: str
    theme: str
    is_admin: bool
    teams: tuple[Team, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """An API token without its secret."""

    id: str
    name: str
    created_at: datetime
    used_at: datetime | None


def tidy_email(email: str) -> str:
    """Return an e-mail address in the form we store. Raises: Invalid."""
    tidy = email.strip().lower()
    front, _, domain = tidy.rpartition("@")
    if front.isascii() and not domain.isascii():
        with suppress(UnicodeError):
            tidy = f"{front}@{domain.encode('idna').decode()}"
    if not EMAIL.fullmatch(tidy) or len(tidy) > EMAIL_LENGTH_MAX:
        raise Invalid("that is not an e-mail address", (("/email", "write it as name@example.com"),))
    return tidy


def tidy_name(name: str) -> str:
    """Return a name in the form we store."""
    # PostgreSQL stores no NUL, and nobody's name holds a control character.
    return "".join(character for character in name if character.isprintable()).strip()[:NAME_LENGTH_MAX]


async def register(
    ctx: Context,
    email: str,
    *,
    password: str | None,
    name: str = "",
    team: str = "",
    is_admin: bool = False,
) -> User:
    """Add a person with a personal team.

    Raises: Invalid for the address or a short password; EmailTaken.
    """
    tidy = tidy_email(email)
    if password is not None:
        check_password(password)
    hashed = await asyncio.to_thread(hash_password, password) if password is not None else None
    return await ctx.db.work(
        ANYONE, add_user, tidy, hashed, tidy_name(name), team=tidy_name(team), is_admin=is_admin
    )


def check_password(password: str) -> None:
    """Refuse a password that is easily guessed. Raises: Invalid."""
    if len(password) < PASSWORD_LENGTH_MIN:
        raise Invalid(
            f"the password needs at least {PASSWORD_LENGTH_MIN} characters",
            (("/password", f"at least {PASSWORD_LENGTH_MIN} characters"),),
        )


def add_user(
    work: Work,
    email: str,
    password_hash: str | None,
    name: str,
    *,
    team: str = "",
    is_admin: bool = False,
    language: str = "en",
) -> User:
    """Add a person with a personal team, named by the address if by nothing else. Raises: EmailTaken."""
    name = name or email.partition("@")[0]
    if store.find_user_by_email(work, email) is not None:
        raise EmailTaken(email=email)
    user_id, team_id = new_id("usr"), new_id("team")
    store.insert_user(
        work,
        id=user_id,
        email=email,
        name=name,
        password_hash=password_hash,
        language=language if language in LANGUAGES else "en",
        theme="auto",
        is_admin=is_admin,
    )
    store.insert_team(work, team_id, team or name, is_personal=True)
    store.insert_teammate(work, team_id, user_id, "owner")
    return user(work, user_id)


def user(work: Work, user_id: str) -> User:
    """Return a person with teams. Raises: NotFound."""
    row = store.find_user(work, check("usr", user_id))
    if row is None:
        raise NotFound("there is no such user", id=user_id)
    teams = tuple(
        Team(team.id, team.name, team.is_personal, team.role) for team in store.teams_of(work, user_id)
    )
    return User(row.id, row.email, row.name, row.language, row.theme, row.is_admin, teams)


def user_by_email(work: Work, email: str) -> User:
    """Return a person by e-mail address. Raises: NotFound."""
    row = store.find_user_by_email(work, tidy_email(email))
    if row is None:
        raise NotFound(f"nobody is registered as {email}")
    return user(work, row.id)


def set_preferences(
    work: Work, *, name: str | None = None, language: str | None = None, theme: str | None = None
) -> User:
    """Change one's own name, language or theme. Raises: Invalid."""
    changes: dict[str, str] = {}
    if name is not None:
        changes["name"] = tidy_name(name)
        if not changes["name"]:
            raise Invalid("a name is needed", (("/name", "may not be empty"),))
    if language is not None:
        if language not in LANGUAGES:
            raise Invalid("this language is not there yet", (("/language", ", ".join(LANGUAGES)),))
        changes["language"] = language
    if theme is not None:
        if theme not in THEMES:
            raise Invalid("there is no such theme", (("/theme", ", ".join(THEMES)),))
        changes["theme"] = theme
    if changes:
        store.set_user(work, work.actor.subject_id, **changes)
    return user(work, work.actor.subject_id)


async def check_login(ctx: Context, email: str, password: str) -> store.Row:
    """Return who has this address and password.

    Raises: WrongPassword, without telling which of the two was wrong.
    """
    row = await ctx.db.read(ANYONE, _find_by_login, email)
    is_right = await asyncio.to_thread(is_password, password, row.password_hash if row else None)
    if row is None or not is_right:
        raise WrongPassword
    return row


async def require_password(ctx: Context, actor: Actor, password: str) -> store.Row:
    """Return the one who acts, if this is their password. Raises: WrongPassword."""
    row = await ctx.db.read(actor, store.find_user, actor.subject_id)
    is_right = await asyncio.to_thread(is_password, password, row.password_hash if row else None)
    if row is None or not is_right:
        raise WrongPassword("that is not your present password")
    return row


async def open_session(
    ctx: Context, row: store.Row, *, address: str = "", agent: str = ""
) -> tuple[User, str]:
    """Open a session for who was found out to be this; return the person and the secret for the cookie.

    ``address`` and ``agent`` are where it was done and with what. Raises: WrongPassword.
    """
    secret = new_secret("vys")
    hashed = machine_hash(secret, ctx.settings.secret_key())
    person = await ctx.db.work(
        ANYONE, _open_session, row.id, hashed, address=address, agent=agent, password_hash=row.password_hash
    )
    return person, secret


def _find_by_login(work: Work, email: str) -> store.Row | None:
    # What is no address belongs to nobody, and must not tell itself from an unknown one.
    tidy = email.strip().lower()
    return store.find_user_by_email(work, tidy) if tidy.isprintable() else None


def _open_session(
    work: Work,
    user_id: str,
    secret_hash: str,
    *,
    address: str = "",
    agent: str = "",
    password_hash: str | None = None,
) -> User:
    row = store.find_user(work, user_id)
    if password_hash is not None and (row is None or row.password_hash != password_hash):
        raise WrongPassword  # it was changed while it was checked
    store.insert_session(
        work,
        new_id("ses"),
        secret_hash,
        user_id,
        SESSION_DAYS,
        address=address[:64],
        agent="".join(each for each in agent if each.isprintable())[:300],
    )
    return user(work, user_id)


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which somebody is logged in."""

    id: str
    created_at: datetime
    seen_at: datetime | None
    address: str
    agent: str
    is_this: bool


def list_sessions(work: Work) -> list[Session]:
    """Return the browsers of the one who acts, the latest first."""
    own = work.actor.token_id
    return [
        Session(row.id, row.created_at, row.seen_at, row.address, row.agent, row.id == own)
        for row in store.sessions_of(work, work.actor.subject_id)
    ]


def end_session(work: Work, session_id: str) -> None:
    """Log one of one's own browsers out. Raises: NotFound."""
    if not store.delete_session_of(work, work.actor.subject_id, check("ses", session_id)):
        raise NotFound("there is no such session, or it has ended", id=session_id)


def end_sessions(work: Work) -> int:
    """Log all of one's own browsers out but the one in which it is done; return how many."""
    return store.delete_sessions_of(work, work.actor.subject_id, but=work.actor.token_id)


def note_session_use(work: Work, session_id: str) -> None:
    """Note when a browser was last used."""
    store.touch_session(work, session_id)


async def put_password(ctx: Context, actor: Actor, email: str, password: str) -> User:
    """Set a person's password for whoever runs the installation; all browsers are logged out.

    Raises: NotFound; Invalid.
    """
    assert actor.is_system
    check_password(password)
    hashed = await asyncio.to_thread(hash_password, password)
    return await ctx.db.work(actor, _put_password, email, hashed)


def _put_password(work: Work, email: str, hashed: str) -> User:
    person = user_by_email(work, email)
    store.set_user(work, person.id, password_hash=hashed)
    store.delete_sessions_of(work, person.id)
    # Nor may a letter that somebody else asked for open anything.
    proofs_store.use_all(work, person.email, person.id)
    return person


def forget_old_sessions(work: Work) -> int:
    """Forget browsers whose time is over; return how many."""
    return store.delete_old_sessions(work)


def log_out(work: Work, secret: str, key: bytes) -> None:
    """Close the session of this cookie; one that is not there is no error."""
    store.delete_session(work, machine_hash(secret, key))


def _actor(person: User, kind: Kind, door: str, token_id: str = "") -> Actor:
    return Actor(
        kind=kind,
        subject_id=person.id,
        team_ids=tuple(team.id for team in person.teams),
        door=door,
        is_admin=person.is_admin,
        token_id=token_id,
    )


def actor_of_session(work: Work, secret: str, key: bytes) -> tuple[Actor, User]:
    """Return who a cookie belongs to. Raises: Unauthenticated."""
    row = store.find_session(work, machine_hash(secret, key))
    if row is None:
        raise Unauthenticated("your session has ended: log in again")
    person = user(work, row.user_id)
    return _actor(person, Kind.USER, "portal", row.id), person


def actor_of_token(work: Work, secret: str, key: bytes) -> tuple[Actor, User]:
    """Return who an API token belongs to. Raises: Unauthenticated."""
    row = store.find_token(work, machine_hash(secret, key))
    if row is None:
        raise Unauthenticated("this token is not known, or was revoked: make a new one under Account")
    person = user(work, row.user_id)
    return _actor(person, Kind.TOKEN, "api", row.id), person


def note_token_use(work: Work, token_id: str) -> None:
    """Note when a token was last used."""
    store.touch_token(work, token_id)


def add_token(work: Work, name: str, key: bytes, user_id: str | None = None) -> tuple[Token, str]:
    """Make an API token for the one who acts; the secret is returned this once.

    ``user_id`` names another person and is for the system only. Raises: Invalid.
    """
    tidy = tidy_name(name)
    if not tidy:
        raise Invalid("a token needs a name", (("/name", "say what it is for"),))
    assert user_id is None or work.actor.is_system
    secret = new_secret("vyt")
    token = Token(new_id("tok"), tidy, work.now, None)
    owner = user_id or work.actor.subject_id
    store.insert_token(work, token.id, owner, token.name, machine_hash(secret, key))
    return token, secret


def list_tokens(work: Work) -> list[Token]:
    """Return the tokens of the one who acts."""
    rows = store.tokens_of(work, work.actor.subject_id)
    return [Token(row.id, row.name, row.created_at, row.used_at) for row in rows]


def revoke_token(work: Work, token_id: str) -> None:
    """Make a token of the one who acts useless. Raises: NotFound."""
    if not store.delete_token(work, work.actor.subject_id, check("tok", token_id)):
        raise NotFound("you have no such token", id=token_id)

"""Who knocks: the charger's identity, subprotocol and password, out of an upgrade request."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote

SUBPROTOCOL = "ocpp1.6"
ROOT = "ocpp"


def identity(target: str) -> str:
    """Return the identity that a request target names, or an empty text (1.6-J §3.1.1, quirk Q4).

    It is the last segment that is not empty after decoding; a query, doubled slashes and a repeated
    identity do no harm. ``/ocpp`` alone names nobody, nor does what cannot be printed.
    """
    path = unquote(target.partition("?")[0].partition("#")[0])
    named = [part.strip() for part in path.split("/") if part.strip()]
    if not named or (len(named) == 1 and named[0].lower() == ROOT):
        return ""
    return named[-1] if named[-1].isprintable() else ""


def subprotocol(offered: str | None) -> str | None:
    """Choose among the offered subprotocols.

    None: none was offered, and the charger is taken for a 1.6 one (quirk Q1). An empty text: what
    was offered is not spoken here.
    """
    names = [name.strip() for name in (offered or "").split(",") if name.strip()]
    if not names:
        return None
    # In the charger's spelling: a client compares it with what it offered, letter by letter.
    return next((name for name in names if name.lower() == SUBPROTOCOL), "")


def flaws(target: str, offered: str | None, authorization: str | None, name: str) -> tuple[str, ...]:
    """Return the kinds of deviations that are tolerated in how a charger knocks (quirks Q1, Q4 and Q7)."""
    found = []
    if subprotocol(offered) is None:
        found.append("no_subprotocol")
    path, _, query = target.partition("?")
    parts = unquote(path.partition("#")[0]).split("/")[1:]
    if query or parts[-1:] == [""] or "" in parts or parts[-2:] == [name, name]:
        found.append("odd_address")
    user = _user(authorization, name)
    if user is not None and user.lower() != name.lower().encode():
        found.append("user_name_differs")
    return tuple(found)


def password(authorization: str | None, name: str = "") -> str | None:
    """Return the base64 of the password's bytes in a basic authorization, None when there is none.

    The user name ends at the first colon, or after ``name`` if it is that one: an identity may hold a
    colon (quirk Q6). Another name does no harm: some chargers send one, and it proves nothing (quirk Q7).
    """
    pair = _pair(authorization)
    user = _user(authorization, name)
    return None if pair is None or user is None else base64.b64encode(pair[len(user) + 1 :]).decode()


def _user(authorization: str | None, name: str) -> bytes | None:
    """Return the user name in a basic authorization, None when there is none."""
    pair = _pair(authorization)
    if pair is None or b":" not in pair:
        return None
    if ":" in name and pair.lower().startswith(f"{name}:".lower().encode()):
        return pair[: len(name.encode())]
    return pair.partition(b":")[0]


def _pair(authorization: str | None) -> bytes | None:
    """Return user name and password in a basic authorization as they were sent."""
    scheme, _, value = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None

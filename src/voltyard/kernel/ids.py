"""Ids: a prefix that names the kind, an underscore, 26 characters that sort by time.

48 bits of milliseconds and 80 random bits in Crockford's base 32, as ULID does it.
Invariants: an id made later in another millisecond sorts later; a wrong prefix never passes ``check``.
"""

from __future__ import annotations

import secrets
import time

from voltyard.kernel.errors import NotFound

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BODY_LENGTH = 26
PREFIXES = frozenset(
    (
        "usr", "ses", "soc", "team", "mem", "loc", "lmb", "inv", "stk",
        "chg", "con", "cal", "par", "card", "tap", "trf", "txn", "smp",
        "opr", "link", "mtr", "grp", "cmd", "exp", "job", "tok", "prc",
        "run", "res", "cert", "look", "fw", "xfr", "file", "lh", "prf", "let",
    )
)  # fmt: skip
_VALUES = frozenset(ALPHABET)


def encode(number: int) -> str:
    """Write a 128-bit number as 26 characters of Crockford's base 32."""
    characters = [""] * BODY_LENGTH
    for place in range(BODY_LENGTH - 1, -1, -1):
        characters[place] = ALPHABET[number & 31]
        number >>= 5
    return "".join(characters)


def new_id(prefix: str) -> str:
    """Make a fresh id such as ``txn_01JD…``; the prefix must be a registered one."""
    assert prefix in PREFIXES, f"no such id prefix: {prefix}"
    return f"{prefix}_{encode((time.time_ns() // 1_000_000) << 80 | secrets.randbits(80))}"


def is_id(prefix: str, text: str) -> bool:
    """Say whether a text has the shape of an id of this kind."""
    head, _, body = text.partition("_")
    return head == prefix and len(body) == BODY_LENGTH and _VALUES.issuperset(body)


def check(prefix: str, text: str) -> str:
    """Return the id if it is of this kind.

    Raises: NotFound, since an id of another kind can name nothing here.
    """
    if not is_id(prefix, text):
        raise NotFound(f"{text!r} is not an id that starts with {prefix}_", id=text)
    return text

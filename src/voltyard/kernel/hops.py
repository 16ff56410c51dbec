"""The installations that a charger comes through: a stand-in of ours may be the charger of another Voltyard.

Two that point at each other would multiply every message. So each names itself to the next one, and turns
away what has come through itself before.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

HEADER: Final = "Voltyard-Via"
HOPS_MAX: Final = 4
"""More than this many installations in a row are a mistake."""
_NAME: Final = re.compile(r"[0-9a-f]{16}")


def name_of(secret: bytes) -> str:
    """Return the name by which an installation knows itself again; it tells nothing of its secret."""
    return hashlib.sha256(b"voltyard: hops\0" + secret).hexdigest()[:16]


def read(header: str | None) -> tuple[str, ...]:
    """Return the names in a header, in their order; what is no name is left out."""
    words = (word.strip() for word in (header or "").split(","))
    return tuple(word for word in words if _NAME.fullmatch(word))


def is_loop(hops: tuple[str, ...], own: str) -> bool:
    """Say whether a charger came through here before, or through too many others."""
    return own in hops or len(hops) > HOPS_MAX

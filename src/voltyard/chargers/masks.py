"""Secrets in what is asked of a charger: masked before it is written down or shown.

A secret is known by its name: the member of an object, or the configuration key beside a value.
"""

from __future__ import annotations

import re
from typing import Any

from voltyard.kernel.errors import Invalid
from voltyard.kernel.wire import decode, encode

MASK = "***"
_SECRET = re.compile("password|secret|key", re.IGNORECASE)
# Named like secrets, but none: the field that names a configuration key, a limit, a public key's hash.
_HARMLESS = frozenset(("key", "getconfigurationmaxkeys", "issuerkeyhash", "issuer_key_hash"))

_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s\"'\\]*@")
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?\"'\\]*)\?[^\s#\"'\\]+")
# In a sentence of a charger's own, such as a vendor's message.
_ASSIGNED = re.compile(r"((?:password|secret)\w*\s*[=:]\s*)[^\s&;,\"'\\]+", re.IGNORECASE)
_UNFIT = re.compile("password|secret", re.IGNORECASE)
_VALUES = frozenset(("value", "attributevalue"))
_TOKEN = re.compile(r"(/files/(?:up|down)/)[^/\s?#\"'\\]+")


def is_secret(name: object) -> bool:
    """Say whether what goes by this name is kept to oneself."""
    return isinstance(name, str) and bool(_SECRET.search(name)) and name.lower() not in _HARMLESS


def masked_address(text: str) -> str:
    """Return a text with the secrets of the addresses in it masked.

    Those are the name and password before the host, the query (signed addresses), and our own tokens.
    """
    if "://" not in text:
        return text
    return _TOKEN.sub(rf"\1{MASK}", _QUERY.sub(rf"\1?{MASK}", _USER.sub(rf"\1{MASK}@", text)))


def masked(text: str) -> str:
    """Return a JSON text with its secrets masked; without any, the very text."""
    if "\\" not in text and "://" not in text and not _SECRET.search(text):
        return text  # nearly all are short, and none is worth reading
    try:
        said = decode(text, object)
    except Invalid:
        return MASK if _SECRET.search(text) else masked_address(text)
    try:
        hidden = _mask(said)
        return text if hidden == said else encode(hidden).decode()
    except RecursionError:  # nobody nests that deep who means well
        return MASK


def _mask(said: Any) -> Any:
    if isinstance(said, list):
        return [_mask(each) for each in said]
    if isinstance(said, str):
        # A vendor's message carries JSON within JSON.
        is_json = said.lstrip()[:1] in {"{", "["}
        return masked(said) if is_json else _ASSIGNED.sub(rf"\1{MASK}", masked_address(said))
    if not isinstance(said, dict):
        return said
    # We understand members in any case (quirk Q33), so they are masked in any case.
    members = {str(name).casefold(): value for name, value in said.items()}
    variable = members.get("variable")
    within = variable if isinstance(variable, dict) else {}
    named = [members.get("key"), *(value for name, value in within.items() if str(name).casefold() == "name")]
    has_secret = any(map(is_secret, named))
    return {
        name: MASK if _is_hidden(name, value, has_secret=has_secret) else _mask(value)
        for name, value in said.items()
    }


def _is_hidden(name: Any, value: Any, *, has_secret: bool) -> bool:
    """Say whether the value of a member is a secret; a list of keys is none, a list of passwords is one."""
    if value is None or isinstance(value, bool):
        return False
    if has_secret and str(name).casefold() in _VALUES:
        return True
    if not is_secret(name):
        return False
    return isinstance(value, str | int | float) or _UNFIT.search(name) is not None

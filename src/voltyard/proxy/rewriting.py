"""Edits of a raw JSON object that leave every other byte as it was.

An operator gets what a charger sent byte for byte, since meter values may be signed and a vendor's fields
mean something to the vendor; only our numbers become the operator's. So nothing is decoded and written anew:
the members of the object are found by their places. Of members with the same name the last one counts for
whoever reads them, so that an edit concerns all of that name.

Time is linear in the length and nothing recurses, whatever the depth.

Invariants (property tests of the same names):
all other bytes stay as they were · what is read from the result is what was put there ·
no object that can be decoded is refused
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

_NAME: Final = msgspec.json.Decoder(str)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_COLON: Final = re.compile(rb"[ \t\n\r]*+:[ \t\n\r]*+")

# Possessive, so that a string without an end is given up at once.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_OPENING: Final = re.compile(rb"[ \t\n\r]*+\{[ \t\n\r]*+")
_KEY: Final = re.compile(rb"[ \t\n\r]*+(" + _STRING + rb")[ \t\n\r]*+:[ \t\n\r]*+", re.DOTALL)
_PLAIN: Final = re.compile(_STRING + rb"|[^][{}:,\"\s]++", re.DOTALL)
# A quote that begins no string ends the search, or each later one would be tried to the end again.
_MARK: Final = re.compile(_STRING + rb"|[][{}\"]", re.DOTALL)
_NEXT: Final = re.compile(rb"[ \t\n\r]*+([,}])")


class _Member(NamedTuple):
    """One member of the object: from after the comma before it to the comma after it."""

    name: bytes
    start: int
    value_start: int
    value_end: int
    end: int


def replaced(payload: bytes, changes: Mapping[str, bytes]) -> bytes:
    """Return the object with other raw values for these names; a name that it lacks is not added.

    Raises: ValueError when the payload is no JSON object.
    """
    quick = _replaced_quickly(payload, changes)
    if quick is not None:
        return quick
    is_changed = _among(changes)
    parts: list[bytes] = []
    done = 0
    for member in _members(payload):
        name = is_changed(member.name)
        if name is not None:
            parts += (payload[done : member.value_start], changes[name])
            done = member.value_end
    return b"".join((*parts, payload[done:])) if parts else payload


def without(payload: bytes, names: Collection[str]) -> bytes:
    """Return the object without the members of these names, each with the blanks and one comma around it.

    Raises: ValueError when the payload is no JSON object.
    """
    is_dropped = _among(names)
    members = list(_members(payload))
    kept = [member for member in members if is_dropped(member.name) is None]
    if len(kept) == len(members):
        return payload
    inside = b",".join(payload[member.start : member.end] for member in kept)
    return payload[: members[0].start] + inside + payload[members[-1].end :]


def value(payload: bytes, name: str) -> bytes | None:
    """Return the raw value that counts for a name, None where the object lacks it.

    Raises: ValueError when the payload is no JSON object.
    """
    try:
        quick = _MEMBERS.decode(payload).get(name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        return None if quick is None else bytes(quick)
    is_wanted = _among((name,))
    found = None
    for member in _members(payload):
        if is_wanted(member.name) is not None:
            found = payload[member.value_start : member.value_end]
    return found


def added(payload: bytes, name: str, raw: bytes) -> bytes:
    """Return a JSON object with one more field in front, every other byte as it was."""
    start = payload.index(b"{") + 1
    is_empty = payload[start:].strip() == b"}"
    rest = payload[start:]
    return b"%b%b:%b%b%b" % (payload[:start], msgspec.json.encode(name), raw, b"" if is_empty else b",", rest)


def decoded(raw: bytes | None) -> Any:
    """Return what a raw value says, None where there is none or it cannot be read."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def text(raw: bytes | None) -> str:
    """Return a raw value that is a text, empty for any other."""
    found = decoded(raw)
    return found if isinstance(found, str) else ""


def integer(raw: bytes | None) -> int | None:
    """Return a whole number, also one that is written as text or with a fraction of nothing."""
    found = decoded(raw)
    if isinstance(found, bool):
        return None
    if isinstance(found, str):
        digits = found.strip()
        is_number = digits.removeprefix("-").isdecimal() and len(digits) <= 19
        found = int(digits) if is_number else None
    if isinstance(found, float) and found.is_integer() and abs(found) < 2**53:
        return int(found)
    return found if isinstance(found, int) and abs(found) < 2**63 else None


def _replaced_quickly(payload: bytes, changes: Mapping[str, bytes]) -> bytes | None:
    """Do as ``replaced`` does where each name stands in the payload once; None where it has to be looked for.

    A name that stands once, and is one of the object's own, stands there: inside a string its quotes are
    escaped. Names that are themselves written with escapes are left to the longer way.
    """
    if b"\\u" in payload:
        return None
    try:
        members = _MEMBERS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for name, raw in changes.items():
        key = b'"%b"' % name.encode("utf-8", "replace")
        count = payload.count(key)
        old = members.get(name)
        if count == 0 and old is None:
            continue
        if count != 1 or old is None:
            return None
        colon = _COLON.match(payload, payload.index(key) + len(key))
        if colon is None or not payload.startswith(bytes(old), colon.end()):
            return None
        payload = payload[: colon.end()] + raw + payload[colon.end() + len(bytes(old)) :]
    return payload


def _among(names: Collection[str]) -> Callable[[bytes], str | None]:
    """Return what finds the name among these that a raw key spells, in whatever way it spells it."""
    # A lone surrogate is no name that JSON could bear.
    plain = {name.encode("utf-8", "replace"): name for name in names}

    def spelt(raw: bytes) -> str | None:
        inside = raw[1:-1]
        if b"\\" not in inside:
            return plain.get(inside)
        try:
            name = _NAME.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return name if name in names else None

    return spelt


def _members(payload: bytes) -> Iterator[_Member]:
    """Yield the members of the object in their order."""
    opening = _OPENING.match(payload)
    if opening is None:
        raise ValueError("the payload is not an object")
    at = opening.end()
    if payload[at : at + 1] == b"}":
        return
    # Blanks between the brace and the first key belong to that member, as those after a comma do.
    at = payload.index(b"{") + 1
    while True:
        key = _KEY.match(payload, at)
        if key is None:
            raise ValueError("the object lacks a key")
        value_end = _end_of_value(payload, key.end())
        after = _NEXT.match(payload, value_end)
        if after is None:
            raise ValueError("the object is not closed")
        yield _Member(key[1], at, key.end(), value_end, after.start(1))
        if after[1] == b"}":
            return
        at = after.end()


def _end_of_value(payload: bytes, start: int) -> int:
    """Return where the value that starts here ends."""
    if payload[start : start + 1] not in {b"{", b"["}:
        plain = _PLAIN.match(payload, start)
        if plain is None:
            raise ValueError("the object lacks a value")
        return plain.end()
    depth = 0
    for mark in _MARK.finditer(payload, start):
        token = mark[0]
        if token in {b"{", b"["}:
            depth += 1
        elif token in {b"}", b"]"}:
            depth -= 1
            if depth == 0:
                return mark.end()
        elif token == b'"':
            break
    raise ValueError("a value is not closed")

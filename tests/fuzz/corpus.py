"""Seeds: what chargers send in the transcripts; and mutations of them, from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TRANSCRIPTS = Path(__file__).resolve().parents[1] / "transcripts"
ODD: tuple[Any, ...] = (
    None, "", " ", "-", "null", "NaN", "Infinity", 0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 1.5, 1e308, -0.0,
    True, False, [], {}, [[]], [None], {"a": {}}, "1", "1,5", "1e999", "\0", "\ud800", "é" * 300, "x" * 3_000,
    "1970-01-01T00:00:00Z", "2099-12-31T24:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60-14:00",
    "2026-01-01T00:00:00", "2026-02-30T00:00:00Z", "Charging", "available", "Wh", "kWh", "Hz", "L1-N", "Raw",
)  # fmt: skip
PIECES = (b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u0000", b"\0", b"\xff", b"null", b"NaN",
          b"1e999", b"[" * 2_000, b"-", b"\xef\xbb\xbf", b'"\\ud800"', b"2,", b"3,", b"4,")  # fmt: skip


def seeds() -> list[bytes]:
    """Return every frame that a charger sends in a transcript, in a fixed order."""
    found: dict[bytes, None] = {}
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith(">"):
                found[line[1:].strip().encode()] = None
    return list(found)


def mutations(seed: int) -> Iterator[bytes]:
    """Give changed seeds for ever, the same ones for the same seed."""
    chance = random.Random(seed)
    known = seeds()
    while True:
        data = chance.choice(known)
        for _ in range(chance.randint(1, 3)):
            data = _in_json(data, chance) if chance.random() < 0.6 else _in_bytes(data, chance)
        yield data


def _in_json(data: bytes, chance: random.Random) -> bytes:
    """Change one value somewhere inside; bytes that are no JSON stay."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []
    _gather(value, places)
    if not places:
        return data
    holder, key = chance.choice(places)
    match chance.randint(0, 4):
        case 0:
            del holder[key]
        case 1:
            other_holder, other_key = chance.choice(places)
            holder[key] = other_holder[other_key]
        case 2 if isinstance(holder, dict):
            holder[str(key).swapcase()] = holder.pop(key)
        case 3:
            holder[key] = [holder[key]] * chance.randint(0, 3)
        case _:
            holder[key] = chance.choice(ODD)
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):  # it holds itself
        return data


def _gather(value: Any, places: list[tuple[Any, Any]]) -> None:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        places.append((value, key))
        _gather(value[key], places)


def _in_bytes(data: bytes, chance: random.Random) -> bytes:
    place = chance.randint(0, len(data))
    match chance.randint(0, 4):
        case 0:
            return data[:place] + chance.choice(PIECES) + data[place:]
        case 1:
            return data[:place] + data[place + chance.randint(1, 8) :]
        case 2:
            return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
        case 3:
            return data[:place]
        case _:
            end = chance.randint(place, len(data))
            return data[:end] + data[place:end] * chance.randint(1, 4) + data[end:]

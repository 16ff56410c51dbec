"""What an old firmware gets wrong in harmless ways: a filter between a well-behaved charger and the wire.

A charger with ``ODD`` quirks means the same as any other and says it badly; the numbers beside each line are
those of docs/quirks.md. Pure: the same payload is bent in the same way at any time.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import Any, Final

from voltyard.sim.envelope import Payload

NONE: Final = "none"
ODD: Final = "odd"
KINDS: Final = (NONE, ODD)

STATUS_WORDS: Final = MappingProxyType({"Preparing": "Occupied", "SuspendedEV": "Suspended_EV"})
NUMBERS: Final = frozenset({"connectorId", "meterStart", "meterStop"})
TAG_LENGTH_MAX: Final = 20
LACKING: Final = frozenset({"LightIntensity"})
"""Keys that such a firmware does not know yet."""
SLOW_S: Final = MappingProxyType({"GetCompositeSchedule": 6.0})
"""What it has to think about before it answers."""


def bend(kind: str, action: str, payload: Payload, zone: tzinfo) -> Payload | None:
    """Return what a charger with these quirks sends for a payload; None where it leaves it out."""
    if kind != ODD:
        return payload
    if action == "Heartbeat":
        return None  # Q16
    bent: Payload = {name: _value(name, value, zone) for name, value in payload.items()}
    match action:
        case "BootNotification":
            bent["iccid"] = "null"  # Q32
        case "StatusNotification":
            bent["status"] = STATUS_WORDS.get(payload["status"], payload["status"])  # Q26
            if payload["errorCode"] == "NoError":
                del bent["errorCode"]  # Q31
        case "MeterValues" if len(payload["meterValue"]) == 1:
            (bent["meterValue"],) = bent["meterValue"]  # Q25
        case _:
            pass
    return bent


def _value(name: str, value: Any, zone: tzinfo) -> Any:
    if isinstance(value, list):
        return [_value(name, each, zone) for each in value]
    if isinstance(value, Mapping):
        return {inner: _value(inner, each, zone) for inner, each in value.items()}
    if name == "timestamp":  # Q35
        return datetime.fromisoformat(value).astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S")
    if name in NUMBERS:
        return str(value)  # Q24
    if name == "value":
        return value.replace(".", ",")  # Q28
    return with_colons(value) if name == "idTag" else value  # Q34


def with_colons(tag: str) -> str:
    """Write the bytes of a tag with colons between them, where it is hexadecimal and short enough."""
    is_hex = all(each in string.hexdigits for each in tag)
    if not tag or not is_hex or len(tag) % 2 or len(tag) * 3 // 2 - 1 > TAG_LENGTH_MAX:
        return tag
    return ":".join(tag[place : place + 2] for place in range(0, len(tag), 2))

"""Operators that people know by name: how to reach them, and what to ask them for.

Data only; a link is made from an entry and may differ from it in everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from voltyard.speech import Role

OTHER: Final = "other"
"""The preset of an address that somebody types."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One operator of the directory; without a ``url`` the operator tells each customer its own."""

    key: str
    name: str
    role: Role
    url: str = ""
    hint: str = ""
    is_password_needed: bool = False
    is_boot_on_connect: bool = True


_ENTRIES: Final = (
    Preset(
        "tap_electric",
        "Tap Electric",
        Role.BILLING,
        "wss://ocpp.tapelectric.app",
        "Add the charger in the Tap Electric portal first; it shows the charger's identity.",
    ),
    Preset(
        "monta",
        "Monta",
        Role.BILLING,
        "wss://ocpp.monta.app",
        "Add the charge point in Monta first, with its serial number as identity.",
    ),
    Preset(
        "eflux",
        "Road (E-Flux)",
        Role.BILLING,
        "wss://ocpp.road.io/1.6/road",
        "Road creates the charger and tells the identity.",
    ),
    Preset(
        "evc_net",
        "EVC-net (LastMileSolutions)",
        Role.BILLING,
        hint="EVC-net gives each charge point an address of its own: copy it from there.",
    ),
    Preset(
        "has_to_be",
        "has.to.be (ChargePoint)",
        Role.BILLING,
        hint="Copy the address and the password from the charger's page in the operator's portal.",
        is_password_needed=True,
    ),
    Preset(
        "greenflux",
        "GreenFlux",
        Role.BILLING,
        hint="GreenFlux tells the address and the password.",
        is_password_needed=True,
    ),
    Preset("virta", "Virta", Role.BILLING, hint="Virta tells the address when it registers the charger."),
    Preset("spirii", "Spirii", Role.BILLING, hint="Spirii tells the address when it registers the charger."),
    Preset(
        "tibber",
        "Tibber",
        Role.DATA_CONTROL,
        hint="Pair the charger in the Tibber app; it shows the address to use.",
    ),
    Preset(
        "evcc",
        "evcc",
        Role.DATA_CONTROL,
        hint="evcc listens on port 8887 of its own machine. The installation must allow private networks.",
    ),
    Preset(
        "home_assistant",
        "Home Assistant (OCPP)",
        Role.DATA_CONTROL,
        hint="Port 9000 of the machine with Home Assistant. The installation must allow private networks.",
    ),
    Preset(
        "steve",
        "SteVe",
        Role.BILLING,
        hint="Add the charge box in SteVe first. The address ends with websocket/CentralSystemService.",
    ),
)
DIRECTORY: Final = MappingProxyType({entry.key: entry for entry in _ENTRIES})

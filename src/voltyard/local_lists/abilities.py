"""What a charger tells of its list of cards: whether it keeps one, how long, and which version. Pure.

Read from the answers to the questions for configuration keys (OCPP 1.6 §9.2) and for the version.
Invariant: whatever was answered, reading it never fails; what was not told is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from voltyard.kernel.errors import Invalid
from voltyard.kernel.wire import decode

PROFILES: Final = "SupportedFeatureProfiles"
ENABLED: Final = "LocalAuthListEnabled"
CARDS_MAX: Final = "LocalAuthListMaxLength"
STEP_MAX: Final = "SendLocalListMaxLength"
KEYS: Final = (PROFILES, ENABLED, CARDS_MAX, STEP_MAX)
PROFILE: Final = "localauthlistmanagement"
COUNT_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Abilities:
    """What is known of a charger's list; ``is_listing`` is False only where the charger rules a list out."""

    is_listing: bool = True
    is_enabled: bool | None = None
    is_fixed: bool = False
    cards_max: int | None = None
    step_max: int | None = None


def _object(answer: str | None) -> dict[str, Any]:
    try:
        found = decode(answer or "", dict)
    except Invalid:
        return {}
    return found


def _count(value: str | None) -> int | None:
    text = (value or "").strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        return None
    return min(int(text), COUNT_MAX)


def read(answer: str | None) -> Abilities:
    """Return what the answer to the question for the keys tells; names are told apart without case (Q33)."""
    told: dict[str, tuple[str, bool]] = {}
    entries = _object(answer).get("configurationKey")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            value = entry.get("value")
            text = "" if value is None else str(value)
            told[entry["key"].casefold()] = (text, str(entry.get("readonly")).casefold() == "true")
    profiles = "".join(told.get(PROFILES.casefold(), ("", False))[0].split()).casefold()
    cards_max = _count(told.get(CARDS_MAX.casefold(), ("", False))[0])
    enabled, is_fixed = told.get(ENABLED.casefold(), ("", False))
    # Some leave the profile out and keep a list all the same, and say so by its keys; others tell no
    # profiles at all (quirk Q33). Only one that names others and no key of the list rules it out.
    names_others = bool(profiles) and PROFILE not in profiles.split(",")
    has_keys = any(name.casefold() in told for name in (ENABLED, CARDS_MAX, STEP_MAX))
    return Abilities(
        is_listing=(has_keys or not names_others) and cards_max != 0,
        is_enabled={"true": True, "1": True, "false": False, "0": False}.get(enabled.strip().casefold()),
        is_fixed=is_fixed,
        cards_max=cards_max,
        step_max=_count(told.get(STEP_MAX.casefold(), ("", False))[0]) or None,
    )


def read_version(answer: str | None) -> int | None:
    """Return the version that a charger told of its list; None where it told none."""
    version = _object(answer).get("listVersion")
    return version if isinstance(version, int) and not isinstance(version, bool) and version >= 0 else None

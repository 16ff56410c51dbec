"""How numbers and times are written for people: kWh, kW, amperes, durations, local time.

Functions of values; the locale's separators come from Babel. The space before a unit does not break.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from babel.dates import format_datetime, get_timezone_location
from babel.numbers import format_decimal

GAP = "\u00a0"
NONE = "–"


def _number(value: float, decimals: int, locale: str) -> str:
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return str(format_decimal(value, format=pattern, locale=locale))


def counted(value: float | None, locale: str = "en") -> str:
    """Return how many, with separators of thousands."""
    return _number(value or 0, 0, locale)


def energy(energy_wh: float | None, locale: str = "en") -> str:
    """Write an energy in kWh: two decimals below ten, one below a hundred, none above."""
    if energy_wh is None:
        return NONE
    kwh = energy_wh / 1000
    decimals = 0 if energy_wh == 0 else 2 if abs(kwh) < 9.995 else 1 if abs(kwh) < 99.95 else 0
    return f"{_number(kwh, decimals, locale)}{GAP}kWh"


def power(power_w: float | None, locale: str = "en") -> str:
    """Write a power, below a kilowatt in watts."""
    if power_w is None:
        return NONE
    if abs(power_w) < 999.5:
        return f"{_number(power_w, 0, locale)}{GAP}W" if abs(power_w) >= 0.5 else f"0{GAP}kW"
    return f"{_number(power_w / 1000, 1, locale)}{GAP}kW"


def current(current_a: float | None, locale: str = "en") -> str:
    """Write a current with one decimal."""
    return NONE if current_a is None else f"{_number(current_a, 1, locale)}{GAP}A"


def percent(value: float | None, locale: str = "en") -> str:
    """Write a share, such as the state of charge."""
    return NONE if value is None else f"{_number(value, 0, locale)}{GAP}%"


def size(size_bytes: int, locale: str = "en") -> str:
    """Write how large a file is, in the unit that people know."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            break
        value /= 1000
    return f"{_number(value, 0 if unit == 'B' or value >= 99.95 else 1, locale)}{GAP}{unit}"


def duration(lasting: timedelta | None) -> str:
    """Write a duration with its two largest units."""
    if lasting is None:
        return NONE
    seconds = max(0, int(lasting.total_seconds()))
    if seconds < 60:
        return f"{seconds}{GAP}s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes}{GAP}min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}{GAP}h {minutes:02}{GAP}min"
    days, hours = divmod(hours, 24)
    return f"{days}{GAP}d {hours}{GAP}h"


def latency(latency_s: float | None, locale: str = "en") -> str:
    """Write how long an answer took, below a second in milliseconds."""
    if latency_s is None:
        return NONE
    if latency_s < 0.9995:
        return f"{_number(latency_s * 1000, 0, locale)}{GAP}ms"
    return f"{_number(latency_s, 1 if latency_s < 9.95 else 0, locale)}{GAP}s"


def average_w(energy_wh: float, lasting: timedelta) -> float | None:
    """Return the mean power of a charge, None when it was too short to say."""
    seconds = lasting.total_seconds()
    return energy_wh * 3600 / seconds if seconds >= 1 else None


def day(at: datetime, zone: tzinfo, locale: str = "en") -> str:
    """Write a date in local time."""
    return str(format_datetime(at, "d MMM y", tzinfo=zone, locale=locale))


def clock(at: datetime, zone: tzinfo, locale: str = "en") -> str:
    """Write the hour in local time."""
    return str(format_datetime(at, "HH:mm", tzinfo=zone, locale=locale))


def whole(at: datetime, zone: tzinfo, locale: str = "en") -> str:
    """Write an instant with all that there is, zone and city included."""
    written = str(format_datetime(at, "EEEE d MMMM y, HH:mm:ss zzzz", tzinfo=zone, locale=locale))
    return f"{written} ({_city(zone, locale)})"


def _city(zone: tzinfo, locale: str) -> str:
    return str(get_timezone_location(zone, locale=locale, return_city=True))


def zone_name(at: datetime, zone: tzinfo, seen_from: tzinfo, locale: str = "en") -> str:
    """Name a zone by its city, empty where clocks show the same hour as those of the one who looks."""
    if at.astimezone(zone).utcoffset() == at.astimezone(seen_from).utcoffset():
        return ""
    return _city(zone, locale)


def place_of_clocks(now: datetime, zone: tzinfo, seen_from: tzinfo, locale: str = "en") -> str:
    """Name a zone by its city, empty where clocks show the same hour in winter and in summer."""
    half_a_year = timedelta(days=182)
    return zone_name(now, zone, seen_from, locale) or zone_name(now - half_a_year, zone, seen_from, locale)


def days_ago(at: datetime, now: datetime, zone: tzinfo) -> int:
    """Return how many midnights of local time lie between an instant and now."""
    return (now.astimezone(zone).date() - at.astimezone(zone).date()).days


def midnight(now: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which the local day began."""
    return now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)


def month_start(now: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which the local month began."""
    return midnight(now, zone).replace(day=1)


_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("CriOS/", "Chrome"),
             ("Chrome/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
_SYSTEMS = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
            ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip


def browser(agent: str) -> str:
    """Return what a browser calls itself in few words, as in ``Firefox, Windows``; empty for nothing."""
    parts = [next((name for mark, name in marks if mark in agent), "") for marks in (_BROWSERS, _SYSTEMS)]
    return ", ".join(part for part in parts if part) or agent.partition("/")[0][:40]

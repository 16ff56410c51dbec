"""From sampled values to readings: one unit a quantity, phases beside each other, totals where none is told.

Invariants (property tests of the same names):
readings never raise · an unreadable value is never 0 · a value lands in one place
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, get_args

from msgspec.structs import astuple

from voltyard.kernel.units import NOMINAL_V, PerPhase
from voltyard.ocpp.v16 import messages
from voltyard.ocpp.v16.told import NULL_WORDS, MeterValue, in_utc, number
from voltyard.speech import Reading

DEFAULT_MEASURAND: Final = "Energy.Active.Import.Register"
"""OCPP 1.6 §7.43: meant where no measurand is told; its unit then is Wh."""
DEFAULT_CONTEXT: Final = "Sample.Periodic"
DEFAULT_LOCATION: Final = "Outlet"

# Where a value lands in the row that is filled while reading. The first five quantities have four places
# each: without a phase, L1, L2, L3.
_ENERGY, _POWER, _CURRENT, _VOLTAGE, _OFFERED, _SOC, _FREQUENCY, _TEMPERATURE = 0, 4, 8, 12, 16, 20, 21, 22
_PLACES: Final = 23

_NOT_TOLD: Final = PerPhase()
VALUE_MAX: Final = 1e15
"""What is larger is no reading; sums of what is not stay finite."""
_AVERAGE_TOLERANCE: Final = 0.02
_TOTAL_TOLERANCE: Final = 0.1
_SCALE_TOLERANCE: Final = 2.0
"""How far a power may be from what current and voltage come to: phases and factors may be untold."""
_SMALL_W: Final = 100.0
_HUGE_W: Final = 1_000_000.0

# Unit -> (factor, summand) into ours. Spellings beyond OCPP 1.6 §7.45 are those that chargers use (Q26).
_WATT_HOURS: Final = MappingProxyType({"Wh": (1.0, 0.0), "kWh": (1000.0, 0.0)})
_WATTS: Final = MappingProxyType({"W": (1.0, 0.0), "kW": (1000.0, 0.0)})
_AMPERES: Final = MappingProxyType({"A": (1.0, 0.0)})
_VOLTS: Final = MappingProxyType({"V": (1.0, 0.0)})
_PERCENT: Final = MappingProxyType({"Percent": (1.0, 0.0)})
_HERTZ: Final = MappingProxyType({"Hertz": (1.0, 0.0)})
_CELSIUS: Final = MappingProxyType(
    {
        "Celsius": (1.0, 0.0),
        # The first JSON schema of 1.6 spelt it so.
        "Celcius": (1.0, 0.0),
        "Fahrenheit": (5 / 9, -160 / 9),
        "K": (1.0, -273.15),
    }
)

_QUANTITIES: Final = (
    (DEFAULT_MEASURAND, _ENERGY, True, _WATT_HOURS),
    ("Power.Active.Import", _POWER, True, _WATTS),
    ("Current.Import", _CURRENT, True, _AMPERES),
    ("Voltage", _VOLTAGE, True, _VOLTS),
    ("Current.Offered", _OFFERED, True, _AMPERES),
    ("SoC", _SOC, False, _PERCENT),
    ("Frequency", _FREQUENCY, False, _HERTZ),
    ("Temperature", _TEMPERATURE, False, _CELSIUS),
)
_PHASES: Final = ((None, 0), ("L1", 1), ("L1-N", 1), ("L2", 2), ("L2-N", 2), ("L3", 3), ("L3-N", 3))

_LOCATIONS: Final = (None, *get_args(messages.Location))
_MAIN: Final = (None, "Outlet")

# (format, measurand, phase, location, unit): what a sample says besides its value and context, in the order
# of the fields of SampledValue.
_Key = tuple[str | None, str | None, str | None, str | None, str | None]
_Slot = tuple[int, float, float]
_Sample = tuple[str | None, str | None, str | None, str | None, str | None, str | None, str | None]


def _slots() -> dict[_Key, _Slot]:
    """Lay out every way to tell something that has a place of its own, with its conversion."""
    slots: dict[_Key, _Slot] = {}
    for measurand, place, has_phases, units in _QUANTITIES:
        for spelling in (measurand, None) if measurand == DEFAULT_MEASURAND else (measurand,):
            for phase, step in _PHASES if has_phases else _PHASES[:1]:
                for location in _MAIN if has_phases else _LOCATIONS:
                    for form in (None, "Raw"):
                        # OCPP 1.6 §7.43 has a default unit for energy; of the others ours is meant.
                        slots[form, spelling, phase, location, None] = (place + step, 1.0, 0.0)
                        for unit, (factor, summand) in units.items():
                            slots[form, spelling, phase, location, unit] = (place + step, factor, summand)
    return slots


_slot_of: Final = _slots().get


def _folded(*words: str) -> dict[str, str]:
    return {word.casefold(): word for word in words}


_ALL_MEASURANDS: Final = frozenset(get_args(messages.Measurand))
_ALL_UNITS: Final = frozenset(get_args(messages.Unit)) | {"Hertz"}
_UNITS_OF: Final[MappingProxyType[str | None, frozenset[str | None]]] = MappingProxyType(
    {measurand: frozenset((None, *units)) for measurand, _, _, units in _QUANTITIES}
    | {None: frozenset((None, *_WATT_HOURS))}
)
_WORDS: Final = MappingProxyType(
    _folded(*_ALL_MEASURANDS, *_ALL_UNITS)
    | _folded(*get_args(messages.Phase), *get_args(messages.Location), *get_args(messages.ValueFormat))
    | {"%": "Percent", "hz": "Hertz", "celcius": "Celsius", "°c": "Celsius", "degc": "Celsius"}
    | {"c": "Celsius", "f": "Fahrenheit", "°f": "Fahrenheit", "kelvin": "K"}
    | {"amp": "A", "amps": "A", "ampere": "A", "amperes": "A", "volt": "V", "volts": "V"}
    | {"watt": "W", "watts": "W", "l1n": "L1-N", "l2n": "L2-N", "l3n": "L3-N"}
)
"""What chargers write, folded, to the words of OCPP 1.6 (quirk Q26)."""
_CONTEXTS: Final = MappingProxyType(
    _folded(
        "Interruption.Begin",
        "Interruption.End",
        "Other",
        "Sample.Clock",
        "Sample.Periodic",
        "Transaction.Begin",
        "Transaction.End",
        "Trigger",
    )
)
_CONTEXT_WORDS: Final = frozenset(_CONTEXTS.values())
_NO_VALUES: Final[list[float | None]] = [None] * _PLACES


def readings(
    meter_values: Sequence[MeterValue] | Sequence[messages.MeterValue], flaws: list[str]
) -> tuple[Reading, ...]:
    """Return what the meter showed, instant by instant, in the order told."""
    found: list[Reading] = []
    for meter_value in meter_values:
        samples = meter_value.sampled_value
        if not samples:
            # Quirk Q25: some chargers keep the beat with an empty array.
            flaws.append("no_sampled_value")
            continue
        told_at = in_utc(meter_value.timestamp, flaws)
        if told_at is None:
            flaws.append("missing_timestamp")
        rows = [astuple(sample) for sample in samples]
        context = rows[0][1]
        for row in rows:
            if row[1] is not context and row[1] != context:
                # The begin and the end of a transaction may share an instant's array.
                groups = _by_context(rows, flaws)
                break
        else:
            groups = {_context(context, flaws): rows}
        for word, group in groups.items():
            reading = _reading(group, told_at, word, flaws)
            if reading is not None:
                found.append(reading)
    return tuple(found)


def _by_context(rows: list[_Sample], flaws: list[str]) -> dict[str, list[_Sample]]:
    groups: dict[str, list[_Sample]] = {}
    for row in rows:
        groups.setdefault(_context(row[1], flaws), []).append(row)
    return groups


def _context(word: str | None, flaws: list[str]) -> str:
    if word is None or word in _CONTEXT_WORDS:
        return word or DEFAULT_CONTEXT
    known = _CONTEXTS.get(word.strip().casefold())
    flaws.append("unknown_context" if known is None else "alias_word")
    return known or word.strip() or DEFAULT_CONTEXT


def _reading(
    samples: list[_Sample], told_at: datetime | None, context: str, flaws: list[str]
) -> Reading | None:
    """Return the samples of one instant and context as a reading, None when they tell nothing."""
    row: list[float | None] = [None] * _PLACES
    inlet: list[float | None] | None = None
    others: list[tuple[str, str, str]] = []
    for sample in samples:
        key = sample[2:]
        slot = _slot_of(key)
        is_inlet = False
        if slot is None:
            slot, is_inlet = _unusual_slot(key, flaws)
            if slot is None:
                others += _other(key, sample[0])
                continue
        try:
            value = float(sample[0] or "")
        except ValueError:
            found = number(sample[0] or "")
            if found is None:
                # An absent number stays absent, since 0 would be a statement (Q28).
                flaws.append("unreadable_value")
                continue
            flaws.append("decimal_comma")
            value = found
        # Written so that a NaN is out of range, too.
        if not -VALUE_MAX <= value <= VALUE_MAX:
            flaws.append("unreadable_value")
            continue
        place, factor, summand = slot
        if is_inlet:
            inlet = inlet or [None] * _PLACES
            inlet[place] = value * factor + summand
        else:
            row[place] = value * factor + summand
    if inlet is not None:
        _add_inlet(row, inlet, others)
    if row == _NO_VALUES and not others:
        return None
    # Unpacked at one go, since this runs for nearly every message.
    e, e1, e2, e3, p, p1, p2, p3, c, c1, c2, c3, v, v1, v2, v3, o, o1, o2, o3, soc, frequency, temperature = (
        row
    )
    return Reading(
        told_at,
        context,
        e if e is not None else _sum(e1, e2, e3),
        p
        if p1 is None and p2 is None and p3 is None and (p is None or p == 0 or _SMALL_W < p < _HUGE_W)
        else _power(p, row, flaws),
        PerPhase(c1, c2, c3) if c is None else _phases(c, (c1, c2, c3), ("Current.Import", "A"), others),
        PerPhase(v1, v2, v3) if v is None else _phases(v, (v1, v2, v3), ("Voltage", "V"), others),
        o if o1 is None and o2 is None and o3 is None else _most(o, o1, o2, o3),
        soc,
        frequency,
        temperature,
        tuple(others),
    )


def _power(total: float | None, row: list[float | None], flaws: list[str]) -> float | None:
    """Return the total power.

    Phases are summed when no total is told, or when it is their mean or far from their sum (quirk Q29). A
    number that fits voltage and current only as kilowatts is taken for those, and the reverse (quirk Q27).
    """
    phases = row[_POWER + 1 : _POWER + 4]
    summed = _sum(*phases)
    if summed is None:
        return None if total is None else _scaled(total, row, flaws)
    if total is None:
        return _scaled(summed, row, flaws)
    told = len(phases) - phases.count(None)
    if told > 1 and abs(total * told - summed) < _AVERAGE_TOLERANCE * abs(summed):
        flaws.append("total_is_average")
        return summed
    # With a phase untold the sum says nothing; at a few watts the meters' own errors are larger.
    if told == len(phases) and abs(total - summed) > max(_TOTAL_TOLERANCE * abs(summed), _SMALL_W):
        flaws.append("total_is_wrong")
        return summed
    return total


def _scaled(power_w: float, row: list[float | None], flaws: list[str]) -> float:
    """Return a power in watts, where what was told fits the current only in another unit."""
    meant_w = _from_current(row)
    if meant_w is None or power_w <= 0:
        return power_w
    for factor in (1000.0, 0.001):
        if meant_w / _SCALE_TOLERANCE < power_w * factor < meant_w * _SCALE_TOLERANCE:
            flaws.append("wrong_scale")
            return power_w * factor
    return power_w


def _from_current(row: list[float | None]) -> float | None:
    """Return the power that the currents come to, None when there is too little of them to tell."""
    whole = row[_CURRENT] if row[_CURRENT + 1 : _CURRENT + 4] == _NO_VALUES[:3] else None
    currents = (whole, *row[_CURRENT + 1 : _CURRENT + 4])
    told = [(step, current) for step, current in enumerate(currents) if current is not None]
    if sum(current for _, current in told) < 1:
        return None
    return sum(current * (row[_VOLTAGE + step] or row[_VOLTAGE] or NOMINAL_V) for step, current in told)


def _sum(l1: float | None, l2: float | None, l3: float | None) -> float | None:
    """Return the sum over the phases that are told, None when none is."""
    if l1 is None and l2 is None and l3 is None:
        return None
    return (l1 or 0.0) + (l2 or 0.0) + (l3 or 0.0)


def _most(*phases: float | None) -> float | None:
    """Return the highest of the phases, None when none is told."""
    return max((value for value in phases if value is not None), default=None)


def _phases(
    whole: float,
    phases: tuple[float | None, float | None, float | None],
    word: tuple[str, str],
    others: list[tuple[str, str, str]],
) -> PerPhase:
    """Return a quantity by phase; one that is told without a phase stands for the first."""
    if phases == _NOT_TOLD:
        return PerPhase(whole)
    others.append((word[0], repr(whole), word[1]))
    return PerPhase(*phases)


def _add_inlet(
    row: list[float | None], inlet: list[float | None], others: list[tuple[str, str, str]]
) -> None:
    """Let what is measured at the inlet stand in where nothing is told of the outlet."""
    for measurand, place, _, units in _QUANTITIES[:5]:
        if row[place : place + 4] == _NO_VALUES[:4]:
            row[place : place + 4] = inlet[place : place + 4]
            continue
        for step, phase in enumerate(("", " L1", " L2", " L3")):
            value = inlet[place + step]
            if value is not None:
                others.append((f"{measurand}{phase} Inlet", repr(value), next(iter(units))))


def _unusual_slot(key: _Key, flaws: list[str]) -> tuple[_Slot | None, bool]:
    """Find the place of a sample in another spelling (Q26), and whether it is the inlet's.

    None for what has no place of its own.
    """
    form = _known(key[0], _WORDS)
    measurand = _known(key[1], _WORDS)
    phase = _known(key[2], _WORDS)
    location = _known(key[3], _WORDS)
    unit = _known(key[4], _WORDS)
    is_inlet = location == "Inlet"
    slot = _slot_of((form, measurand, phase, None if is_inlet else location, unit))
    if (form, measurand, phase, location, unit) != key:
        flaws.append("alias_word")
    if slot is None and form != "SignedData":
        if measurand is not None and measurand not in _ALL_MEASURANDS:
            flaws.append("unknown_measurand")
        elif unit is not None and unit not in _ALL_UNITS:
            flaws.append("unknown_unit")
        elif (measurand is None or measurand in _UNITS_OF) and unit not in _UNITS_OF[measurand]:
            # Which of the two is wrong cannot be known, so nothing is made of it (Q27).
            flaws.append("unit_of_another_measurand")
    return slot, is_inlet


def _known(word: str | None, words: Mapping[str, str]) -> str | None:
    """Return the spelling of 1.6 of a word, the word itself if there is none."""
    if word is None:
        return None
    folded = word.strip().casefold()
    return words.get(folded, word) if folded not in NULL_WORDS else None


def _other(key: _Key, text: str | None) -> list[tuple[str, str, str]]:
    """Keep a sample that has no place of its own, in the charger's spelling."""
    if text is None or text.strip().lower() in NULL_WORDS:
        return []
    form, measurand, phase, location, unit = key
    words = (measurand or DEFAULT_MEASURAND, phase, location, None if form == "Raw" else form)
    name = " ".join(word for word in words if word)
    return [(name, text.replace("\x00", ""), unit or "")]

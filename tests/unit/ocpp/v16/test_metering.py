"""From sampled values to readings: units, phases, totals, and what has no place of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltyard.kernel.units import PerPhase
from voltyard.ocpp.v16 import messages, metering, told
from voltyard.speech import Reading

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FIELDS = ("measurand", "phase", "unit", "location", "context", "format")


def sample(value: str | None, *words: str | None) -> told.Sample:
    return told.Sample(value, **dict(zip(FIELDS, words, strict=False)))


def read(*samples: told.Sample) -> tuple[Reading, list[str]]:
    flaws: list[str] = []
    (reading,) = metering.readings([told.MeterValue(NOON, list(samples))], flaws)
    return reading, flaws


ENERGY = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"


@pytest.mark.parametrize(
    ("samples", "field", "value"),
    [
        ([("1500",)], "energy_wh", 1500),
        ([("1500", None, None, "Wh")], "energy_wh", 1500),
        ([("1.5", None, None, "kWh")], "energy_wh", 1500),
        ([("1500", ENERGY)], "energy_wh", 1500),
        ([("1.5", ENERGY, None, "kWh", "Outlet")], "energy_wh", 1500),
        ([("1", ENERGY, "L1"), ("2", ENERGY, "L2"), ("3", ENERGY, "L3")], "energy_wh", 6),
        ([("1", ENERGY, "L1"), ("9", ENERGY)], "energy_wh", 9),
        ([("11", POWER, None, "kW")], "power_w", 11_000),
        ([("11000", POWER)], "power_w", 11_000),
        ([("1", POWER, "L1", "kW"), ("2", POWER, "L2", "kW")], "power_w", 3_000),
        ([("1", POWER, "L1-N"), ("2", POWER, "L2-N"), ("3", POWER, "L3-N")], "power_w", 6),
        ([("16", "Current.Import", None, "A")], "current_a", PerPhase(16)),
        ([("16", "Current.Import", "L2", "A")], "current_a", PerPhase(None, 16)),
        ([("1", "Current.Import", "L1-N"), ("3", "Current.Import", "L3")], "current_a", PerPhase(1, None, 3)),
        (
            [("230", "Voltage", "L1-N", "V"), ("231", "Voltage", "L3-N")],
            "voltage_v",
            PerPhase(230, None, 231),
        ),
        ([("230", "Voltage")], "voltage_v", PerPhase(230)),
        ([("16", "Current.Offered", None, "A")], "offered_a", 16),
        ([("16", "Current.Offered", "L1"), ("15", "Current.Offered", "L2")], "offered_a", 16),
        ([("55", "SoC", None, "Percent", "EV")], "soc_percent", 55),
        ([("50.01", "Frequency")], "frequency_hz", 50.01),
        ([("31", "Temperature", None, "Celsius", "Body")], "temperature_c", 31),
        ([("31", "Temperature", None, "Celcius")], "temperature_c", 31),
        ([("300.15", "Temperature", None, "K")], "temperature_c", pytest.approx(27)),
        ([("50", "Temperature", None, "Fahrenheit")], "temperature_c", pytest.approx(10)),
        ([("1e3",)], "energy_wh", 1000),
        ([("-5", POWER)], "power_w", -5),
    ],
)
def test_a_quantity_lands_in_its_place_in_our_unit(
    samples: list[tuple[str, ...]], field: str, value: object
) -> None:
    reading, flaws = read(*(sample(*one) for one in samples))
    assert reading == msgspec.structs.replace(Reading(NOON), **{field: value})
    assert flaws == []


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("5", ENERGY, None, "KWH"), "energy_wh", 5000),
        (("5", "energy.active.import.register", None, "wh"), "energy_wh", 5),
        (("5", " ", None, ""), "energy_wh", 5),
        (("50", "Frequency", None, "Hz"), "frequency_hz", 50),
        (("20", "Temperature", None, "celcius"), "temperature_c", 20),
        (("20", "Temperature", None, "°C"), "temperature_c", 20),
        (("16", "Current.Import", "l1", "Amps"), "current_a", PerPhase(16)),
        (("230", "Voltage", "L1N", "Volts"), "voltage_v", PerPhase(230)),
        (("50", "SoC", None, "%"), "soc_percent", 50),
        (("5", ENERGY, None, "Wh", "outlet", None, "raw"), "energy_wh", 5),
    ],
)
def test_an_alias_is_taken_for_its_word_and_noted(
    words: tuple[str, ...], field: str, value: object
) -> None:  # Q26
    reading, flaws = read(sample(*words))
    assert getattr(reading, field) == value
    assert flaws == ["alias_word"]


@pytest.mark.parametrize(
    ("words", "name", "flaws"),
    [
        (("5", "Power.Factor"), "Power.Factor", []),
        (("5", "Current.Export", "L1", "A"), "Current.Export L1", []),
        (("400", "Voltage", "L1-L2", "V"), "Voltage L1-L2", []),
        (("5", ENERGY, None, "Wh", "EV"), f"{ENERGY} EV", []),
        (("5", "Vendor.Thing", None, "V"), "Vendor.Thing", ["unknown_measurand"]),
        (("5", POWER, None, "hp"), POWER, ["unknown_unit"]),
        (("5", POWER, None, "Wh"), POWER, ["unit_of_another_measurand"]),
        (("5", None, None, "W"), ENERGY, ["unit_of_another_measurand"]),
        (("AP;x", ENERGY, None, "Wh", None, None, "SignedData"), f"{ENERGY} SignedData", []),
        (("AP\x00;x", None, None, None, None, None, "SignedData"), f"{ENERGY} SignedData", []),
    ],
)
def test_what_has_no_place_of_its_own_is_kept_as_told(
    words: tuple[str, ...], name: str, flaws: list[str]
) -> None:  # Q26, Q27
    reading, noted = read(sample(*words))
    value = (words[0] or "").replace("\x00", "")
    assert reading == Reading(NOON, others=((name, value, words[3] or "" if len(words) > 3 else ""),))
    assert noted == flaws


@pytest.mark.parametrize("text", ["", "NaN", "nan", "inf", "null", "-", "abc", "1.2.3", None])
def test_an_unreadable_value_is_never_0(text: str | None) -> None:  # Q28
    flaws: list[str] = []
    assert metering.readings([told.MeterValue(NOON, [sample(text, POWER)])], flaws) == ()
    assert flaws == ["unreadable_value"]
    reading, _ = read(sample(text, POWER), sample("5"))
    assert reading == Reading(NOON, energy_wh=5)


@pytest.mark.parametrize("text", ["", "-", None])
def test_nothing_in_no_place_is_left_out(text: str | None) -> None:
    assert metering.readings([told.MeterValue(NOON, [sample(text, "Power.Factor")])], []) == ()


def test_a_decimal_comma_is_read_and_noted() -> None:  # Q28
    assert read(sample("1,5", None, None, "kWh")) == (Reading(NOON, energy_wh=1500), ["decimal_comma"])


@pytest.mark.parametrize("phases", [("1e308", "1e308", "1e308"), ("1e16",), ("-1e400",)])
def test_what_is_too_large_to_be_a_reading_is_none(phases: tuple[str, ...]) -> None:
    told_powers = [sample(value, POWER, f"L{number}") for number, value in enumerate(phases, 1)]
    assert read(sample("1"), *told_powers) == (
        Reading(NOON, energy_wh=1),
        ["unreadable_value"] * len(phases),
    )


@pytest.mark.parametrize(
    ("power", "unit", "currents", "power_w", "flaws"),
    [
        ("7.36", "W", [("32", "L1")], 7_360, ["wrong_scale"]),
        ("22.1", "W", [("32", "L1"), ("32", "L2"), ("32", "L3")], 22_100, ["wrong_scale"]),
        ("7.36", "W", [("32", None)], 7_360, ["wrong_scale"]),
        ("7360", "kW", [("32", "L1")], 7_360, ["wrong_scale"]),
        ("7360", "W", [("32", "L1")], 7_360, []),
        ("60", "W", [("0.4", "L1")], 60, []),
        ("60", "W", [], 60, []),
        ("3000000", "W", [], 3_000_000, []),
        ("-50", "W", [("32", "L1")], -50, []),
        ("90", "W", [("1", "L1")], 90, []),
    ],
)
def test_the_scale_of_a_power_follows_from_its_current(
    power: str, unit: str, currents: list[tuple[str, str | None]], power_w: float, flaws: list[str]
) -> None:  # Q27
    told_currents = [sample(value, "Current.Import", phase, "A") for value, phase in currents]
    reading, found = read(sample(power, POWER, None, unit), sample("230", "Voltage"), *told_currents)
    assert reading.power_w == pytest.approx(power_w)
    assert found == flaws


def test_the_scale_of_phases_follows_from_their_currents() -> None:  # Q27
    currents = [sample("16", "Current.Import", f"L{phase}") for phase in (1, 2, 3)]
    powers = [sample("3.7", POWER, f"L{phase}") for phase in (1, 2, 3)]
    reading, flaws = read(*powers, *currents)
    assert (reading.power_w, flaws) == (pytest.approx(11_100), ["wrong_scale"])


@pytest.mark.parametrize(
    ("total", "power_w", "flaws"),
    [("4000", 6000, ["total_is_wrong"]), ("5900", 5900, []), ("6000", 6000, [])],
)
def test_a_total_far_from_the_sum_of_all_its_phases_is_replaced(
    total: str, power_w: float, flaws: list[str]
) -> None:  # Q29
    phases = [sample(str(phase * 1000), POWER, f"L{phase}") for phase in (1, 2, 3)]
    assert read(*phases, sample(total, POWER)) == (Reading(NOON, power_w=power_w), flaws)


def test_a_total_beside_some_of_its_phases_stays() -> None:  # Q29
    assert read(sample("3000", POWER, "L1"), sample("9500", POWER)) == (Reading(NOON, power_w=9500), [])


def test_a_total_that_is_the_mean_of_its_phases_is_replaced() -> None:  # Q29
    phases = [sample("1000", POWER, f"L{phase}") for phase in (1, 2, 3)]
    assert read(*phases, sample("1000", POWER)) == (Reading(NOON, power_w=3000), ["total_is_average"])
    assert read(*phases, sample("2990", POWER)) == (Reading(NOON, power_w=2990), [])
    assert read(phases[0], sample("1000", POWER)) == (Reading(NOON, power_w=1000), [])


def test_a_value_lands_in_one_place() -> None:
    reading, _ = read(sample("48", "Current.Import"), sample("16", "Current.Import", "L1"))
    assert reading == Reading(NOON, current_a=PerPhase(16), others=(("Current.Import", "48.0", "A"),))
    reading, _ = read(sample("399", "Voltage"), sample("230", "Voltage", "L1"))
    assert reading == Reading(NOON, voltage_v=PerPhase(230), others=(("Voltage", "399.0", "V"),))


def test_the_inlet_stands_in_where_nothing_is_told_of_the_outlet() -> None:
    reading, flaws = read(
        sample("5", ENERGY, None, "kWh", "Inlet"),
        sample("7", POWER, "L1", "kW", "Inlet"),
        sample("6", POWER, None, "kW", "Outlet"),
    )
    assert reading == Reading(
        NOON, energy_wh=5000, power_w=6000, others=((f"{POWER} L1 Inlet", "7000.0", "W"),)
    )
    assert flaws == []


def test_each_context_of_an_instant_is_a_reading() -> None:
    flaws: list[str] = []
    samples = [
        sample("100", ENERGY, None, None, None, "Transaction.Begin"),
        sample("900", ENERGY, None, None, None, "Transaction.End"),
        sample("-", ENERGY, None, None, None, "Other"),
        sample("5", POWER, None, None, None, "Transaction.End"),
    ]
    assert metering.readings([told.MeterValue(NOON, samples)], flaws) == (
        Reading(NOON, "Transaction.Begin", 100),
        Reading(NOON, "Transaction.End", 900, 5),
    )
    assert flaws == ["unreadable_value"]


def test_a_context_that_is_not_told_is_the_periodic_one() -> None:
    reading, flaws = read(
        sample("5"),
        sample("7", POWER, None, None, None, "Sample.Periodic"),
        sample("50", "SoC", None, None, None, "sample.periodic"),
    )
    assert reading == Reading(NOON, energy_wh=5, power_w=7, soc_percent=50)
    assert flaws == ["alias_word"]


@pytest.mark.parametrize(
    ("word", "context", "flaws"),
    [
        (None, "Sample.Periodic", []),
        ("Trigger", "Trigger", []),
        ("sample.periodic", "Sample.Periodic", ["alias_word"]),
        ("Vendor", "Vendor", ["unknown_context"]),
        (" ", "Sample.Periodic", ["unknown_context"]),
    ],
)
def test_a_context_is_told_in_the_words_of_1_6(word: str | None, context: str, flaws: list[str]) -> None:
    assert read(sample("5", None, None, None, None, word)) == (Reading(NOON, context, 5), flaws)


def test_instants_keep_their_order_and_empty_ones_are_left_out() -> None:  # Q25
    flaws: list[str] = []
    found = metering.readings(
        [
            told.MeterValue(NOON, []),
            told.MeterValue(None, [sample("5")]),
            told.MeterValue(NOON.replace(tzinfo=None), [sample("6")]),
            told.MeterValue(NOON, None),
        ],
        flaws,
    )
    assert found == (Reading(None, energy_wh=5), Reading(NOON, energy_wh=6))
    assert flaws == ["no_sampled_value", "missing_timestamp", "time_without_offset", "no_sampled_value"]


WORDS: dict[str, Any] = {
    "measurand": st.sampled_from(messages.Measurand.__args__) | st.text(max_size=5),
    "phase": st.sampled_from(messages.Phase.__args__) | st.text(max_size=3),
    "unit": st.sampled_from(messages.Unit.__args__) | st.text(max_size=3),
    "location": st.sampled_from(messages.Location.__args__) | st.text(max_size=3),
    "context": st.sampled_from(messages.Context.__args__) | st.text(max_size=3),
    "format": st.sampled_from(messages.ValueFormat.__args__) | st.text(max_size=3),
}
SAMPLES = st.builds(
    told.Sample,
    st.none() | st.text(max_size=5) | st.floats().map(str),
    **{name: st.none() | words for name, words in WORDS.items()},
)


@settings(deadline=None)
@given(st.lists(SAMPLES, max_size=5))
def test_readings_never_raise(samples: list[told.Sample]) -> None:
    for reading in metering.readings([told.MeterValue(NOON, samples)], []):
        assert msgspec.json.decode(msgspec.json.encode(reading), type=Reading) == reading

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from voltyard.portal import formats

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


@pytest.mark.parametrize(
    ("energy_wh", "written"),
    [
        (0, "0 kWh"),
        (4, "0.00 kWh"),
        (7_354, "7.35 kWh"),
        (9_994, "9.99 kWh"),
        (9_996, "10.0 kWh"),
        (36_640, "36.6 kWh"),
        (99_951, "100 kWh"),
        (12_345_678, "12,346 kWh"),
        (None, "–"),
    ],
)
def test_energy_has_as_many_decimals_as_help(energy_wh: float | None, written: str):
    assert formats.energy(energy_wh) == written.replace(" ", formats.GAP)


def test_numbers_follow_the_language():
    assert formats.energy(12_345_678, "nl") == f"12.346{formats.GAP}kWh"
    assert formats.power(7_360, "da") == f"7,4{formats.GAP}kW"


@pytest.mark.parametrize(
    ("power_w", "written"),
    [(0, "0 kW"), (0.2, "0 kW"), (850, "850 W"), (999.6, "1.0 kW"), (10_626, "10.6 kW"), (None, "–")],
)
def test_power_is_in_watts_below_a_kilowatt(power_w: float | None, written: str):
    assert formats.power(power_w) == written.replace(" ", formats.GAP)


def test_currents_and_shares():
    assert formats.current(15.73) == f"15.7{formats.GAP}A"
    assert formats.percent(79.4) == f"79{formats.GAP}%"
    assert formats.current(None) == formats.percent(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min"), (5_700, "1 h 35 min"),
     (3_660, "1 h 01 min"), (86_400 * 3 + 3_600 * 4, "3 d 4 h")],
)  # fmt: skip
def test_durations_show_two_units(seconds: int, written: str):
    said = formats.duration(timedelta(seconds=seconds))
    assert said.replace(formats.GAP, " ") == written


def test_a_duration_that_is_not_known():
    assert formats.duration(None) == "–"


def test_the_average_of_a_moment_is_not_told():
    assert formats.average_w(1_000, timedelta(hours=2)) == 500
    assert formats.average_w(10, timedelta(milliseconds=10)) is None


def test_times_are_local():
    at = datetime(2026, 7, 14, 22, 30, tzinfo=UTC)
    assert formats.clock(at, AMSTERDAM) == "00:30"
    assert formats.day(at, AMSTERDAM) == "15 Jul 2026"
    assert "Central European Summer Time" in formats.whole(at, AMSTERDAM)


def test_today_begins_at_local_midnight_also_when_the_clocks_change():
    now = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
    assert formats.midnight(now, AMSTERDAM).astimezone(UTC) == datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    assert formats.month_start(now, AMSTERDAM).astimezone(UTC) == datetime(2026, 2, 28, 23, 0, tzinfo=UTC)


def test_yesterday_is_counted_in_midnights():
    now = datetime(2026, 7, 14, 22, 30, tzinfo=UTC)
    assert formats.days_ago(now - timedelta(minutes=20), now, AMSTERDAM) == 0
    assert formats.days_ago(now - timedelta(minutes=40), now, AMSTERDAM) == 1


def test_a_zone_is_named_where_its_clocks_show_another_hour():
    at = datetime(2026, 7, 1, tzinfo=UTC)
    assert formats.zone_name(at, ZoneInfo("Europe/Copenhagen"), AMSTERDAM) == ""
    assert formats.zone_name(at, AMSTERDAM, ZoneInfo("UTC")) == "Amsterdam"
    assert formats.zone_name(at, ZoneInfo("Europe/Copenhagen"), ZoneInfo("UTC"), "da") == "København"


def test_the_place_of_clocks_is_named_if_they_differ_in_any_half_of_the_year():
    winter, utc, london = datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC"), ZoneInfo("Europe/London")
    assert formats.zone_name(winter, london, utc) == ""
    assert formats.place_of_clocks(winter, london, utc) == "London"
    assert formats.place_of_clocks(winter, ZoneInfo("Europe/Copenhagen"), AMSTERDAM) == ""


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (123_456, "123 kB"), (64 * 1024**2, "67.1 MB"),
     (999_600, "1.0 MB"), (5_000_000_000_000, "5,000 GB")],
)  # fmt: skip
def test_the_size_of_a_file_is_written_in_the_unit_that_people_know(size_bytes: int, text: str):
    assert formats.size(size_bytes).replace(formats.GAP, " ") == text


@pytest.mark.parametrize(
    ("latency_s", "written"),
    [(None, "–"), (0.0004, "0\u00a0ms"), (0.42, "420\u00a0ms"), (1.26, "1.3\u00a0s"), (45.2, "45\u00a0s")],
)
def test_a_latency_is_written_in_the_unit_that_fits(latency_s: float | None, written: str):
    assert formats.latency(latency_s) == written

"""Bounds of the strict messages that no schema states; `test_actions.py` holds them all to their schemas."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from voltyard.ocpp.v16 import messages

PERIOD: dict[str, Any] = {"startPeriod": 0, "limit": 16}


@pytest.mark.parametrize("limit", [0, 6, 8.1, 16.0, 31.9, 22_080, 11_039.9])
def test_a_limit_has_one_decimal_at_most(limit: float) -> None:
    for near in (0.01, 0.05, 0.001):
        with pytest.raises(msgspec.ValidationError, match=r"one decimal at most.*limit|one decimal at most"):
            msgspec.convert(PERIOD | {"limit": limit + near}, messages.ChargingSchedulePeriod)
    assert msgspec.convert(PERIOD | {"limit": limit}, messages.ChargingSchedulePeriod).limit == limit


@pytest.mark.parametrize(
    "changed",
    [
        {"limit": -0.1},
        {"limit": 2**31},
        {"startPeriod": -1},
        {"numberPhases": 0},
        {"numberPhases": 4},
    ],
)
def test_a_period_out_of_bounds_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(PERIOD | changed, messages.ChargingSchedulePeriod)


def test_a_schedule_has_a_period_and_a_lowest_rate_of_one_decimal() -> None:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [PERIOD]}
    found = msgspec.convert(schedule | {"minChargingRate": 6.5}, messages.ChargingSchedule)
    assert found.min_charging_rate == 6.5
    for wrong in ({"minChargingRate": 6.55}, {"chargingSchedulePeriod": []}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(schedule | wrong, messages.ChargingSchedule)


@pytest.mark.parametrize("url", ["ftp://192.0.2.1/x", "https://example.com", "file:///x", "HTTP://H/é"])
def test_an_address_bears_its_scheme(url: str) -> None:
    assert msgspec.convert(url, messages.Url) == url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["", "example.com/x", "/x", "http:", "http://a b", "http://a\n", "http://\x00"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(url, messages.Url)  # type: ignore[arg-type]


def test_an_instant_bears_its_offset() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("2026-03-01T12:00:00", messages.Instant)  # type: ignore[arg-type]

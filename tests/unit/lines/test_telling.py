"""What a stand-in tells of its charger by itself fits the schemas, whatever the charger has told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import fits
from voltyard.lines import telling
from voltyard.operators.serving import Facts, Farewell
from voltyard.speech import ConnectorStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AVAILABLE = (1, "Available", "NoError", None, None, NOW)
PLAIN = Facts(
    "Vendor", "Model", None, None, None, None, None, None, None,
    is_online=True, gone_at=None, statuses=(), running=(),
)  # fmt: skip
TEXT = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=80)


@st.composite
def told_facts(draw: st.DrawFn) -> Facts:
    names = ("serial", "box_serial", "firmware", "iccid", "imsi", "meter_type", "meter_serial")
    texts: dict[str, Any] = {name: draw(TEXT) for name in names}
    return replace(
        PLAIN,
        vendor=draw(st.text("aé", min_size=1, max_size=60)),
        model="M" * draw(st.integers(1, 60)),
        **texts,
    )


@given(told_facts())
def test_a_boot_fits_the_schema(facts: Facts):
    fits("BootNotification", telling.boot(facts))


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(ConnectorStatus), TEXT, TEXT, st.integers(-99, 99)),
        max_size=4,
    )
)
def test_states_fit_the_schema(drawn):
    statuses = tuple(
        (number, status.value, "NoError", info, error, NOW + timedelta(hours=hours))
        for number, status, info, error, hours in drawn
    )
    found = telling.statuses(replace(PLAIN, statuses=statuses), NOW)
    assert len(found) == max(1, len(statuses))
    for payload in found:
        fits("StatusNotification", payload)
        assert datetime.fromisoformat(json.loads(payload)["timestamp"]) <= NOW


def test_what_is_not_known_is_left_out():
    assert json.loads(telling.boot(PLAIN)) == {"chargePointVendor": "Vendor", "chargePointModel": "Model"}
    named = replace(PLAIN, serial="S", firmware="1.0", iccid="", meter_serial="MS")
    assert json.loads(telling.boot(named)) == {
        "chargePointVendor": "Vendor",
        "chargePointModel": "Model",
        "chargePointSerialNumber": "S",
        "firmwareVersion": "1.0",
        "meterSerialNumber": "MS",
    }


def test_a_charger_that_has_told_nothing_is_taken_for_available():
    (only,) = telling.statuses(PLAIN, NOW)
    assert json.loads(only) == {
        "connectorId": 0, "status": "Available", "errorCode": "NoError", "timestamp": "2026-03-01T12:00:00Z",
    }  # fmt: skip


def test_one_connector_is_told_alone():
    facts = replace(PLAIN, statuses=(AVAILABLE, (2, "Faulted", "OtherError", "why", "0x5", NOW)))
    found = telling.status(facts, 2, NOW)
    assert found is not None
    assert json.loads(found) == {
        "connectorId": 2,
        "status": "Faulted",
        "errorCode": "OtherError",
        "timestamp": "2026-03-01T12:00:00Z",
        "info": "why",
        "vendorErrorCode": "0x5",
    }
    assert telling.status(facts, 3, NOW) is None


@given(st.integers(), st.integers(-10, 2**40))
def test_a_last_word_fits_the_schema(theirs: int, meter_wh: int):
    payload = telling.farewell(Farewell(1, theirs, meter_wh, "TAG"), NOW)
    fits("StopTransaction", payload)
    told = json.loads(payload)
    assert (told["transactionId"], told["meterStop"], told["reason"]) == (theirs, max(0, meter_wh), "Other")

"""What an old firmware gets wrong: bent on the way out, and understood by our own dialect."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sim.driving import CAR, START
from voltyard.sim import quirks
from voltyard.sim.charger import Effect, Send, VirtualCharger
from voltyard.sim.quirks import NONE, ODD, bend, with_colons
from voltyard.sim.station import Nameplate

HAARLEM = ZoneInfo("Europe/Amsterdam")
STATUS = {
    "connectorId": 1,
    "status": "Preparing",
    "errorCode": "NoError",
    "timestamp": "2026-07-01T12:00:00.500Z",
}


def test_without_quirks_nothing_is_bent():
    assert bend(NONE, "StatusNotification", STATUS, HAARLEM) is STATUS
    assert bend(NONE, "Heartbeat", {}, HAARLEM) == {}


def test_a_status_is_told_in_words_of_its_own_and_in_local_time():
    assert bend(ODD, "StatusNotification", STATUS, HAARLEM) == {
        "connectorId": "1",
        "status": "Occupied",
        "timestamp": "2026-07-01T14:00:00",
    }


def test_an_error_is_told_all_the_same():
    bent = bend(ODD, "StatusNotification", STATUS | {"errorCode": "GroundFailure"}, UTC)
    assert bent is not None
    assert bent["errorCode"] == "GroundFailure"


def test_readings_lose_their_list_and_get_commas():
    value = {"timestamp": "2026-07-01T12:00:00Z", "sampledValue": [{"value": "16.5", "unit": "A"}]}
    bent = bend(ODD, "MeterValues", {"connectorId": 2, "meterValue": [value]}, UTC)
    assert bent == {
        "connectorId": "2",
        "meterValue": {"timestamp": "2026-07-01T12:00:00", "sampledValue": [{"value": "16,5", "unit": "A"}]},
    }
    two = bend(ODD, "MeterValues", {"connectorId": 2, "meterValue": [value, value]}, UTC)
    assert two is not None
    assert len(two["meterValue"]) == 2


def test_a_heartbeat_has_no_payload_and_a_boot_a_null():
    assert bend(ODD, "Heartbeat", {}, UTC) is None
    assert bend(ODD, "BootNotification", {"chargePointModel": "M"}, UTC) == {
        "chargePointModel": "M",
        "iccid": "null",
    }


@pytest.mark.parametrize(
    ("tag", "written"),
    [("04A1B2C3", "04:A1:B2:C3"), ("", ""), ("ABC", "ABC"), ("Visitor1", "Visitor1"), ("0A" * 8, "0A" * 8)],
)
def test_bytes_of_a_tag_are_written_with_colons_where_they_are_some(tag, written):
    assert with_colons(tag) == written


@given(st.text(alphabet="0123456789abcdefABCDEFxyz", max_size=20))
def test_a_tag_stays_the_same_tag_and_short_enough(tag):
    written = with_colons(tag)
    assert written.replace(":", "") == tag
    assert len(written) <= 20


class Yard:
    """An old charger and a hand that answers it."""

    def __init__(self) -> None:
        self.machine = VirtualCharger(Nameplate("OLD", quirks=ODD, zone=HAARLEM), 7, START)
        self.sent: list[list[object]] = []
        self.do(self.machine.connected(START))
        boot = {"status": "Accepted", "currentTime": "2026-03-01T12:00:00Z", "interval": 300}
        self.answer(boot)
        for _ in range(2):
            self.answer({})

    def do(self, effects: list[Effect]) -> None:
        self.sent += [json.loads(effect.text) for effect in effects if isinstance(effect, Send)]

    def answer(self, payload: dict[str, object]) -> None:
        self.do(self.machine.received(json.dumps([3, self.sent[-1][1], payload]), START))

    def ask(self, action: str, at: datetime = START, **payload: object) -> None:
        self.do(self.machine.received(json.dumps([2, "q", action, payload]), at))


def test_an_old_charger_boots_and_tells_its_status_badly():
    yard = Yard()
    told = [frame[3] for frame in yard.sent if frame[2] == "StatusNotification"]
    assert told == [
        {"connectorId": str(number), "status": "Available", "timestamp": "2026-03-01T13:00:00"}
        for number in (0, 1)
    ]


def test_an_old_charger_thinks_before_it_answers_and_lacks_a_key():
    yard = Yard()
    yard.ask("GetConfiguration", key=["LightIntensity"])
    assert yard.sent[-1][2] == {"configurationKey": [], "unknownKey": ["LightIntensity"]}
    before = len(yard.sent)
    yard.ask("GetCompositeSchedule", connectorId=1, duration=60)
    assert len(yard.sent) == before
    at = datetime.fromtimestamp(START.timestamp() + quirks.SLOW_S["GetCompositeSchedule"], UTC)
    yard.do(yard.machine.tick(at))
    assert yard.sent[before][:2] == [3, "q"]


def test_an_answer_that_is_thought_about_dies_with_its_connection():
    yard = Yard()
    yard.ask("GetCompositeSchedule", connectorId=1, duration=60)
    before = len(yard.sent)
    yard.do(yard.machine.disconnected(START))
    yard.do(yard.machine.tick(datetime.fromtimestamp(START.timestamp() + 60, UTC)))
    assert len(yard.sent) == before


def test_somebody_at_the_charger_sets_a_key_past_the_central_system():
    yard = Yard()
    yard.do(yard.machine.set_by_hand("ConnectionTimeOut", "45", START))
    yard.ask("GetConfiguration", key=["ConnectionTimeOut"])
    (told,) = yard.sent[-1][2]["configurationKey"]  # type: ignore[index,call-overload]
    assert told["value"] == "45"


def test_a_car_at_an_old_charger_is_told_with_every_number_as_text():
    yard = Yard()
    yard.do(yard.machine.plug(1, CAR, START))
    assert yard.sent[-1][3]["status"] == "Occupied"  # type: ignore[index,call-overload]

"""The central system's side of a recording against a simulated charger."""

from __future__ import annotations

from tests.unit.sim.recordings import ACCEPTED, asked, said, written
from voltyard.sim.replay import Report, read_recording
from voltyard.sim.replay_charger import play

BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}
BOOTED = ACCEPTED | {"currentTime": "2026-03-01T12:00:00Z", "interval": 60}


def played(*rows: dict) -> Report:
    return play(read_recording(written(said(1, "BootNotification", BOOT, BOOTED), *rows)))


def status(number: int, word: str) -> dict:
    return said(number, "StatusNotification", {"connectorId": 1, "status": word, "errorCode": "NoError"}, {})


def start(number: int) -> dict:
    payload = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2026-03-01T12:00:00Z"}
    return said(number, "StartTransaction", payload, {"transactionId": 17, "idTagInfo": ACCEPTED})


def test_asks_are_answered_with_the_same_words():
    report = played(
        asked(10, "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}, ACCEPTED),
        asked(11, "GetLocalListVersion", {}, {"listVersion": 3}),
        asked(12, "MadeUp", {}, {"errorCode": "NotImplemented", "errorDescription": "?"}),
    )
    assert (report.played, report.compared, report.differences) == (3, 3, [])


def test_another_word_is_a_difference():
    report = played(asked(10, "UnlockConnector", {"connectorId": 1}, {"status": "UnlockFailed"}))
    assert [str(each) for each in report.differences] == [
        "call 10 UnlockConnector: was UnlockFailed and is Unlocked"
    ]


def test_people_do_again_what_the_charger_told_of():
    for stop in ({"reason": "Remote"}, {"reason": "Local", "idTag": "A"}, {"reason": "EVDisconnected"}):
        rows = [
            status(10, "Preparing"),
            said(11, "Authorize", {"idTag": "A"}, {"idTagInfo": ACCEPTED}),
            start(12),
            status(13, "Charging"),
            asked(
                14, "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}, {"status": "Scheduled"}
            ),
            asked(15, "ChangeAvailability", {"connectorId": 1, "type": "Operative"}, ACCEPTED),
        ]
        if stop["reason"] == "Remote":
            rows.append(asked(16, "RemoteStopTransaction", {"transactionId": 17}, ACCEPTED))
        rows += [
            said(17, "StopTransaction", {"transactionId": 17, "meterStop": 0} | stop, {}),
            status(18, "Available"),
            asked(20, "RemoteStopTransaction", {"transactionId": 17}, {"status": "Rejected"}),
            asked(21, "ReserveNow", {"connectorId": 1, "idTag": "B", "reservationId": 1,
                                     "expiryDate": "2099-01-01T00:00:00Z"}, ACCEPTED),
        ]  # fmt: skip
        assert played(*rows).differences == [], stop


def test_a_start_by_a_card_that_nobody_showed_is_made_to_happen():
    report = played(start(10), asked(11, "RemoteStopTransaction", {"transactionId": 17}, ACCEPTED))
    assert report.differences == []


def test_a_restart_leads_to_a_new_connection():
    report = played(
        asked(10, "Reset", {"type": "Hard"}, ACCEPTED),
        asked(90, "GetConfiguration", {"key": ["HeartbeatInterval"]}, {"configurationKey": [{}]}),
    )
    assert report.differences == []


def test_what_had_no_answer_is_left_out():
    report = played(asked(10, "ClearCache", {}))
    assert (report.played, report.notes) == (0, ["call 10 ClearCache: had no answer, left out"])

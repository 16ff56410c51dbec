"""What operators ask: each action, by each role, is answered validly, and the charger hears what it may."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.factories import SYSTEM
from tests.unit.lines.scene import CARD, STRANGER, Scene, office, scene_of
from tests.unit.ocpp.v16.schemas import fits
from tests.unit.sim.driving import profile
from voltyard.chargers import parameters
from voltyard.kernel.context import Context
from voltyard.lines import requests
from voltyard.ocpp.frames import Call
from voltyard.ocpp.v16 import actions
from voltyard.operators import limits, store
from voltyard.operators.deliveries import DeliveryStatus
from voltyard.operators.events import Compose
from voltyard.proxy import policy
from voltyard.reservations import service as reservations
from voltyard.sim.backoffice import AskFailed, Backoffice
from voltyard.speech import (
    ByHand,
    CancelReservation,
    ClearLimit,
    ForgetCards,
    LimitPurpose,
    ReplaceCards,
    Reserve,
    Restart,
    Role,
    SetAvailability,
    SetKey,
    SetLimit,
    StartCharging,
    StopCharging,
    Trigger,
    Unlock,
    Verdict,
)

EVERY_ROLE = (Role.BILLING, Role.DATA_CONTROL, Role.OBSERVER)
HASH = {
    "hashAlgorithm": "SHA256", "issuerNameHash": "ab", "issuerKeyHash": "cd", "serialNumber": "1"
}  # fmt: skip
LATER = "2026-01-01T14:00:00Z"
FIRMWARE = {"location": "https://example.com/f", "retrieveDate": LATER}
REQUESTS: dict[str, dict[str, Any]] = {
    "RemoteStartTransaction": {"idTag": STRANGER, "connectorId": 2},
    "RemoteStopTransaction": {"transactionId": 700},
    "UnlockConnector": {"connectorId": 2},
    "Reset": {"type": "Soft"},
    "ChangeAvailability": {"connectorId": 2, "type": "Inoperative"},
    "ReserveNow": {"connectorId": 2, "expiryDate": LATER, "idTag": STRANGER, "reservationId": 9},
    "CancelReservation": {"reservationId": 9},
    "SendLocalList": {"listVersion": 1, "updateType": "Full"},
    "GetLocalListVersion": {},
    "ClearCache": {},
    "GetConfiguration": {},
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "60"},
    "SetChargingProfile": {"connectorId": 1, "csChargingProfiles": profile(10)},
    "ClearChargingProfile": {"id": 1},
    "GetCompositeSchedule": {"connectorId": 1, "duration": 600},
    "TriggerMessage": {"requestedMessage": "Heartbeat"},
    "DataTransfer": {"vendorId": "com.example", "data": "x"},
    "UpdateFirmware": FIRMWARE,
    "SignedUpdateFirmware": {
        "requestId": 1,
        "firmware": {**FIRMWARE, "retrieveDateTime": LATER, "signingCertificate": "c", "signature": "s"},
    },
    "GetDiagnostics": {"location": "https://example.com/d"},
    "GetLog": {
        "logType": "DiagnosticsLog", "requestId": 1, "log": {"remoteLocation": "https://example.com/l"},
    },
    "InstallCertificate": {"certificateType": "CentralSystemRootCertificate", "certificate": "c"},
    "DeleteCertificate": {"certificateHashData": HASH},
    "CertificateSigned": {"certificateChain": "c"},
    "GetInstalledCertificateIds": {"certificateType": "CentralSystemRootCertificate"},
    "ExtendedTriggerMessage": {"requestedMessage": "SignChargePointCertificate"},
}  # fmt: skip
REQUESTS["SignedUpdateFirmware"]["firmware"].pop("retrieveDate")
REFUSALS = frozenset(
    ("Rejected", "NotSupported", "UnknownVendorId", "Unknown", "Failed", "NotFound", "NotImplemented")
)


@pytest.fixture
async def scene(sqlite_ctx: Context) -> AsyncIterator[Scene]:
    async with scene_of(sqlite_ctx) as found:
        yield found


@pytest.fixture
async def back() -> AsyncIterator[Backoffice]:
    async with office() as opened:
        yield opened


async def asked(scene: Scene, back: Backoffice, action: str, **payload: Any) -> str:
    """Have an operator ask; return the status of its valid answer, or the code of the error."""
    try:
        answer = await scene.ask(back, action, **payload)
    except AskFailed as failed:
        return failed.code
    fits(action, answer, is_answer=True)
    return answer.get("status", "")


# --- all of them ----------------------------------------------------------------------------------


def test_there_is_a_request_of_each_action():
    assert REQUESTS.keys() == actions.TO_CHARGER.keys()
    for action, payload in REQUESTS.items():
        fits(action, payload)


@pytest.mark.parametrize("consents", [(), ("firmware", "diagnostics", "vendor")])
@pytest.mark.parametrize("role", EVERY_ROLE)
async def test_every_action_is_answered_validly(scene: Scene, back: Backoffice, role, consents):
    link_id = await scene.online(back, role, consents=consents)
    await scene.start()
    await scene.told(link_id)
    scene.asked.clear()
    for action, payload in REQUESTS.items():
        decision = policy.decide(role, action, is_running=action == "Reset", consents=consents)
        before = len(scene.asked)
        status = await asked(scene, back, action, **payload)
        if decision.way is policy.Way.REFUSE:
            assert scene.asked[before:] == [], f"{action} is refused, and the charger hears nothing"
            assert status in REFUSALS | {""}
        else:
            assert status not in {"InternalError", "FormationViolation", "NotSupported"}, action
    rows = await scene.deliveries(link_id, is_inward=True)
    assert [row.action for row in rows] == list(REQUESTS)
    assert {row.status for row in rows if row.note[:1] == ("no_consent",)} <= {DeliveryStatus.REFUSED}
    if role is Role.OBSERVER:
        assert scene.asked == []


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("Reset", {"type": "Gently"}, "PropertyConstraintViolation"),
        ("Reset", {}, "OccurenceConstraintViolation"),
        ("Dance", {}, "NotImplemented"),
        ("Heartbeat", {}, "NotSupported"),
    ],
)
async def test_what_cannot_be_understood_reaches_nobody(
    scene: Scene, back: Backoffice, action, payload, code
):
    link_id = await scene.online(back)
    scene.asked.clear()
    assert await asked(scene, back, action, **payload) == code
    (row,) = await scene.deliveries(link_id, is_inward=True)
    assert (row.status, row.note, json.loads(row.answer)["errorCode"]) == (
        DeliveryStatus.REFUSED,
        ("malformed",),
        code,
    )
    assert scene.asked == []


# --- starting and stopping ------------------------------------------------------------------------


async def test_who_bills_starts_and_stops_by_its_own_numbers(scene: Scene, back: Backoffice):
    link_id = await scene.online(back)
    scene.asked.clear()
    limited = {"idTag": STRANGER, "connectorId": 2, "chargingProfile": profile(6, purpose="TxProfile")}
    assert await asked(scene, back, "RemoteStartTransaction", **limited) == "Accepted"
    assert scene.asked == [StartCharging(STRANGER, 2)]
    (row,) = await scene.deliveries(link_id, "RemoteStartTransaction")
    assert row.note == ("profile_left_out",)
    number = (await scene.start(STRANGER, connector=2)).number
    await scene.told(link_id)
    assert await asked(scene, back, "RemoteStopTransaction", transactionId=number) == "Rejected"
    assert await asked(scene, back, "RemoteStopTransaction", transactionId=700) == "Accepted"
    assert scene.asked[1:] == [StopCharging(number)]
    notes = [row.note for row in await scene.deliveries(link_id, "RemoteStopTransaction")]
    assert notes == [("unknown_transaction",), ("number",)]
    await scene.stop(number)
    await scene.told(link_id)
    assert await asked(scene, back, "RemoteStopTransaction", transactionId=700) == "Rejected"


@pytest.mark.parametrize("role", [Role.DATA_CONTROL, Role.OBSERVER])
async def test_nobody_else_starts_or_stops(scene: Scene, back: Backoffice, role):
    link_id = await scene.online(back, role)
    await scene.start()
    await scene.told(link_id)
    scene.asked.clear()
    assert await asked(scene, back, "RemoteStartTransaction", idTag=CARD) == "Rejected"
    assert await asked(scene, back, "RemoteStopTransaction", transactionId=700) == "Rejected"
    assert scene.asked == []


async def test_before_its_boot_is_accepted_nobody_starts_anything(scene: Scene):
    async with office(registration="Pending", interval_s=3_600) as back:
        link_id = await scene.connect(back)
        await scene.reach(link_id, "pending")
        scene.asked.clear()
        assert await asked(scene, back, "RemoteStartTransaction", idTag=CARD) == "Rejected"
        assert await asked(scene, back, "RemoteStopTransaction", transactionId=1) == "Rejected"
        assert await asked(scene, back, "GetConfiguration") == ""
        assert scene.asked == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Rejected", "Rejected"),
        ("accepted", "Accepted"),
        ("NotSupported!", "NotSupported"),
    ],
)
async def test_what_the_charger_answers_is_passed_on(scene: Scene, back: Backoffice, word, expected):
    await scene.online(back)
    scene.words["StartCharging"] = word
    assert await asked(scene, back, "RemoteStartTransaction", idTag=CARD) == expected


async def test_an_answer_with_more_than_ocpp_knows_is_stripped(scene: Scene, back: Backoffice):
    await scene.online(back, consents=("firmware", "diagnostics", "vendor"))
    scene.payloads["Unlock"] = {"status": "Unlocked", "vendorId": "x", "reason": None}
    assert await scene.ask(back, "UnlockConnector", connectorId=1) == {"status": "Unlocked"}
    scene.payloads["UpdateFirmware"] = {"status": "Accepted"}
    assert await scene.ask(back, "UpdateFirmware", **FIRMWARE) == {}
    scene.payloads["DataTransfer"] = {"status": "Accepted", "data": '{"a": 1}'}
    assert await scene.ask(back, "DataTransfer", vendorId="v") == scene.payloads["DataTransfer"]
    # A word that OCPP does not know says as much as its meaning.
    scene.payloads["Unlock"] = {"status": "unlocked"}
    assert await scene.ask(back, "UnlockConnector", connectorId=1) == {"status": "Unlocked"}
    scene.payloads["Unlock"] = {"status": "jammed"}
    assert await scene.ask(back, "UnlockConnector", connectorId=1) == {"status": "UnlockFailed"}


@pytest.mark.parametrize("action", ["UpdateFirmware", "SignedUpdateFirmware", "GetDiagnostics", "GetLog"])
async def test_no_operator_sends_a_charger_where_it_should_not_go(scene: Scene, back: Backoffice, action):
    link_id = await scene.online(back, consents=("firmware", "diagnostics"))
    scene.asked.clear()
    asks = json.loads(json.dumps(REQUESTS[action]).replace("https://example.com/", "http://169.254.169.254/"))
    assert await asked(scene, back, action, **asks) == "PropertyConstraintViolation"
    assert scene.asked == []
    (row,) = await scene.deliveries(link_id, action)
    assert (row.status, row.note) == ("refused", ("unfit_address",))
    await asked(scene, back, action, **REQUESTS[action])
    assert len(scene.asked) == 1


async def test_a_charger_is_sent_where_was_judged_and_nowhere_else(scene: Scene, back: Backoffice):
    """Of a name that stands twice in a message, a charger might take the one that was not looked at."""
    await scene.online(back, consents=("diagnostics",))
    scene.asked.clear()
    raw = b'{"location":"http://192.168.1.1/x","location":"https://example.com/d","retries":2}'
    stand_in = scene.line(back_link(scene))._connection._stand_in
    call = Call(b'"1"', "GetDiagnostics", raw)
    connection = scene.line(back_link(scene))._connection
    await connection._requests.carry_out(connection.link, stand_in, call, lambda _effects: None)
    (asked_for,) = scene.asked
    assert asked_for == ByHand("GetDiagnostics", '{"location":"https://example.com/d","retries":2}')


def back_link(scene: Scene) -> str:
    (link_id,) = scene.lines._lines
    return link_id


async def test_for_a_charger_that_is_away_the_answer_is_a_refusal(scene: Scene, back: Backoffice):
    await scene.online(back, consents=("firmware",))
    await scene.start()
    await scene.go()
    assert await asked(scene, back, "RemoteStartTransaction", idTag=CARD) == "Rejected"
    assert await asked(scene, back, "UnlockConnector", connectorId=2) == "UnlockFailed"
    assert await asked(scene, back, "UpdateFirmware", **FIRMWARE) == "InternalError"
    assert await asked(scene, back, "ReserveNow", **REQUESTS["ReserveNow"]) == "Rejected"


@pytest.mark.parametrize("role", [Role.BILLING, Role.DATA_CONTROL])
async def test_nothing_is_unlocked_or_restarted_by_others_while_somebody_charges(
    scene: Scene, back: Backoffice, role
):
    is_billing = role is Role.BILLING
    link_id = await scene.online(back, role)
    number = (await scene.start()).number
    await scene.told(link_id)
    scene.asked.clear()
    assert await asked(scene, back, "Reset", type="Soft") == "Rejected"
    unlocked = "Unlocked" if is_billing else "NotSupported"
    assert await asked(scene, back, "UnlockConnector", connectorId=1) == unlocked
    assert await asked(scene, back, "UnlockConnector", connectorId=2) == "Unlocked"
    assert Restart() not in scene.asked
    assert scene.asks(Unlock) == [*([Unlock(1)] if is_billing else []), Unlock(2)]
    await scene.stop(number)
    assert await asked(scene, back, "Reset", type="Hard") == "Accepted"
    assert scene.asks(Restart) == [Restart(is_hard=True)]


async def test_the_cache_is_emptied_for_who_bills(scene: Scene, back: Backoffice):
    await scene.online(back)
    scene.asked.clear()
    assert await asked(scene, back, "ClearCache") == "Accepted"
    assert scene.asked == [ForgetCards()]


# --- reservations ---------------------------------------------------------------------------------


async def test_reservations_are_known_to_their_operator_by_its_own_numbers(scene: Scene, back: Backoffice):
    await scene.online(back)
    scene.asked.clear()
    wanted = REQUESTS["ReserveNow"]
    assert await asked(scene, back, "ReserveNow", **wanted) == "Accepted"
    (made,) = scene.asks(Reserve)
    assert (made.connector, made.id_tag) == (2, STRANGER)
    assert await asked(scene, back, "ReserveNow", **wanted | {"reservationId": 10}) == "Occupied"
    # The same number again takes the place of the first (OCPP 1.6 §5.13).
    assert await asked(scene, back, "ReserveNow", **wanted | {"connectorId": 1}) == "Accepted"
    assert scene.asks(CancelReservation) == [CancelReservation(made.reservation)]
    assert await asked(scene, back, "CancelReservation", reservationId=made.reservation) == "Rejected"
    assert await asked(scene, back, "CancelReservation", reservationId=9) == "Accepted"
    assert await asked(scene, back, "CancelReservation", reservationId=9) == "Rejected"
    rows = await scene.ctx.db.read(SYSTEM, reservations.list_reservations, scene.charger.id)
    assert {row.state.value for row in rows} == {"cancelled"}


@pytest.mark.parametrize("word", ["Occupied", "Faulted", "Unavailable", "Rejected"])
async def test_what_the_charger_says_to_a_reservation_is_passed_on(scene: Scene, back: Backoffice, word):
    await scene.online(back)
    scene.words["Reserve"] = word
    assert await asked(scene, back, "ReserveNow", **REQUESTS["ReserveNow"]) == word


# --- availability ---------------------------------------------------------------------------------


async def test_a_connector_is_in_use_only_if_all_operators_want_it_so(scene: Scene, back: Backoffice):
    async with office() as other:
        ids = [await scene.online(back), await scene.online(other, Role.DATA_CONTROL)]
        scene.asked.clear()

        async def want(who: Backoffice, connector: int, kind: str) -> str:
            return await asked(scene, who, "ChangeAvailability", connectorId=connector, type=kind)

        assert await want(back, 1, "Inoperative") == "Accepted"
        assert await want(other, 1, "Inoperative") == "Accepted"
        assert await want(back, 1, "Operative") == "Accepted"
        assert scene.asked == [SetAvailability(1, is_operative=False)] * 2
        (_, last) = await scene.deliveries(ids[0], "ChangeAvailability")
        assert last.note == ("others_want_it_out_of_use",)

        # The whole charger is one thing, each connector another.
        assert await want(back, 0, "Operative") == "Accepted"
        assert scene.asked[2:] == [
            SetAvailability(0, is_operative=True),
            SetAvailability(1, is_operative=False),
        ]
        assert await want(back, 0, "Inoperative") == "Accepted"
        assert await want(other, 1, "Operative") == "Accepted"
        assert scene.asked[4:] == [SetAvailability(0, is_operative=False)]
        assert await want(back, 0, "Operative") == "Accepted"
        assert scene.asked[5:] == [SetAvailability(0, is_operative=True)]


async def test_what_the_charger_refuses_is_not_remembered_as_wanted(scene: Scene, back: Backoffice):
    async with office() as other:
        link_id = await scene.online(back)
        await scene.online(other, Role.DATA_CONTROL)
        scene.words["SetAvailability"] = "Rejected"
        assert await asked(scene, back, "ChangeAvailability", connectorId=1, type="Inoperative") == "Rejected"
        assert (await scene.row(link_id)).inoperative == ""
        scene.words["SetAvailability"] = "Scheduled"
        assert (
            await asked(scene, back, "ChangeAvailability", connectorId=1, type="Inoperative") == "Scheduled"
        )
        assert (await scene.row(link_id)).inoperative == "1"
        scene.words.clear()
        scene.asked.clear()
        assert await asked(scene, other, "ChangeAvailability", connectorId=1, type="Operative") == "Accepted"
        assert scene.asked == []


# --- configuration --------------------------------------------------------------------------------

KEYS = {
    "configurationKey": [
        {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
        {"key": "MeterValueSampleInterval", "readonly": False, "value": "30"},
        {"key": "NumberOfConnectors", "readonly": True, "value": "2"},
        {"key": "LocalAuthorizeOffline", "readonly": False, "value": "true"},
        {"key": "LightIntensity", "readonly": False, "value": "50"},
        {"key": "BackendURL", "readonly": False, "value": "wss://example.com/secret"},
        {"key": "SupportedFeatureProfiles", "readonly": True, "value": "Core,SmartCharging,Reservation"},
    ],
    "unknownKey": [],
}
KEYS["configurationKey"] += [
    {"key": "MeterValuesSampledData", "readonly": False, "value": "Energy.Active.Import.Register,Voltage"},
    {"key": "StopTxnSampledData", "readonly": False, "value": "Energy.Active.Import.Register,Voltage"},
]


@pytest.fixture
async def keyed(scene: Scene) -> Scene:
    scene.payloads["GetKeys"] = KEYS
    await parameters.read(scene.ctx, SYSTEM, scene.charger.id)
    return scene


async def value(scene: Scene, back: Backoffice, key: str) -> Any:
    answer = await scene.ask(back, "GetConfiguration", key=[key])
    fits("GetConfiguration", answer, is_answer=True)
    return next((each.get("value") for each in answer.get("configurationKey", ())), None)


async def test_each_operator_sees_a_configuration_of_its_own(keyed: Scene, back: Backoffice):
    async with office() as other:
        await keyed.online(back)
        await keyed.online(other, Role.DATA_CONTROL)
        keyed.asked.clear()
        answer = await keyed.ask(back, "GetConfiguration")
        fits("GetConfiguration", answer, is_answer=True)
        shown = {each["key"]: each.get("value") for each in answer["configurationKey"]}
        assert (shown["BackendURL"], shown["NumberOfConnectors"]) == ("***", "2")
        assert shown["SupportedFeatureProfiles"] == "Core,SmartCharging,Reservation"
        assert await value(keyed, other, "SupportedFeatureProfiles") == "Core,SmartCharging"
        answer = await keyed.ask(back, "GetConfiguration", key=["Nonsense", "LIGHTINTENSITY"])
        assert answer["unknownKey"] == ["Nonsense"]
        assert answer["configurationKey"][0]["key"] == "LightIntensity"
        assert (
            await asked(keyed, back, "ChangeConfiguration", key="HeartbeatInterval", value="60") == "Accepted"
        )
        assert await value(keyed, back, "HeartbeatInterval") == "60"
        assert await value(keyed, other, "HeartbeatInterval") == "300"
        assert keyed.asked == []


@pytest.mark.parametrize(
    ("role", "key", "text", "status", "note", "is_asked"),
    [
        (Role.BILLING, "MeterValueSampleInterval", "60", "Accepted", "kept_for_this_operator", False),
        (Role.BILLING, "MeterValueSampleInterval", "15", "Accepted", "", True),
        (Role.BILLING, "MeterValueSampleInterval", "1", "Rejected", "too_often", False),
        (Role.BILLING, "LocalAuthorizeOffline", "false", "Accepted", "", True),
        (Role.DATA_CONTROL, "LocalAuthorizeOffline", "false", "Rejected", "authority_only", False),
        (Role.DATA_CONTROL, "LightIntensity", "20", "Accepted", "", True),
        (Role.BILLING, "BackendURL", "wss://evil.example", "Rejected", "protected", False),
        (Role.BILLING, "NumberOfConnectors", "9", "Rejected", "read_only", False),
        (Role.OBSERVER, "LightIntensity", "20", "Rejected", "observer_only_watches", False),
    ],
)
async def test_a_key_is_kept_passed_on_or_refused(
    keyed: Scene, back: Backoffice, role, key, text, status, note, is_asked
):
    link_id = await keyed.online(back, role)
    keyed.asked.clear()
    assert await asked(keyed, back, "ChangeConfiguration", key=key, value=text) == status
    assert keyed.asked == ([SetKey(key, text)] if is_asked else [])
    (row,) = await keyed.deliveries(link_id, "ChangeConfiguration")
    assert row.note == ((note,) if note else ())
    if status == "Accepted" and key == "MeterValueSampleInterval":
        assert await value(keyed, back, key) == text


async def test_an_operator_is_told_the_measurands_that_it_chose(keyed: Scene, back: Backoffice):
    async with office() as other:
        link_id, _ = await keyed.online(back), await keyed.online(other, Role.OBSERVER)
        chosen = {"key": "MeterValuesSampledData", "value": "Energy.Active.Import.Register"}
        assert await asked(keyed, back, "ChangeConfiguration", **chosen) == "Accepted"
        assert await value(keyed, back, "MeterValuesSampledData") == chosen["value"]
        number = (await keyed.start()).number
        await keyed.meter(number, 1_500)
        await keyed.meter(number, 230, measurand="Voltage", unit="V")
        await keyed.told(link_id)
        told = [row.note for row in await keyed.deliveries(link_id, "MeterValues")]
        assert told == [("number",)]
        await keyed.until(lambda: len(keyed.seen(other).transactions[0].meter_values) == 2)


async def test_an_operator_sets_how_often_it_is_pinged(keyed: Scene, back: Backoffice):
    link_id = await keyed.online(back)
    connection = keyed.line(link_id)._connection
    assert connection._ping_s == 60
    for wanted, expected in (("20", 20), ("1", 10), ("86400", 3_600), ("0", 0)):
        await asked(keyed, back, "ChangeConfiguration", key="WebSocketPingInterval", value=wanted)
        assert connection._ping_s == expected


@pytest.mark.parametrize("word", ["Rejected", "NotSupported", "RebootRequired"])
async def test_what_the_charger_says_of_a_key_is_passed_on(keyed: Scene, back: Backoffice, word):
    await keyed.online(back)
    keyed.words["SetKey"] = word
    assert await asked(keyed, back, "ChangeConfiguration", key="MeterValueSampleInterval", value="15") == word
    assert await value(keyed, back, "MeterValueSampleInterval") == "30"


async def test_an_operator_hears_no_more_readings_than_it_asked_for(keyed: Scene, back: Backoffice):
    async with office() as other:
        ids = [await keyed.online(back), await keyed.online(other, Role.OBSERVER)]
        await asked(keyed, back, "ChangeConfiguration", key="MeterValueSampleInterval", value="60")
        number = (await keyed.start()).number
        for register in range(5):
            keyed.wait(30)
            await keyed.meter(number, 1_000 + register)
        for link_id in ids:
            await keyed.told(link_id)
        heard = [len(keyed.seen(each).heard("MeterValues")) for each in (back, other)]
        assert heard == [3, 5]


# --- limits ---------------------------------------------------------------------------------------


def limited(amps: float, connector: int = 1, **more: Any) -> dict[str, Any]:
    return {"connectorId": connector, "csChargingProfiles": profile(amps, **more)}


async def composed(scene: Scene, connector: int = 1) -> float | None:
    """Return the limit at which a connector is held once its charger may be told of it."""
    await scene.work(after_s=limits.FALL_PACE_S)
    found = await scene.ctx.db.read(SYSTEM, limits.limits_now, scene.charger.id)
    return next((each.limit_a for each in found if each.connector == connector), None)


async def test_no_operator_raises_what_another_one_lowers(scene: Scene, back: Backoffice):
    async with office() as other, office() as third:
        first = await scene.online(back)
        second = await scene.online(other, Role.DATA_CONTROL)
        await scene.online(third, Role.DATA_CONTROL, is_limiting=False)
        scene.asked.clear()
        assert await asked(scene, back, "SetChargingProfile", **limited(16)) == "Accepted"
        assert await composed(scene) == 16
        assert await asked(scene, other, "SetChargingProfile", **limited(10)) == "Accepted"
        assert await composed(scene) == 10
        assert await asked(scene, back, "SetChargingProfile", **limited(32)) == "Accepted"
        assert await asked(scene, third, "SetChargingProfile", **limited(6)) == "Accepted"
        assert await composed(scene) == 10
        for ask in scene.asks(SetLimit):
            assert ask.purpose is LimitPurpose.DEFAULT
            assert all(period.limit_a <= 16 for period in ask.periods)
        found = await scene.ctx.db.read(SYSTEM, limits.limits_now, scene.charger.id)
        assert [each.by for each in found] == [(second,)]

        # Each sees what it has set itself.
        for who, amps in ((back, 32), (other, 10), (third, 6)):
            answer = await scene.ask(who, "GetCompositeSchedule", connectorId=1, duration=600)
            fits("GetCompositeSchedule", answer, is_answer=True)
            assert answer["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] == amps

        assert await asked(scene, back, "ClearChargingProfile", id=1) == "Accepted"
        assert await asked(scene, back, "ClearChargingProfile", id=1) == "Unknown"
        assert await asked(scene, other, "ClearChargingProfile") == "Accepted"
        assert await composed(scene) is None
        assert scene.asks(ClearLimit)
        notes = [row.note for row in await scene.deliveries(first, "ClearChargingProfile")]
        assert notes == [("composed",), ()]


async def test_a_limit_for_one_transaction_goes_by_the_operators_number_and_ends_with_it(
    scene: Scene, back: Backoffice
):
    link_id = await scene.online(back, Role.DATA_CONTROL)
    number = (await scene.start()).number
    await scene.told(link_id)
    scene.asked.clear()
    wanted = limited(8, purpose="TxProfile", transactionId=number)
    assert await asked(scene, back, "SetChargingProfile", **wanted) == "Rejected"
    wanted = limited(8, purpose="TxProfile", transactionId=700)
    assert await asked(scene, back, "SetChargingProfile", **wanted) == "Accepted"
    assert await composed(scene) == 8
    of_it = [ask for ask in scene.asks(SetLimit) if ask.purpose is LimitPurpose.TRANSACTION]
    assert [ask.number for ask in of_it] == [number]
    await scene.stop(number)
    await scene.ctx.db.work(SYSTEM, lambda work: limits.jobs.enqueue(work, Compose(scene.charger.id)))
    assert await composed(scene) is None
    notes = [row.note for row in await scene.deliveries(link_id, "SetChargingProfile")]
    assert notes == [("unknown_transaction",), ("composed",)]


@pytest.mark.parametrize(
    "wanted",
    [
        limited(10, connector=9),
        limited(10, level=99),
        limited(10, purpose="TxProfile"),
        limited(10, connector=1, purpose="ChargePointMaxProfile"),
    ],
)
async def test_what_a_charger_to_the_letter_would_reject_is_rejected(scene: Scene, back: Backoffice, wanted):
    await scene.online(back)
    assert await asked(scene, back, "SetChargingProfile", **wanted) == "Rejected"
    assert await composed(scene) is None


async def test_a_composite_schedule_of_nothing_is_rejected(scene: Scene, back: Backoffice):
    await scene.online(back)
    assert await asked(scene, back, "GetCompositeSchedule", connectorId=7, duration=60) == "Rejected"
    assert await asked(scene, back, "GetCompositeSchedule", connectorId=1, duration=0) == "Rejected"
    answer = await scene.ask(back, "GetCompositeSchedule", connectorId=0, duration=60, chargingRateUnit="W")
    fits("GetCompositeSchedule", answer, is_answer=True)
    assert answer["status"] == "Accepted"


# --- messages that are triggered ------------------------------------------------------------------


async def test_what_is_known_is_told_without_asking_the_charger(scene: Scene, back: Backoffice):
    link_id = await scene.online(back, Role.OBSERVER)
    number = (await scene.start()).number
    await scene.meter(number, 1_500)
    await scene.told(link_id)
    scene.asked.clear()
    seen = scene.seen(back)
    before = len(seen.received)
    for message, count in (
        ("BootNotification", 1),
        ("Heartbeat", 1),
        ("StatusNotification", 3),
        ("FirmwareStatusNotification", 1),
        ("DiagnosticsStatusNotification", 1),
        ("MeterValues", 1),
    ):
        assert await asked(scene, back, "TriggerMessage", requestedMessage=message) == "Accepted"
        before += count
        await scene.until(lambda wanted=before: len(seen.received) == wanted)
        assert seen.received[-1].action == message
    assert seen.received[-1].payload["transactionId"] == 700
    assert await asked(
        scene, back, "TriggerMessage", requestedMessage="StatusNotification", connectorId=9
    ) == ("Rejected")
    wanted = {"requestedMessage": "StatusNotification", "connectorId": 2}
    assert await asked(scene, back, "TriggerMessage", **wanted) == "Accepted"
    await scene.until(lambda: len(seen.received) == before + 1)
    assert seen.received[-1].payload["connectorId"] == 2
    assert scene.asked == []
    assert seen.oddities == []


async def test_a_reading_that_is_not_fresh_is_asked_of_the_charger(scene: Scene, back: Backoffice):
    link_id = await scene.online(back, Role.DATA_CONTROL)
    await scene.meter(None, 1_500)
    await scene.told(link_id)
    scene.asked.clear()
    wanted = {"requestedMessage": "MeterValues", "connectorId": 1}
    assert await asked(scene, back, "TriggerMessage", **wanted) == "Accepted"
    assert scene.asked == []
    assert (
        await asked(scene, back, "TriggerMessage", requestedMessage="MeterValues", connectorId=2)
        == "Accepted"
    )
    scene.wait(61)
    assert await asked(scene, back, "TriggerMessage", **wanted) == "Accepted"
    assert scene.asked == [Trigger("MeterValues", 2), Trigger("MeterValues", 1)]


# --- cards in the charger -------------------------------------------------------------------------


async def test_the_list_of_who_bills_is_kept_and_brought_to_the_charger(scene: Scene, back: Backoffice):
    scene.payloads["GetKeys"] = {
        "configurationKey": [
            {"key": "LocalAuthListEnabled", "readonly": False, "value": "true"},
            {"key": "SupportedFeatureProfiles", "readonly": True, "value": "Core,LocalAuthListManagement"},
        ]
    }
    scene.payloads["TellCardsVersion"] = {"listVersion": 0}
    await scene.online(back)
    assert await scene.ask(back, "GetLocalListVersion") == {"listVersion": 0}
    scene.asked.clear()
    card = {"idTag": STRANGER, "idTagInfo": {"status": "Accepted"}}

    async def send(version: int, kind: str, *cards: dict[str, Any]) -> str:
        listed = {"localAuthorizationList": list(cards)} if cards else {}
        return await asked(scene, back, "SendLocalList", listVersion=version, updateType=kind, **listed)

    assert await send(4, "Full", card) == "Accepted"
    assert await scene.ask(back, "GetLocalListVersion") == {"listVersion": 4}
    await scene.work(after_s=5)
    (sent,) = scene.asks(ReplaceCards)
    assert [(each.id_tag, each.verdict) for each in sent.cards] == [(STRANGER, Verdict.ACCEPTED)]
    assert await send(4, "Differential", card) == "VersionMismatch"
    other = {"idTag": "0A0B", "idTagInfo": {"status": "Blocked"}}
    assert await send(5, "Differential", {"idTag": STRANGER}, other) == "Accepted"
    assert await scene.ask(back, "GetLocalListVersion") == {"listVersion": 5}


async def test_others_have_no_list(scene: Scene, back: Backoffice):
    await scene.online(back, Role.DATA_CONTROL)
    assert await scene.ask(back, "GetLocalListVersion") == {"listVersion": -1}
    assert await asked(scene, back, "SendLocalList", **REQUESTS["SendLocalList"]) == "NotSupported"


async def test_a_list_is_refused_until_it_is_this_operators_to_keep(scene: Scene, back: Backoffice):
    link_id = await scene.connect(back)
    await scene.reach(link_id, "online")
    assert await asked(scene, back, "SendLocalList", **REQUESTS["SendLocalList"]) == "Failed"
    (row,) = await scene.deliveries(link_id, "SendLocalList")
    assert row.note == ("not_the_authority",)


# --- a vendor's own messages ----------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.BILLING, Role.DATA_CONTROL])
async def test_a_vendors_message_goes_through_with_the_owners_consent(scene: Scene, back: Backoffice, role):
    link_id = await scene.online(back, role)
    scene.asked.clear()
    wanted = {"vendorId": "com.example", "messageId": "m", "data": '{"a":  1}'}
    assert await asked(scene, back, "DataTransfer", **wanted) == "UnknownVendorId"
    assert scene.asked == []
    await scene.change(link_id, consents=("vendor",))
    await scene.until(lambda: scene.seen(back).connections == 2)
    await scene.reach(link_id, "online")
    assert await asked(scene, back, "DataTransfer", **wanted) == "Accepted"
    (ask,) = scene.asked
    assert isinstance(ask, ByHand)
    assert (ask.action, json.loads(ask.payload)) == ("DataTransfer", wanted)


# --- what counts is what is stored ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["observer", "consent", "leaving", "over"])
async def test_what_was_taken_away_counts_though_the_line_has_not_heard_of_it(
    scene: Scene, back: Backoffice, how
):
    link_id = await scene.online(back, Role.DATA_CONTROL, consents=("vendor",))
    scene.asked.clear()
    values: dict[str, dict[str, Any]] = {
        "observer": {"role": "observer"},
        "consent": {"consents": ""},
        "leaving": {"ended_at": scene.clock.now()},
        "over": {"ended_at": scene.clock.now(), "is_over": True},
    }
    await scene.ctx.db.work(SYSTEM, store.set_link, link_id, **values[how])
    assert await asked(scene, back, "DataTransfer", vendorId="v") == "UnknownVendorId"
    if how != "consent":
        assert await asked(scene, back, "UnlockConnector", connectorId=1) == "NotSupported"
    if how in {"leaving", "over"}:
        assert await asked(scene, back, "GetConfiguration") == "SecurityError"
        assert await asked(scene, back, "TriggerMessage", requestedMessage="Heartbeat") == "SecurityError"
    assert scene.asked == []


async def test_a_charger_is_not_restarted_again_and_again(
    scene: Scene, back: Backoffice, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(requests, "RESET_EVERY_S", 60.0)
    link_id = await scene.online(back, Role.DATA_CONTROL)
    scene.asked.clear()
    scene.words["Restart"] = "Rejected"
    assert await asked(scene, back, "Reset", type="Soft") == "Rejected"
    del scene.words["Restart"]
    assert await asked(scene, back, "Reset", type="Soft") == "Accepted"
    assert await asked(scene, back, "Reset", type="Soft") == "Rejected"
    assert len(scene.asks(Restart)) == 2
    assert (await scene.deliveries(link_id, "Reset"))[-1].note == ("too_soon",)
    scene.wait(60)
    assert await asked(scene, back, "Reset", type="Soft") == "Accepted"


async def test_readings_are_asked_of_the_charger_now_and_then_and_for_no_observer(
    scene: Scene, back: Backoffice
):
    async with office() as curious:
        watching = await scene.online(curious, Role.OBSERVER)
        link_id = await scene.online(back, Role.DATA_CONTROL)
        scene.asked.clear()
        wanted = {"requestedMessage": "MeterValues", "connectorId": 1}
        assert await asked(scene, curious, "TriggerMessage", **wanted) == "Rejected"
        (row,) = await scene.deliveries(watching, "TriggerMessage")
        assert row.note == ("observer_only_watches",)
        assert await asked(scene, back, "TriggerMessage", **wanted | {"connectorId": 9}) == "Rejected"
        assert scene.asked == []
        assert await asked(scene, back, "TriggerMessage", **wanted) == "Accepted"
        assert await asked(scene, back, "TriggerMessage", **wanted) == "Rejected"
        assert (await scene.deliveries(link_id, "TriggerMessage"))[-1].note == ("too_soon",)
        scene.wait(10)
        assert await asked(scene, back, "TriggerMessage", **wanted) == "Accepted"
        assert scene.asked == [Trigger("MeterValues", 1)] * 2

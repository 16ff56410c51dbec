"""Every quirk of the catalogue, by its number; most over a real socket, through to the database."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import websockets
from structlog.testing import capture_logs

from tests.anomaly.wire import PING, RawCharger, frame
from tests.factories import SYSTEM, charger_by_identity
from tests.quirks.yard import CARD, Yard, open_yard
from tests.unit.gateway.peers import until
from tests.unit.gateway.test_tls import client_context, house_of, make_world
from voltyard import quirks
from voltyard.chargers import commands, parameters
from voltyard.kernel.limits import PING_S, SILENCE_S, SILENCE_UNPINGED_S
from voltyard.ocpp import frames, session
from voltyard.ocpp.v16 import dialect
from voltyard.quirks import Quirks
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Beat,
    ConnectorStatus,
    GetKeys,
    LimitPeriod,
    LimitPurpose,
    Priority,
    Reading,
    SetLimit,
    StartCharging,
    Ticked,
    Unlock,
    is_unable,
)
from voltyard.transactions import service as transactions

NOW = "2026-01-01T12:00:00Z"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSWORD = "4f0e2c1d8a7b"
AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def of(*numbers: int) -> Any:
    """Let a test's id bear the numbers of its quirks."""
    names = "-".join(f"Q{number}" for number in numbers)
    return pytest.mark.parametrize("quirk", [names], ids=[names])


@pytest.fixture
async def yard(sqlite_ctx):
    async with open_yard(sqlite_ctx) as made:
        yield made


# --- handshake and address ------------------------------------------------------------------------


@of(1)
async def test_without_a_subprotocol_a_charger_is_taken_for_one_of_1_6(quirk, yard: Yard):
    async with yard.connect(subprotocols=None) as peer:
        assert peer.socket.subprotocol is None
        await peer.call("Heartbeat")
    assert await yard.findings() == {"no_subprotocol": 1}


@pytest.mark.parametrize(
    "offered",
    [["ocpp1.6", "ocpp1.5"], ["ocpp2.0.1", "ocpp1.6"], ["OCPP1.6"]],
    ids=["Q2-older_too", "Q2-newer_too", "Q2-capitals"],
)
async def test_of_several_subprotocols_the_same_one_is_chosen_always(yard: Yard, offered):
    async with yard.connect(subprotocols=offered) as peer:
        assert peer.socket.subprotocol.lower() == "ocpp1.6"
        await peer.call("Heartbeat")
    assert await yard.findings() == {}


@of(2)
async def test_a_probe_that_never_boots_leaves_nothing_behind(quirk, yard: Yard):
    async with yard.connect():
        pass
    async with yard.connect() as peer:
        assert (await peer.boot("FoxESS", "A011KP1-E"))["status"] == "Accepted"
    charger = await charger_by_identity(yard.ctx, yard.charger.identity)
    assert (charger.vendor, charger.model) == ("FoxESS", "A011KP1-E")


@of(3)
async def test_a_socket_for_2_0_1_is_never_taken_for_one_of_1_6(quirk, yard: Yard):
    async with yard.connect(subprotocols=["ocpp2.0.1"]) as peer:
        with suppress(websockets.ConnectionClosed):
            await peer.send('[2,"1","Heartbeat",{}]')
        await peer.socket.wait_closed()
        assert (peer.socket.subprotocol, peer.socket.close_code) == (None, 1002)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("//ocpp//{0}", id="Q4-double_slashes"),
        pytest.param("/ocpp/{0}/", id="Q4-trailing_slash"),
        pytest.param("/ocpp/{0}/{0}", id="Q4-identity_twice"),
        pytest.param("/ocpp/{0}?token=1", id="Q4-query"),
    ],
)
async def test_an_odd_address_still_ends_with_the_identity(yard: Yard, target):
    async with yard.connect(target.format(yard.charger.identity)) as peer:
        await peer.call("Heartbeat")
    assert await yard.findings() == {"odd_address": 1}


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/steve/websocket/CentralSystemService/{0}", id="Q4-extra_segments"),
        pytest.param("/{0}", id="Q5-no_path"),
    ],
)
async def test_an_address_may_be_longer_or_shorter_than_ours(yard: Yard, target):
    async with yard.connect(target.format(yard.charger.identity)) as peer:
        await peer.call("Heartbeat")
    assert await yard.findings() == {}


@pytest.mark.parametrize(
    ("identity", "knocks", "flaws"),
    [
        pytest.param("CP-North", "cp-NORTH", {"identity_spelling": 1}, id="Q6-capitals"),
        pytest.param("Bay 14", "Bay%2014", {}, id="Q6-blank"),
        pytest.param("NL:42:7", "NL%3A42%3A7", {}, id="Q6-colon"),
    ],
)
async def test_an_identity_is_recognised_however_it_is_spelt(sqlite_ctx, identity, knocks, flaws):
    async with open_yard(sqlite_ctx, identity=identity) as yard:
        async with yard.connect(f"/ocpp/{knocks}") as peer:
            await peer.call("Heartbeat")
        assert await yard.findings() == flaws
        assert (await charger_by_identity(sqlite_ctx, identity)).identity == identity


@pytest.mark.parametrize(
    ("user", "password", "flaws"),
    [
        pytest.param("other", PASSWORD.encode(), {"user_name_differs": 1}, id="Q7-another_user_name"),
        pytest.param("", PASSWORD.encode(), {"user_name_differs": 1}, id="Q7-no_user_name"),
        pytest.param(None, bytes.fromhex(PASSWORD), {"password_as_hex": 1}, id="Q7-bytes_of_hex"),
        pytest.param(None, PASSWORD.upper().encode(), {"password_as_hex": 1}, id="Q7-hex_in_capitals"),
    ],
)
async def test_a_password_counts_in_each_of_its_forms(sqlite_ctx, user, password, flaws):
    async with open_yard(sqlite_ctx, password=PASSWORD) as yard:
        name = yard.charger.identity if user is None else user
        pair = base64.b64encode(name.encode() + b":" + password).decode()
        async with yard.connect(additional_headers={"Authorization": f"Basic {pair}"}) as peer:
            await peer.call("Heartbeat")
        assert await yard.findings() == flaws


async def _knock(yard: Yard, password: str) -> int:
    pair = base64.b64encode(f"{yard.charger.identity}:{password}".encode()).decode()
    try:
        async with yard.connect(additional_headers={"Authorization": f"Basic {pair}"}):
            return 101
    except websockets.InvalidStatus as wrong:
        return wrong.response.status_code


@pytest.mark.parametrize("password", ["a:b:c", ":", "ä:€"], ids=["Q7-colons", "Q7-colon_alone", "Q7-utf_8"])
async def test_a_password_may_hold_colons(sqlite_ctx, password):
    async with open_yard(sqlite_ctx, password=password) as yard:
        assert await _knock(yard, password) == 101
        assert await _knock(yard, password + "x") == 401


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET /ocpp/x HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", id="Q9-headers_missing"),
        pytest.param(b"GET  HTTP\r\n\r\n", id="Q9-no_request"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", id="Q9-tls_at_the_plain_port"),
    ],
)
async def test_a_malformed_upgrade_is_answered_plainly_and_leaves_no_trace(yard: Yard, head):
    with capture_logs() as logs:
        reader, writer = await asyncio.open_connection("127.0.0.1", yard.port)
        writer.write(head)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Traceback" not in answer
    assert logs == []


@of(8)
async def test_tls_has_a_listener_of_its_own_and_asks_for_no_server_name(quirk, tmp_path):
    world = make_world()
    async with house_of(world) as house:
        # A client names no server in the handshake when it knows only an address.
        async with websockets.connect(
            f"wss://127.0.0.1:{house.tls_port}/ocpp/CP-1",
            ssl=client_context(world, tmp_path),
            subprotocols=["ocpp1.6"],
            proxy=None,
        ) as peer:
            await peer.send('[2,"1","Heartbeat",{}]')
            assert json.loads(await peer.recv())[0] == 3
        assert house.desk.hellos[0].is_tls


@of(10)
async def test_of_two_sockets_of_one_charger_the_newest_counts(quirk, yard: Yard):
    async with yard.connect() as old:
        await old.call("Heartbeat")
        async with yard.connect() as new:
            await old.socket.wait_closed()
            await new.call("Heartbeat")
            assert (await charger_by_identity(yard.ctx, yard.charger.identity)).is_online


@pytest.mark.parametrize(
    ("vendor", "code"), [("FoxESS", 1006), ("Voltyard", 1012)], ids=["Q11-known", "Q11-well_behaved"]
)
async def test_at_a_restart_a_model_that_needs_it_is_dropped_without_a_good_bye(yard: Yard, vendor, code):
    async with yard.connect() as peer:
        await peer.boot(vendor)
    async with yard.connect() as peer:  # from its last boot on
        await peer.call("Heartbeat")
        await yard.stop()
        await peer.socket.wait_closed()
        assert peer.socket.close_code == code


@of(12)
async def test_a_charger_that_comes_back_at_once_or_late_after_a_restart_is_let_in(quirk, sqlite_ctx):
    async with open_yard(sqlite_ctx) as yard:
        async with yard.connect() as peer:
            await peer.call("Heartbeat")
            await yard.stop()
        assert not (await charger_by_identity(sqlite_ctx, yard.charger.identity)).is_online
        yard.port = 0
        await yard.start()
        async with yard.connect() as peer:
            await peer.call("Heartbeat")
            assert (await charger_by_identity(sqlite_ctx, yard.charger.identity)).is_online


async def _pass(yard: Yard, seconds: float) -> None:
    for _ in range(int(seconds)):
        yard.ctx.clock.advance(1.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@of(13)
async def test_any_message_is_a_sign_of_life_where_pings_are_not_answered(quirk, yard: Yard):
    raw = await RawCharger.connect(yard.port, yard.charger.identity)
    for count in range(4):
        await _pass(yard, PING_S + 5)
        assert (await raw.receive())[0] == PING, "the gateway asks for a sign of life"
        assert (await raw.call(message_id=str(count)))[0] == 3
    assert yard.gateway.open_sockets == 1
    await _pass(yard, SILENCE_S + 5)
    await until(lambda: yard.gateway.open_sockets == 0)
    raw.drop()


@of(13)
async def test_a_model_that_bears_no_pings_gets_none_and_may_be_silent_for_longer(quirk, yard: Yard):
    raw = await RawCharger.connect(yard.port, yard.charger.identity)
    boot = {"chargePointVendor": "EVBox", "chargePointModel": "ELVI-1"}
    await raw.call("BootNotification", boot, "b")
    await _pass(yard, SILENCE_S + 60)
    await raw.send(frame(b'[2,"h","Heartbeat",{}]'))
    kind, data = await raw.receive()
    assert (kind, json.loads(data)[:2]) == (1, [3, "h"]), "no ping came before it"
    await _pass(yard, SILENCE_UNPINGED_S + 5)
    await until(lambda: yard.gateway.open_sockets == 0)
    raw.drop()


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([frame(b'[2,"1",', is_last=False), frame(b'"Heartbeat",{}]', 0)], id="Q14-fragments"),
        pytest.param([frame(b'[2,"1","Heartbeat",{}]', 2)], id="Q14-binary"),
    ],
)
async def test_text_in_pieces_or_as_binary_is_understood(yard: Yard, pieces):
    raw = await RawCharger.connect(yard.port, yard.charger.identity)
    for piece in pieces:
        await raw.send(piece)
    assert json.loads((await raw.receive())[1])[:2] == [3, "1"]
    raw.drop()
    assert await yard.findings() == ({"binary_frame": 1} if len(pieces) == 1 else {})


@of(14)
async def test_compression_is_not_agreed_to(quirk, yard: Yard):
    async with yard.connect(compression="deflate") as peer:
        await peer.call("Heartbeat")
        assert peer.socket.protocol.extensions == []


# --- framing and payloads: one frame, its answer, the finding it leaves ---------------------------


def start(**over: Any) -> dict[str, Any]:
    return {"connectorId": 1, "idTag": CARD, "meterStart": 1000, "timestamp": NOW} | over


def status(**over: Any) -> dict[str, Any]:
    return {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": NOW} | over


def meters(*samples: Any, **over: Any) -> dict[str, Any]:
    return {"connectorId": 1, "meterValue": [{"timestamp": NOW, "sampledValue": list(samples)}]} | over


def without(payload: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in names}


def call(action: str, payload: Any) -> str:
    return json.dumps([2, "1", action, payload])


ENERGY = {"value": "1500", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}

FRAMES = [
    ("Q15-empty_text_frame", "", None, {"empty_frame"}),
    ("Q15-blank_text_frame", " \r\n", None, {"empty_frame"}),
    ("Q16-payload_missing", '[2,"1","Heartbeat"]', 3, {"no_payload"}),
    ("Q16-payload_null", '[2,"1","Heartbeat",null]', 3, {"no_payload"}),
    ("Q16-payload_empty_array", '[2,"1","Heartbeat",[]]', 3, {"no_payload"}),
    (
        "Q17-comma_before_the_first_value",
        (
            '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-01T12:00:00Z",'
            '"sampledValue":[,{"value":"1500"}]}]}]'
        ),
        3,
        {"repaired_json"},
    ),
    (
        "Q17-value_missing",
        (
            '[2,"1","MeterValues",{"connectorId":1,"transactionId":,"meterValue":[{"timestamp":'
            '"2026-01-01T12:00:00Z","sampledValue":[{"value":"1500"}]}]}]'
        ),
        3,
        {"repaired_json"},
    ),
    ("Q17-beyond_repair_with_an_id", '[2,"1","Heartbeat",{"a" 1}]', 4, {"unreadable_frame"}),
    ("Q17-beyond_repair_without_an_id", "hello", None, {"unreadable_frame"}),
    ("Q17-latin_1_in_a_text", b'[2,"1","Heartbeat",{"info":"\xe4"}]', 3, {"binary_frame", "repaired_json"}),
    ("Q19-number_for_an_id", '[2,17,"Heartbeat",{}]', 3, {"odd_message_id"}),
    ("Q19-id_of_a_hundred", '[2,"%s","Heartbeat",{}]' % ("x" * 100), 3, {"odd_message_id"}),
    ("Q19-random_text_of_36", '[2,"aGrvd5GlPPCvoh07K5D1UNpcdObPE7lLt9m2","Heartbeat",{}]', 3, set()),
    ("Q23-result_of_nothing", '[3,"unknown",{}]', None, {"unknown_answer"}),
    ("Q23-error_of_nothing", '[4,"unknown","InternalError","",{}]', None, {"unknown_answer"}),
    ("Q24-number_as_text", call("StartTransaction", start(connectorId="1", meterStart="1000")), 3,
     {"number_as_text"}),
    ("Q24-number_for_text", call("MeterValues", meters(ENERGY | {"value": 604.213})), 3,
     {"number_for_text"}),
    ("Q24-fraction_for_a_whole_number", call("StartTransaction", start(meterStart=1000.4)), 3,
     {"fraction_dropped"}),
    ("Q24-object_for_text", call("DataTransfer", {"vendorId": "x", "data": {"a": 1}}), 3,
     {"object_for_text"}),
    ("Q25-object_for_array", call("MeterValues", {"connectorId": 1, "meterValue": {"timestamp": NOW,
     "sampledValue": [ENERGY]}}), 3, {"object_for_array"}),
    ("Q25-no_sampled_value", call("MeterValues", meters()), 3, {"no_sampled_value"}),
    ("Q26-hz", call("MeterValues", meters({"value": "50", "measurand": "Frequency", "unit": "Hz"})), 3,
     {"alias_word"}),
    ("Q26-celcius", call("MeterValues", meters({"value": "21", "measurand": "Temperature",
     "unit": "Celcius"})), 3, set()),
    ("Q26-unknown_measurand", call("MeterValues", meters({"value": "1", "measurand": "Energy.Total"})), 3,
     {"unknown_measurand"}),
    ("Q26-unknown_unit", call("MeterValues", meters({"value": "1", "measurand": "Voltage", "unit": "mV"})),
     3, {"unknown_unit"}),
    ("Q26-odd_context", call("MeterValues", meters(ENERGY | {"context": "Sample.Odd"})), 3,
     {"unknown_context"}),
    ("Q26-phase_to_neutral_of_a_power", call("MeterValues", meters({"value": "1", "measurand":
     "Power.Active.Import", "phase": "L1-N", "unit": "W"})), 3, set()),
    ("Q26-status_in_other_capitals", call("StatusNotification", status(status="available")), 3,
     {"alias_word"}),
    ("Q27-no_unit_and_no_measurand", call("MeterValues", meters({"value": "1500"})), 3, set()),
    ("Q27-energy_in_watts", call("MeterValues", meters(ENERGY | {"unit": "W"})), 3,
     {"unit_of_another_measurand"}),
    *(
        (f"Q28-{name}", call("MeterValues", meters(ENERGY | {"value": value})), 3, {"unreadable_value"})
        for name, value in (("empty", ""), ("nan", "NaN"), ("null", "null"), ("dash", "-"))
    ),
    ("Q28-decimal_comma", call("MeterValues", meters(ENERGY | {"value": "1500,5"})), 3, {"decimal_comma"}),
    ("Q30-extra_fields", call("StartTransaction", start(vendorField={"a": [1]}, evccId="x")), 3, set()),
    ("Q31-no_errorCode", call("StatusNotification", without(status(), "errorCode")), 3,
     {"missing_errorCode"}),
    ("Q31-no_timestamp", call("StartTransaction", without(start(), "timestamp")), 3, {"missing_timestamp"}),
    ("Q31-no_meterStart", call("StartTransaction", without(start(), "meterStart")), 3,
     {"missing_meterStart"}),
    ("Q31-no_model", call("BootNotification", {"chargePointVendor": "V"}), 3, {"missing_chargePointModel"}),
    ("Q32-null_for_info", call("StatusNotification", status(info="null", vendorErrorCode="0x0000")), 3,
     {"null_text"}),
    ("Q34-tag_of_thirty", call("Authorize", {"idTag": "A" * 30}), 3, {"long_tag"}),
    ("Q34-empty_tag", call("Authorize", {"idTag": " "}), 3, {"empty_tag"}),
    ("Q34-colons", call("Authorize", {"idTag": "04:a1:b2:c3"}), 3, {"odd_tag"}),
    ("Q35-no_offset", call("StatusNotification", status(timestamp="2026-01-01T13:00:00")), 3,
     {"time_without_offset"}),
    ("Q35-offset_of_hours_alone", call("StatusNotification", status(timestamp="2026-01-01T14:00:00+02")), 3,
     None),
    ("Q35-seven_digits", call("StatusNotification", status(timestamp="2026-01-01T12:00:00.1234567Z")), 3,
     None),
    ("Q35-unreadable", call("StatusNotification", status(timestamp="yesterday")), 3, {"unreadable_time"}),
    ("Q35-year_of_1970", call("StartTransaction", start(timestamp="1970-01-01T00:00:11Z")), 3,
     {"wrong_clock"}),
    ("Q35-year_of_2099", call("StartTransaction", start(timestamp="2099-01-01T00:00:11Z")), 3,
     {"wrong_clock"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "flaws"), [each[1:] for each in FRAMES], ids=[each[0] for each in FRAMES]
)
async def test_a_peculiar_frame_is_answered_and_leaves_its_finding(yard: Yard, text, kind, flaws):
    async with yard.connect() as peer:
        await peer.send(text)
        if kind is not None:
            answer = await peer.next()
            assert answer[0] == kind
        await peer.call("Heartbeat")  # the socket stays, whatever came
    found = set(await yard.findings())
    assert flaws is None or found == flaws


@of(18)
async def test_an_unreadable_answer_ends_the_ask_and_not_the_socket(quirk, yard: Yard):
    async with yard.connect() as peer:
        asked = yard.ask(Unlock(1))
        _, message_id, *_ = await peer.next()
        await peer.send(f'[3,"{message_id}",{{"status" "Unlocked"}}]')
        assert isinstance((await asked).outcome, AnswerRefused)
        await peer.call("Heartbeat")
    assert set(await yard.findings()) == {"unreadable_frame"}


@pytest.mark.parametrize(
    ("raw", "echoed"),
    [("17", b"[3,17,"), ("1.50", b"[3,1.50,"), ('"\\u0041"', b'[3,"\\u0041",')],
    ids=["Q19-whole_number", "Q19-decimal", "Q19-escaped"],
)
async def test_a_message_id_is_echoed_byte_for_byte(yard: Yard, raw, echoed):
    async with yard.connect() as peer:
        await peer.send(f'[2,{raw},"Heartbeat",{{}}]')
        async with asyncio.timeout(10):
            assert (await peer.socket.recv()).encode().startswith(echoed)


@of(19)
async def test_the_same_id_with_other_content_is_another_call_after_a_restart(quirk, yard: Yard):
    numbers = []
    for meter in (1000, 1000, 2000):
        async with yard.connect() as peer:
            await peer.send(call("StartTransaction", start(meterStart=meter)))
            numbers.append((await peer.next())[2]["transactionId"])
    assert numbers[0] == numbers[1] != numbers[2]


def asked(loose: session.Session, now: float = 0.0) -> bytes:
    (sent,) = loose.ask(
        "token", "ClearCache", b"{}", priority=Priority.PORTAL, origin="t", timeout_s=30, now=now
    )
    assert isinstance(sent, session.Send)
    return sent.data


@of(20)
def test_an_answer_under_a_wrong_id_counts_for_the_only_open_ask_where_the_model_is_known_for_it(quirk):
    assert quirks.find("EN+", "AC7000-AE-45", "1.0").is_id_loose
    loose, strict = session.Session("a-", is_id_loose=True), session.Session("a-")
    asked(loose)
    asked(strict)
    wrong = b'[3,"other",{"status":"Accepted"}]'
    assert isinstance(loose.received(wrong, 1.0)[0], session.Answered)
    assert isinstance(strict.received(wrong, 1.0)[0], session.Noted)
    assert isinstance(strict.tick(31.0)[0], session.Expired), "a charger that never answers costs one ask"


@of(20)
async def test_a_model_that_answers_under_wrong_ids_is_understood_from_its_boot_on(quirk, yard: Yard):
    async with yard.connect() as peer:
        await peer.boot("EN+", "AC7000-AE-45")
        told = yard.ask(Unlock(1))
        await peer.next()
        await peer.send('[3,"something else",{"status":"Unlocked"}]')
        assert (await told).outcome.is_accepted


@of(21)
async def test_calls_that_do_not_wait_for_answers_are_answered_in_their_order(quirk, yard: Yard):
    async with yard.connect() as peer:
        for number in range(60):
            await peer.send(json.dumps([2, str(number), "Heartbeat", {}]))
        answers = [(await peer.next())[1] for _ in range(60)]
    assert answers == [str(number) for number in range(60)]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ('["FormatViolation"]', "FormatViolation"),
        ('["FormationViolation","",{}]', "FormationViolation"),
        ('["OccurrenceConstraintViolation","x"]', "OccurrenceConstraintViolation"),
        ("[]", "GenericError"),
    ],
    ids=["Q22-errata", "Q22-first_edition", "Q22-occurrence", "Q22-nothing_at_all"],
)
async def test_an_error_is_read_in_either_spelling_and_length(yard: Yard, answer, code):
    async with yard.connect() as peer:
        told = yard.ask(Unlock(1))
        _, message_id, *_ = await peer.next()
        await peer.send(json.dumps([4, message_id, *json.loads(answer)]))
        assert (await told).outcome.code == code


@of(22)
def test_errors_are_written_in_the_spelling_of_1_6(quirk):
    assert b'"FormationViolation"' in frames.encode_error(b'"1"', "FormatViolation")
    assert b'"OccurenceConstraintViolation"' in frames.encode_error(b'"1"', "OccurrenceConstraintViolation")


def read(action: str, payload: dict[str, Any], flaws: list[str] | None = None, **over: Any) -> Any:
    found = [] if flaws is None else flaws
    return dialect.read(frames.Call(b'"1"', action, json.dumps(payload).encode()), found, **over)


def reading(*samples: dict[str, str], flaws: list[str] | None = None) -> Reading:
    (found,) = read("MeterValues", meters(*samples), flaws).readings
    return found


def power(value: float, phase: str = "", unit: str = "W") -> dict[str, str]:
    told = {"value": str(value), "measurand": "Power.Active.Import", "unit": unit}
    return told | ({"phase": phase} if phase else {})


def current(value: float, phase: str) -> dict[str, str]:
    return {"value": str(value), "measurand": "Current.Import", "unit": "A", "phase": phase}


@pytest.mark.parametrize(
    ("unit", "value", "power_w"),
    [("W", 7.36, 7360.0), ("kW", 7360, 7360.0), ("W", 7360, 7360.0), ("W", 0, 0.0), ("W", 60, 60.0)],
    ids=["Q27-kilowatts_called_watts", "Q27-watts_called_kilowatts", "Q27-right", "Q27-none", "Q27-standby"],
)
def test_a_power_in_the_wrong_scale_is_found_by_its_current(unit, value, power_w):
    flaws: list[str] = []
    amperes = 32 if power_w > 100 else 0
    found = reading(power(value, unit=unit), current(amperes, "L1"), flaws=flaws)
    assert found.power_w == pytest.approx(power_w)
    assert flaws == (["wrong_scale"] if abs(value) != power_w or unit == "kW" else [])


@of(27)
async def test_a_register_in_another_unit_moves_no_energy(quirk, yard: Yard):
    async with yard.connect() as peer:
        began = await peer.call("StartTransaction", start(meterStart=120_000))
        number = began["transactionId"]
        for value in ("7.92", "120500"):
            await peer.call("MeterValues", meters(ENERGY | {"value": value}, transactionId=number))
    (found,) = await yard.transactions()
    assert found.energy_wh == 500
    assert "implausible_register" in await yard.findings()


@pytest.mark.parametrize("value", ["", "NaN", "null", "-"], ids=lambda value: f"Q28-{value or 'empty'}")
def test_what_is_no_number_is_nothing_and_never_zero(value):
    found = reading(power(1), ENERGY | {"value": value})
    assert found.energy_wh is None


@pytest.mark.parametrize(
    ("told", "power_w", "flaw"),
    [
        ((None, 1000, 2000, 3000), 6000, None),
        ((2000, 1000, 2000, 3000), 6000, "total_is_average"),
        ((4000, 1000, 2000, 3000), 6000, "total_is_wrong"),
        ((5900, 1000, 2000, 3000), 5900, None),
        ((9000, 3000, None, None), 9000, None),
        ((15, 0, 0, 0), 15, None),
    ],
    ids=[
        "Q29-phases_only",
        "Q29-average",
        "Q29-a_third_off",
        "Q29-within_a_tenth",
        "Q29-one_phase_told",
        "Q29-standby",
    ],
)
def test_totals_follow_from_phases_where_they_are_missing_or_wrong(told, power_w, flaw):
    flaws: list[str] = []
    phases = ("", "L1", "L2", "L3")
    samples = [power(value, phase) for value, phase in zip(told, phases, strict=True) if value is not None]
    assert reading(*samples, flaws=flaws).power_w == power_w
    assert flaws == ([flaw] if flaw else [])


@of(30)
async def test_extra_fields_stay_in_the_log(quirk, yard: Yard):
    async with yard.connect() as peer:
        await peer.call("StartTransaction", start(vendorField="kept"))
    raw = await yard.ctx.db.read(
        SYSTEM, lambda work: work.connection.exec_driver_sql("select payload from calls").scalars().all()
    )
    assert any('"vendorField": "kept"' in text for text in raw)


@of(31)
async def test_a_stop_without_reason_and_tag_is_a_good_stop(quirk, yard: Yard):
    async with yard.connect() as peer:
        number = (await peer.call("StartTransaction", start()))["transactionId"]
        await peer.call("StopTransaction", {"transactionId": number, "meterStop": 1500, "timestamp": NOW})
    (found,) = await yard.transactions()
    assert (found.energy_wh, found.stop_reason, found.is_estimated) == (500, "Local", False)


@of(32)
async def test_words_for_nothing_are_nothing(quirk, yard: Yard):
    async with yard.connect() as peer:
        await peer.call("StatusNotification", status(info="null", vendorErrorCode="0x0000"))
    (connector,) = (await charger_by_identity(yard.ctx, yard.charger.identity)).connectors
    assert (connector.info, connector.vendor_error) == (None, None)


@pytest.mark.parametrize(
    "answer",
    [
        {"configurationKey": [{"key": "A", "readonly": False, "value": "x" * 5000}]},
        {"configurationKey": [{"key": "heartbeatinterval", "readonly": "true"}]},
        {"configurationKey": [{"key": "ChargingScheduleAllowedChargingRateUnit", "value": "W"}]},
        {"configurationKey": [{"key": "SupportedFeatureProfiles", "readonly": True, "value": " Core, "}]},
        {"configurationKey": {"key": "A"}, "unknownKey": None},
        {},
    ],
    ids=["Q33-long", "Q33-case", "Q33-watts", "Q33-blanks", "Q33-no_array", "Q33-nothing"],
)
async def test_odd_keys_are_an_answer_all_the_same_and_get_none(yard: Yard, answer):
    async with yard.connect() as peer:
        told = yard.ask(GetKeys())
        _, message_id, *_ = await peer.next()
        await peer.send(json.dumps([3, message_id, answer]))
        outcome = (await told).outcome
        assert isinstance(outcome, Answer)
        assert outcome.is_accepted
        assert json.loads(outcome.payload) == answer
        await peer.call("Heartbeat")  # nothing else came in between


@pytest.mark.parametrize("tag", ["04a1b2c3", "04:A1:B2:C3", " 04A1B2C3 ", "04-a1-b2-c3"],
                         ids=["Q34-small", "Q34-colons", "Q34-blanks", "Q34-dashes"])  # fmt: skip
async def test_a_card_is_recognised_however_its_tag_is_written(yard: Yard, tag):
    async with yard.connect() as peer:
        assert (await peer.call("Authorize", {"idTag": tag}))["idTagInfo"]["status"] == "Accepted"


@of(34)
async def test_a_tag_that_is_too_long_is_not_taken_for_its_beginning(quirk, yard: Yard):
    async with yard.connect() as peer:
        answer = await peer.call("Authorize", {"idTag": CARD + "0" * 20})
        assert answer["idTagInfo"]["status"] == "Invalid"


@pytest.mark.parametrize(
    ("vendor", "verdict", "flaws"),
    [("KEBA", "Accepted", {"reversed_tag": 1}), ("Voltyard", "Invalid", {})],
    ids=["Q34-reversed", "Q34-not_reversed"],
)
async def test_a_reader_that_is_known_for_it_is_read_in_reverse(yard: Yard, vendor, verdict, flaws):
    async with yard.connect() as peer:
        await peer.boot(vendor)
        assert (await peer.call("Authorize", {"idTag": "C3B2A104"}))["idTagInfo"]["status"] == verdict
    assert await yard.findings() == flaws


# --- time -----------------------------------------------------------------------------------------


@of(35)
async def test_a_time_without_an_offset_is_the_charger_s_own(quirk, yard: Yard):
    # The yard stands in Amsterdam: one o'clock there is noon.
    async with yard.connect() as peer:
        await peer.call("StartTransaction", start(timestamp="2026-01-01T12:30:00"))
    (found,) = await yard.transactions()
    assert found.started_at == NOON - timedelta(minutes=30)
    said = read("StartTransaction", start(timestamp="2026-01-01T13:00:00"), zone=AMSTERDAM)
    assert said.told_at == NOON
    metered = read(
        "MeterValues",
        {"connectorId": 1, "meterValue": [{"timestamp": "2026-07-01T14:00:00", "sampledValue": [ENERGY]}]},
        zone=AMSTERDAM,
    )
    assert metered.readings[0].told_at == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert read("StartTransaction", start(), zone=AMSTERDAM).told_at == NOON


@pytest.mark.parametrize(
    "told", ["1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z", "2026-01-01T14:00:00Z"],
    ids=["Q35-1970", "Q35-2099", "Q35-local_time_called_utc"],
)  # fmt: skip
async def test_a_clock_that_cannot_be_right_is_not_used_and_not_forgotten(yard: Yard, told):
    async with yard.connect() as peer:
        await peer.call("StartTransaction", start(timestamp=told))
    (found,) = await yard.transactions()
    assert found.started_at == yard.ctx.clock.now()
    kept = await yard.ctx.db.read(
        SYSTEM,
        lambda work: work.connection.exec_driver_sql("select start_told_at from transactions").scalar(),
    )
    assert datetime.fromisoformat(str(kept)) == datetime.fromisoformat(told)


@of(36)
async def test_our_time_is_told_in_whole_seconds_with_a_z(quirk, yard: Yard):
    yard.ctx.clock.advance(0.123456)
    async with yard.connect() as peer:
        assert (await peer.call("Heartbeat"))["currentTime"] == NOW
        assert (await peer.boot())["currentTime"] == NOW
    milliseconds = dialect.answer(Beat(), Ticked(yard.ctx.clock.now()), Quirks(wants_milliseconds=True))
    assert json.loads(milliseconds)["currentTime"] == "2026-01-01T12:00:00.123Z"


@of(37)
async def test_after_a_jump_of_the_clock_the_order_of_arrival_counts(quirk, yard: Yard):
    async with yard.connect() as peer:
        await peer.call("StatusNotification", status(status="Charging"))
        await peer.boot()
        await peer.call("StatusNotification", status(timestamp="2026-01-01T08:00:00Z"))
    (connector,) = (await charger_by_identity(yard.ctx, yard.charger.identity)).connectors
    assert connector.status is ConnectorStatus.AVAILABLE
    assert connector.status_at == NOON - timedelta(hours=4)


# --- transactions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 4711], ids=["Q38-zero", "Q38-minus_one", "Q38-stale"])
async def test_a_stop_under_a_strange_number_ends_the_one_that_fits(yard: Yard, number):
    async with yard.connect() as peer:
        await peer.call("StartTransaction", start())
        stop = {"transactionId": number, "meterStop": 1500, "timestamp": NOW, "idTag": CARD}
        await peer.call("StopTransaction", stop)
        await peer.call("StopTransaction", stop | {"meterStop": 9})
    (found,) = await yard.transactions()
    assert (found.energy_wh, found.is_active) == (500, False)
    assert (await yard.findings())["unknown_stop"] == 2
    orphans = await yard.ctx.db.read(SYSTEM, transactions.list_orphans)
    assert [each.meter_wh for each in orphans] == [9]


@of(39)
async def test_a_start_told_again_is_the_same_start(quirk, yard: Yard):
    async with yard.connect() as peer:
        numbers = {(await peer.call("StartTransaction", start()))["transactionId"] for _ in range(3)}
    assert len(numbers) == 1
    assert await yard.findings() == {"repeated_start": 2}


@of(40)
async def test_a_charge_whose_start_is_never_told_is_recorded_all_the_same(quirk, yard: Yard):
    async with yard.connect() as peer, yard.obey(peer) as charger:
        await charger.call("StatusNotification", status(status="Preparing"))
        done = await transactions.request_start(yard.ctx, SYSTEM, yard.charger.id, id_tag=CARD, connector=1)
        assert done.status == "executed"
        yard.ctx.clock.advance(10)
        at = yard.ctx.clock.now().isoformat()
        await charger.call("StatusNotification", status(status="Charging", timestamp=at))
        for energy in ("1500", "1900"):
            yard.ctx.clock.advance(30)
            told = {
                "timestamp": yard.ctx.clock.now().isoformat(),
                "sampledValue": [ENERGY | {"value": energy}],
            }
            await charger.call("MeterValues", {"connectorId": 1, "meterValue": [told]})
        await yard.work_off(15)
    (found,) = await yard.transactions()
    assert (found.energy_wh, found.is_estimated, found.id_tag) == (400, True, CARD)
    assert (await yard.findings())["missing_start"] == 1


@of(41)
async def test_the_next_start_ends_a_transaction_whose_stop_was_lost(quirk, yard: Yard):
    async with yard.connect() as peer:
        number = (await peer.call("StartTransaction", start()))["transactionId"]
        await peer.call("MeterValues", meters(ENERGY, transactionId=number))
        await peer.call("StartTransaction", start(meterStart=1600))
    lost, running = await yard.transactions()
    assert (lost.energy_wh, lost.is_active, lost.is_estimated) == (500, False, True)
    assert running.is_active
    assert await yard.findings() == {"missing_stop": 1}


@pytest.mark.parametrize(
    ("number", "flaw"),
    [("first", "late_meter_values"), (4711, "foreign_meter_values"), (None, None)],
    ids=["Q42-after_the_stop", "Q42-old_number", "Q42-no_number"],
)
async def test_readings_find_their_transaction_and_revive_none(yard: Yard, number, flaw):
    async with yard.connect() as peer:
        first = (await peer.call("StartTransaction", start()))["transactionId"]
        stop = {"transactionId": first, "meterStop": 1400, "timestamp": NOW}
        await peer.call("StopTransaction", stop)
        if number != "first":
            await peer.call("StartTransaction", start(meterStart=1400))
        told = {} if number is None else {"transactionId": first if number == "first" else number}
        await peer.call("MeterValues", meters(ENERGY, **told))
    ended, *running = await yard.transactions()
    assert (ended.is_active, ended.energy_wh) == (False, 400)
    (owner,) = running or [ended]
    assert len(await yard.samples(owner)) == 1
    assert await yard.findings() == ({flaw: 1} if flaw else {})


@pytest.mark.parametrize(
    ("began", "read_wh", "ended", "energy_wh"),
    [(1000, 1500, 900, 500), (0, 500, 0, 500), (1000, 1500, 12, 500), (1000, 1500, 99_000_000, 500)],
    ids=["Q43-stop_below_start", "Q43-always_zero", "Q43-of_this_charge_only", "Q43-absurd"],
)
async def test_a_register_that_cannot_be_right_costs_no_energy(yard: Yard, began, read_wh, ended, energy_wh):
    async with yard.connect() as peer:
        number = (await peer.call("StartTransaction", start(meterStart=began)))["transactionId"]
        await peer.call("MeterValues", meters(ENERGY | {"value": str(read_wh)}, transactionId=number))
        stop = {"transactionId": number, "meterStop": ended, "timestamp": NOW}
        await peer.call("StopTransaction", stop)
    (found,) = await yard.transactions()
    assert (found.energy_wh, found.is_estimated) == (energy_wh, True)
    assert "implausible_stop_register" in await yard.findings()


@of(44)
async def test_weeks_of_history_are_told_at_once_and_stored_with_their_own_times(quirk, yard: Yard):
    count = 80
    async with yard.connect() as peer:
        for day in range(count):
            at = (NOON - timedelta(days=90 - day)).isoformat()
            told = [start(meterStart=day * 100, timestamp=at)]
            await peer.send(json.dumps([2, f"s{day}", "StartTransaction", told[0]]))
            stop = {"transactionId": -1, "meterStop": day * 100 + 50, "timestamp": at, "idTag": CARD}
            await peer.send(json.dumps([2, f"e{day}", "StopTransaction", stop]))
        answers = [await peer.next() for _ in range(2 * count)]
    assert [answer[0] for answer in answers] == [3] * 2 * count
    found = await yard.transactions()
    assert len(found) == count
    assert {each.energy_wh for each in found} == {50}
    assert [each.started_at for each in found] == [NOON - timedelta(days=90 - day) for day in range(count)]


@of(45)
async def test_a_charger_is_online_from_its_socket_on_and_may_boot_or_not(quirk, yard: Yard):
    async with yard.connect() as peer:
        assert (await charger_by_identity(yard.ctx, yard.charger.identity)).is_online
        await peer.call("StatusNotification", status())
        for _ in range(3):
            assert (await peer.boot())["status"] == "Accepted"
        number = (await peer.call("StartTransaction", start()))["transactionId"]
        assert (await peer.boot())["status"] == "Accepted"
    (found,) = await yard.transactions()
    assert (found.number, found.is_active) == (number, True)


@of(45)
def test_a_model_that_restarts_when_asked_to_boot_is_known(quirk):
    assert quirks.find("StarCharge", "Artemis", "1").is_boot_trigger_harmful


@of(46)
async def test_a_status_that_contradicts_the_transaction_is_shown_as_it_is(quirk, yard: Yard):
    async with yard.connect() as peer:
        await peer.call("StartTransaction", start())
        for word in ("SuspendedEV", "Finishing", "Available"):
            await peer.call("StatusNotification", status(status=word))
            (connector,) = (await charger_by_identity(yard.ctx, yard.charger.identity)).connectors
            assert connector.status == word
    (found,) = await yard.transactions()
    assert found.is_active, "only a stop ends a transaction"
    assert all(quirks.find(vendor, "", "").is_paused_by_limit for vendor in ("FoxESS", "Autel", "Ocular"))


@of(47)
def test_a_model_that_ends_the_charge_at_little_current_is_known(quirk):
    assert quirks.find("EN+", "AC7000", "1").limit_min_a == 6.0
    assert quirks.find("HUAWEI", "SCharger-22KT-S0", "1").limit_min_a == 6.0


# --- commands -------------------------------------------------------------------------------------


@of(48)
async def test_a_message_that_was_promised_and_never_comes_holds_nothing_up(quirk, yard: Yard):
    async with yard.connect() as peer, yard.obey(peer) as charger:
        async with asyncio.timeout(10):
            done = await commands.trigger(yard.ctx, SYSTEM, yard.charger.id, "MeterValues", 1)
        assert done.status == "executed"
        await charger.call("Heartbeat", {})
        await yard.work_off(3)
    assert await yard.findings() == {"trigger_without_message": 1}


def _keys(kept: dict[str, str]) -> Any:
    def tell(asked: dict[str, Any]) -> Any:
        assert asked.get("key"), "asked for all its keys, this charger falls over"
        return {
            "configurationKey": [
                {"key": key, "readonly": False, "value": kept[key]} for key in asked["key"] if key in kept
            ],
            "unknownKey": [key for key in asked["key"] if key not in kept],
        }

    return tell


@of(49)
async def test_a_model_that_falls_over_at_all_its_keys_is_asked_by_name(quirk, yard: Yard):
    async with yard.connect() as peer:
        await peer.boot("Ocular", "IQ LTE")
        async with yard.obey(peer, GetConfiguration=_keys({"HeartbeatInterval": "300"})):
            read_keys = await parameters.read(yard.ctx, yard.owner.actor, yard.charger.id)
    assert read_keys.count == 1
    assert "keys_one_by_one" in await yard.findings()


@of(50)
async def test_a_value_that_is_accepted_and_not_applied_is_found_by_reading_it_back(quirk, yard: Yard):
    async with yard.connect() as peer:
        await peer.boot()
        kept = {"HeartbeatInterval": "300"}

        def tell(asked: dict[str, Any]) -> Any:
            return _keys(kept)(asked if asked.get("key") else {"key": list(kept)})

        async with yard.obey(peer, GetConfiguration=tell):
            await parameters.read(yard.ctx, yard.owner.actor, yard.charger.id)
            saving = await parameters.save(
                yard.ctx, yard.owner.actor, yard.charger.id, {"HeartbeatInterval": "600"}
            )
    assert [each.result for each in saving.results] == ["not_applied"]
    assert (await yard.findings())["accepted_not_applied"] == 1


@of(52)
async def test_after_its_boot_no_charger_is_told_to_be_available(quirk, yard: Yard):
    async with yard.connect() as peer, yard.obey(peer) as charger:
        await charger.call("BootNotification", BOOT)
        await charger.call("StatusNotification", status())
        await yard.work_off(5)
    assert "ChangeAvailability" not in {action for action, _ in charger.asked}


@of(55)
async def test_where_the_charger_as_a_whole_is_refused_each_connector_is_asked(quirk, yard: Yard):
    def obey(asked: dict[str, Any]) -> Any:
        return {"status": "Accepted" if asked.get("connectorId") else "Rejected"}

    async with yard.connect() as peer, yard.obey(peer, TriggerMessage=obey) as charger:
        for connector in (1, 2):
            await charger.call("StatusNotification", status(connectorId=connector))
        done = await commands.trigger(yard.ctx, SYSTEM, yard.charger.id, "StatusNotification")
    assert done.status == "executed"
    assert [asked.get("connectorId") for _, asked in charger.asked] == [None, 1, 2]
    assert await yard.findings() == {"no_connector_zero": 1}


LIMIT = SetLimit(1, LimitPurpose.TRANSACTION, 7, 5, (LimitPeriod(0, 13.7),), number=42)


def written(ask: Any, flags: Quirks) -> Any:
    return json.loads(dialect.write(ask, flags)[1])


@pytest.mark.parametrize(
    ("flags", "place", "value"),
    [
        (Quirks(stack_level_max=0), ("csChargingProfiles", "stackLevel"), 0),
        (Quirks(limit_without_transaction=True), ("csChargingProfiles", "transactionId"), None),
        (Quirks(is_limited_in_watts=True), ("unit",), "W"),
        (Quirks(is_limited_in_watts=True), ("limit",), 3151),
        (Quirks(is_limited_in_whole_numbers=True), ("limit",), 13),
        (Quirks(limit_needs_phases=True), ("numberPhases",), 3),
        (Quirks(), ("csChargingProfiles", "stackLevel"), 5),
        (Quirks(), ("limit",), 13.7),
        (Quirks(), ("numberPhases",), None),
    ],
    ids=[
        "Q51-stack_level",
        "Q51-no_transaction",
        "Q51-unit_watts",
        "Q51-limit_in_watts",
        "Q51-whole",
        "Q51-phases",
        "Q51-well_behaved_level",
        "Q51-well_behaved_limit",
        "Q51-well_behaved_phases",
    ],
)
def test_a_limit_is_written_in_the_form_that_the_model_heeds(flags, place, value):
    found = written(LIMIT, flags)
    schedule = found["csChargingProfiles"]["chargingSchedule"]
    period = schedule["chargingSchedulePeriod"][0] | {"unit": schedule["chargingRateUnit"]}
    if len(place) == 2:
        assert found[place[0]].get(place[1]) == value
    else:
        assert period.get(place[0]) == value


@of(51)
def test_models_that_take_only_some_limits_are_known(quirk):
    assert quirks.find("ABB", "TAC-W22", "1").stack_level_max == 0
    assert quirks.find("Wall Box Chargers", "PLP1", "5.17").stack_level_max == 0
    assert quirks.find("Huawei", "SCharger", "1").is_limited_in_watts


@of(53)
def test_a_start_names_a_connector_where_the_model_needs_one(quirk):
    needy = Quirks(start_needs_connector=True)
    assert written(StartCharging(CARD), needy)["connectorId"] == 1
    assert written(StartCharging(CARD, 2), needy)["connectorId"] == 2
    plain = written(StartCharging(CARD), Quirks())
    assert "connectorId" not in plain
    assert "chargingProfile" not in plain, "no model is given a limit within a start"


@pytest.mark.parametrize(
    "outcome",
    [
        dialect.read_answer(Unlock(1), b'{"status":"NotSupported"}'),
        dialect.read_answer(GetKeys(), b'{"status":"NotImplemented"}'),
        AnswerRefused("NotSupported"),
        AnswerRefused("NotImplemented", "unknown action"),
        None,
    ],
    ids=["Q54-status", "Q54-status_where_there_is_none", "Q54-error", "Q54-unknown", "Q54-silence"],
)
def test_what_a_charger_cannot_do_is_one_result_however_it_says_so(outcome):
    assert is_unable(outcome)

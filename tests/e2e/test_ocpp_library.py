"""The real process and a charger that somebody else wrote: the PyPI library `ocpp`, with its schemas on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import websockets

from tests.e2e.library_charger import HASH, LibraryCharger, WholeCharger, instant, plugged
from tests.e2e.server import Person, Server, deliver, fresh_database, make_person, settle_in, until
from voltyard.ocpp.v16.actions import FROM_CHARGER, TO_CHARGER

PASSWORD = "0123456789abcdef0123456789abcdef01234567"
IDENTITIES = (
    *("LIB-MAIN", "LIB-CARD", "LIB-PASSWORD", "LIB-HEX", "LIB-REMOTE", "LIB-TWICE", "LIB-STRAY", "Lib:Colon"),
    *("LIB-KILL", "LIB-WHOLE"),
)
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def at(minutes: int) -> str:
    """Write an instant of the charge that the tests tell of."""
    return instant(BEGAN + timedelta(minutes=minutes))


async def prepare(server: Server) -> Person:
    """Make a person and deliver chargers, all with one password and PIN."""
    person = make_person(server)
    deliver(server, *(f"{identity},1234,{PASSWORD}" for identity in IDENTITIES))
    return person


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("serve")) as running:
        yield running


@pytest.fixture(scope="module")
def person(server: Server) -> Person:
    made = make_person(server)
    deliver(server, *(f"{identity},1234,{PASSWORD}" for identity in IDENTITIES))
    return made


async def only_transaction(person: Person, charger_id: str) -> dict:
    found = (await person("GET", f"/transactions?charger={charger_id}"))["items"]
    assert len(found) == 1, found
    return found[0]


async def charge_a_car(server: Server, person: Person, identity: str = "LIB-MAIN") -> None:
    """Walk the main way, from a delivered charger to a bill that adds up."""
    location_id, charger_id = await settle_in(person, identity)
    assert (await person("GET", f"/chargers/{charger_id}"))["connection"] == "never_seen"
    async with plugged(server.ocpp_url, identity, PASSWORD) as charger:
        boot = await charger.boot()
        assert (boot.status, boot.interval) == ("Accepted", 300)
        # Quirk Q36: no microseconds and no +00:00.
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", boot.current_time)
        await charger.status("Available", 0)
        await charger.status("Preparing")
        assert await charger.authorise("CARD1") == "Accepted"
        number, verdict = await charger.begin("CARD1", 10_000, at(0))
        assert verdict == "Accepted"
        assert 0 < number < 2**31
        await charger.status("Charging")
        for minute in range(1, 6):
            await charger.meter(number, 10_000 + 120 * minute, at(minute))
        running = await only_transaction(person, charger_id)
        assert (running["status"], running["energy_wh"], running["power_w"]) == ("active", 600, 7200.0)
        shown = await person("GET", f"/chargers/{charger_id}")
        assert (shown["connection"], shown["connectors"][0]["status"]) == ("online", "Charging")
        assert (shown["vendor"], shown["model"], shown["serial"]) == ("Library", "L1", "S-1")
        await charger.end(number, 11_000, "CARD1", at(8))
        await charger.status("Available")
    ended = await only_transaction(person, charger_id)
    assert (ended["number"], ended["status"], ended["location_id"]) == (number, "finished", location_id)
    assert (ended["energy_wh"], ended["meter_start_wh"], ended["meter_stop_wh"]) == (1000, 10_000, 11_000)
    assert (ended["started_at"], ended["ended_at"]) == (at(0), at(8))
    assert (ended["verdict"], ended["stop_reason"], ended["is_estimated"]) == ("Accepted", "Local", False)
    samples = (await person("GET", f"/transactions/{ended['id']}/samples"))["items"]
    assert [sample["energy_wh"] for sample in samples] == [10_120, 10_240, 10_360, 10_480, 10_600]
    assert {sample["current_a"]["l1"] for sample in samples} == {16.0}

    async def is_offline() -> bool:
        return (await person("GET", f"/chargers/{charger_id}"))["connection"] == "offline"

    await until(is_offline, "the charger that went is shown as offline")


async def test_a_car_charges_and_the_account_adds_up_on_sqlite(server, person):
    await charge_a_car(server, person)


async def test_a_car_charges_and_the_account_adds_up_on_postgres(tmp_path: Path, postgres_server):
    with Server(tmp_path, database_url=await fresh_database(postgres_server)) as server:
        await charge_a_car(server, await prepare(server))


async def test_a_car_charges_with_every_role_in_a_process_of_its_own(
    tmp_path: Path, postgres_server, nats_server
):
    settings = {
        "database_url": await fresh_database(postgres_server),
        "nats_url": nats_server,
        "secret": "shared by all processes",
    }
    with ExitStack() as running:
        first = Server(tmp_path, roles="central", **settings)
        first.command("migrate")
        running.enter_context(first)
        doors = running.enter_context(Server(tmp_path, roles="api,portal,worker", **settings))
        gateway = running.enter_context(Server(tmp_path, roles="gateway", **settings))
        doors.ocpp_port = gateway.ocpp_port
        person = await prepare(doors)
        await charge_a_car(doors, person)
        await charge_remotely(doors, person)


async def test_a_wrong_card_is_refused_and_its_energy_is_recorded_all_the_same(server, person):
    _, charger_id = await settle_in(person, "LIB-CARD")
    async with plugged(server.ocpp_url, "LIB-CARD", PASSWORD) as charger:
        await charger.boot()
        assert await charger.authorise("STRANGER") == "Invalid"
        number, verdict = await charger.begin("STRANGER", 500, at(0))
        assert verdict == "Invalid"
        await charger.end(number, 1700, at=at(5))
    ended = await only_transaction(person, charger_id)
    assert (ended["verdict"], ended["energy_wh"], ended["card_id"]) == ("Invalid", 1200, None)


async def test_a_wrong_password_is_answered_with_401(server, person):
    for password in ("wrong", "", None, PASSWORD[:-1], PASSWORD + "0"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with plugged(server.ocpp_url, "LIB-PASSWORD", password):
                pass
        assert refused.value.response.status_code == 401
        assert "Basic" in refused.value.response.headers["WWW-Authenticate"]


async def test_the_bytes_that_a_hexadecimal_password_means_are_the_password_too(server, person):
    # Quirk Q7.
    for password in (bytes.fromhex(PASSWORD), PASSWORD.upper(), PASSWORD):
        async with plugged(server.ocpp_url, "LIB-HEX", password, user="anything") as charger:
            assert (await charger.boot()).status == "Pending"  # nobody has claimed it


async def test_an_identity_with_a_colon_gets_in_with_its_password(server, person):
    # Quirk Q6: basic authentication ends the user name at the first colon.
    async with plugged(server.ocpp_url, "Lib:Colon", PASSWORD) as charger:
        assert (await charger.boot()).status == "Pending"


async def test_an_unknown_charger_is_held_until_it_is_claimed(tmp_path: Path):
    with Server(tmp_path, unknown_chargers="hold") as server:
        admin = make_person(server, "root@example.com", is_admin=True)
        async with plugged(server.ocpp_url, "NEW-1") as charger:
            boot = await charger.boot()
            assert (boot.status, boot.interval) == ("Pending", 60)
            await settle_in(admin, "NEW-1", pin="")
            # Whoever is claimed is asked to introduce itself, so that it need not wait for its interval.
            what, _ = await charger.asked.get()
            assert what == "TriggerMessage"
            assert (await charger.boot()).status == "Accepted"
            assert await charger.authorise("CARD1") == "Accepted"


async def test_an_unknown_charger_is_refused_with_404_where_the_installation_wants_that(tmp_path: Path):
    with Server(tmp_path, unknown_chargers="refuse") as server:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with plugged(server.ocpp_url, "NEW-1"):
                pass
        assert refused.value.response.status_code == 404
        assert b"NEW-1" in refused.value.response.body


async def charge_remotely(server: Server, person: Person, identity: str = "LIB-REMOTE") -> None:
    _, charger_id = await settle_in(person, identity)
    asked = await person("POST", f"/chargers/{charger_id}/actions/start", id_token="CARD1")
    assert (asked["status"], asked["sent_at"]) == ("offline", None)
    async with plugged(server.ocpp_url, identity, PASSWORD) as charger:
        await charger.boot()
        await person("POST", f"/chargers/{charger_id}/actions/stop", status=409, transaction_id=None)
        start = f"/chargers/{charger_id}/actions/start"
        asked = await person("POST", start, id_token="CARD1", connector_id=1)
        assert asked["word"] == "Accepted", asked
        assert await charger.asked.get() == (
            "RemoteStartTransaction",
            {"id_tag": "CARD1", "connector_id": 1},
        )
        number, verdict = await charger.begin("CARD1", 0)
        assert verdict == "Accepted"
        await charger.meter(number, 250)
        asked = await person("POST", f"/chargers/{charger_id}/actions/stop", transaction_id=None)
        assert asked["word"] == "Accepted", asked
        assert await charger.asked.get() == ("RemoteStopTransaction", {"transaction_id": number})
        assert (await only_transaction(person, charger_id))["status"] == "active"
        await charger.end(number, 300)
    assert (await only_transaction(person, charger_id))["energy_wh"] == 300


async def test_a_charge_is_started_and_stopped_from_afar(server, person):
    await charge_remotely(server, person)


async def test_the_newest_socket_of_a_charger_wins_and_the_end_of_the_old_one_changes_nothing(server, person):
    _, charger_id = await settle_in(person, "LIB-TWICE")
    async with plugged(server.ocpp_url, "LIB-TWICE", PASSWORD) as old:
        await old.boot()
        async with plugged(server.ocpp_url, "LIB-TWICE", PASSWORD) as new:
            await old.connection.wait_closed()
            assert old.connection.close_code == 1000
            await new.boot()
            shown = await person("GET", f"/chargers/{charger_id}")
            assert shown["connection"] == "online"
            asked = await person("POST", f"/chargers/{charger_id}/actions/start", id_token="CARD1")
            assert asked["word"] == "Accepted"
            assert (await new.asked.get())[0] == "RemoteStartTransaction"
            assert old.asked.empty()


async def test_a_stop_with_minus_one_ends_the_only_open_transaction(server, person):
    _, charger_id = await settle_in(person, "LIB-STRAY")
    async with plugged(server.ocpp_url, "LIB-STRAY", PASSWORD) as charger:
        await charger.boot()
        await charger.begin("CARD1", 100, at(0))
        await charger.end(-1, 900, "CARD1", at(3))
        assert (await only_transaction(person, charger_id))["energy_wh"] == 800
        # There is none left that this could mean: it is kept, and answered.
        await charger.end(-1, 5_000, "CARD1", at(4))
    assert (await only_transaction(person, charger_id))["energy_wh"] == 800


async def kill_between(server: Server, person: Person) -> None:
    """Kill the server in the middle of a charge, twice, and see that nothing is lost."""
    _, charger_id = await settle_in(person, "LIB-KILL")
    async with plugged(server.ocpp_url, "LIB-KILL", PASSWORD) as charger:
        await charger.boot()
        number, _ = await charger.begin("CARD1", 1_000, at(0))
        await charger.meter(number, 1_500, at(1))
        server.kill()
    server.start()
    assert (await only_transaction(person, charger_id))["energy_wh"] == 500
    async with plugged(server.ocpp_url, "LIB-KILL", PASSWORD) as charger:
        await charger.boot()
        await charger.meter(number, 2_000, at(2))
        await charger.end(number, 2_500, "CARD1", at(3))
        # A charger that did not hear the answer says it again.
        await charger.end(number, 2_500, "CARD1", at(3))
    ended = await only_transaction(person, charger_id)
    assert (ended["number"], ended["energy_wh"], ended["is_estimated"]) == (number, 1_500, False)

    async with plugged(server.ocpp_url, "LIB-KILL", PASSWORD) as charger:
        await charger.boot()
        answering = say_and_die(charger, server)
        with pytest.raises(websockets.ConnectionClosed):
            await answering
    server.start()
    async with plugged(server.ocpp_url, "LIB-KILL", PASSWORD) as charger:
        await charger.boot()
        again, _ = await charger.begin("CARD1", 3_000, at(10))
        once_more, _ = await charger.begin("CARD1", 3_000, at(10))
        assert again == once_more != number
        await charger.end(again, 3_100, "CARD1", at(11))
    found = (await person("GET", f"/transactions?charger={charger_id}"))["items"]
    assert [each["energy_wh"] for each in found] == [100, 1_500]


async def say_and_die(charger: LibraryCharger, server: Server) -> None:
    """Tell of a start and kill the server before its answer is read."""
    await charger.connection.send(
        '[2,"unheard","StartTransaction",{"connectorId":1,"idTag":"CARD1","meterStart":3000,'
        f'"timestamp":"{at(10)}"}}]'
    )
    server.kill()
    await charger.connection.wait_closed()
    await charger.connection.send("anything")


async def test_a_killed_server_loses_nothing_on_sqlite(tmp_path: Path):
    with Server(tmp_path) as server:
        await kill_between(server, await prepare(server))


async def test_a_killed_server_loses_nothing_on_postgres(tmp_path: Path, postgres_server):
    with Server(tmp_path, database_url=await fresh_database(postgres_server)) as server:
        await kill_between(server, await prepare(server))


async def test_a_server_that_is_told_to_stop_says_good_bye_to_its_chargers(tmp_path: Path):
    with Server(tmp_path) as server:
        async with plugged(server.ocpp_url, "NEW-1") as charger:
            await charger.boot()
            assert server.stop() == 0
            await charger.connection.wait_closed()
            assert charger.connection.close_code == 1012


# --- all messages ---------------------------------------------------------------------------------

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SCHEDULE = {
    "duration": 3600,
    "startSchedule": at(0),
    "chargingRateUnit": "A",
    "minChargingRate": 6.0,
    "chargingSchedulePeriod": [
        {"startPeriod": 0, "limit": 16.1, "numberPhases": 3},
        {"startPeriod": 600, "limit": 8.0},
    ],
}


def profile(purpose: str, **more: object) -> dict[str, object]:
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Recurring",
        "recurrencyKind": "Daily",
        "validFrom": at(0),
        "validTo": at(600),
        "chargingSchedule": SCHEDULE,
        **more,
    }


# What the central system is made to send by hand: each action with all of its fields, and with few.
ASKED: tuple[tuple[str, dict[str, object]], ...] = (
    ("CancelReservation", {"reservationId": 1}),
    ("CertificateSigned", {"certificateChain": PEM}),
    ("ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}),
    ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "600"}),
    ("ClearCache", {}),
    ("ClearChargingProfile", {}),
    (
        "ClearChargingProfile",
        {"id": 1, "connectorId": 0, "chargingProfilePurpose": "ChargePointMaxProfile", "stackLevel": 1},
    ),
    ("DataTransfer", {"vendorId": "v", "messageId": "m", "data": "d"}),
    (
        "DeleteCertificate",
        {
            "certificateHashData": {
                "hashAlgorithm": "SHA256",
                "issuerNameHash": HASH["issuer_name_hash"],
                "issuerKeyHash": HASH["issuer_key_hash"],
                "serialNumber": HASH["serial_number"],
            }
        },
    ),
    ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}),
    ("GetCompositeSchedule", {"connectorId": 1, "duration": 60, "chargingRateUnit": "A"}),
    ("GetConfiguration", {}),
    ("GetConfiguration", {"key": ["HeartbeatInterval", "NobodyKnowsThis"]}),
    (
        "GetDiagnostics",
        {
            "location": "ftp://files.example.com/d",
            "retries": 1,
            "retryInterval": 5,
            "startTime": at(0),
            "stopTime": at(1),
        },
    ),
    ("GetInstalledCertificateIds", {"certificateType": "CentralSystemRootCertificate"}),
    ("GetLocalListVersion", {}),
    (
        "GetLog",
        {
            "logType": "SecurityLog",
            "requestId": 7,
            "retries": 1,
            "retryInterval": 5,
            "log": {
                "remoteLocation": "https://files.example.com/l",
                "oldestTimestamp": at(0),
                "latestTimestamp": at(1),
            },
        },
    ),
    ("InstallCertificate", {"certificateType": "ManufacturerRootCertificate", "certificate": PEM}),
    (
        "RemoteStartTransaction",
        {"idTag": "CARD1", "connectorId": 1, "chargingProfile": profile("TxProfile")},
    ),
    ("RemoteStopTransaction", {"transactionId": 123_456}),
    (
        "ReserveNow",
        {
            "connectorId": 1,
            "expiryDate": at(600),
            "idTag": "CARD1",
            "parentIdTag": "FAMILY",
            "reservationId": 1,
        },
    ),
    (
        "SendLocalList",
        {
            "listVersion": 2,
            "updateType": "Differential",
            "localAuthorizationList": [
                {"idTag": "CARD1", "idTagInfo": {"status": "Accepted", "expiryDate": at(600)}},
                {"idTag": "CARD2"},
            ],
        },
    ),
    ("SetChargingProfile", {"connectorId": 0, "csChargingProfiles": profile("ChargePointMaxProfile")}),
    (
        "SetChargingProfile",
        {"connectorId": 1, "csChargingProfiles": profile("TxProfile", transactionId=5)},
    ),
    (
        "SignedUpdateFirmware",
        {
            "requestId": 8,
            "retries": 1,
            "retryInterval": 5,
            "firmware": {
                "location": "https://files.example.com/f",
                "retrieveDateTime": at(0),
                "installDateTime": at(1),
                "signingCertificate": PEM,
                "signature": "c2lnbmF0dXJl",
            },
        },
    ),
    ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}),
    ("UnlockConnector", {"connectorId": 1}),
    (
        "UpdateFirmware",
        {
            "location": "https://files.example.com/f",
            "retrieveDate": at(0),
            "retries": 1,
            "retryInterval": 5,
        },
    ),
    ("Reset", {"type": "Soft"}),
)


async def tell_everything(charger: WholeCharger) -> None:
    """Say every message of a charger once."""
    await charger.boot()
    await charger.tell("Heartbeat")
    for status in ("Available", "Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing"):
        await charger.status(status)
    await charger.status("Available", 0)
    await charger.authorise("CARD1")
    await charger.authorise("STRANGER")
    number, _ = await charger.begin("CARD1", 100, at(0))
    await charger.meter(number, 150, at(1))
    await charger.end(number, 200, "CARD1", at(2))
    await charger.tell("DataTransfer", vendor_id="v", message_id="m", data="d")
    await charger.tell("DiagnosticsStatusNotification", status="Idle")
    await charger.tell("FirmwareStatusNotification", status="Idle")
    await charger.tell("LogStatusNotification", status="Uploaded", request_id=7)
    await charger.tell("SecurityEventNotification", type="SettingSystemTime", timestamp=at(3), tech_info="i")
    await charger.tell("SignCertificate", csr="-----BEGIN CERTIFICATE REQUEST-----")
    await charger.tell("SignedFirmwareStatusNotification", status="Installed", request_id=8)


async def test_a_run_through_all_messages_breaks_no_schema(server, person):
    _, charger_id = await settle_in(person, "LIB-WHOLE")
    async with plugged(server.ocpp_url, "LIB-WHOLE", PASSWORD, kind=WholeCharger) as charger:
        await tell_everything(charger)
        for action, payload in ASKED:
            asked = await person("POST", f"/chargers/{charger_id}/ocpp", action=action, payload=payload)
            assert asked["answer"] is not None, asked
        witness = charger.witness
        assert witness.violations == []
        assert witness.errors == []
    sent = {action for speaker, action in witness.seen if speaker == "central system"}
    assert sent >= FROM_CHARGER.keys() | TO_CHARGER.keys(), "asked for all, and answered all"
    said = {action for speaker, action in witness.seen if speaker == "charger"}
    assert said >= FROM_CHARGER.keys() | TO_CHARGER.keys()

"""The configuration that an operator sees and sets, class by class."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import fits
from voltyard.proxy import keys
from voltyard.proxy.keys import (
    MASK,
    REASONS,
    Change,
    Keep,
    Key,
    KeyClass,
    Password,
    Refused,
    SetOnCharger,
    change,
    classify,
    get_answer,
    shown,
)
from voltyard.speech import Role

BILLING, DATA_CONTROL, OBSERVER = Role
PROFILES = "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"
REPORTED = (
    Key("heartbeatinterval", "300", is_readonly=True),
    Key("NumberOfConnectors", "2", is_readonly=False),
    Key("SupportedFeatureProfiles", PROFILES, is_readonly=True),
    Key("MeterValueSampleInterval", "60", is_readonly=False),
    Key("ClockAlignedDataInterval", "0", is_readonly=True),
    Key("MeterValuesSampledData", "Voltage, Energy.Active.Import.Register,SoC", is_readonly=False),
    Key("ChargeProfileMaxStackLevel", "3", is_readonly=True),
    Key("AuthorizationKey", "hidden-password-of-ours", is_readonly=False),
    Key("LocalPreAuthorize", "false", is_readonly=False),
    Key("BackOfficeUrl", "wss://voltyard", is_readonly=False),
    Key("LedBrightness", "50", is_readonly=False),
    Key("VendorMode", None, is_readonly=True),
    Key("ClockOnDisplay", "0", is_readonly=True),
    Key("SecurityProfile", "1", is_readonly=False),
)

roles = st.sampled_from(Role)
names = st.sampled_from(
    [*keys._SPELLINGS.values(), *(key.name for key in REPORTED), "wifi_ssid", "ocppPassword", "X"]
) | st.text(max_size=60)
spelt = st.builds(
    lambda name, how: how(name), names, st.sampled_from([str, str.upper, str.lower, lambda name: f" {name} "])
)
texts = st.sampled_from(["0", "9", "10", "59", "60", "61", "true", "SoC", "voltage,SoC", "a" * 40, "ab" * 20])
values = texts | st.text(max_size=600)
reports = st.lists(st.builds(Key, spelt, st.none() | values, st.booleans()), max_size=8)
overlays = st.dictionaries(spelt, values, max_size=4)


def changed(
    key: str, value: str, role: Role = BILLING, overlay: dict[str, str] | None = None, **told: Any
) -> Change:
    return change(role, key, value, reported=told.get("reported", REPORTED), overlay=overlay or {})


def seen(role: Role = BILLING, overlay: dict[str, str] | None = None, **ours: Any) -> dict[str, Key]:
    return {key.name: key for key in shown(REPORTED, overlay or {}, role=role, **ours)}


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("HeartbeatInterval", KeyClass.LINK),
        (" authorizationkey ", KeyClass.LINK),
        ("SecurityProfile", KeyClass.LINK),
        ("METERVALUESAMPLEINTERVAL", KeyClass.RATE),
        ("StopTxnAlignedData", KeyClass.MEASURANDS),
        ("ConnectionTimeOut", KeyClass.AUTHORITY),
        ("AdditionalRootCertificateCheck", KeyClass.OWNER),
        ("ConnectorPhaseRotation", KeyClass.OWNER),
        ("NumberOfConnectors", KeyClass.READ_ONLY),
        ("GetConfigurationMaxKeys", KeyClass.READ_ONLY),
        ("LightIntensity", KeyClass.PASS),
        ("ResetRetries", KeyClass.PASS),
        ("BackOfficeUrl", KeyClass.OWNER),
        ("ocpp_url", KeyClass.OWNER),
        ("APN", KeyClass.OWNER),
        ("apnUser", KeyClass.OWNER),
        ("modemPin", KeyClass.OWNER),
        ("WiFiSSID", KeyClass.OWNER),
        ("Wi-Fi.Passphrase", KeyClass.OWNER),
        ("MaxCurrent", KeyClass.OWNER),
        ("GroundingCheck", KeyClass.OWNER),
        ("FreeVendEnabled", KeyClass.OWNER),
        ("freevend", KeyClass.OWNER),
        ("AutoStart", KeyClass.OWNER),
        ("Plug&ChargeMode", KeyClass.OWNER),
        ("FactoryReset", KeyClass.OWNER),
        ("CableLock", KeyClass.OWNER),
        ("SoftResetTime", KeyClass.OWNER),
        ("StaticIP", KeyClass.OWNER),
        ("PublicKey", KeyClass.OWNER),
        ("LedBrightness", KeyClass.PASS),
        ("BackgroundColour", KeyClass.PASS),
        ("ChipTone", KeyClass.OWNER),
        ("ClockOnDisplay", KeyClass.PASS),
        ("DisplayLanguage", KeyClass.PASS),
        ("SmartButtonEnabled", KeyClass.OWNER),
        ("AuthEnabled", KeyClass.OWNER),
        ("RFIDEnabled", KeyClass.OWNER),
        ("StandaloneMode", KeyClass.OWNER),
        ("Cst_TxStartOnPowerPathClosed", KeyClass.OWNER),
        ("MaxChargingTime", KeyClass.OWNER),
        ("InstallationLimit", KeyClass.OWNER),
        ("RootCA", KeyClass.OWNER),
        ("LightsWhileAuthorised", KeyClass.OWNER),
        ("", KeyClass.OWNER),
    ],
)
def test_a_key_is_known_by_its_name(name: str, kind: KeyClass) -> None:
    assert classify(name) is kind


@given(names.filter(lambda name: name.isascii()))
def test_a_key_of_the_specification_has_its_class_in_any_case(name: str) -> None:
    if name.strip().casefold() in keys._CLASSES:
        assert classify(name.upper()) is classify(name.lower()) is classify(f" {name}")


# --- what is shown --------------------------------------------------------------------------------


def test_the_values_of_the_link_lie_over_those_of_the_charger() -> None:
    found = seen(overlay={"HEARTBEATINTERVAL": "77", "metervaluesampleinterval": "900", "cponame": "Us"})
    assert found["heartbeatinterval"] == Key("heartbeatinterval", "77", is_readonly=False)
    assert found["MeterValueSampleInterval"].value == "900"
    assert found["CpoName"] == Key("CpoName", "Us", is_readonly=False)
    assert found["LedBrightness"] == Key("LedBrightness", "50", is_readonly=False)
    assert found["VendorMode"] == Key("VendorMode", None, is_readonly=True)
    assert found["NumberOfConnectors"] == Key("NumberOfConnectors", "2", is_readonly=True)
    assert found["BackOfficeUrl"] == Key("BackOfficeUrl", MASK, is_readonly=True)
    assert found["AuthorizationKey"] == Key("AuthorizationKey", None, is_readonly=False)


def test_what_a_link_always_has_is_there_before_the_charger_told_anything() -> None:
    assert shown((), {}, role=DATA_CONTROL) == (
        Key("HeartbeatInterval", "300", is_readonly=False),
        Key("WebSocketPingInterval", "60", is_readonly=False),
    )
    assert shown((), {"WebSocketPingInterval": "0"}, role=OBSERVER)[0] == Key(
        "WebSocketPingInterval", "0", is_readonly=True
    )


def test_the_order_is_that_of_the_charger_and_a_key_told_twice_is_shown_once() -> None:
    twice = (*REPORTED, Key("LEDBRIGHTNESS", "7", is_readonly=True))
    found = shown(twice, {}, role=BILLING)
    assert found[: len(REPORTED)] == tuple(seen().values())[: len(REPORTED)]
    assert [key.value for key in found if key.name.lower() == "ledbrightness"] == ["50"]


@pytest.mark.parametrize(
    ("role", "profiles"),
    [
        (BILLING, PROFILES),
        (DATA_CONTROL, "Core,SmartCharging,RemoteTrigger"),
        (OBSERVER, "Core,RemoteTrigger"),
    ],
)
def test_a_role_sees_only_the_profiles_that_it_may_use(role: Role, profiles: str) -> None:
    assert seen(role)["SupportedFeatureProfiles"] == Key(
        "SupportedFeatureProfiles", profiles, is_readonly=True
    )


def test_our_keeping_of_limits_stands_in_for_the_chargers() -> None:
    found = seen(DATA_CONTROL)
    assert found["ChargeProfileMaxStackLevel"].value == "8"
    assert found["MaxChargingProfilesInstalled"] == Key(
        "MaxChargingProfilesInstalled", "20", is_readonly=True
    )
    assert found["ChargingScheduleMaxPeriods"].value == "24"
    assert found["ChargingScheduleAllowedChargingRateUnit"].value == "Current,Power"
    other = seen(stack_level_max=1, profiles_max=2, periods_max=3, rate_units="Current")
    assert other["ChargeProfileMaxStackLevel"].value == "1"
    assert other["ChargingScheduleAllowedChargingRateUnit"].value == "Current"


def test_who_cannot_limit_is_not_told_how_limits_are_kept() -> None:
    assert "MaxChargingProfilesInstalled" not in seen(OBSERVER)
    plain = (Key("SupportedFeatureProfiles", None, is_readonly=True),)
    assert [key.name for key in shown(plain, {}, role=BILLING)] == [
        "SupportedFeatureProfiles",
        "HeartbeatInterval",
        "WebSocketPingInterval",
    ]


def test_who_may_be_let_in_is_readonly_but_for_billing() -> None:
    assert not seen(BILLING)["LocalPreAuthorize"].is_readonly
    assert seen(DATA_CONTROL)["LocalPreAuthorize"].is_readonly


@given(roles, reports, overlays, spelt, values)
def test_what_is_protected_is_neither_shown_nor_set(
    role: Role, reported: list[Key], overlay: dict[str, str], name: str, value: str
) -> None:
    for key in shown(reported, overlay, role=role):
        if classify(key.name) is KeyClass.OWNER:
            assert key.is_readonly
            is_known_to_be = keys._fold(key.name) in keys._CLASSES or keys._PROTECTED.search(key.name)
            assert key.value == MASK or not is_known_to_be
    if classify(name) in {KeyClass.OWNER, KeyClass.READ_ONLY}:
        assert isinstance(change(role, name, value, reported=reported, overlay=overlay), Refused)


@given(roles, reports, overlays)
def test_a_password_is_never_shown(role: Role, reported: list[Key], overlay: dict[str, str]) -> None:
    reported = [*reported, REPORTED[7]]
    for key in shown(reported, overlay | {"authorizationKey": "hidden"}, role=role):
        if key.name.strip().casefold() == "authorizationkey":
            assert key.value is None


@given(reports, overlays, spelt, values)
def test_an_observer_sets_nothing(
    reported: list[Key], overlay: dict[str, str], name: str, value: str
) -> None:
    assert all(key.is_readonly for key in shown(reported, overlay, role=OBSERVER))
    assert change(OBSERVER, name, value, reported=reported, overlay=overlay) == Refused(
        "Rejected", "observer_only_watches"
    )


@given(roles, reports, overlays, st.lists(spelt, max_size=4))
def test_what_is_shown_fits_the_schema(
    role: Role, reported: list[Key], overlay: dict[str, str], wanted: list[str]
) -> None:
    found = shown(reported, overlay, role=role)
    folded = [key.name.strip().casefold() for key in found]
    assert len(folded) == len(set(folded))
    assert {"heartbeatinterval", "websocketpinginterval"} <= set(folded)
    fits("GetConfiguration", get_answer(found, wanted), is_answer=True)


def test_wanted_keys_are_told_and_unknown_ones_named_as_they_were_asked() -> None:
    found = shown(REPORTED, {}, role=BILLING)
    asked = ["ledbrightness", "Nothing", " LEDBRIGHTNESS", "Nothing", "vendormode"]
    assert json.loads(get_answer(found, asked)) == {
        "configurationKey": [
            {"key": "LedBrightness", "readonly": False, "value": "50"},
            {"key": "VendorMode", "readonly": True},
        ],
        "unknownKey": ["Nothing"],
    }
    whole = json.loads(get_answer(found, ()))
    assert [key["key"] for key in whole["configurationKey"]] == [key.name for key in found]
    assert "unknownKey" not in whole


def test_what_ocpp_has_no_room_for_is_cut_or_left_out() -> None:
    long = (Key("n" * 51, "1", is_readonly=False), Key("X", "v" * 501, is_readonly=False))
    answer = json.loads(get_answer(long, ()))
    assert answer == {"configurationKey": [{"key": "X", "readonly": False, "value": "v" * 500}]}
    assert json.loads(get_answer(long, ["n" * 51])) == {"configurationKey": []}


# --- what is set ----------------------------------------------------------------------------------


@given(roles, spelt, values, reports, overlays)
def test_what_reaches_the_charger_may_be_written_there(
    role: Role, name: str, value: str, reported: list[Key], overlay: dict[str, str]
) -> None:
    found = change(role, name, value, reported=reported, overlay=overlay)
    if isinstance(found, Refused):
        assert found.why in REASONS
        fits("ChangeConfiguration", {"status": found.status}, is_answer=True)
    elif isinstance(found, SetOnCharger):
        first = next(
            (key for key in reported if key.name.strip().casefold() == name.strip().casefold()), None
        )
        assert first is None or not first.is_readonly
        assert classify(found.key) in {KeyClass.RATE, KeyClass.AUTHORITY, KeyClass.PASS}
        assert classify(found.key) is not KeyClass.AUTHORITY or role is BILLING
        assert found.is_kept == (classify(found.key) is KeyClass.RATE)
    elif isinstance(found, Password):
        assert 16 <= len(found.value) <= 40


@given(st.integers(0, 100_000), st.integers(1, 100_000))
def test_a_slower_rate_never_reaches_the_charger(wanted_s: int, present_s: int) -> None:
    told = (Key("MeterValueSampleInterval", str(present_s), is_readonly=False),)
    found = changed("MeterValueSampleInterval", str(wanted_s), reported=told)
    if wanted_s == 0 or wanted_s >= present_s:
        assert found == Keep("MeterValueSampleInterval", str(wanted_s))
    elif wanted_s < 10:
        assert found == Refused("Rejected", "too_often")
    else:
        assert found == SetOnCharger("MeterValueSampleInterval", str(wanted_s), is_kept=True)


OF_33 = "0123456789abcdef0123456789abcdef0"


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        # Of the link.
        ("HeartbeatInterval", " 0060 ", Keep("heartbeatinterval", "60")),
        ("HeartbeatInterval", "0", Refused("Rejected", "out_of_range")),
        ("HeartbeatInterval", "soon", Refused("Rejected", "not_a_number")),
        ("HeartbeatInterval", "-1", Refused("Rejected", "not_a_number")),
        ("websocketpinginterval", "0", Keep("WebSocketPingInterval", "0")),
        ("CpoName", "Us & Co", Keep("CpoName", "Us & Co")),
        ("TransactionMessageAttempts", "3000000000", Refused("Rejected", "out_of_range")),
        ("AuthorizationKey", "sixteen letters!", Password(b"sixteen letters!")),
        ("authorizationkey", "fünfzehn letters", Password("fünfzehn letters".encode())),
        ("AuthorizationKey", "fifteen letters", Refused("Rejected", "unfit_password")),
        ("AuthorizationKey", "x" * 41, Refused("Rejected", "unfit_password")),
        ("AuthorizationKey", "0F" * 16, Password(b"\x0f" * 16)),
        ("AuthorizationKey", "0f" * 40, Password(b"\x0f" * 40)),
        ("AuthorizationKey", "0f" * 41, Refused("Rejected", "unfit_password")),
        ("AuthorizationKey", "0f" * 15, Password(b"0f" * 15)),
        ("AuthorizationKey", OF_33, Password(OF_33.encode())),
        ("SecurityProfile", "2", Refused("Rejected", "ask_owner")),
        ("SecurityProfile", "1", Refused("Rejected", "only_upwards")),
        ("SecurityProfile", "0", Refused("Rejected", "only_upwards")),
        ("SecurityProfile", "4", Refused("Rejected", "out_of_range")),
        # How often.
        ("MeterValueSampleInterval", "60", Keep("MeterValueSampleInterval", "60")),
        ("MeterValueSampleInterval", "30", SetOnCharger("MeterValueSampleInterval", "30", is_kept=True)),
        ("MeterValueSampleInterval", "9", Refused("Rejected", "too_often")),
        ("MeterValueSampleInterval", "0", Keep("MeterValueSampleInterval", "0")),
        ("ClockAlignedDataInterval", "0", Keep("ClockAlignedDataInterval", "0")),
        ("ClockAlignedDataInterval", "900", Refused("Rejected", "read_only")),
        ("ClockAlignedDataInterval", "86401", Refused("Rejected", "out_of_range")),
        # What is measured.
        ("MeterValuesSampledData", "soc, VOLTAGE", Keep("MeterValuesSampledData", "SoC,Voltage")),
        ("MeterValuesSampledData", "", Keep("MeterValuesSampledData", "")),
        ("MeterValuesSampledData", "SoC,Current.Import", Refused("Rejected", "not_measured")),
        ("StopTxnSampledData", "SoC", Refused("NotSupported", "not_measured")),
        # Of the one who bills.
        ("localpreauthorize", "true", SetOnCharger("LocalPreAuthorize", "true")),
        ("ConnectionTimeOut", "90", SetOnCharger("ConnectionTimeOut", "90")),
        ("ConnectionTimeOut", "1.5", Refused("Rejected", "not_a_number")),
        # Of the owner, of nobody, of anybody.
        ("BackOfficeUrl", "wss://elsewhere", Refused("Rejected", "protected")),
        ("NumberOfConnectors", "9", Refused("Rejected", "read_only")),
        ("LEDBRIGHTNESS", "20", SetOnCharger("LedBrightness", "20")),
        ("VendorMode", "1", Refused("Rejected", "protected")),
        ("ClockOnDisplay", "1", Refused("Rejected", "read_only")),
        ("LightIntensity", "101", Refused("Rejected", "out_of_range")),
        (" Unheard ", " of ", Refused("Rejected", "protected")),
        (" Welcome ", " home ", SetOnCharger("Welcome", " home ")),
    ],
)
def test_the_class_decides_what_becomes_of_a_value(key: str, value: str, found: Change) -> None:
    assert changed(key, value) == found


def test_only_billing_sets_who_is_let_in() -> None:
    assert changed("LocalPreAuthorize", "true", DATA_CONTROL) == Refused("Rejected", "authority_only")
    assert changed("LedBrightness", "20", DATA_CONTROL) == SetOnCharger("LedBrightness", "20")


def test_the_security_profile_of_the_link_counts_before_the_chargers() -> None:
    assert changed("SecurityProfile", "2", overlay={"securityprofile": "3"}) == Refused(
        "Rejected", "only_upwards"
    )
    assert changed("SecurityProfile", "1", reported=()) == Refused("Rejected", "ask_owner")


@pytest.mark.parametrize("present", [None, "0", "often"])
def test_a_rate_is_asked_of_a_charger_that_does_not_measure_or_does_not_tell(present: str | None) -> None:
    told = (Key("MeterValueSampleInterval", present, is_readonly=False),)
    asked = SetOnCharger("MeterValueSampleInterval", "60", is_kept=True)
    assert changed("MeterValueSampleInterval", "60", reported=told) == asked
    assert changed("MeterValueSampleInterval", "60", reported=()) == asked


def test_each_word_has_its_sentence() -> None:
    for sentence in REASONS.values():
        assert sentence.endswith(".")

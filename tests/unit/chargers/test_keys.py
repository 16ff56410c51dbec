"""Keys: what the specification says of them, how values compare, and how lists are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.chargers import keys
from voltyard.chargers.keys import (
    CUT_TRIES_MAX,
    KEYS,
    MEASURAND_LISTS,
    MEASURANDS,
    REQUIRED,
    Access,
    Cutting,
    Elsewhere,
    Form,
)

names = st.sampled_from(sorted(key.name for key in KEYS.values()))


def test_the_specification_is_whole():
    # OCPP 1.6 §9: 34 keys of Core, 3 of local lists, 1 of reservations, 5 of smart charging, 1 of firmware.
    counts: dict[str, int] = {}
    for key in KEYS.values():
        counts[key.profile] = counts.get(key.profile, 0) + 1
    assert counts == {
        "Core": 34,
        "LocalAuthListManagement": 3,
        "Reservation": 1,
        "SmartCharging": 5,
        "FirmwareManagement": 1,
        "Security": 6,
    }
    assert len(MEASURANDS) == len(set(MEASURANDS)) == 22
    assert set(MEASURAND_LISTS) == {
        "MeterValuesAlignedData",
        "MeterValuesSampledData",
        "StopTxnAlignedData",
        "StopTxnSampledData",
    }
    assert {"HeartbeatInterval", "NumberOfConnectors"} < set(REQUIRED)
    assert "LocalAuthListEnabled" not in REQUIRED


@given(names)
def test_every_key_explains_itself_in_one_sentence(name: str):
    key = keys.find(name)
    assert key is not None
    assert key.about.endswith(".")
    assert key.about.count(". ") == 0
    assert name not in key.about
    assert keys.range_of(name)


@given(names, st.sampled_from([str.upper, str.lower, str.swapcase, lambda name: f" {name} "]))
def test_keys_are_told_apart_without_case(name, spell):
    assert keys.find(spell(name)) is keys.find(name)
    assert keys.fold(spell(name)) == keys.fold(name)


def test_what_voltyard_sets_itself_is_known():
    managed = {key.name: key.elsewhere for key in KEYS.values() if key.elsewhere is not None}
    assert managed == {
        "AuthorizationKey": Elsewhere.SECURITY,
        "SecurityProfile": Elsewhere.SECURITY,
        "ConnectorPhaseRotation": Elsewhere.CONFIGURATION,
    }


@pytest.mark.parametrize(
    "name",
    [
        "SecurityProfile",
        "websocketpinginterval",
        "BackOfficeUrl",
        "ServerURI",
        "ocppEndpoint",
        "APN",
        "ModemApn",
        "WifiSSID",
        "Wi-Fi.Password",
        "StaticIP",
        "ChargePointId",
        "ocpp.port",
        "NetworkPriority",
        "FactoryReset",
    ],
)
def test_a_key_that_can_take_a_charger_off_the_line_is_known_by_its_name(name):
    assert keys.is_risky(name)


@pytest.mark.parametrize(
    "name",
    ["HeartbeatInterval", "LightIntensity", "SupportedFeatureProfiles", "FreeVendEnabled", "MaxCurrent",
     "TipTilt", "Reporting", "SimpleMode", "Transport"],
)  # fmt: skip
def test_other_keys_are_not(name):
    assert not keys.is_risky(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LocalPreAuthorize", "TRUE"),
        ("localpreauthorize", " false "),
        ("HeartbeatInterval", "0"),
        ("HeartbeatInterval", " 300 "),
        ("LightIntensity", "100"),
        ("ClockAlignedDataInterval", "86400"),
        ("SecurityProfile", "3"),
        ("MeterValuesSampledData", ""),
        ("MeterValuesSampledData", " Voltage , Current.Import.L1,Voltage.L1-N"),
        ("ConnectorPhaseRotation", "0.RST,1.RST"),
        ("SupportedFeatureProfiles", "Core, SmartCharging"),
        ("CpoName", "Volt & Co"),
        ("AuthorizationKey", "x" * 16),
        ("VendorKey", "whatever \N{SNOWMAN}"),
    ],
)
def test_a_value_that_fits_is_not_complained_of(name, value):
    assert keys.misfit(name, value) == ""


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LocalPreAuthorize", "1", "must be true or false"),
        ("LocalPreAuthorize", "", "must be true or false"),
        ("HeartbeatInterval", "-1", "must be a whole number of seconds, 0 or more"),
        ("HeartbeatInterval", "3e2", "must be a whole number of seconds, 0 or more"),
        ("HeartbeatInterval", "٣", "must be a whole number of seconds, 0 or more"),
        ("HeartbeatInterval", "2147483648", "must be a whole number of seconds, 0 or more"),
        ("LightIntensity", "101", "must be 0 to 100 %"),
        ("SecurityProfile", "4", "must be 0 to 3"),
        ("NumberOfConnectors", "x", "must be 0 or more"),
        ("MeterValuesSampledData", "Volts", "Volts: not one of the measurands of OCPP 1.6"),
        ("MeterValuesSampledData", "Voltage.L4", "Voltage.L4: not one of the measurands of OCPP 1.6"),
        ("SupportedFileTransferProtocols", "SCP", "SCP: not one of FTP, FTPS, HTTP, HTTPS, SFTP"),
        ("AuthorizationKey", "short", "must be 16 to 40 characters"),
        ("CpoName", "x" * 501, "must be at most 500 characters"),
    ],
)
def test_a_value_that_does_not_is_told_its_range(name, value, says):
    assert keys.misfit(name, value) == says


@given(names, st.text(max_size=60))
def test_tidying_never_changes_what_a_value_means(name: str, value: str):
    once = keys.tidy(name, value)
    assert keys.tidy(name, once) == once
    if not keys.misfit(name, value):
        assert keys.is_same(name, value, once)
        assert not keys.misfit(name, once)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("LocalPreAuthorize", "true", "TRUE"),
        ("LocalPreAuthorize", "false", "0"),
        ("HeartbeatInterval", "300", "0300"),
        ("HeartbeatInterval", "300", "300.0"),
        ("MeterValuesSampledData", "Voltage,SoC", " soc, Voltage ,SoC"),
        ("ConnectorPhaseRotation", "0.RST,1.RST", "0.RST, 1.RST"),
        ("MeterValuesSampledData", "", None),
        ("VendorFlag", "true", "True"),
        ("VendorCount", "16", "16.0"),
        ("VendorText", "a ", "a"),
    ],
)
def test_values_that_mean_the_same_are_the_same(name, one, other):
    assert keys.is_same(name, one, other)
    assert keys.is_same(name, other, one)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("LocalPreAuthorize", "true", "false"),
        ("LocalPreAuthorize", "maybe", "perhaps"),
        ("HeartbeatInterval", "300", "3000"),
        ("HeartbeatInterval", "300", None),
        ("HeartbeatInterval", "300", "300.5"),
        ("MeterValuesSampledData", "Voltage,SoC", "Voltage"),
        ("VendorFlag", "true", "1"),
        ("VendorText", "a", "A"),
        ("CpoName", "Volt", "volt"),
    ],
)
def test_values_that_mean_something_else_are_not(name, one, other):
    assert not keys.is_same(name, one, other)


@given(names | st.text(max_size=20), st.none() | st.text(max_size=40), st.none() | st.text(max_size=40))
def test_being_the_same_has_no_direction(name, one, other):
    assert keys.is_same(name, one, one)
    assert keys.is_same(name, one, other) == keys.is_same(name, other, one)


@pytest.mark.parametrize(
    ("name", "value", "can"),
    [
        ("A", "", True),
        ("A" * 50, "x" * 500, True),
        ("", "x", False),
        ("A" * 51, "x", False),
        ("A", "x" * 501, False),
        ("A\nB", "x", False),
        ("A", "x\0", False),
    ],
)
def test_what_the_protocol_cannot_carry_is_known(name, value, can):
    assert keys.is_sendable(name, value) is can


def cut(wanted, takes, longest=None) -> Cutting:
    """Offer lists to a charger that takes those for which ``takes`` says so."""
    cutting = Cutting.of(wanted, longest)
    while (offer := cutting.offer()) is not None:
        cutting.hear(is_taken=takes(offer))
    return cutting


measurands = st.lists(st.sampled_from(MEASURANDS), unique=True, max_size=6)


@given(measurands, st.sets(st.sampled_from(MEASURANDS)), st.integers(0, 6))
def test_cutting_finds_what_a_charger_takes(wanted, known, most):
    cutting = cut(wanted, lambda offer: set(offer) <= known and len(offer) <= most)
    best = [each for each in wanted if each in known]
    assert set(cutting.taken) <= set(best)
    assert len(cutting.taken) == min(len(best), most)
    assert cutting.is_whole == (len(best) == len(wanted) <= most)


@given(st.lists(st.sampled_from(MEASURANDS), unique=True), st.functions(like=lambda offer: None, returns=st.booleans(), pure=True))  # fmt: skip # noqa: E501
def test_whatever_a_charger_says_it_keeps_what_it_took_last(wanted, takes):
    cutting, kept = Cutting.of(wanted), ()
    while (offer := cutting.offer()) is not None:
        is_taken = takes(offer)
        kept = offer if is_taken else kept
        cutting.hear(is_taken=is_taken)
        assert cutting.taken == kept
    assert cutting.tries <= CUT_TRIES_MAX


@given(measurands)
def test_a_charger_that_takes_only_one_keeps_the_first(wanted):
    assert cut(wanted, lambda offer: len(offer) <= 1).taken == tuple(wanted[:1])


def test_a_list_is_not_longer_than_the_charger_says():
    offers = []
    cutting = cut(["A", "B", "A", "C"], lambda offer: not offers.append(offer), longest=2)
    assert offers == [("A", "B")]
    assert cutting.is_whole


def test_the_whole_list_is_offered_first_and_nothing_twice():
    offers = []
    cutting = cut("ABCD", lambda offer: bool(offers.append(offer)) or len(offer) < 4)
    assert offers == [("A", "B", "C", "D"), ("A", "B"), ("A", "B", "C")]
    assert (cutting.taken, cutting.tries) == (("A", "B", "C"), 3)


def test_forms_and_accesses_are_those_of_the_specification():
    assert (KEYS["numberofconnectors"].form, KEYS["numberofconnectors"].access) == (Form.INTEGER, Access.READ)
    assert KEYS["authorizationkey"].access is Access.WRITE

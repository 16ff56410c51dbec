from __future__ import annotations

import pytest

from voltyard.sim.configuration import Configuration, factory_keys


@pytest.fixture
def keys():
    return Configuration(factory_keys(2, 32))


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("HeartbeatInterval", "60", "Accepted"),
        ("heartbeatinterval", "60", "Accepted"),
        ("HeartbeatInterval", "-1", "Rejected"),
        ("HeartbeatInterval", "soon", "Rejected"),
        ("LocalPreAuthorize", "TRUE", "Accepted"),
        ("LocalPreAuthorize", "yes", "Rejected"),
        ("MeterValuesSampledData", "Voltage, SoC", "Accepted"),
        ("MeterValuesSampledData", "", "Accepted"),
        ("MeterValuesSampledData", "Taste", "Rejected"),
        ("NumberOfConnectors", "9", "Rejected"),
        ("MeterValuesSampledData", "Voltage," * 6 + "Voltage", "Rejected"),
        ("ConnectorPhaseRotation", "1.RTS", "RebootRequired"),
        ("ConnectorPhaseRotation", "0.RST, 1.NotApplicable", "RebootRequired"),
        ("ConnectorPhaseRotation", "RST", "Rejected"),
        ("ConnectorPhaseRotation", "1.RRR", "Rejected"),
        ("ResetRetries", "3", "Accepted"),
        ("StopTxnAlignedDataMaxLength", "9", "Rejected"),
        ("MaxCurrent", "16", "RebootRequired"),
        ("MaxCurrent", "63", "Rejected"),
        ("AuthorizationKey", "0123456789abcdef", "Accepted"),
        ("AuthorizationKey", "short", "Rejected"),
        ("FreeVendIdTag", "x" * 21, "Rejected"),
        ("LightIntensity", "101", "Rejected"),
        ("Unheard", "1", "NotSupported"),
    ],
)
def test_a_change_is_judged_by_its_key(keys, name, value, status):
    assert keys.change(name, value) == status


def test_a_value_that_needs_a_reboot_waits_for_it(keys):
    keys.change("MaxCurrent", "16")
    assert keys.count("MaxCurrent") == 32
    keys.apply_pending()
    assert keys.count("MaxCurrent") == 16


def test_known_and_unknown_keys_are_told_apart(keys):
    known, unknown = keys.read(["numberofconnectors", "Unheard"])
    assert known == [{"key": "NumberOfConnectors", "readonly": True, "value": "2"}]
    assert unknown == ["Unheard"]


def test_all_keys_are_told_and_the_password_is_not(keys):
    keys.change("AuthorizationKey", "0123456789abcdef")
    known, unknown = keys.read([])
    assert unknown == []
    assert {"key": "AuthorizationKey", "readonly": False} in known
    assert len(known) == len(factory_keys(2, 32))


def test_values_are_read_by_their_kind(keys):
    keys.set_count("HeartbeatInterval", 17)
    assert keys.count("HeartbeatInterval") == 17
    assert keys.flag("LocalAuthorizeOffline")
    assert keys.names("SupportedFeatureProfiles")[0] == "Core"
    assert keys.text("FreeVendIdTag") == ""

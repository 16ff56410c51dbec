"""Secrets in commands: known by their names, wherever they stand."""

from __future__ import annotations

import json

import pytest

from voltyard.chargers.masks import MASK, masked


@pytest.mark.parametrize(
    "said",
    [
        {"key": "AuthorizationKey", "value": "s3cret"},
        {"key": "webPASSWORD", "value": "s3cret"},
        {"configurationKey": [{"key": "ClientSecret", "readonly": False, "value": "s3cret"}]},
        {"setVariableData": [{"variable": {"name": "BasicAuthPassword"}, "attributeValue": "s3cret"}]},
        {"a": [{"password": "s3cret"}]},
    ],
)
def test_a_secret_is_masked(said):
    text = masked(json.dumps(said))
    assert "s3cret" not in text
    assert MASK in text


@pytest.mark.parametrize(
    "text",
    [
        '{"key": "HeartbeatInterval", "value": "60"}',
        '{"key":["AuthorizationKey"]}',
        '{"key":"GetConfigurationMaxKeys","value":"50","readonly":true}',
        "{}",
        "not JSON",
    ],
)
def test_what_holds_no_secret_is_left_as_it_was_written(text):
    assert masked(text) == text


def test_what_is_no_json_is_masked_whole():
    assert masked('{"password": "s3cret"') == MASK

"""Secrets in commands: known by their names, wherever they stand."""

from __future__ import annotations

import json

import pytest

from voltyard.chargers.masks import MASK, masked, masked_address


@pytest.mark.parametrize(
    "said",
    [
        {"key": "AuthorizationKey", "value": "s3cret"},
        {"key": "webPASSWORD", "value": "s3cret"},
        {"configurationKey": [{"key": "ClientSecret", "readonly": False, "value": "s3cret"}]},
        {"setVariableData": [{"variable": {"name": "BasicAuthPassword"}, "attributeValue": "s3cret"}]},
        {"a": [{"password": "s3cret"}]},
        {"vendorId": "Acme", "data": '{"wifi":{"password":"s3cret"}}'},
        {"vendorId": "Acme", "data": '[{"password":"s3cret" and no JSON'},
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
        '{"issuer_key_hash":"ab","certificateHashData":{"issuerKeyHash":"ab"}}',
        "{}",
        "not JSON",
    ],
)
def test_what_holds_no_secret_is_left_as_it_was_written(text):
    assert masked(text) == text


def test_what_is_no_json_is_masked_whole():
    assert masked('{"password": "s3cret"') == MASK


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ftp://ann:s3cret@files.example/in/", "ftp://***@files.example/in/"),
        ("ftp://ann:s3@cret@files.example/in", "ftp://***@files.example/in"),
        ("sftp://s3cret@files.example:22", "sftp://***@files.example:22"),
        ("https://a.example/fw.bin?sig=s3cret&se=1", "https://a.example/fw.bin?***"),
        ("https://v.example/files/up/vyf_s3cret/", "https://v.example/files/up/***/"),
        ("http://v.example/files/down/vyf_s3cret/fw.bin", "http://v.example/files/down/***/fw.bin"),
        ("https://a.example/fw.bin", "https://a.example/fw.bin"),
    ],
)
def test_the_secrets_of_an_address_are_masked(address: str, shown: str):
    assert masked_address(address) == shown
    assert masked(json.dumps({"location": address})).replace(" ", "") == f'{{"location":"{shown}"}}'
    in_a_list = masked(json.dumps([2, "1", "GetLog", {"log": {"remoteLocation": address}}]))
    assert "s3cret" not in in_a_list
    assert "s3cret" not in masked(f"no JSON, but {address} in a sentence")

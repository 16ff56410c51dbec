"""Secrets in answers that are written oddly stood in clear in the log; deeply nested ones broke it.

We understand an answer whose members are in another case (quirk Q33), or whose value is a list; masking did
not. Brackets nested some hundreds deep, which can be decoded, could not be masked.
"""

import pytest

from voltyard.chargers.masks import masked


@pytest.mark.parametrize(
    "entry",
    [
        '{"Key":"AuthorizationKey","readonly":false,"Value":"s3cret"}',
        '{"KEY":"AuthorizationKey","VALUE":"s3cret"}',
        '{"key":"AuthorizationKey","value":["s3cret"]}',
        '{"key":"AuthorizationKey","value":{"text":"s3cret"}}',
        '{"key":" authorizationkey ","value":"s3cret"}',
        '{"component":{},"Variable":{"Name":"BasicAuthPassword"},"AttributeValue":"s3cret"}',
        '{"Password":["s3cret"]}',
    ],
)
def test_a_secret_is_masked_however_its_answer_is_written(entry):
    text = masked('{"configurationKey":[' + entry + "]}")
    assert "s3cret" not in text
    assert "***" in text


@pytest.mark.parametrize(
    "wrapped", ['{"data":" {\\"password\\":\\"s3cret\\"}"}', '{"data":"password=s3cret"}']
)
def test_a_secret_is_masked_within_a_text(wrapped):
    assert "s3cret" not in masked(wrapped)


def test_lists_of_keys_and_of_certificates_stay_readable():
    asked = '{"key":["AuthorizationKey","HeartbeatInterval"]}'
    assert masked(asked) == asked
    told = '{"configurationKey":[{"key":"A","value":"300"}],"unknownKey":["AuthorizationKey"]}'
    assert masked(told) == told


@pytest.mark.parametrize("depth", [100, 400, 900, 5_000])
def test_nothing_is_nested_too_deep(depth):
    text = '{"password":"s3cret","a":' + "[" * depth + "]" * depth + "}"
    assert "s3cret" not in masked(text)

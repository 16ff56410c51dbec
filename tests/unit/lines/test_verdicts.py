from __future__ import annotations

import pytest

from voltyard.lines import verdicts
from voltyard.operators.events import Verdicted
from voltyard.speech import VendorReply, Verdict


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ('"expiryDate":"9999-12-31T23:59:59-05:00"', (None, None)),
        ('"expiryDate":"0001-01-01T00:00:00+05:00"', (None, None)),
        ('"parentIdTag":"123456789012345678901"', (None, None)),
        ('"parentIdTag":"A\\u0000B"', (None, None)),
        ('"parentIdTag":"GROUP"', (None, "GROUP")),
    ],
)
def test_of_an_answer_only_what_can_be_kept_is_believed(info: str, found: tuple[None, str | None]):
    answer = f'{{"idTagInfo":{{"status":"Accepted",{info}}}}}'.encode()
    told = verdicts.verdicted("Authorize", "done", answer)
    assert (told.verdict, told.expires_at, told.parent_tag) == (Verdict.ACCEPTED, *found)


@pytest.mark.parametrize(
    ("action", "status", "answer"),
    [
        ("Authorize", "failed", b'{"idTagInfo":{"status":"Accepted"}}'),
        ("Authorize", "done", b"{}"),
        ("Authorize", "done", b"["),
        ("Authorize", "done", b"[" * 100_000),
        ("Authorize", "done", b'{"idTagInfo":{"status":"Perhaps"}}'),
        ("DataTransfer", "done", b'{"status":"Perhaps","data":"x"}'),
    ],
)
def test_what_cannot_be_understood_decides_nothing(action: str, status: str, answer: bytes):
    assert verdicts.verdicted(action, status, answer) == Verdicted()


def test_the_answer_to_a_data_transfer_is_passed_on():
    found = verdicts.verdicted("DataTransfer", "done", b'{"status":"Rejected","data":"x"}')
    assert found == Verdicted(vendor=VendorReply("Rejected", "x"))

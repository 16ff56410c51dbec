"""New firmware and diagnostics, against an independent set of JSON schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import AT, NOON, TIMES, fits
from voltyard.kernel.errors import Invalid
from voltyard.ocpp.v16 import firmware
from voltyard.speech import FileNamed, SendDiagnostics, UpdateFirmware

URL = "https://example.com/firmware.bin"
urls = st.sampled_from([URL, "ftp://name:word@192.0.2.1/"])
counts = st.none() | st.integers(0, 2**31 - 1)


@pytest.mark.parametrize(
    ("ask", "action", "payload"),
    [
        (UpdateFirmware(URL, NOON), "UpdateFirmware", {"location": URL, "retrieveDate": AT}),
        (
            UpdateFirmware(URL, NOON, 3, 60),
            "UpdateFirmware",
            {"location": URL, "retrieveDate": AT, "retries": 3, "retryInterval": 60},
        ),
        (SendDiagnostics(URL), "GetDiagnostics", {"location": URL}),
        (
            SendDiagnostics(URL, NOON, NOON, 0, 0),
            "GetDiagnostics",
            {"location": URL, "startTime": AT, "stopTime": AT, "retries": 0, "retryInterval": 0},
        ),
    ],
)
def test_an_ask_is_written_to_the_letter(ask: Any, action: str, payload: dict[str, Any]) -> None:
    written, raw = firmware.write(ask)
    assert (written, json.loads(raw)) == (action, payload)


@given(
    st.builds(UpdateFirmware, urls, TIMES, counts, counts)
    | st.builds(SendDiagnostics, urls, st.none() | TIMES, st.none() | TIMES, counts, counts)
)
def test_what_is_written_fits_the_schema(ask: Any) -> None:
    fits(*firmware.write(ask))


@pytest.mark.parametrize(
    ("ask", "pointer"),
    [
        (UpdateFirmware("firmware.bin", NOON), "/location"),
        (UpdateFirmware(URL, NOON.replace(tzinfo=None)), "/retrieveDate"),
        (UpdateFirmware(URL, NOON, -1), "/retries"),
        (SendDiagnostics(""), "/location"),
        (SendDiagnostics(URL, retry_interval_s=-1), "/retryInterval"),
    ],
)
def test_what_has_no_room_is_refused(ask: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        firmware.write(ask)
    assert refused.value.errors[0][0] == pointer


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b'{"fileName":"a.zip"}', "a.zip"),
        (b'{"filename":" a.zip ","status":"Accepted"}', "a.zip"),
        (b'{"fileName":17}', "17"),  # Q24
        (b'{"fileName":"null"}', None),  # Q32
        (b'{"fileName":""}', None),
        (b"{}", None),
        (b"[]", None),
    ],
)
def test_the_name_of_a_file_is_read(payload: bytes, name: str | None) -> None:
    assert firmware.read_file_name(payload) == (None if name is None else FileNamed(name))


@settings(deadline=None)
@given(st.binary(max_size=20) | st.text(max_size=9).map(lambda it: json.dumps({"fileName": it}).encode()))
def test_read_file_name_never_raises(payload: bytes) -> None:
    found = firmware.read_file_name(payload)
    assert found is None or found.name

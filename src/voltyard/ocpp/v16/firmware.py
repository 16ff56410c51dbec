"""New firmware and diagnostics. OCPP 1.6 §5.19 and §5.9, the profile Firmware Management."""

from __future__ import annotations

from typing import assert_never

from voltyard.ocpp.v16 import told
from voltyard.ocpp.v16.messages import CiString255, Count, Instant, Payload, Seconds, Url
from voltyard.ocpp.v16.writing import request, seconds
from voltyard.speech import FileNamed, SendDiagnostics
from voltyard.speech import UpdateFirmware as Update


class UpdateFirmware(Payload, frozen=True):
    """OCPP 1.6 §6.55."""

    location: Url
    retrieve_date: Instant
    retries: Count | None = None
    retry_interval: Seconds | None = None


class UpdateFirmwareAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.56."""


class GetDiagnostics(Payload, frozen=True):
    """OCPP 1.6 §6.25."""

    location: Url
    retries: Count | None = None
    retry_interval: Seconds | None = None
    start_time: Instant | None = None
    stop_time: Instant | None = None


class GetDiagnosticsAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.26."""

    file_name: CiString255 | None = None


def write(ask: Update | SendDiagnostics) -> tuple[str, bytes]:
    """Write an ask about firmware or diagnostics as an action and its payload. Raises: Invalid."""
    match ask:
        case Update(location_url, retrieve_at, retries, retry_interval_s):
            return request(
                UpdateFirmware,
                {
                    "location": location_url,
                    "retrieveDate": seconds(retrieve_at),
                    "retries": retries,
                    "retryInterval": retry_interval_s,
                },
            )
        case SendDiagnostics(location_url, from_at, until_at, retries, retry_interval_s):
            return request(
                GetDiagnostics,
                {
                    "location": location_url,
                    "retries": retries,
                    "retryInterval": retry_interval_s,
                    "startTime": seconds(from_at),
                    "stopTime": seconds(until_at),
                },
            )
    assert_never(ask)


def read_file_name(payload: bytes) -> FileNamed | None:
    """Return how an upload will be called, in either spelling; None if there is none. Never raises."""
    answer = told.read(told.FILE, payload, [])
    name = None if answer is None else answer.file_name or answer.filename
    return FileNamed(name.strip()) if name and name.strip().lower() not in told.NULL_WORDS else None

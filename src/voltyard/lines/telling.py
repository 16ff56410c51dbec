"""What a stand-in tells of its charger by itself: the boot, and the states of its connectors."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from voltyard.operators.serving import Facts, Farewell

VENDOR_LENGTH: Final = 20
"""OCPP 1.6 §6.3: CiString20 for vendor and model, 25 for serials, 50 for the firmware."""


def boot(facts: Facts) -> bytes:
    """Return the BootNotification of a charger as it last booted."""
    fields = {
        "chargePointVendor": facts.vendor[:VENDOR_LENGTH],
        "chargePointModel": facts.model[:VENDOR_LENGTH],
        "chargePointSerialNumber": (facts.serial or "")[:25],
        "firmwareVersion": (facts.firmware or "")[:50],
        "iccid": (facts.iccid or "")[:20],
        "imsi": (facts.imsi or "")[:20],
        "meterType": (facts.meter_type or "")[:25],
        "meterSerialNumber": (facts.meter_serial or "")[:25],
    }
    return msgspec.json.encode({name: text for name, text in fields.items() if text})


def statuses(facts: Facts, now: datetime) -> list[bytes]:
    """Return a StatusNotification for each connector and the charger itself, as they are now."""
    told = facts.statuses or ((0, "Available", "NoError", None, None, now),)
    return [_status(each, now) for each in told]


def status(facts: Facts, connector: int, now: datetime) -> bytes | None:
    """Return the StatusNotification of one connector, None of one that there is not."""
    return next((_status(each, now) for each in facts.statuses if each[0] == connector), None)


def farewell(ending: Farewell, now: datetime) -> bytes:
    """Return the StopTransaction by which an operator that is disconnected hears of the end."""
    return msgspec.json.encode(
        {
            "transactionId": ending.theirs,
            "meterStop": max(0, ending.meter_wh),
            "timestamp": now,
            "reason": "Other",
        }
    )


def _status(told: tuple[int, str, str, str | None, str | None, datetime], now: datetime) -> bytes:
    connector, word, error, info, vendor_error, at = told
    fields: dict[str, object] = {
        "connectorId": connector,
        "status": word,
        "errorCode": error,
        "timestamp": min(at, now),
    }
    if info:
        fields["info"] = info[:50]
    if vendor_error:
        fields["vendorErrorCode"] = vendor_error[:50]
    return msgspec.json.encode(fields)

"""Recordings for tests, written as exports are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCEPTED = {"status": "Accepted"}


def said(number: int, action: str, payload: Any, answer: Any = None, **over: Any) -> dict[str, Any]:
    """Return a row of a recording: what the charger said, unless told otherwise."""
    return {
        "number": number, "at": (BEGAN + timedelta(seconds=number)).isoformat(), "identity": "CP1",
        "destination": "central system", "action": action, "message_id": str(number), "payload": payload,
        "answer": answer, "status": "pending" if answer is None else "done", "session_id": "soc_1", "odd": "",
    } | over  # fmt: skip


def asked(number: int, action: str, payload: Any, answer: Any = None, **over: Any) -> dict[str, Any]:
    """Return a row of a recording: what the central system asked."""
    return said(number, action, payload, answer, destination="charger", **over)


def written(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)

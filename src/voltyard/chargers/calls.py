"""The log of a charger's calls: raw payloads in the order in which they were committed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from voltyard.chargers import store
from voltyard.kernel.db import Work
from voltyard.kernel.limits import CALL_LOG_DAYS
from voltyard.speech import Heard

PRUNE_STEP = 5_000
MESSAGE_ID_LENGTH = 64
ACTION_LENGTH = 64


def log(work: Work, heard: Sequence[Heard]) -> None:
    """Keep the raw payload of these sayings; heartbeats are left out, they say nothing."""
    store.insert_calls(
        work,
        [
            {
                "charger_id": item.charger_id,
                "session_id": item.session_id,
                "message_id": item.message_id[:MESSAGE_ID_LENGTH],
                "action": item.action[:ACTION_LENGTH],
                "payload": item.raw,
                "at": work.now,
            }
            for item in heard
            if item.action != "Heartbeat"
        ],
    )


def prune(work: Work) -> int:
    """Forget some of the calls that are too old; return how many, 0 when none are left."""
    return store.delete_old_calls(work, work.now - timedelta(days=CALL_LOG_DAYS), PRUNE_STEP)

"""A charger starts: let it work, or hold it until somebody claims it."""

from __future__ import annotations

from collections.abc import Sequence

from voltyard.chargers import after_boot, transfers
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Place
from voltyard.kernel.db import Work
from voltyard.kernel.limits import HEARTBEAT_S, PENDING_RETRY_S
from voltyard.local_lists import service as local_lists
from voltyard.speech import Beat, Booted, Registration, Reply, Ticked, Welcomed


def booted(work: Work, items: Sequence[tuple[Place, Booted]]) -> list[Reply]:
    """Store who boots; one that nobody has claimed is Pending and comes again soon (OCPP 1.6 §4.2)."""
    claimed = chargers.boot(work, items)
    heartbeats = after_boot.booted(work, items)
    transfers.booted(work, items)
    local_lists.booted(work, items)
    return [
        Welcomed(
            Registration.ACCEPTED if is_claimed else Registration.PENDING,
            work.now,
            heartbeats.get(place.charger_id, HEARTBEAT_S) if is_claimed else PENDING_RETRY_S,
        )
        for (place, _), is_claimed in zip(items, claimed, strict=True)
    ]


def beat(work: Work, items: Sequence[tuple[Place, Beat]]) -> list[Reply]:
    """Tell the time; that the charger was heard is noted for every saying (OCPP 1.6 §4.6)."""
    return [Ticked(work.now)] * len(items)

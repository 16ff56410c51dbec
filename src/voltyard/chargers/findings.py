"""Findings: what chargers do otherwise than OCPP says, and how often we have put up with it.

Counted by charger and by what it was at the time: vendor, model and firmware, so that an update that
mends something shows, and so that chargers of one model can be compared. Rows of a charger that changed
hands stay with the earlier owner. Rows that nothing was added to for a year are forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from voltyard.chargers import findings_store as store
from voltyard.chargers.masks import masked
from voltyard.kernel.db import Work
from voltyard.speech import FlawTold

KIND_LENGTH = 40
MAKE_LENGTH = 120
SAMPLE_LENGTH = 500
ROWS_PER_CHARGER_MAX = 300
"""Beyond this many, findings are counted without what a charger may make up: the action, and what it is."""
KEPT = timedelta(days=365)
FORGET_STEP = 1_000
_ACTION = re.compile(r"[A-Z][A-Za-z]{2,49}")


def told(work: Work, flaws: Sequence[FlawTold]) -> None:
    """Count what was tolerated; two statements for many chargers.

    What is told of a charger that is gone is left out. For the system.
    """
    makes = store.find_makes(work, [each.charger_id for each in flaws])
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for each in flaws:
        make = makes.get(each.charger_id)
        if make is None or each.count <= 0:
            continue
        row = _row(work, make, each)
        key = tuple(row[name] for name in store.KEY)
        if key in rows:
            rows[key]["times"] += row["times"]
        else:
            rows[key] = row
    store.add_findings(work, list(rows.values()))


def _row(work: Work, make: Any, each: FlawTold) -> dict[str, Any]:
    has_room = make.kept < ROWS_PER_CHARGER_MAX
    vendor, model, firmware = (make.vendor, make.model, make.firmware) if has_room else ("", "", "")
    return {
        "charger_id": each.charger_id,
        "held_since_at": make.held_since_at,
        "vendor": (vendor or "")[:MAKE_LENGTH],
        "model": (model or "")[:MAKE_LENGTH],
        "firmware": (firmware or "")[:MAKE_LENGTH],
        "kind": each.kind[:KIND_LENGTH],
        "action": each.action if _is_action(each.action) and has_room else "",
        "times": each.count,
        "sample": masked(_storable(each.sample))[:SAMPLE_LENGTH],
        "at": work.now,
    }


def _is_action(text: str) -> bool:
    """Say whether it is the name of a message, and not the id or the flaw of one that could not be read."""
    return _ACTION.fullmatch(text) is not None


def _storable(text: str) -> str:
    """Return a text that every database can hold, whatever a charger sent."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def forget_old(work: Work) -> int:
    """Forget some of the findings that were not made for a year; return how many, 0 when none are left."""
    return store.delete_old(work, work.now - KEPT, FORGET_STEP)

"""Meter values: stored, tied to their transactions, thanked for after the commit."""

from __future__ import annotations

from collections.abc import Sequence

from voltyard.chargers.service import Place
from voltyard.kernel.db import Work
from voltyard.speech import Metered, Reply, Thanks
from voltyard.transactions import service as transactions


def metered(work: Work, items: Sequence[tuple[Place, Metered]]) -> list[Reply]:
    """Store readings (OCPP 1.6 §4.7)."""
    return [Thanks(number) for number in transactions.meter(work, items)]

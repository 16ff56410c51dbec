"""Transactions begin and end. Whatever the verdict on the card, energy that flows is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from voltyard.central import authorise
from voltyard.chargers.service import Place
from voltyard.kernel.db import Work
from voltyard.speech import Ended, Judged, Reply, Started
from voltyard.transactions import service as transactions


def started(work: Work, items: Sequence[tuple[Place, Started]]) -> list[Reply]:
    """Record starts and answer with their numbers and the verdicts on their cards (OCPP 1.6 §4.8)."""
    judgements = authorise.judge(work, items)
    numbers = transactions.start(work, items, judgements)
    return [
        Judged(found.verdict, number=number, expires_at=found.expires_at)
        for found, number in zip(judgements, numbers, strict=True)
    ]


def ended(work: Work, items: Sequence[tuple[Place, Ended]]) -> list[Reply]:
    """Record stops; a charger cannot be kept from stopping, so the reply is always good (OCPP 1.6 §4.10)."""
    transactions.end(work, items)
    return [Judged()] * len(items)

"""Transactions begin and end. Whatever the verdict on the card, energy that flows is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from voltyard.central import authorise
from voltyard.chargers.service import Place
from voltyard.kernel.db import Work
from voltyard.speech import Ended, Judged, MayCharge, Reply, Started
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
    """Record stops; a charger cannot be kept from stopping, so the reply is always good (OCPP 1.6 §4.10).

    A stop with a card is told the verdict on that card, for the cache of the charger.
    """
    transactions.end(work, items)
    told = [index for index, (_, said) in enumerate(items) if said.id_tag]
    cards = [(items[index][0], MayCharge(items[index][1].id_tag or "")) for index in told]
    replies: list[Reply] = [Judged()] * len(items)
    for index, found in zip(told, authorise.judge(work, cards) if cards else (), strict=True):
        replies[index] = Judged(found.verdict, expires_at=found.expires_at)
    return replies

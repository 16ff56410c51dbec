"""Transactions begin and end. Whatever the verdict on the card, energy that flows is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from voltyard.cards.service import Judgement
from voltyard.central import authorise
from voltyard.chargers.service import Place
from voltyard.kernel.db import Work
from voltyard.operators import authority
from voltyard.reservations import service as reservations
from voltyard.speech import Ended, Judged, MayCharge, Reply, Started, Verdict
from voltyard.transactions import service as transactions


def started(work: Work, items: Sequence[tuple[Place, Started]]) -> list[Reply]:
    """Record starts and answer with their numbers and the verdicts on their cards (OCPP 1.6 §4.8)."""
    judged = authorise.judge(work, items)
    weighed = reservations.weigh(work, items, [found.card_id for found in judged])
    judgements = [
        _kept_away(found) if each.is_kept_for_another else found
        for each, found in zip(weighed, judged, strict=True)
    ]
    numbers = transactions.start(work, items, judgements)
    reservations.use(
        work,
        [
            (each.reservation_id, number)
            for each, found, number in zip(weighed, judgements, numbers, strict=True)
            # A refused start does not use a reservation up: its card may yet be unblocked, or another come.
            if each.reservation_id is not None and found.verdict is Verdict.ACCEPTED
        ],
    )
    return [
        Judged(found.verdict, number=number, expires_at=found.expires_at)
        for found, number in zip(judgements, numbers, strict=True)
    ]


def _kept_away(found: Judgement) -> Judgement:
    """Return the verdict on a card at a connector that is reserved for another one.

    Not Invalid: a charger would remember that, and the card is good. This one has it stop the transaction
    (StopTransactionOnInvalidId, OCPP 1.6 §9.1.25) and says no more than "not now".
    """
    return replace(found, verdict=Verdict.CONCURRENT) if found.verdict is Verdict.ACCEPTED else found


def ended(work: Work, items: Sequence[tuple[Place, Ended]]) -> list[Reply]:
    """Record stops; a charger cannot be kept from stopping, so the reply is always good (OCPP 1.6 §4.10).

    A stop with a card is told the verdict on that card, for the cache of the charger; where an operator
    decides about cards, only what is known of that without asking it.
    """
    numbers = transactions.end(work, items)
    told = [index for index, (_, said) in enumerate(items) if said.id_tag]
    cards = [(items[index][0], MayCharge(items[index][1].id_tag or "")) for index in told]
    replies: list[Reply] = [Judged(number=number) for number in numbers]
    remembered = authority.remembered(work, cards)
    for place, found in enumerate(authorise.judge(work, cards) if cards else ()):
        verdict = remembered.get(place) or Judged(found.verdict, expires_at=found.expires_at)
        replies[told[place]] = structs.replace(verdict, number=numbers[told[place]])
    return replies

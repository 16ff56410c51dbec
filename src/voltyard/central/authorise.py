"""May this card charge? The cards of the charger's location decide."""

from __future__ import annotations

from collections.abc import Sequence

from voltyard.cards import service as cards
from voltyard.cards.service import Judgement
from voltyard.chargers import readers
from voltyard.chargers.service import Place, believed
from voltyard.kernel.db import Work
from voltyard.speech import Judged, MayCharge, Reply, Started, Verdict


def judge(work: Work, items: Sequence[tuple[Place, MayCharge | Started]]) -> list[Judgement]:
    """Decide about the cards of several sayings in one look-up; a start may be told long afterwards.

    A card that nobody knows may be one whose bytes the reader tells in reverse (quirk Q34); such a start
    keeps the tag that was told.
    """
    at = [believed(said.told_at, work.now) if isinstance(said, Started) else work.now for _, said in items]
    judgements = cards.judge(work, [(place.location_id, said.id_tag) for place, said in items], at)
    strange = [
        index
        for index, found in enumerate(judgements)
        if found.card_id is None and items[index][0].location_id is not None
    ]
    if not strange:
        return judgements
    turned = readers.turned(work, [(items[index][0].charger_id, items[index][1].id_tag) for index in strange])
    again = [(index, tag) for index, tag in zip(strange, turned, strict=True) if tag is not None]
    second = cards.judge(
        work,
        [(items[index][0].location_id, tag) for index, tag in again],
        [at[index] for index, _ in again],
    )
    for (index, _), found in zip(again, second, strict=True):
        if found.verdict is not Verdict.INVALID:
            judgements[index] = found
            readers.note_turned(work, items[index][0].charger_id, items[index][1].id_tag)
    return judgements


def may_charge(work: Work, items: Sequence[tuple[Place, MayCharge]]) -> list[Reply]:
    """Answer whether cards may charge (OCPP 1.6 §4.1)."""
    return [Judged(found.verdict, expires_at=found.expires_at) for found in judge(work, items)]

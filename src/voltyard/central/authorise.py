"""May this card charge? The cards of the charger's location decide."""

from __future__ import annotations

from collections.abc import Sequence

from voltyard.cards import service as cards
from voltyard.cards.service import Judgement
from voltyard.chargers.service import Place, believed
from voltyard.kernel.db import Work
from voltyard.speech import Judged, MayCharge, Reply, Started


def judge(work: Work, items: Sequence[tuple[Place, MayCharge | Started]]) -> list[Judgement]:
    """Decide about the cards of several sayings in one look-up; a start may be told long afterwards."""
    at = [believed(said.told_at, work.now) if isinstance(said, Started) else work.now for _, said in items]
    return cards.judge(work, [(place.location_id, said.id_tag) for place, said in items], at)


def may_charge(work: Work, items: Sequence[tuple[Place, MayCharge]]) -> list[Reply]:
    """Answer whether cards may charge (OCPP 1.6 §4.1)."""
    return [Judged(found.verdict, expires_at=found.expires_at) for found in judge(work, items)]

"""Card readers of known models that tell the bytes of a card in reverse (quirk Q34)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from voltyard import quirks
from voltyard.chargers import findings
from voltyard.chargers import findings_store as store
from voltyard.kernel.db import Work
from voltyard.kernel.wire import encode
from voltyard.speech import FlawTold, MayCharge

_BYTES = re.compile(r"(?:[0-9A-Fa-f]{2}){4,10}")


def reversed_tag(id_tag: str) -> str | None:
    """Return a tag with its bytes in reverse, None for what are no bytes in hexadecimal."""
    if _BYTES.fullmatch(id_tag) is None:
        return None
    return bytes.fromhex(id_tag)[::-1].hex().upper()


def turned(work: Work, told: Sequence[tuple[str, str]]) -> list[str | None]:
    """Return for chargers and tags what each tag is in reverse, None where the reader tells it straight."""
    tags = [reversed_tag(id_tag) for _, id_tag in told]
    if not any(tags):
        return tags
    makes = store.find_makes(work, [charger_id for charger_id, _ in told])
    return [
        tag
        if tag is not None
        and (make := makes.get(charger_id)) is not None
        and quirks.find(make.vendor, make.model, make.firmware).has_reversed_tags
        else None
        for tag, (charger_id, _) in zip(tags, told, strict=True)
    ]


def note_turned(work: Work, charger_id: str, id_tag: str) -> None:
    """Count that a card was recognised by its reverse."""
    findings.told(work, [FlawTold(charger_id, "reversed_tag", 1, "", encode(MayCharge(id_tag)).decode())])

"""What an operator was told, as it is kept: whole, or as what is other than what the charger said.

In most messages only the number of the transaction is another one. A copy of each reading for each operator
would make the database several times as large for nothing.

Invariants (property tests of the same names): what was told is read back byte for byte.
"""

from __future__ import annotations

from typing import Final

import msgspec

_EDIT: Final = msgspec.json.Decoder(tuple[int, int, str])


def edit(head: int, tail: int, put: bytes) -> str:
    """Return how what was told differs: so many bytes in front and at the end are the charger's own."""
    return f'[{head},{tail},"{put.decode()}"]'


def told(kept: str | None, said: str | None) -> str | None:
    """Return what was told; None where the charger's own words are needed for that, and are forgotten.

    ``kept`` is None where the charger's words were told byte for byte. What operators are told is a JSON
    object, so that an array can only be an edit.
    """
    if kept is None or not kept.startswith("["):
        return said if kept is None else kept
    if said is None:
        return None
    head, tail, put = _EDIT.decode(kept)
    raw = said.encode()
    return (raw[:head] + put.encode() + raw[len(raw) - tail :]).decode("utf-8", "replace")

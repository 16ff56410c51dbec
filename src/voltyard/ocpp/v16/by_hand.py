"""What a person wrote: an action that a charger may be asked for, with a payload of its shape."""

from __future__ import annotations

from typing import Final

import msgspec

from voltyard.kernel.errors import Invalid
from voltyard.kernel.limits import FRAME_BYTES_MAX
from voltyard.ocpp.v16 import actions
from voltyard.ocpp.v16.writing import refusal

_ANY: Final = msgspec.json.Decoder()


def write(action: str, payload: str) -> bytes:
    """Return the payload without blanks, otherwise as it was written. Raises: Invalid."""
    pair = actions.TO_CHARGER.get(action)
    if pair is None:
        raise Invalid(f"OCPP 1.6 has no action {action!r} towards a charger", (("/action", "is not known"),))
    if len(payload) > FRAME_BYTES_MAX // 4:
        raise Invalid("shorten the payload", (("/payload", "is too long"),))
    try:
        raw = payload.encode()
        value = _ANY.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as wrong:
        raise Invalid("the payload is not JSON", (("/payload", "is not JSON"),)) from wrong
    if not isinstance(value, dict):
        raise Invalid("write the payload as an object", (("/payload", "is not an object"),))
    try:
        request = msgspec.convert(value, pair[0])
    except msgspec.ValidationError as wrong:
        raise refusal(wrong) from wrong
    _refuse_unknown(value, msgspec.to_builtins(request), "")
    return msgspec.json.format(raw, indent=-1)


def _refuse_unknown(value: object, known: object, pointer: str) -> None:
    """Refuse fields that the message lacks, and nulls, which its schema does not allow."""
    if isinstance(value, dict) and isinstance(known, dict):
        for name, part in value.items():
            place = f"{pointer}/{name}"
            if name not in known:
                problem = "leave it out instead of null" if part is None else "is not a field of this message"
                raise Invalid(f"{place}: {problem}", ((place, problem),))
            _refuse_unknown(part, known[name], place)
    elif isinstance(value, list) and isinstance(known, list):
        for index, part in enumerate(value):
            _refuse_unknown(part, known[index], f"{pointer}/{index}")

"""The envelopes of OCPP-J: CALL, CALLRESULT and CALLERROR, to and from bytes.

A payload stays the raw JSON that the peer sent, because a log and an operator want it byte for byte;
a dialect reads it. Reading is tolerant, writing is strict. 1.6-J §4.1 and §4.2.

Invariants (property tests of the same names):
decode never raises · decode undoes encode · an id is echoed byte for byte · a payload is a JSON object
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from voltyard.kernel.limits import FRAME_BYTES_MAX

CALL: Final = 2
CALL_RESULT: Final = 3
CALL_ERROR: Final = 4

MESSAGE_ID_LENGTH_MAX: Final = 36
"""1.6-J §4.1.4: ids that we make are no longer; ids of a peer may be (quirk Q19)."""
ID_BYTES_MAX: Final = 255
"""A longer id of a peer is refused: it would be kept and echoed."""
DESCRIPTION_LENGTH_MAX: Final = 255

EMPTY_PAYLOAD: Final = b"{}"

ERROR_CODES: Final = frozenset(
    {
        "NotImplemented",
        "NotSupported",
        "InternalError",
        "ProtocolError",
        "SecurityError",
        "FormationViolation",
        "PropertyConstraintViolation",
        "OccurenceConstraintViolation",
        "TypeConstraintViolation",
        "GenericError",
    }
)
"""1.6-J §4.2.3, in the spelling that 1.6 peers compare against."""

# 1.6-J errata 5.1 and 5.2, and the words of 2.0.1 that have a counterpart in 1.6.
_SPELLINGS: Final = MappingProxyType(
    {
        "FormatViolation": "FormationViolation",
        "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
        "RpcFrameworkError": "GenericError",
        "MessageTypeNotSupported": "NotSupported",
    }
)


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request. ``id_raw`` is the message id as JSON, ``payload`` a JSON object, both as sent.

    ``flaws`` are the kinds of deviations in its envelope that were tolerated.
    """

    id_raw: bytes
    action: str
    payload: bytes
    is_repaired: bool = False
    flaws: tuple[str, ...] = ()


class CallResult(msgspec.Struct, frozen=True, gc=False):
    """The answer to a request."""

    id_raw: bytes
    payload: bytes
    is_repaired: bool = False


class CallError(msgspec.Struct, frozen=True, gc=False):
    """The refusal of a request; ``code`` in the peer's spelling, ``details`` as raw JSON."""

    id_raw: bytes
    code: str
    description: str = ""
    details: bytes = EMPTY_PAYLOAD


class Broken(msgspec.Struct, frozen=True, gc=False):
    """A frame that cannot be read.

    ``kind`` is what it seems to be (CALL, CALL_RESULT, CALL_ERROR, or 0 for no known message type).
    ``detail`` never quotes the frame and may be sent to the peer.
    """

    id_raw: bytes | None
    code: str
    detail: str
    kind: int = 0


class Empty(msgspec.Struct, frozen=True, gc=False):
    """A frame without content; some chargers send it as a sign of life (quirk Q15)."""


Frame = Call | CallResult | CallError | Broken | Empty

_EMPTY: Final = Empty()
TOO_LONG: Final = Broken(None, "FormationViolation", f"longer than {FRAME_BYTES_MAX} bytes")


class _Shape(msgspec.Struct, array_like=True, gc=False):
    """A CALL as most peers send it; anything else takes the slower way."""

    kind: int
    id_raw: msgspec.Raw
    action: str
    payload: msgspec.Raw


class _ResultShape(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """A CALLRESULT as most peers send it."""

    kind: Literal[3]
    id_raw: msgspec.Raw
    payload: msgspec.Raw


_RESULT_SHAPE: Final = msgspec.json.Decoder(_ResultShape)
_SHAPE: Final = msgspec.json.Decoder(_Shape)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)

_SCALAR_FIRST: Final = b'"-0123456789tfn'
_RESULT_START: Final = b"[3"
_BLANK: Final = b" \t\r\n\x00"
_BOM: Final = b"\xef\xbb\xbf"

# Type and id at the start of something unreadable. A string's body may not grow beyond the longest id.
_START: Final = re.compile(
    rb'\s*\[\s*"?(\d{1,2})"?\s*,\s*("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]){0,253}"|-?(?:0|[1-9]\d{0,30})(?=\s*[,\]]))'
)

# One pass over the tokens that matter: strings are stepped over (each alternative ends, even when the
# closing quote is missing, so the pass is linear), the rest are known mistakes.
_MISTAKES: Final = re.compile(
    rb'(?P<string>"(?:[^"\\]|\\.?)*+"?)'
    rb"|(?P<open>[\[{])(?:\s*+,)++"
    rb"|(?P<nothing>:)\s*+(?=[,}\]])"
    rb"|(?P<comma>,)(?=\s*+[,}\]])"
    rb"|(?P<number>-?\b(?:NaN|nan|Infinity|inf|undefined|None)\b)",
    re.DOTALL,
)
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")


def decode(text: bytes | str) -> Frame:
    """Read one websocket message. Never raises."""
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(data) > FRAME_BYTES_MAX:
        return TOO_LONG
    is_repaired = False
    if not data.isascii():
        try:
            str(data, "utf-8")
        except UnicodeDecodeError:
            # Latin letters of a vendor text must not cost the message (1.6-J §3.1 asks for UTF-8).
            data = data.decode("utf-8", "replace").encode()
            is_repaired = True
    if data.startswith(_RESULT_START):
        try:
            result = _RESULT_SHAPE.decode(data)
        except (msgspec.DecodeError, RecursionError):
            return _decode_unusual(data, is_repaired=is_repaired)
        payload, id_raw = bytes(result.payload), bytes(result.id_raw)
        if payload[0] == 0x7B and _is_usual_id(id_raw):
            return CallResult(id_raw, payload, is_repaired)
        return _decode_unusual(data, is_repaired=is_repaired)
    try:
        shape = _SHAPE.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return _decode_unusual(data, is_repaired=is_repaired)
    payload = bytes(shape.payload)
    id_raw = bytes(shape.id_raw)
    if shape.kind == CALL and payload[0] == 0x7B and _is_usual_id(id_raw):
        return Call(id_raw, shape.action, payload, is_repaired)
    return _decode_unusual(data, is_repaired=is_repaired)


def repair(data: bytes) -> bytes:
    """Mend the mistakes in JSON that chargers are known for (quirk Q17); linear in the length."""
    return _MISTAKES.sub(_mended, data.removeprefix(_BOM).strip(_BLANK))


def encode_call(message_id: str, action: str, payload: bytes) -> bytes:
    """Write a CALL, 1.6-J §4.2.1."""
    return b"[2,%b,%b,%b]" % (msgspec.json.encode(message_id), msgspec.json.encode(action), payload)


def encode_result(id_raw: bytes, payload: bytes) -> bytes:
    """Write a CALLRESULT under the id exactly as it came, 1.6-J §4.2.2."""
    return b"[3," + id_raw + b"," + payload + b"]"


def encode_error(id_raw: bytes, code: str, description: str = "", details: bytes = EMPTY_PAYLOAD) -> bytes:
    """Write a CALLERROR in the spelling of 1.6; a code that 1.6 lacks becomes GenericError."""
    code = _SPELLINGS.get(code, code)
    if code not in ERROR_CODES:
        code = "GenericError"
    text = description[:DESCRIPTION_LENGTH_MAX].encode("utf-8", "replace").decode()
    return b'[4,%b,"%b",%b,%b]' % (id_raw, code.encode(), msgspec.json.encode(text), details)


def _decode_unusual(data: bytes, *, is_repaired: bool) -> Frame:
    """Read what is no CALL of the usual shape."""
    if not data.strip(_BLANK):
        return _EMPTY
    try:
        parts = _PARTS.decode(data)
    except (msgspec.DecodeError, RecursionError):
        is_repaired = True
        try:
            parts = _PARTS.decode(repair(data))
        except RecursionError:
            return _broken(data, "nested too deeply")
        except msgspec.DecodeError:
            return _broken(data, "not a JSON array")
    return _frame([bytes(part) for part in parts], is_repaired=is_repaired)


def _frame(parts: list[bytes], *, is_repaired: bool) -> Frame:
    """Make a frame of the elements of its array."""
    if len(parts) < 2:
        return Broken(None, "FormationViolation", "too few elements")
    kind = _kind(parts[0])
    if kind == 0:
        # 1.6-J §4.1.3: a message type that is not known is ignored, so no id is given back.
        return Broken(None, "NotSupported", "unknown message type")
    id_raw = parts[1]
    if id_raw[0] not in _SCALAR_FIRST or len(id_raw) > ID_BYTES_MAX:
        return Broken(None, "FormationViolation", "the message id is not usable", kind)
    if kind == CALL_ERROR:
        return _call_error(id_raw, parts)
    if kind == CALL_RESULT:
        payload = _payload(parts, 2)
        if payload is None:
            return Broken(id_raw, "FormationViolation", "the payload is not an object", kind)
        return CallResult(id_raw, payload, is_repaired)
    action = _text(parts[2]) if len(parts) > 2 else None
    if action is None:
        return Broken(id_raw, "FormationViolation", "the action is not a text", kind)
    payload = _payload(parts, 3)
    if payload is None:
        return Broken(id_raw, "FormationViolation", "the payload is not an object", kind)
    flaws = _envelope_flaws(parts)
    return Call(id_raw, action, payload, is_repaired, flaws)


def _envelope_flaws(parts: list[bytes]) -> tuple[str, ...]:
    """Say what is odd about a call that can be read: its id (quirk Q19), no payload (quirk Q16)."""
    found = []
    if not _is_usual_id(parts[1]):
        found.append("odd_message_id")
    if len(parts) < 4 or parts[3][0] != 0x7B:
        found.append("no_payload")
    return tuple(found)


def _is_usual_id(id_raw: bytes) -> bool:
    """Say whether an id is a text of at most 36 characters (1.6-J §4.1.4)."""
    return id_raw[0] == 0x22 and len(id_raw) <= MESSAGE_ID_LENGTH_MAX + 2


def _call_error(id_raw: bytes, parts: list[bytes]) -> CallError:
    """Read a CALLERROR; description and details may be missing (quirk Q22)."""
    code = _text(parts[2]) if len(parts) > 2 else None
    description = _text(parts[3]) if len(parts) > 3 else None
    details = _payload(parts, 4)
    return CallError(id_raw, code or "GenericError", description or "", details or EMPTY_PAYLOAD)


def _payload(parts: list[bytes], place: int) -> bytes | None:
    """Return the object at this place; nothing, null and an empty array mean an empty one (quirk Q16)."""
    if len(parts) <= place or parts[place] == b"null":
        return EMPTY_PAYLOAD
    part = parts[place]
    if part[0] == 0x7B:
        return part
    if part[0] == 0x5B and not part[1:-1].strip():
        return EMPTY_PAYLOAD
    return None


def _kind(part: bytes) -> int:
    """Return the message type, 0 for one that 1.6 does not know; some peers send it as text."""
    digits = part.strip(b'"')
    return int(digits) if digits in {b"2", b"3", b"4"} else 0


def _text(part: bytes) -> str | None:
    """Return the text of a JSON string, None of anything else."""
    try:
        return _TEXT.decode(part)
    except msgspec.DecodeError:
        return None


def _broken(data: bytes, detail: str) -> Broken:
    """Recover type and id from the start of something unreadable (quirk Q17)."""
    found = _START.match(data.removeprefix(_BOM))
    if found is None:
        return Broken(None, "FormationViolation", detail)
    kind = _kind(found[1])
    # 1.6-J §4.1.3: a message type that is not known is ignored. An escape counts once above, but twice here.
    is_usable = kind != 0 and len(found[2]) <= ID_BYTES_MAX
    return Broken(found[2] if is_usable else None, "FormationViolation", detail, kind)


def _mended(found: re.Match[bytes]) -> bytes:
    """Return what should stand in the place of one mistake."""
    kind = found.lastgroup
    if kind == "string":
        # Chargers break lines inside texts; JSON wants them escaped.
        return _CONTROL.sub(lambda control: b"\\u%04x" % control[0][0], found[0])
    if kind == "open":
        return found["open"]
    if kind == "nothing":
        return b":null"
    return b"" if kind == "comma" else b"null"

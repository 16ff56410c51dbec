"""The simulator's own OCPP-J envelope: text on the wire <-> small values (1.6-J §4.2).

Written a second time on purpose: the server has its own, so that the two ends cannot share a mistake.
Nothing here raises for what a peer sent; an unreadable text becomes ``Malformed``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Payload = dict[str, Any]

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4


@dataclass(frozen=True)
class Call:
    """The peer asks for something."""

    id: str
    action: str
    payload: Payload


@dataclass(frozen=True)
class CallResult:
    """The peer answers a call of ours."""

    id: str
    payload: Payload


@dataclass(frozen=True)
class CallError:
    """The peer could not answer a call of ours."""

    id: str
    code: str
    description: str


@dataclass(frozen=True)
class Malformed:
    """A text that is no message; ``call_id`` is set when it was recognisably a call."""

    call_id: str | None
    why: str


class BadPayload(Exception):
    """A payload of the central system breaks its schema; carries the OCPP error code."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


def encode_call(call_id: str, action: str, payload: Payload | None) -> str:
    """Return the text of a CALL; no charger in good order says it without a payload."""
    return json.dumps([CALL, call_id, action, payload], separators=(",", ":"))


def encode_result(call_id: str, payload: Payload) -> str:
    """Return the text of a CALLRESULT."""
    return json.dumps([CALL_RESULT, call_id, payload], separators=(",", ":"))


def encode_error(call_id: str, code: str, description: str) -> str:
    """Return the text of a CALLERROR."""
    return json.dumps([CALL_ERROR, call_id, code, description[:255], {}], separators=(",", ":"))


def decode(text: str) -> Call | CallResult | CallError | Malformed:
    """Read one message."""
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        return Malformed(None, "not JSON")
    match parts:
        case [2, str(call_id), str(action), dict(payload)]:
            return Call(call_id, action, payload)
        case [3, str(call_id), dict(payload)]:
            return CallResult(call_id, payload)
        case [4, str(call_id), str(code), *rest]:
            return CallError(call_id, code, str(rest[0]) if rest else "")
        case [2, str(call_id), *_]:
            return Malformed(call_id, "a call needs an action and an object")
        case _:
            return Malformed(None, "no OCPP-J message")


_MISSING = object()


@dataclass(frozen=True)
class Fields:
    """Typed reading of a payload; each getter raises ``BadPayload`` when the field breaks its schema."""

    payload: Payload = field(default_factory=dict)

    def _get(self, name: str, kinds: tuple[type, ...], default: object) -> Any:
        value = self.payload.get(name)
        if value is None:
            if default is _MISSING:
                # The misspelling is the standard's own (1.6-J §4.2.3).
                raise BadPayload("OccurenceConstraintViolation", f"{name} is missing")
            return default
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BadPayload("TypeConstraintViolation", f"{name} has the wrong type")
        return value

    def text(self, name: str) -> str:
        """Return a text that must be there."""
        return str(self._get(name, (str,), _MISSING))

    def text_or_none(self, name: str) -> str | None:
        """Return a text, or None when it is left out."""
        value = self._get(name, (str,), None)
        return None if value is None else str(value)

    def choice(self, name: str, *allowed: str) -> str:
        """Return one of the allowed words."""
        value = self.text(name)
        if value not in allowed:
            raise BadPayload("PropertyConstraintViolation", f"{name} may not be {value!r}")
        return value

    def whole(self, name: str) -> int:
        """Return an integer that must be there."""
        return int(self._get(name, (int,), _MISSING))

    def whole_or_none(self, name: str) -> int | None:
        """Return an integer, or None when it is left out."""
        value = self._get(name, (int,), None)
        return None if value is None else int(value)

    def yes(self, name: str) -> bool:
        """Return a yes or no that must be there."""
        return bool(self._get(name, (bool,), _MISSING))

    def number(self, name: str) -> float:
        """Return a number that must be there."""
        return float(self._get(name, (int, float), _MISSING))

    def instant(self, name: str) -> datetime:
        """Return an instant that must be there, aware."""
        return _instant(name, self.text(name))

    def instant_or_none(self, name: str) -> datetime | None:
        """Return an instant, aware, or None when it is left out."""
        value = self.text_or_none(name)
        return None if value is None else _instant(name, value)

    def inner(self, name: str) -> Fields:
        """Return the object that must stand under this name."""
        return Fields(self._get(name, (dict,), _MISSING))

    def inner_or_none(self, name: str) -> Fields | None:
        """Return the object under this name, or None when it is left out."""
        value = self._get(name, (dict,), None)
        return None if value is None else Fields(value)

    def items(self, name: str) -> list[Fields]:
        """Return the objects of a list that must be there."""
        values = self._get(name, (list,), _MISSING)
        if not all(isinstance(value, dict) for value in values):
            raise BadPayload("TypeConstraintViolation", f"{name} holds something that is no object")
        return [Fields(value) for value in values]

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, empty when it is left out."""
        values = self._get(name, (list,), [])
        if not all(isinstance(value, str) for value in values):
            raise BadPayload("TypeConstraintViolation", f"{name} holds something that is no text")
        return list(values)


def _instant(name: str, value: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise BadPayload("TypeConstraintViolation", f"{name} is no time") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def written(at: datetime) -> str:
    """Return an instant as chargers write it: UTC, milliseconds, a Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"

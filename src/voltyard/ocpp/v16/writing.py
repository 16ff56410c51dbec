"""Writing to the letter: values into a strict struct; what does not fit is said so that one can mend it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from voltyard.kernel.errors import Invalid
from voltyard.ocpp.v16.messages import Payload

_LONG: Final = re.compile(r"length <= (\d+)")
_PLACE: Final = re.compile(r" - at `\$\.?(.*)`$")


def request(kind: type[Payload], values: dict[str, object]) -> tuple[str, bytes]:
    """Write a request as its action and its payload; None leaves a field out. Raises: Invalid."""
    return kind.__name__, checked(kind, values)


def checked(kind: type[Payload], values: dict[str, object]) -> bytes:
    """Write a payload. Raises: Invalid when OCPP 1.6 has no room for a value."""
    try:
        return msgspec.json.encode(msgspec.convert(values, kind))
    except msgspec.ValidationError as wrong:
        raise refusal(wrong) from wrong
    except UnicodeEncodeError as wrong:
        raise Invalid("take out the characters that are no text") from wrong


def refusal(wrong: msgspec.ValidationError) -> Invalid:
    """Say what to do about a value that does not fit."""
    text = str(wrong)
    place = _PLACE.search(text)
    field = place[1] if place else ""
    problem = _problem(_PLACE.sub("", text))
    pointer = "/" + field.replace(".", "/").replace("[", "/").replace("]", "") if field else ""
    return Invalid(f"{field}: {problem}" if field else problem, ((pointer, problem),))


def _problem(text: str) -> str:
    length = _LONG.search(text)
    if length:
        return f"shorten it to at most {length[1]} characters"
    if "length >= 1" in text:
        return "leave it not empty"
    if "matching regex" in text:
        return "write a whole address, such as https://example.com/file"
    return text


def whole_seconds(at: datetime) -> datetime:
    """Return the instant in whole seconds of UTC; some chargers refuse fractions and offsets (quirk Q36).

    One without an offset stays so, and is refused where it is written.
    """
    is_local = at.tzinfo is not UTC and at.tzinfo is not None
    return (at.astimezone(UTC) if is_local else at).replace(microsecond=0)


def seconds(at: datetime | None) -> datetime | None:
    """Return the instant in whole seconds of UTC, None where there is none."""
    return None if at is None else whole_seconds(at)

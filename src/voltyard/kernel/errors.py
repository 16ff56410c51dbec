"""The one exception tree: nothing that Voltyard raises on purpose stands outside it.

A room says *what* is wrong; each door translates the kind into its own language (HTTP status,
OCPP error code, exit code) in one table. ``facts`` are safe to show to the person who asked.

::

    VoltyardError
    ├─ Refused              the caller must change something
    │   ├─ Unauthenticated  ├─ Forbidden  ├─ NotFound  ├─ Gone
    │   ├─ Conflict  ├─ Invalid  └─ TooMany
    ├─ Unavailable          try again later
    │   ├─ ChargerOffline   ├─ TimedOut   └─ Unserved
    └─ PeerFault            the other side broke the protocol
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

Fact = str | int | float | bool | None


class VoltyardError(Exception):
    """Anything that Voltyard raises on purpose."""

    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str = "", **facts: Fact) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.facts: Mapping[str, Fact] = facts

    @classmethod
    def code(cls) -> str:
        """Return the stable code of this error: the class name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


class Refused(VoltyardError):
    """The caller must change something before asking again."""

    title = "The request was refused"


class Unauthenticated(Refused):
    """Nobody is logged in, or the token, password or session is not valid."""

    title = "Log in first"


class Forbidden(Refused):
    """The caller is known but may not do this."""

    title = "You may not do this"


class NotFound(Refused):
    """The thing does not exist, or the caller may not know that it does."""

    title = "There is no such thing"


class Gone(Refused):
    """It was there, and is no longer."""

    title = "This is over"


class Conflict(Refused):
    """The thing is in a state that does not allow this."""

    title = "That does not fit the present state"


class Invalid(Refused):
    """A value is missing or out of its range.

    ``errors`` holds ``(pointer, detail)`` pairs, JSON pointers into what was sent.
    """

    title = "A value is not valid"

    def __init__(self, detail: str = "", errors: tuple[tuple[str, str], ...] = (), **facts: Fact) -> None:
        super().__init__(detail, **facts)
        self.errors = errors


class TooMany(Refused):
    """Too many requests in a short time; ``retry_after_s`` says when to come back."""

    title = "Too many requests"


class Unavailable(VoltyardError):
    """It may work later without any change by the caller."""

    title = "Not available just now"


class ChargerOffline(Unavailable):
    """The charger holds no connection to Voltyard."""

    title = "The charger is offline"


class TimedOut(Unavailable):
    """No answer came within the time limit."""

    title = "No answer in time"


class Unserved(Unavailable):
    """No part of Voltyard serves this subject just now."""

    title = "Nobody serves this request"


class PeerFault(VoltyardError):
    """The other side of a socket broke the protocol.

    ``ocpp_code`` is the CALLERROR code that names the fault on the wire.
    """

    title = "The other side broke the protocol"

    def __init__(self, detail: str = "", ocpp_code: str = "GenericError", **facts: Fact) -> None:
        super().__init__(detail, **facts)
        self.ocpp_code = ocpp_code


def every_error() -> dict[str, type[VoltyardError]]:
    """Return every error class by its code; classes count from the moment their module is imported."""
    found: dict[str, type[VoltyardError]] = {}
    todo: list[type[VoltyardError]] = [VoltyardError]
    while todo:
        kind = todo.pop()
        found[kind.code()] = kind
        todo.extend(kind.__subclasses__())
    return found

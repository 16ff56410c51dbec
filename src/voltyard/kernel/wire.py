"""Values that travel: over the bus, in jobs, in rows.

A ``Message`` is a frozen msgspec struct with its class name as tag, so that a union of messages
needs no registry to be decoded. Unknown fields are ignored: an older process may hear a newer one.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from voltyard.kernel.errors import Invalid

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, tag=True):
    """What travels over the bus or rests in a job."""


def encode(message: object) -> bytes:
    """Write a message, a list of them, or plain values as JSON."""
    return msgspec.json.encode(message)


def decode(data: bytes | str, kind: type[T]) -> T:
    """Read a value of this type from JSON.

    Raises: Invalid when the data has another shape.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    # Text that is not UTF-8, and brackets nested thousands deep, come as errors of Python's own.
    except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
        raise Invalid(f"this is not a {getattr(kind, '__name__', kind)}: {wrong}") from wrong

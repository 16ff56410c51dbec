"""Pages of a list: an opaque cursor is the key of the last item, and one item more tells of a next page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query

from voltyard.kernel.errors import Invalid
from voltyard.kernel.ids import is_id
from voltyard.kernel.limits import PAGE_DEFAULT, PAGE_MAX

T = TypeVar("T")
CURSOR_LENGTH_MAX = 128
NUMBER_MAX = 2**31 - 1
"""Numbers are 32-bit integers in the tables."""
NUMBER_DIGITS_MAX = 10


class BadCursor(Invalid):
    """The cursor was not made by this list: take ``next`` of an earlier page, or leave it out."""

    title = "The cursor is not valid"


def _bad_cursor() -> BadCursor:
    return BadCursor("", (("/cursor", "take next of the page before, or leave it out"),))


def to_cursor(key: object) -> str:
    """Return the cursor that stands for the key of a page's last item."""
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def from_cursor(cursor: str) -> str:
    """Return the key that a cursor stands for. Raises: BadCursor."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as wrong:
        raise _bad_cursor() from wrong


def to_number(text: str) -> int | None:
    """Read a whole number that the tables can hold, the largest for one beyond; None if it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS_MAX):
        return None
    return min(int(text), NUMBER_MAX)


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """One page: its items, and the cursor of the page behind it, if there is one."""

    items: Sequence[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page was asked for."""

    limit: int
    cursor: str | None = None

    @property
    def most(self) -> int:
        """How many items to read: one more than shown tells whether there is a next page."""
        return self.limit + 1

    def after_id(self, prefix: str) -> str | None:
        """Return the id behind which the page begins. Raises: BadCursor."""
        if self.cursor is None:
            return None
        key = from_cursor(self.cursor)
        if not is_id(prefix, key):
            raise _bad_cursor()
        return key

    def after_number(self) -> int | None:
        """Return the number behind which the page begins. Raises: BadCursor."""
        if self.cursor is None:
            return None
        number = to_number(from_cursor(self.cursor))
        if number is None:
            raise _bad_cursor()
        return number

    def after_instant(self) -> datetime | None:
        """Return the instant behind which the page begins. Raises: BadCursor."""
        if self.cursor is None:
            return None
        try:
            instant = datetime.fromisoformat(from_cursor(self.cursor))
        except ValueError as wrong:
            raise _bad_cursor() from wrong
        if instant.tzinfo is None:
            raise _bad_cursor()
        return instant

    def slice(self, found: Sequence[T], key: Callable[[T], object]) -> Slice[T]:
        """Return the page of what was found; ``key`` gives what its cursor has to remember."""
        shown = found[: self.limit]
        return Slice(shown, to_cursor(key(shown[-1])) if len(found) > self.limit else None)


def paging(
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="How many items at most.")] = PAGE_DEFAULT,
    cursor: Annotated[
        str | None, Query(max_length=CURSOR_LENGTH_MAX, description="`next` of the page before.")
    ] = None,
) -> Paging:
    """Read which page is asked for."""
    return Paging(limit, cursor or None)


AskedPage = Annotated[Paging, Depends(paging)]

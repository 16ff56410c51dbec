"""One saying of a charger as stand-ins tell it, and what they need to know of it.

All links of a charger tell the same sayings, so that what is found out about one is found out once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from voltyard.kernel.limits import CLOCK_SKEW_S, TOLD_DAYS_MAX
from voltyard.proxy.readings import instant, retimed
from voltyard.proxy.rewriting import added, decoded, integer, replaced, value

BOOT: Final = "BootNotification"
METER: Final = "MeterValues"
STOP: Final = "StopTransaction"
READINGS_OF: Final[Mapping[str, str]] = MappingProxyType({METER: "meterValue", STOP: "transactionData"})
"""In which field an action tells readings."""
SKEW: Final = timedelta(seconds=CLOCK_SKEW_S)
PAST_MAX: Final = timedelta(days=TOLD_DAYS_MAX)
_NUMBER: Final = "transactionId"
_HERE: Final = b"\0"
"""Stands in no JSON text: that is how the place of a number is found."""


class _Measured(msgspec.Struct):
    timestamp: Any = None


class _Metered(msgspec.Struct, rename="camel"):
    meter_value: list[_Measured] = []
    transaction_data: list[_Measured] = []


_METERED: Final = msgspec.json.Decoder(_Metered)


class Edit(NamedTuple):
    """How what is told differs from what was said: so many bytes in front and at the end are the same."""

    head: int
    tail: int
    put: bytes


@dataclass(slots=True)
class Saying:
    """One saying of the charger in the log; ``transaction_number`` is ours."""

    number: int
    action: str
    payload: bytes
    at: datetime
    transaction_number: int | None
    _connector: int | None = field(default=None, init=False, repr=False, compare=False)
    _digest: bytes = field(default=b"", init=False, repr=False, compare=False)
    _around: tuple[bytes, ...] | None = field(default=None, init=False, repr=False, compare=False)
    _measured: tuple[datetime | None, ...] | None = field(default=None, init=False, repr=False, compare=False)
    _is_clock_wrong: bool | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def connector(self) -> int:
        """Return the connector that is told of, 0 where none is."""
        if self._connector is None:
            self._connector = integer(value(self.payload, "connectorId")) or 0
        return self._connector

    @property
    def digest(self) -> bytes:
        """Return what tells this content apart from any other."""
        if not self._digest:
            self._digest = blake2b(self.payload, digest_size=16).digest()
        return self._digest

    @property
    def place(self) -> bytes:
        """Return of what a boot or a status tells, so that only the newest one counts."""
        return b"boot" if self.action == BOOT else value(self.payload, "connectorId") or b"0"

    @property
    def told_at(self) -> datetime | None:
        """Return the charger's own time of this, None where it tells none that can be read."""
        return instant(decoded(value(self.payload, "timestamp")))

    @property
    def _times(self) -> tuple[datetime | None, ...]:
        """Return the times of its readings, None for each that cannot be read."""
        if self._measured is None:
            try:
                found = _METERED.decode(self.payload)
            except (msgspec.DecodeError, RecursionError):
                self._measured = ()
            else:
                told = found.meter_value if self.action == METER else found.transaction_data
                self._measured = tuple(instant(each.timestamp) for each in told)
        return self._measured

    @property
    def _last_time(self) -> datetime | None:
        return next((told_at for told_at in reversed(self._times) if told_at is not None), None)

    @property
    def measured_at(self) -> datetime:
        """Return when the last reading was taken, which may be long before it was heard."""
        told_at = self._times[-1] if self._times else None
        return told_at if told_at is not None and self.is_likely(told_at) else self.at

    def is_likely(self, told_at: datetime) -> bool:
        """Say whether a charger can mean this instant, by when it was heard."""
        return self.at - PAST_MAX <= told_at <= self.at + SKEW

    def numbered(self, theirs: int) -> tuple[bytes, str, Edit | None]:
        """Return what is told with an operator's own number of the transaction, what was done for that, and
        how the two differ where that can be said.

        Raises: ValueError where the payload is no JSON object.
        """
        number = b"%d" % theirs
        if self._around is None:
            self._around = tuple(replaced(self.payload, {_NUMBER: _HERE}).split(_HERE))
        if len(self._around) == 2:
            head, tail = self._around
            return head + number + tail, "number", Edit(len(head), len(tail), number)
        if value(self.payload, _NUMBER) is None:
            return added(self.payload, _NUMBER, number), "number_added", None
        return replaced(self.payload, {_NUMBER: number}), "number", None

    def with_likely_times(self, payload: bytes) -> bytes:
        """Return a payload that was made of this one's with readings at times that can be right (quirk Q35).

        A clock that is wrong is wrong by the same for all of them: the last one, or the stop itself, was when
        it was heard.
        """
        if self._is_clock_wrong is None:
            self._is_clock_wrong = any(
                told_at is not None and not self.is_likely(told_at) for told_at in self._times
            )
        if not self._is_clock_wrong:
            return payload
        return retimed(payload, READINGS_OF[self.action], self._mended())

    def _mended(self) -> Callable[[datetime], datetime]:
        last = self.told_at if self.action == STOP else self._last_time
        off = self.at - last if last is not None and not self.is_likely(last) else timedelta(0)

        def mended(told_at: datetime) -> datetime:
            if self.is_likely(told_at):
                return told_at  # its clock was right by then, or was still
            try:
                at = told_at + off
            except OverflowError:
                return self.at
            return at if self.is_likely(at) else self.at

        return mended

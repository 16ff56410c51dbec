"""Edits inside what a charger measured: values that an operator did not choose, times that cannot be right.

MeterValues and the ``transactionData`` of StopTransaction have the same shape. Whatever is kept stays byte
for byte as it was; a reading with a value that is signed is left alone, since the signature may cover what
stands around it, too.

Invariants (property tests of the same names):
what is kept stays as it was · a signed reading stays as it was · nothing chosen changes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from voltyard.proxy.rewriting import decoded, replaced, value

DEFAULT_MEASURAND: Final = "energy.active.import.register"
"""What a value is of that names nothing (OCPP 1.6 §7.43), folded as all names are here."""
_CLOCK: Final = "Sample.Clock"
_KEPT: Final = ("Transaction.Begin", "Transaction.End")
"""What begins and ends a bill is told to everybody."""

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _Value(msgspec.Struct, rename="camel"):
    context: Any = None
    measurand: Any = None
    phase: Any = None


_VALUE: Final = msgspec.json.Decoder(_Value)


@dataclass(frozen=True, slots=True)
class Choice:
    """The measurands that an operator wants, folded; None where it has not chosen.

    ``sampled`` is of what is measured at intervals, ``aligned`` of what is measured by the clock.
    """

    sampled: frozenset[str] | None = None
    aligned: frozenset[str] | None = None

    @property
    def is_made(self) -> bool:
        """Say whether anything was chosen at all."""
        return self.sampled is not None or self.aligned is not None

    def wants(self, raw: bytes) -> bool:
        """Say whether one sampled value is wanted; what cannot be read is."""
        try:
            told = _VALUE.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            return True
        if told.context in _KEPT:
            return True
        chosen = self.aligned if told.context == _CLOCK else self.sampled
        if chosen is None:
            return True
        name = str(told.measurand).casefold() if told.measurand else DEFAULT_MEASURAND
        # Some choose a phase by itself, as in Current.Import.L1.
        return name in chosen or (bool(told.phase) and f"{name}.{str(told.phase).casefold()}" in chosen)


NO_CHOICE: Final = Choice()


def choice(sampled: str | None, aligned: str | None) -> Choice:
    """Return what two configuration keys choose, each a list with commas, None where it is not set."""
    return Choice(_folded(sampled), _folded(aligned))


def _folded(names: str | None) -> frozenset[str] | None:
    if names is None:
        return None
    return frozenset(part for name in names.split(",") if (part := name.strip().casefold()))


def chosen(payload: bytes, field: str, choice: Choice) -> bytes | None:
    """Return the message with the wanted values only, None where none of its values is left.

    A message that has no such field, or cannot be read, is returned as it is.
    """
    return _edited(payload, field, lambda measured: _chosen(measured, choice))


def _chosen(measured: bytes, choice: Choice) -> bytes | None:
    values = _list(value(measured, "sampledValue"))
    if not values or _is_signed(measured):
        return measured
    kept = [each for each in values if choice.wants(each)]
    if len(kept) == len(values):
        return measured
    return replaced(measured, {"sampledValue": b"[%b]" % b",".join(kept)}) if kept else None


def _is_signed(measured: bytes) -> bool:
    """Say whether a reading may be signed, so that nothing around its values is touched either."""
    return b"SignedData" in measured


def retimed(payload: bytes, field: str, mended: Callable[[datetime], datetime]) -> bytes:
    """Return the message with other times of its readings: what ``mended`` makes of each that can be read."""

    def edit(measured: bytes) -> bytes:
        told_at = instant(decoded(value(measured, "timestamp")))
        if told_at is None or _is_signed(measured):
            return measured
        at = mended(told_at)
        return measured if at == told_at else replaced(measured, {"timestamp": _written(at)})

    found = _edited(payload, field, edit)
    assert found is not None  # nothing was left out
    return found


def _written(at: datetime) -> bytes:
    return msgspec.json.encode(at.astimezone(UTC))


def _edited(payload: bytes, field: str, edit: Callable[[bytes], bytes | None]) -> bytes | None:
    """Edit each reading of a message; return None where nothing of it is left."""
    measured = _list(value(payload, field))
    if not measured:
        return payload
    try:
        edited = [edit(each) for each in measured]
    except ValueError:  # one of them is no object
        return payload
    kept = [each for each in edited if each is not None]
    if kept == measured:
        return payload
    return replaced(payload, {field: b"[%b]" % b",".join(kept)}) if kept else None


def _list(raw: bytes | None) -> list[bytes] | None:
    if raw is None:
        return None
    try:
        return [bytes(each) for each in _LIST.decode(raw)]
    except (msgspec.DecodeError, RecursionError):
        return None


def instant(told: object) -> datetime | None:
    """Return the instant that a text tells with its time zone, None for anything else."""
    if not isinstance(told, str):
        return None
    try:
        found = datetime.fromisoformat(told)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None

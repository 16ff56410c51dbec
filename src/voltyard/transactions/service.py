"""What happens with transactions, and what one can do with them.

``start``, ``meter`` and ``end`` take the sayings of many chargers at once (group commit) and are
idempotent: a charger that did not hear our answer may say everything again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voltyard.cards.service import Judgement, tag_key
from voltyard.chargers import commands, findings
from voltyard.chargers import service as chargers
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.events import subject
from voltyard.chargers.service import Place, believed, is_believed
from voltyard.kernel.actor import Actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work, pack
from voltyard.kernel.errors import Conflict, Invalid, NotFound
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import CALL_DEADLINE_S, CLOCK_SKEW_S, SAMPLES_PAGE_MAX, TAG_LENGTH_MAX
from voltyard.locations.access import Permission
from voltyard.locations.service import permissions
from voltyard.reservations import service as reservations
from voltyard.speech import (
    Ended,
    FlawTold,
    Metered,
    Priority,
    Reading,
    StartCharging,
    Started,
    StopCharging,
    Verdict,
)
from voltyard.transactions import pending, store
from voltyard.transactions.events import TransactionChanged

SKEW = timedelta(seconds=CLOCK_SKEW_S)
METER_MAX_WH = 2**62
STOP_LOST = "StopLost"
ENDED_BY_US = frozenset((STOP_LOST, pending.STATUS_ONLY))
"""Reasons of ends that no stop told; the true stop may still come."""
POWER_MAX_W = 500_000
"""No connector gives more than this; a register that would need more cannot be right."""
ENERGY_SLACK_WH = 1_000
TIMED_MIN = timedelta(minutes=15)
"""A transaction counts as at least this long when its energy is judged: clocks err …"""
UNTIMED_MIN = timedelta(days=1)
"""… and this long where the charger could not tell when it began: both ends may be told late, at once."""
HISTORY = timedelta(days=1)
"""What is told later than this comes out of a charger's memory (quirk Q44)."""
ROUNDING_WH = 1
"""A register may be told rounded once and cut off the next time."""


class NothingToStop(Conflict):
    """There is no running transaction to stop."""

    title = "Nothing is charging there"


class AlreadyEnded(Conflict):
    """The transaction has ended already."""

    title = "This transaction has ended already"


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction as one who may see it sees it."""

    id: str
    number: int
    charger_id: str
    charger_identity: str
    charger_name: str
    location_id: str | None
    location_name: str | None
    connector: int
    card_id: str | None
    id_tag: str
    verdict: str
    started_at: datetime
    ended_at: datetime | None
    meter_start_wh: int
    meter_stop_wh: int | None
    energy_wh: int
    power_w: float | None
    soc_percent: float | None
    metered_at: datetime | None
    stop_reason: str | None
    is_estimated: bool

    @property
    def is_active(self) -> bool:
        """Say whether it has not ended."""
        return self.ended_at is None

    @property
    def charger_label(self) -> str:
        """Return the name that people gave the charger, else its identity."""
        return self.charger_name or self.charger_identity


@dataclass(frozen=True, slots=True)
class Sample:
    """What the meter showed at one instant."""

    at: datetime
    energy_wh: float | None
    power_w: float | None
    current_l1_a: float | None
    current_l2_a: float | None
    current_l3_a: float | None
    offered_a: float | None
    voltage_l1_v: float | None
    voltage_l2_v: float | None
    voltage_l3_v: float | None
    soc_percent: float | None


@dataclass(frozen=True, slots=True)
class OrphanStop:
    """A stop that named no transaction of its charger."""

    id: str
    charger_id: str
    number: int
    meter_wh: int
    id_tag: str | None
    reason: str | None
    heard_at: datetime


def _flaw(kind: str, place: Place, said: Started | Metered | Ended) -> FlawTold:
    """Return a finding about what a charger said."""
    return FlawTold(place.charger_id, kind, 1, "", pack(said))


def _clock_flaws(place: Place, said: Started | Ended, now: datetime) -> list[FlawTold]:
    """Return what is odd about when a charger says that something happened (quirks Q35 and Q44)."""
    if said.told_at is None:
        return []
    if not is_believed(said.told_at, now):
        return [_flaw("wrong_clock", place, said)]
    return [_flaw("told_history", place, said)] if said.told_at < now - HISTORY else []


def _find(work: Work, odd: Sequence[FlawTold]) -> None:
    if odd:
        findings.told(work, odd)


def _meter(meter_wh: int) -> int:
    """Return a register that fits its column."""
    return min(max(meter_wh, -METER_MAX_WH), METER_MAX_WH)


def _is_settled(row: Any) -> bool:
    """Say whether a transaction has ended by its charger's own word.

    The row's ``is_estimated`` is about the end alone; a start that was estimated stays so for ever.
    """
    return row.ended_at is not None and not (row.is_estimated and row.stop_reason in ENDED_BY_US)


def _start_key(place: Place, said: Started) -> str:
    """Return what makes a start the same start again: its content, whatever its message id (quirk Q39)."""
    told = said.told_at.isoformat() if said.told_at is not None else "-"
    meter = _meter(said.meter_wh) if said.meter_wh is not None else "-"
    return f"{place.charger_id}|{said.connector}|{said.id_tag[:32]}|{told}|{meter}"


def _start_keys(work: Work, started: Sequence[tuple[Place, Started]]) -> tuple[list[str], dict[str, Any]]:
    """Return the keys of starts, and the transactions that exist already.

    A charger without a usable clock says the same of every transaction that moved no energy. Once one
    of these has ended by its own word, its start cannot come again: the next one is another.
    """
    keys = [_start_key(place, said) for place, said in started]
    known = store.find_by_start_keys(work, keys)
    for index, (_, said) in enumerate(started):
        base = keys[index]
        while not is_believed(said.told_at, work.now) and _is_settled_key(known, keys[index]):
            keys[index] = f"{base}|{known[keys[index]].number}"
            known |= store.find_by_start_keys(work, [keys[index]])
    return keys, known


def _is_settled_key(known: dict[str, Any], key: str) -> bool:
    return key in known and _is_settled(known[key])


def start(work: Work, started: Sequence[tuple[Place, Started]], judgements: Sequence[Judgement]) -> list[int]:
    """Record starts and return their numbers; a start that was recorded before keeps its number.

    An open transaction on the connector of a new one is closed with its last reading, marked as
    estimated: its stop was lost (quirk Q41). A start without a register (quirk Q31) gets the first one
    that is read, and the transaction counts as estimated.
    """
    keys, known = _start_keys(work, started)
    rows: dict[str, dict[str, Any]] = {}
    joined = pending.join(
        work, {key: item for key, item in zip(keys, started, strict=True) if key not in known}
    )
    known |= joined
    odd: list[FlawTold] = []
    for key, (place, said), judgement in zip(keys, started, judgements, strict=True):
        if key in joined:
            continue
        if key in known:
            odd.append(_flaw("repeated_start", place, said))
            continue
        odd += _clock_flaws(place, said, work.now)
        meter_wh = _meter(said.meter_wh) if said.meter_wh is not None else None
        rows[key] = {
            "id": new_id("txn"),
            "start_key": key,
            "charger_id": place.charger_id,
            "location_id": place.location_id,
            "connector": said.connector,
            "card_id": judgement.card_id,
            "id_tag": said.id_tag[:64],
            "verdict": judgement.verdict.value,
            "started_at": believed(said.told_at, work.now),
            "start_told_at": said.told_at,
            "start_heard_at": work.now,
            "meter_start_wh": meter_wh,
            "meter_last_wh": meter_wh,
            "is_start_estimated": meter_wh is None,
            "is_estimated": False,
        }
    store.insert_started(work, list(rows.values()))
    # Only new ones: a repeated start tells nothing new and must not end what has begun since.
    odd += _close_lost(work, list(rows.values()))
    _find(work, odd)
    found = known | (store.find_by_start_keys(work, rows) if rows else {})
    for key in rows:
        _emit(work, found[key], _news("started", found[key].started_at, work.now))
    return [found[key].number for key in keys]


def _close_lost(work: Work, started: Sequence[Mapping[str, Any]]) -> list[FlawTold]:
    """Close what is still open on connectors where these later ones have started; return what to note."""
    if not started:
        return []
    last = {(row["charger_id"], row["connector"]): row for row in started}
    lost = [
        row
        for row in store.find_open(work, [charger_id for charger_id, _ in last])
        if (began := last.get((row.charger_id, row.connector))) is not None
        and row.start_key != began["start_key"]
        and row.started_at <= began["started_at"] + SKEW
    ]
    ended = []
    for row in lost:
        at, meter_wh = _lost_end(work, row, last[row.charger_id, row.connector])
        ended.append(
            _end_values(
                row.number,
                ended_at=max(at, row.started_at),
                told_at=None,
                heard_at=work.now,
                start_wh=row.meter_start_wh,
                meter_wh=meter_wh,
                reason=STOP_LOST,
                is_estimated=True,
            )
        )
    store.set_ended(work, ended)
    for row in lost:
        _emit(work, row, "ended")
    return [FlawTold(row.charger_id, "missing_stop", 1, "", "") for row in lost]


def _lost_end(work: Work, row: Any, began: Mapping[str, Any]) -> tuple[datetime, int | None]:
    """Return when a transaction whose stop was lost has ended, and its register of then.

    Where the next start is told late, readings of the next car have come in the meantime, and joined this
    transaction (quirk Q42): they say nothing of it, and their energy is billed with the next one.
    """
    if row.metered_at is None or row.metered_at <= began["started_at"]:
        return row.metered_at or row.started_at, row.meter_last_wh
    if row.meter_last_wh is None or row.meter_start_wh is None:
        return began["started_at"], row.meter_last_wh
    read_wh = store.register_until(work, row.number, began["started_at"], row.meter_last_wh)
    meter_wh = max(row.meter_start_wh, read_wh or row.meter_start_wh)
    next_wh = began["meter_start_wh"]
    if next_wh is not None and meter_wh < next_wh <= row.meter_last_wh:
        meter_wh = next_wh
    return began["started_at"], meter_wh


def _end_values(
    number: int,
    *,
    ended_at: datetime,
    told_at: datetime | None,
    heard_at: datetime,
    start_wh: int | None,
    meter_wh: int | None,
    reason: str,
    is_estimated: bool,
) -> dict[str, Any]:
    return {
        "key": number,
        "ended_at": ended_at,
        "end_told_at": told_at,
        "end_heard_at": heard_at,
        "start_wh": start_wh,
        "meter_stop_wh": meter_wh,
        "meter_last_wh": meter_wh,
        "power_w": 0.0,
        "stop_reason": reason[:32],
        "is_estimated": is_estimated,
    }


def _news(what: str, at: datetime, now: datetime) -> str:
    """Return how something is told to those who listen: weeks of history are no news (quirk Q44)."""
    return "recorded" if at < now - HISTORY else what


def _emit(work: Work, row: Any, what: str) -> None:
    work.emit(
        subject(row.location_id, row.charger_id),
        TransactionChanged(row.id, row.charger_id, row.location_id, what),
    )


def set_verdict(work: Work, number: int, verdict: Verdict) -> None:
    """Keep what was decided about the card of a transaction after it was recorded; for the system."""
    assert work.actor.is_system
    store.set_verdict(work, number, verdict.value)
    row = store.find_by_numbers(work, [number]).get(number)
    if row is not None:
        _emit(work, row, "judged")


# --- readings -------------------------------------------------------------------------------------


def _sample(
    place: Place, connector: int, number: int | None, reading: Reading, now: datetime
) -> dict[str, Any]:
    current, voltage = reading.current_a, reading.voltage_v
    return {
        "charger_id": place.charger_id,
        "connector": connector,
        "at": believed(reading.told_at, now),
        "number": number,
        "heard_at": now,
        "context": reading.context[:32],
        "energy_wh": reading.energy_wh,
        "power_w": reading.power_w,
        "current_l1_a": current.l1,
        "current_l2_a": current.l2,
        "current_l3_a": current.l3,
        "offered_a": reading.offered_a,
        "voltage_l1_v": voltage.l1,
        "voltage_l2_v": voltage.l2,
        "voltage_l3_v": voltage.l3,
        "soc_percent": reading.soc_percent,
        "others": pack(reading.others) if reading.others else None,
    }


def meter(work: Work, metered: Sequence[tuple[Place, Metered]]) -> list[int | None]:
    """Store readings and tie them to their transactions; return the number of each one's, if it has any.

    A reading after the end joins the ended transaction and never revives it; one with a number that
    is not its charger's, or with none, joins the connector's open transaction, if any (quirk Q42).
    """
    open_by_number: dict[int, Any] = {}
    open_by_connector: dict[tuple[str, int], Any] = {}
    for each in store.find_open(work, [place.charger_id for place, _ in metered]):
        open_by_number[each.number] = each
        open_by_connector[each.charger_id, each.connector] = each
    strange = [
        said.number
        for _, said in metered
        if said.number is not None and said.number > 0 and said.number not in open_by_number
    ]
    ended = store.find_by_numbers(work, [number for number in strange if number < 2**31])
    rows: list[dict[str, Any]] = []
    latest: dict[int, dict[str, Any]] = {}
    begun: dict[int, int] = {}
    odd: list[FlawTold] = []
    numbers: list[int | None] = []
    for place, said in metered:
        row: Any = open_by_number.get(said.number) if said.number is not None else None
        if row is None and said.number is not None:
            row = ended.get(said.number)
        if row is None or row.charger_id != place.charger_id:
            row = open_by_connector.get((place.charger_id, said.connector))
        number = row.number if row is not None else None
        numbers.append(number)
        if said.number is not None and said.number > 0:
            if number != said.number:
                odd.append(_flaw("foreign_meter_values", place, said))
            elif row.ended_at is not None:
                odd.append(_flaw("late_meter_values", place, said))
        rows.extend(_sample(place, said.connector, number, reading, work.now) for reading in said.readings)
        if row is not None and row.ended_at is None and said.readings:
            start_wh: int | None = row.meter_start_wh
            if start_wh is None or row.number in begun or _is_always_zero(row, said.readings, work.now):
                start_wh = begun.get(row.number, _first_register(said.readings, work.now))
                if start_wh is not None:
                    begun[row.number] = start_wh
            newest = _newest(row, start_wh, said.readings, work.now)
            if newest is not None and newest["energy_wh"] is None and _has_register(said.readings):
                odd.append(_flaw("implausible_register", place, said))
            before = latest.get(row.number)
            if newest is not None and (before is None or newest["at"] >= before["at"]):
                if before is not None and newest["energy_wh"] is None:
                    newest["energy_wh"] = before["energy_wh"]
                latest[row.number] = newest
            _emit(work, row, "metered")
    store.insert_samples(work, rows)
    store.set_begun(work, [{"key": number, "start_wh": start_wh} for number, start_wh in begun.items()])
    store.set_metered(work, list(latest.values()))
    _find(work, odd)
    return numbers


def _has_register(readings: Sequence[Reading]) -> bool:
    return any(reading.energy_wh is not None for reading in readings)


def _newest(
    row: Any, start_wh: int | None, readings: Sequence[Reading], now: datetime
) -> dict[str, Any] | None:
    """Return what the newest of these readings means for an open transaction; older news changes nothing."""
    last = max(readings, key=lambda reading: believed(reading.told_at, now))
    at = believed(last.told_at, now)
    if row.metered_at is not None and at < row.metered_at:
        return None
    # One instant may be told in several readings: the begin of a transaction beside the periodic one.
    newest = [reading for reading in readings if believed(reading.told_at, now) == at]
    return {
        "key": row.number,
        "energy_wh": _register(readings, start_wh, _highest(row, start_wh, at, now)),
        "power_w": next((each.power_w for each in newest if each.power_w is not None), None),
        "soc_percent": next((each.soc_percent for each in newest if each.soc_percent is not None), None),
        "at": at,
    }


def _register(readings: Sequence[Reading], start_wh: int | None, highest_wh: int) -> int | None:
    """Return the highest register of these readings that can belong to a transaction, if any can.

    A register below the start is another kind of register (quirk Q43); it must not undo energy.
    """
    registers = [reading.energy_wh for reading in readings if reading.energy_wh is not None]
    lowest_wh = 0 if start_wh is None else start_wh
    fitting = [register for register in registers if lowest_wh <= register <= highest_wh]
    return round(max(fitting)) if fitting else None


def _first_register(readings: Sequence[Reading], now: datetime) -> int | None:
    """Return the register of the begin, else the earliest of these readings; None without a possible one."""
    registers = [
        (reading.context != "Transaction.Begin", believed(reading.told_at, now), reading.energy_wh)
        for reading in readings
        if reading.energy_wh is not None and 0 <= reading.energy_wh < METER_MAX_WH
    ]
    return round(min(registers)[2]) if registers else None


def _is_always_zero(row: Any, readings: Sequence[Reading], now: datetime) -> bool:
    """Say whether a start at 0 was no register at all (quirk Q43): the first one read is out of its reach.

    Then the transaction counts as one whose start told none.
    """
    if row.meter_start_wh != 0 or row.meter_last_wh != 0:
        return False
    first_wh = _first_register(readings, now)
    return first_wh is not None and first_wh > _highest(row, 0, now, now)


def _highest(row: Any, start_wh: int | None, at: datetime, heard_at: datetime) -> int:
    """Return the highest register that a transaction can have reached by this instant."""
    if start_wh is None:
        return METER_MAX_WH
    floor = TIMED_MIN if is_believed(row.start_told_at, row.start_heard_at) else UNTIMED_MIN
    # Of the charger's own span and ours the longer one: its clock may have been set in between, and what
    # was told late was heard at once.
    span = max(at - row.started_at, heard_at - row.start_heard_at, floor)
    hours: float = span.total_seconds() / 3600
    return min(start_wh + round(POWER_MAX_W * hours) + ENERGY_SLACK_WH, METER_MAX_WH)


# --- the end --------------------------------------------------------------------------------------


def end(work: Work, ended: Sequence[tuple[Place, Ended]]) -> list[int | None]:
    """Record stops; return the number of the transaction that each one ended, None for an orphan.

    A repeated stop changes nothing. A late stop of a transaction that was closed by estimate puts the
    true values in. A number that is not one of the charger's own (0, -1, stale: quirk Q38, errata
    3.18) is resolved to its one fitting open transaction, else the stop is kept as an orphan.
    """
    by_number = store.find_by_numbers(work, [said.number for _, said in ended if 0 < said.number < 2**31])
    strays = [(place, said) for place, said in ended if _is_stray(by_number.get(said.number), place, said)]
    open_rows = store.find_open(work, [place.charger_id for place, _ in strays]) if strays else []
    seen = (
        store.find_orphan_keys(work, [_stop_key(place, said) for place, said in strays]) if strays else set()
    )
    values: dict[int, dict[str, Any]] = {}
    orphans: list[dict[str, Any]] = []
    sample_rows: list[dict[str, Any]] = []
    numbers: list[int | None] = []
    odd: list[FlawTold] = []
    for place, said in ended:
        row = by_number.get(said.number)
        if _is_stray(row, place, said):
            named = row if row is not None and row.charger_id == place.charger_id else None
            key = _stop_key(place, said)
            candidates = [each for each in open_rows if each.number not in values]
            meant = _resolve(candidates, place, said, work.now) if key not in seen else None
            if meant is None and named is not None:
                if not _was_an_instant(named, said):
                    numbers.append(named.number)
                    continue
                row = named
            else:
                if key not in seen:
                    odd.append(_flaw("unknown_stop", place, said))
                orphans.append(_orphan(work, place, said, key, meant))
                row = meant
                seen.add(key)
        numbers.append(row.number if row is not None else None)
        if row is None:
            continue
        sample_rows.extend(
            _sample(place, row.connector, row.number, reading, work.now) for reading in said.readings
        )
        last_wh = _last_register(work, row, said)
        if row.number not in values and _says_more(row, said, last_wh, work.now):
            values[row.number] = _ended_values(row, said, last_wh, work.now)
            odd += _clock_flaws(place, said, work.now)
            if values[row.number]["is_estimated"]:
                odd.append(_flaw("implausible_stop_register", place, said))
            _emit(work, row, _news("ended", values[row.number]["ended_at"], work.now))
    store.insert_samples(work, sample_rows)
    store.insert_orphans(work, orphans)
    store.set_ended(work, list(values.values()))
    _find(work, odd)
    return numbers


def _is_stray(row: Any, place: Place, said: Ended) -> bool:
    """Say whether a stop cannot mean the transaction that it names.

    That is: none, another charger's, or one that ended long since with less on its register. A stop
    that says the same again is a repeat and no stray.
    """
    if row is None or row.charger_id != place.charger_id:
        return True
    return _is_settled(row) and not row.is_estimated and _meter(said.meter_wh) > row.meter_stop_wh


@dataclass(frozen=True, slots=True)
class _Registers:
    """What the registers of a stop come to."""

    start_wh: int
    stop_wh: int
    is_plausible: bool


def _last_register(work: Work, row: Any, said: Ended) -> int | None:
    """Return the highest register that was read in a transaction until its stop, None when none was.

    A stop that is told late may find readings that came after it: those of the next car, which had no
    number yet (quirk Q42). They say nothing of this end.
    """
    last_wh: int | None = row.meter_last_wh
    at = said.told_at
    if last_wh is None or row.metered_at is None or at is None or not is_believed(at, work.now):
        return last_wh
    return last_wh if row.metered_at <= at else store.register_until(work, row.number, at, last_wh)


def _registers(row: Any, said: Ended, last_read_wh: int | None, now: datetime) -> _Registers:
    """Return where a transaction began and ended, and whether the register of its stop can be right.

    One below the start or below what was read since would undo energy, one far above both is more than
    any connector gives. One that shows no energy, although readings did, comes from a charger that
    always writes the same (quirk Q43). Where the stop's own register is no use, the last good one counts.
    """
    meter_wh = _meter(said.meter_wh)
    start_wh: int | None = row.meter_start_wh
    if start_wh is None or _is_always_zero(row, said.readings, now):
        start_wh = _first_register(said.readings, now)
    if start_wh is None:
        start_wh = meter_wh
    # A repeat must not become possible because it comes later.
    heard_at = row.end_heard_at if _is_settled(row) else now
    at = said.told_at if said.told_at is not None and is_believed(said.told_at, now) else heard_at
    highest_wh = _highest(row, start_wh, at, heard_at)
    last_wh: int = start_wh if last_read_wh is None else last_read_wh
    last_wh = max(last_wh, _register(said.readings, start_wh, highest_wh) or last_wh)
    if meter_wh <= start_wh:
        is_plausible = meter_wh == start_wh == last_wh
    else:
        is_plausible = last_wh - ROUNDING_WH <= meter_wh <= highest_wh
    return _Registers(start_wh, meter_wh if is_plausible else last_wh, is_plausible)


def _says_more(row: Any, said: Ended, last_wh: int | None, now: datetime) -> bool:
    """Say whether a stop tells more than what is known of the end of its transaction."""
    is_open_to_more = row.is_estimated or _was_an_instant(row, said)
    return not _is_settled(row) or (is_open_to_more and _registers(row, said, last_wh, now).is_plausible)


def _was_an_instant(row: Any, said: Ended) -> bool:
    """Say whether a transaction ended as it began, without energy, and this stop tells of a later end.

    Then another one has begun in the same instant with the same card and register. Its start could not be
    told apart from the first (quirk Q39); its energy must not be lost.
    """
    return (
        row.ended_at is not None
        and row.ended_at == row.started_at
        and row.meter_stop_wh == row.meter_start_wh
        and said.told_at is not None
        and said.told_at > row.ended_at
        and _meter(said.meter_wh) > row.meter_stop_wh
    )


def _ended_values(row: Any, said: Ended, last_wh: int | None, now: datetime) -> dict[str, Any]:
    registers = _registers(row, said, last_wh, now)
    return _end_values(
        row.number,
        ended_at=max(believed(said.told_at, now), row.started_at),
        told_at=said.told_at,
        heard_at=now,
        start_wh=registers.start_wh,
        meter_wh=registers.stop_wh,
        reason=said.reason or "Local",
        is_estimated=not registers.is_plausible,
    )


def _stop_key(place: Place, said: Ended) -> str:
    told = said.told_at.isoformat() if said.told_at is not None else "-"
    return f"{place.charger_id}|{said.number}|{(said.id_tag or '')[:32]}|{told}|{_meter(said.meter_wh)}"


def _resolve(open_rows: Sequence[Any], place: Place, said: Ended, now: datetime) -> Any:
    """Return the one open transaction that this stop can mean, None when there is not exactly one."""
    fitting = [
        row
        for row in open_rows
        if row.charger_id == place.charger_id
        and (not said.id_tag or tag_key(said.id_tag) == tag_key(row.id_tag))
        and believed(said.told_at, now) >= row.started_at - SKEW
        and (row.meter_start_wh is None or said.meter_wh >= row.meter_start_wh)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _orphan(work: Work, place: Place, said: Ended, key: str, row: Any) -> dict[str, Any]:
    return {
        "id": new_id("stk"),
        "stop_key": key,
        "charger_id": place.charger_id,
        "number": min(max(said.number, -(2**62)), 2**62),
        "meter_wh": _meter(said.meter_wh),
        "id_tag": said.id_tag[:64] if said.id_tag else None,
        "reason": said.reason[:32] if said.reason else None,
        "told_at": said.told_at,
        "heard_at": work.now,
        "resolved_number": row.number if row is not None else None,
    }


# --- what people do -------------------------------------------------------------------------------


def _transaction(row: Any) -> Transaction:
    # Without any register yet there is no energy yet.
    start_wh = row.meter_start_wh or 0
    stop_wh = row.meter_stop_wh
    last_wh = row.meter_last_wh if stop_wh is None else stop_wh
    return Transaction(
        id=row.id,
        number=row.number,
        charger_id=row.charger_id,
        charger_identity=row.charger_identity,
        charger_name=row.charger_name,
        location_id=row.location_id,
        location_name=row.location_name,
        connector=row.connector,
        card_id=row.card_id,
        id_tag=row.id_tag,
        verdict=row.verdict,
        started_at=row.started_at,
        ended_at=row.ended_at,
        meter_start_wh=start_wh,
        meter_stop_wh=stop_wh,
        energy_wh=(start_wh if last_wh is None else last_wh) - start_wh,
        power_w=row.power_w,
        soc_percent=row.soc_percent,
        metered_at=row.metered_at,
        stop_reason=row.stop_reason,
        is_estimated=row.is_estimated or row.is_start_estimated,
    )


def get(work: Work, transaction_id: str) -> Transaction:
    """Return a transaction. Raises: NotFound."""
    row = store.find_transaction(work, check("txn", transaction_id))
    if row is None or Permission.VIEW_SENSITIVE not in permissions(work, row.location_id):
        raise NotFound("there is no such transaction, or you have no access to it", id=transaction_id)
    return _transaction(row)


def list_transactions(
    work: Work,
    *,
    location_id: str | None = None,
    charger_id: str | None = None,
    card_id: str | None = None,
    is_active: bool | None = None,
    started_from: datetime | None = None,
    started_to: datetime | None = None,
    after: int | None = None,
    limit: int = 25,
) -> list[Transaction]:
    """Return a page of the actor's transactions, newest first.

    ``after`` is the last number of the page before.
    """
    rows = store.list_transactions(
        work,
        work.actor,
        location_id=location_id,
        charger_id=charger_id,
        card_id=card_id,
        is_active=is_active,
        started_from=started_from,
        started_to=started_to,
        after=after,
        limit=limit,
    )
    return [_transaction(row) for row in rows]


def list_orphans(
    work: Work, *, charger_id: str | None = None, after: str | None = None, limit: int = 25
) -> list[OrphanStop]:
    """Return a page of the stops without a transaction that the actor may see, newest first."""
    return [
        OrphanStop(row.id, row.charger_id, row.number, row.meter_wh, row.id_tag, row.reason, row.heard_at)
        for row in store.list_orphans(work, work.actor, charger_id=charger_id, after=after, limit=limit)
    ]


def samples(
    work: Work, transaction_id: str, *, after: datetime | None = None, limit: int = SAMPLES_PAGE_MAX
) -> list[Sample]:
    """Return the readings of a transaction in the order of time. Raises: NotFound."""
    transaction = get(work, transaction_id)
    return [_to_sample(row) for row in store.samples_of(work, transaction.number, after=after, limit=limit)]


def latest_sample(work: Work, charger_id: str, connector: int, *, number: int | None = None) -> Sample | None:
    """Return the newest reading of a connector, if there is one that the actor may see.

    With ``number`` only one of that transaction. Raises: NotFound.
    """
    charger = chargers.get(work, charger_id)
    if Permission.VIEW_SENSITIVE not in permissions(work, charger.location_id):
        return None
    row = store.latest_sample(work, charger_id, connector, number=number)
    return _to_sample(row) if row is not None else None


def _to_sample(row: Any) -> Sample:
    return Sample(
        row.at,
        row.energy_wh,
        row.power_w,
        row.current_l1_a,
        row.current_l2_a,
        row.current_l3_a,
        row.offered_a,
        row.voltage_l1_v,
        row.voltage_l2_v,
        row.voltage_l3_v,
        row.soc_percent,
    )


async def request_start(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    *,
    id_tag: str,
    connector: int | None = None,
    timeout_s: float = CALL_DEADLINE_S,
) -> Command:
    """Ask a charger to start with this tag; the transaction exists once the charger says so.

    Should the charger accept and never tell, a transaction is made from its status and meter (quirk Q40).
    Raises: NotFound; Forbidden; Invalid; ConnectorKept.
    """
    tag = id_tag.strip()
    if not 0 < len(tag) <= TAG_LENGTH_MAX:
        raise Invalid(
            "a card is needed to start", (("/id_tag", f"a tag of 1 to {TAG_LENGTH_MAX} characters"),)
        )
    if connector is not None and connector < 1:
        raise Invalid("there is no such connector", (("/connector", "1 or more"),))
    await ctx.db.read(actor, reservations.require_free, charger_id, connector, tag)
    done = await commands.ask(ctx, actor, charger_id, StartCharging(tag, connector), timeout_s=timeout_s)
    if done.status is CommandStatus.EXECUTED:
        await ctx.db.work(actor, pending.expect, charger_id, connector, tag, done.created_at)
    return done


async def request_stop(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    *,
    transaction_id: str | None = None,
    timeout_s: float = CALL_DEADLINE_S,
) -> Command:
    """Ask a charger to end a transaction, its only open one unless one is named.

    The truth comes from the charger's own word, later. Raises: NotFound; Forbidden; NothingToStop;
    AlreadyEnded; Conflict when several are open and none is named.
    """
    number = await ctx.db.read(actor, _number_to_stop, charger_id, transaction_id)
    return await commands.ask(
        ctx, actor, charger_id, StopCharging(number), priority=Priority.STOP, timeout_s=timeout_s
    )


def _number_to_stop(work: Work, charger_id: str, transaction_id: str | None) -> int:
    chargers.get(work, charger_id, Permission.CONTROL)
    if transaction_id is not None:
        row = store.find_transaction(work, check("txn", transaction_id))
        if row is None or row.charger_id != charger_id:
            raise NotFound("this charger has no such transaction", id=transaction_id)
        if row.ended_at is not None:
            raise AlreadyEnded(id=transaction_id)
        return int(row.number)
    open_rows = store.find_open(work, [charger_id])
    if not open_rows:
        raise NothingToStop
    if len(open_rows) > 1:
        raise Conflict("several connectors are charging: say which transaction to stop")
    return int(open_rows[0].number)

"""Starts that were asked for and never told: the energy is not lost with them (quirk Q40).

Some chargers accept a remote start, charge, and never send StartTransaction, or send it minutes later.
After a while a transaction is made from what the connector tells of its status and its meter. It counts
as estimated, ends when the connector says that it is free, and becomes an ordinary one with the same
number if its start is told after all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from voltyard.cards import service as cards
from voltyard.cards.service import tag_key
from voltyard.chargers import findings
from voltyard.chargers import service as chargers
from voltyard.chargers.events import subject
from voltyard.chargers.service import SKEW, Charger, Connector, Place, believed, is_believed
from voltyard.kernel import jobs
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import NotFound
from voltyard.kernel.ids import new_id
from voltyard.speech import ConnectorStatus, FlawTold, Started, StatusTold
from voltyard.transactions import store
from voltyard.transactions.events import AwaitStart, TransactionChanged

ACTOR = system("transactions")
WAIT_S = 120.0
"""How long a charger may take to tell of a start that it accepted."""
LOOK_S = 60.0
GIVE_UP = timedelta(minutes=15)
"""A charge that has not begun by then has no car: ConnectionTimeOut is a few minutes at most."""
JOIN_MAX = timedelta(days=7)
"""A start that is told later than this is another one."""
BEFORE_MAX_WH = 126_000
"""No connector gives more energy than this between the start that is asked for and the one that we make."""
METER_MAX_WH = 2**62
STATUS_ONLY = "StatusOnly"
"""The reason of an end that only the connector's status told."""
RUNNING: Final = frozenset(
    {ConnectorStatus.CHARGING, ConnectorStatus.SUSPENDED_EV, ConnectorStatus.SUSPENDED_EVSE}
)
OVER: Final = frozenset(
    {
        ConnectorStatus.AVAILABLE,
        ConnectorStatus.FINISHING,
        ConnectorStatus.FAULTED,
        ConnectorStatus.UNAVAILABLE,
    }
)


def expect(work: Work, charger_id: str, connector: int | None, id_tag: str, asked_at: datetime) -> None:
    """Look later whether a remote start that a charger accepted was told."""
    place = chargers.places(work, [charger_id])[0]
    waiting = AwaitStart(charger_id, place.location_id, connector, id_tag, asked_at)
    jobs.enqueue(work, waiting, delay_s=WAIT_S)


async def await_start(ctx: Context, message: AwaitStart) -> None:
    """Make a transaction of a charge whose start was never told; look again while it may still begin."""
    await ctx.db.work(ACTOR, _look, message)


def _look(work: Work, waiting: AwaitStart) -> None:
    try:
        charger = chargers.get(work, waiting.charger_id)
    except NotFound:  # it was deleted since
        return
    if charger.location_id != waiting.location_id or _is_told(work, waiting):
        return
    running = _running(work, charger, waiting)
    if len(running) == 1:
        _make(work, Place(charger.id, charger.location_id), running[0], waiting)
    elif not running and work.now < waiting.asked_at + GIVE_UP:
        jobs.enqueue(work, waiting, delay_s=LOOK_S)


def _is_told(work: Work, waiting: AwaitStart) -> bool:
    """Say whether there is a transaction that may have come of the start, or one that we made of it."""
    return any(
        row.connector == waiting.connector
        if waiting.connector is not None
        else tag_key(row.id_tag) == tag_key(waiting.id_tag)
        for row in store.find_heard_since(work, waiting.charger_id, waiting.asked_at)
        if row.started_at >= waiting.asked_at - SKEW
    )


def _running(work: Work, charger: Charger, waiting: AwaitStart) -> list[Connector]:
    """Return the connectors that charge since the start was asked for, without a transaction."""
    taken: Collection[int] = {row.connector for row in store.find_open(work, [charger.id])}
    return [
        each
        for each in charger.connectors
        if waiting.connector in {None, each.number}
        and each.number not in taken
        and each.status in RUNNING
        and each.status_at >= waiting.asked_at - SKEW
    ]


def _make(work: Work, place: Place, connector: Connector, waiting: AwaitStart) -> None:
    """Make the transaction; it began when the connector said that it charges, with the register of then."""
    judgement = cards.judge(work, [(place.location_id, waiting.id_tag)])[0]
    began_at = max(waiting.asked_at, connector.status_at)
    registers = store.registers_since(work, place.charger_id, connector.number, waiting.asked_at)
    key = f"synthetic|{place.charger_id}|{connector.number}|{waiting.asked_at.isoformat()}"
    row = {
        "id": new_id("txn"),
        "start_key": key,
        "charger_id": place.charger_id,
        "location_id": place.location_id,
        "connector": connector.number,
        "card_id": judgement.card_id,
        "id_tag": waiting.id_tag,
        "verdict": judgement.verdict.value,
        "started_at": began_at,
        "start_told_at": began_at,
        "start_heard_at": work.now,
        "meter_start_wh": round(min(registers)) if registers else None,
        "meter_last_wh": round(max(registers)) if registers else None,
        "is_start_estimated": True,
        "is_estimated": False,
        "is_synthetic": True,
    }
    store.insert_started(work, [row])
    made = store.find_by_start_keys(work, [key])[key]
    store.adopt_samples(work, place.charger_id, connector.number, waiting.asked_at, made.number)
    findings.told(work, [FlawTold(place.charger_id, "missing_start", 1, "", "")])
    _emit(work, made, "started")


def _emit(work: Work, row: Any, what: str) -> None:
    work.emit(
        subject(row.location_id, row.charger_id),
        TransactionChanged(row.id, row.charger_id, row.location_id, what),
    )


def join(work: Work, started: Mapping[str, tuple[Place, Started]]) -> dict[str, Any]:
    """Make ordinary transactions of our own ones whose starts are told after all, each by its start key.

    Returns: those transactions by these keys; a start that fits none is left out. One look-up for all.
    """
    rows = store.find_synthetic(
        work, [place.charger_id for place, _ in started.values()], work.now - JOIN_MAX
    )
    joined: dict[str, Any] = {}
    taken: set[int] = set()
    for key, (place, said) in started.items() if rows else ():
        for row in rows:
            if row.number not in taken and _is_same(row, place, said, work.now):
                taken.add(row.number)
                store.set_told(work, row.number, **_told(row, key, said, work.now))
                joined[key] = row
                break
    return store.find_by_start_keys(work, joined) if joined else {}


def _is_same(row: Any, place: Place, said: Started, now: datetime) -> bool:
    if row.charger_id != place.charger_id or row.connector != said.connector:
        return False
    if tag_key(row.id_tag) != tag_key(said.id_tag):
        return False
    if not is_believed(said.told_at, now):
        return row.ended_at is None
    at = believed(said.told_at, now)
    # What begins after the end of one is the next one: both instants are told by the same clock.
    latest = now + SKEW if row.ended_at is None else row.ended_at
    return bool(row.started_at - GIVE_UP <= at <= latest)


def _told(row: Any, key: str, said: Started, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {"start_key": key, "is_synthetic": False, "start_told_at": said.told_at}
    if is_believed(said.told_at, now):
        values["started_at"] = said.told_at
    if said.meter_wh is not None and _is_possible(row, said.meter_wh):
        values |= {"meter_start_wh": said.meter_wh, "is_start_estimated": False}
        if row.meter_last_wh is None:
            values["meter_last_wh"] = said.meter_wh
    return values


def _is_possible(row: Any, meter_wh: int) -> bool:
    """Say whether a register can be that of the start; else it is of another kind (quirk Q43)."""
    if row.meter_start_wh is None:
        return 0 <= meter_wh < METER_MAX_WH
    return bool(max(0, row.meter_start_wh - BEFORE_MAX_WH) <= meter_wh <= row.meter_last_wh)


def tell_status(work: Work, items: Sequence[tuple[Place, StatusTold]]) -> None:
    """End the transactions that we made ourselves when their connectors say that they are free.

    No statement unless one of these sayings is of that kind; then one look-up for all of them.
    """
    over = [(place, said) for place, said in items if said.status in OVER]
    if not over:
        return
    rows = store.find_synthetic(work, [place.charger_id for place, _ in over], work.now - JOIN_MAX)
    ended: dict[int, tuple[Any, datetime, datetime | None]] = {}
    for row in rows:
        for place, said in over:
            at = believed(said.told_at, work.now)
            is_meant = row.charger_id == place.charger_id and said.connector in {0, row.connector}
            if row.ended_at is None and is_meant and at >= row.started_at:
                ended[row.number] = (row, at, said.told_at)
    store.set_ended(work, [_ended(row, at, told_at, work.now) for row, at, told_at in ended.values()])
    for row, _, _ in ended.values():
        _emit(work, row, "ended")


def _ended(row: Any, at: datetime, told_at: datetime | None, now: datetime) -> dict[str, Any]:
    return {
        "key": row.number,
        "ended_at": at,
        "end_told_at": told_at,
        "end_heard_at": now,
        "start_wh": row.meter_start_wh,
        "meter_stop_wh": row.meter_last_wh,
        "meter_last_wh": row.meter_last_wh,
        "power_w": 0.0,
        "stop_reason": STATUS_ONLY,
        "is_estimated": True,
    }

"""What one can do with reservations, and what they mean when somebody wants to charge.

A reservation holds in two places. The charger refuses other cards at its reader (OCPP 1.6 §5.13); Voltyard
refuses to start it with another card, and answers a start that happened all the same with a verdict that
has the charger stop it. What flowed is recorded either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from voltyard.cards import service as cards
from voltyard.cards.service import tag_key
from voltyard.chargers import commands
from voltyard.chargers import service as chargers
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.events import ChargerMoved, subject
from voltyard.chargers.service import Charger, Place, believed
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import ChargerOffline, Conflict, Invalid, NotFound, TimedOut
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import CALL_DEADLINE_S, TAG_LENGTH_MAX
from voltyard.locations.access import Permission
from voltyard.reservations import rules, store
from voltyard.reservations.events import ReservationChanged, ReservationOver, ReservationWithdrawn
from voltyard.reservations.rules import Kept
from voltyard.speech import CancelReservation, ConnectorStatus, Priority, Reserve, Started, StatusTold

ACTOR = system("reservations")
SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=7)
OVER_DELAY_S = 60.0
"""How long a charger may take to notice by itself that a reservation is over."""
ASKING_MAX = timedelta(seconds=2 * CALL_DEADLINE_S)
"""A reservation whose charger has not answered by then will never be answered: its asker died."""
CONNECTOR_MAX = 1_000
FREE: Final = frozenset({ConnectorStatus.AVAILABLE.value, ConnectorStatus.RESERVED.value})
DROPPING: Final = frozenset({ConnectorStatus.FAULTED, ConnectorStatus.UNAVAILABLE})


class ReservationState(StrEnum):
    """How a reservation stands."""

    ASKING = "asking"
    ACTIVE = "active"
    REFUSED = "refused"
    USED = "used"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DROPPED = "dropped"


class ConnectorKept(Conflict):
    """The connector is reserved for another card."""

    title = "This connector is kept for another card"


class AlreadyReserved(Conflict):
    """There is a reservation in the way of a new one."""

    title = "This connector is reserved already"


class ReservationRefused(Conflict):
    """The charger would not keep the connector just now."""

    title = "The charger did not keep the connector"


class ReservationUnsupported(Conflict):
    """The charger cannot keep connectors for cards."""

    title = "This charger cannot keep a connector for a card"


class ReservationEnded(Conflict):
    """The reservation is over."""

    title = "This reservation is over already"


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation as one who may see its charger sees it; ``word`` is the charger's own, or our reason.

    ``is_kept_by_charger`` is False where the charger cannot, and Voltyard alone refuses other cards.
    """

    id: str
    number: int
    charger_id: str
    location_id: str
    connector: int
    card_id: str | None
    id_tag: str
    state: ReservationState
    word: str
    is_kept_by_charger: bool
    made_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    transaction_number: int | None

    @property
    def is_active(self) -> bool:
        """Say whether it holds."""
        return self.state is ReservationState.ACTIVE


@dataclass(frozen=True, slots=True)
class Weighed:
    """What reservations mean for a start: whether it is another's connector, and whose it makes use of."""

    is_kept_for_another: bool = False
    reservation_id: str | None = None


UNTOUCHED: Final = Weighed()


def _reservation(row: Any, now: datetime) -> Reservation:
    state, ended_at = ReservationState(row.state), row.ended_at
    if ended_at is None and row.expires_at <= now:
        # Times decide; nobody has to come by and close it.
        state, ended_at = ReservationState.EXPIRED, row.expires_at
    return Reservation(
        row.id,
        row.number,
        row.charger_id,
        row.location_id,
        row.connector,
        row.card_id,
        row.id_tag,
        state,
        row.word,
        row.is_kept_by_charger,
        row.made_at,
        row.expires_at,
        ended_at,
        row.transaction_number,
    )


def _kept(row: Any) -> Kept:
    return Kept(row.number, row.connector, row.tag_key, row.made_at, row.expires_at)


def get(work: Work, reservation_id: str, permission: Permission = Permission.VIEW) -> Reservation:
    """Return a reservation of a charger that the actor may see, at the location where it was made.

    Raises: NotFound; Forbidden.
    """
    row = store.find_reservation(work, check("res", reservation_id))
    if row is None:
        raise NotFound("there is no such reservation, or you have no access to it", id=reservation_id)
    charger = chargers.get(work, row.charger_id, permission)
    shown = store.list_reservations(work, row.charger_id, is_open=None, after=row.number + 1, limit=1)
    if charger.location_id != row.location_id or not shown or shown[0].id != row.id:
        raise NotFound("there is no such reservation, or you have no access to it", id=reservation_id)
    return _reservation(row, work.now)


def list_reservations(
    work: Work, charger_id: str, *, is_active: bool | None = None, after: str | None = None, limit: int = 25
) -> list[Reservation]:
    """Return a page of a charger's reservations, newest first; ``after`` is the last id of the page before.

    Raises: NotFound.
    """
    chargers.get(work, charger_id)
    number = store.find_after(work, after) if after is not None else None
    rows = store.list_reservations(work, charger_id, is_open=is_active, after=number, limit=limit)
    return [_reservation(row, work.now) for row in rows]


# --- making and cancelling ------------------------------------------------------------------------


async def create(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    *,
    connector: int,
    expires_at: datetime,
    id_tag: str = "",
    card_id: str | None = None,
    is_insisting: bool = False,
) -> Reservation:
    """Keep a connector (0: any) for a card until an instant, and have the charger do so too.

    With ``is_insisting`` a charger that cannot keep connectors is no reason to refuse: then only Voltyard
    turns others away, and only once they have started. Raises: NotFound; Forbidden; Invalid;
    AlreadyReserved; ReservationRefused; ReservationUnsupported; ChargerOffline; TimedOut.
    """
    made = await ctx.db.work(actor, _begin, charger_id, connector, expires_at, id_tag, card_id)
    ask = Reserve(made.connector, made.number, made.id_tag, made.expires_at)
    try:
        done = await commands.ask(ctx, actor, charger_id, ask)
    except BaseException:
        # Whatever became of the question: nothing was promised to anybody.
        await ctx.db.work(ACTOR, _refuse, made.id, "Interrupted", may_be_kept=True)
        raise
    if done.status is CommandStatus.EXECUTED:
        return await ctx.db.work(actor, _activate, made.id, done.word, is_kept_by_charger=True)
    if is_insisting and _is_unable(done):
        return await ctx.db.work(actor, _activate, made.id, done.word, is_kept_by_charger=False)
    # One whose connection closed may have obeyed before, as one that is silent may have.
    may_be_kept = done.status in {CommandStatus.EXPIRED, CommandStatus.OFFLINE}
    await ctx.db.work(ACTOR, _refuse, made.id, done.word, may_be_kept=may_be_kept)
    raise _refusal(done, connector)


def _is_unable(done: Command) -> bool:
    # OCPP 1.6 §7.43: Rejected means that the charger is not configured to accept reservations.
    return done.word.casefold() in {"notsupported", "notimplemented", "rejected"}


def _refusal(done: Command, connector: int) -> Exception:
    if done.status is CommandStatus.OFFLINE:
        return ChargerOffline("the charger is offline, so it cannot be told: check its power and network")
    if done.status is CommandStatus.EXPIRED:
        return TimedOut("the charger gave no answer in time: look at its connection, then try again")
    if _is_unable(done) and connector == 0:
        return ReservationUnsupported(
            "this charger cannot keep just any connector: choose one, and if it cannot keep that either, "
            "its manufacturer's manual tells whether reservations can be switched on",
            word=done.word,
        )
    if _is_unable(done):
        return ReservationUnsupported(
            "this charger cannot keep a connector for a card. Voltyard alone can stop others only after "
            "they have started: reserve all the same if that is enough",
            word=done.word,
        )
    return ReservationRefused(
        _REFUSALS.get(done.word, "the charger refused, without saying why"), word=done.word
    )


_REFUSALS: Final[Mapping[str, str]] = {
    "Occupied": "somebody is using this connector: choose another one, or wait until the car has left",
    "Faulted": "this connector has a fault: choose another one, or have it repaired",
    "Unavailable": "this connector is out of service: whoever runs the charger can put it back in service",
    "TooManyWaiting": "too many requests wait for this charger: try again in a minute",
}


def _begin(
    work: Work, charger_id: str, connector: int, expires_at: datetime, id_tag: str, card_id: str | None
) -> Reservation:
    charger = chargers.get(work, charger_id, Permission.CONTROL)
    assert charger.location_id is not None, "an unclaimed charger is seen by nobody"
    tag, card_id = _tag(work, charger, id_tag, card_id)
    _check(charger, connector, expires_at, work.now)
    if not charger.is_online:
        raise ChargerOffline("the charger is offline, so it cannot be told: check its power and network")
    store.lock_charger(work, charger_id)
    kept = [_kept(row) for row in _standing(work, charger_id, charger.location_id)]
    other = rules.overlapping(kept, connector, work.now, connectors=len(charger.connectors))
    if other is not None:
        raise AlreadyReserved(
            "this connector is reserved already: cancel that reservation first, or choose another connector"
            if other.connector == connector and connector > 0
            else "all connectors of this charger are reserved: cancel a reservation first",
            until=other.expires_at.isoformat(),
        )
    reservation_id = new_id("res")
    store.insert_reservation(
        work,
        id=reservation_id,
        charger_id=charger_id,
        location_id=charger.location_id,
        connector=connector,
        card_id=card_id,
        id_tag=tag,
        tag_key=tag_key(tag),
        state=ReservationState.ASKING.value,
        word="",
        is_kept_by_charger=False,
        expires_at=expires_at,
        actor_kind=work.actor.kind.value,
        actor_id=work.actor.subject_id,
    )
    jobs.enqueue(
        work,
        ReservationOver(reservation_id),
        delay_s=(expires_at - work.now).total_seconds() + OVER_DELAY_S,
        key=f"reservation-over:{reservation_id}",
    )
    row = store.find_reservation(work, reservation_id)
    return _reservation(row, work.now)


def _tag(work: Work, charger: Charger, id_tag: str, card_id: str | None) -> tuple[str, str | None]:
    """Return the tag to reserve for, and the card of the location that bears it, if one does."""
    if card_id is not None:
        card = cards.get(work, card_id)
        if card.location_id != charger.location_id:
            raise NotFound("this location has no such card", id=card_id)
        return card.id_tag, card.id
    tag = id_tag.strip()
    if not tag_key(tag) or len(tag) > TAG_LENGTH_MAX or not (tag.isascii() and tag.isprintable()):
        raise Invalid(
            "a reservation needs a card", (("/id_tag", f"a tag of 1 to {TAG_LENGTH_MAX} characters"),)
        )
    assert charger.location_id is not None
    known = cards.find(work, charger.location_id, tag)
    return tag, known.id if known is not None else None


def _check(charger: Charger, connector: int, expires_at: datetime, now: datetime) -> None:
    wrong: list[tuple[str, str]] = []
    known = {each.number for each in charger.connectors}
    if not 0 <= connector <= CONNECTOR_MAX or (connector > 0 and known and connector not in known):
        wrong.append(("/connector", "a connector of this charger, or 0 for any"))
    if expires_at.tzinfo is None:
        wrong.append(("/expires_at", "a time with its zone"))
    elif not now + SHORTEST <= expires_at <= now + LONGEST:
        wrong.append(("/expires_at", "at least a minute and at most seven days from now"))
    if wrong:
        raise Invalid("nothing was reserved: " + "; ".join(why for _, why in wrong), tuple(wrong))


def _standing(work: Work, charger_id: str, location_id: str | None) -> list[Any]:
    """Return the rows that count for a new reservation: those that hold, and those being asked just now."""
    return [
        row
        for row in store.find_open(work, [charger_id])
        if row.location_id == location_id
        and (row.state == ReservationState.ACTIVE or row.made_at > work.now - ASKING_MAX)
    ]


def _activate(work: Work, reservation_id: str, word: str, *, is_kept_by_charger: bool) -> Reservation:
    values = {"word": word[:64], "is_kept_by_charger": is_kept_by_charger}
    # It may have been used or dropped between the charger's answer and this Work.
    if store.set_open(work, reservation_id, state=ReservationState.ACTIVE.value, **values):
        _tell(work, reservation_id)
    row = store.find_reservation(work, reservation_id)
    if is_kept_by_charger and row is not None and row.state != ReservationState.ACTIVE:
        _withdraw(work, reservation_id)
    return _reservation(row, work.now)


def _refuse(work: Work, reservation_id: str, word: str, *, may_be_kept: bool) -> None:
    state = ReservationState.REFUSED.value
    if store.set_open(work, reservation_id, state=state, word=word[:64], ended_at=work.now):
        _tell(work, reservation_id)
    if may_be_kept:
        # It was silent, yet it may have obeyed: it is told that nothing is reserved.
        _withdraw(work, reservation_id)


def _withdraw(work: Work, reservation_id: str) -> None:
    jobs.enqueue(work, ReservationWithdrawn(reservation_id), key=f"reservation-withdrawn:{reservation_id}")


def _tell(work: Work, reservation_id: str) -> None:
    row = store.find_reservation(work, reservation_id)
    assert row is not None
    work.emit(
        subject(row.location_id, row.charger_id),
        ReservationChanged(row.id, row.charger_id, row.location_id, row.state),
    )


async def cancel(ctx: Context, actor: Actor, reservation_id: str) -> Reservation:
    """Give a reserved connector free; the charger is told too, later if it is away.

    Raises: NotFound; Forbidden; ReservationEnded.
    """
    found = await ctx.db.work(actor, _cancel, reservation_id)
    if found.is_kept_by_charger:
        # Rejected means that the charger knows of none (OCPP 1.6 §5.2), which is what was wanted.
        ask = CancelReservation(found.number)
        done = await commands.ask(ctx, actor, found.charger_id, ask)
        if done.status in {CommandStatus.OFFLINE, CommandStatus.EXPIRED}:
            await ctx.db.work(ACTOR, _withdraw, reservation_id)
    return found


def _cancel(work: Work, reservation_id: str) -> Reservation:
    found = get(work, reservation_id, Permission.CONTROL)
    if found.ended_at is not None:
        raise ReservationEnded(id=reservation_id)
    store.set_open(work, reservation_id, state=ReservationState.CANCELLED.value, word="", ended_at=work.now)
    _tell(work, reservation_id)
    return get(work, reservation_id)


# --- duties ---------------------------------------------------------------------------------------


async def over(ctx: Context, message: ReservationOver) -> None:
    """Close a reservation whose time is over, and free the connector if its charger still keeps it."""
    found = await ctx.db.work(ACTOR, _over, message.reservation_id)
    if found is not None:
        await _release(ctx, found)


def _over(work: Work, reservation_id: str) -> Reservation | None:
    row = store.find_reservation(work, reservation_id)
    if row is None or (row.ended_at is not None and row.state != ReservationState.EXPIRED):
        return None
    if store.set_open(work, reservation_id, state=ReservationState.EXPIRED.value, ended_at=row.expires_at):
        _tell(work, reservation_id)
    found = _reservation(row, work.now)
    charger = chargers.get(work, found.charger_id)
    is_reserved = any(
        each.status is ConnectorStatus.RESERVED and found.connector in {0, each.number}
        for each in charger.connectors
    )
    return found if found.is_kept_by_charger and is_reserved and charger.is_online else None


async def withdrawn(ctx: Context, message: ReservationWithdrawn) -> None:
    """Tell a charger that a reservation counts no more. Raises: ChargerOffline and TimedOut: try again."""
    found = await ctx.db.read(ACTOR, _find, message.reservation_id)
    if found is not None and found.expires_at > ctx.clock.now():
        await _release(ctx, found)


def _find(work: Work, reservation_id: str) -> Reservation | None:
    row = store.find_reservation(work, reservation_id)
    return _reservation(row, work.now) if row is not None else None


async def _release(ctx: Context, found: Reservation) -> None:
    done = await commands.ask(
        ctx, ACTOR, found.charger_id, CancelReservation(found.number), priority=Priority.BACKGROUND
    )
    if done.status is CommandStatus.OFFLINE:
        raise ChargerOffline
    if done.status is CommandStatus.EXPIRED:
        raise TimedOut


async def moved(ctx: Context, message: ChargerMoved) -> None:
    """End the reservations that were made where a charger stood before."""
    await ctx.db.work(ACTOR, _drop_foreign, message.charger_id)


def _drop_foreign(work: Work, charger_id: str) -> None:
    place = chargers.places(work, [charger_id])[0]
    _drop(
        work,
        [row for row in store.find_open(work, [charger_id]) if row.location_id != place.location_id],
        word="Moved",
    )


def _drop(work: Work, rows: Sequence[Any], *, word: str) -> None:
    if not rows:
        return
    state = ReservationState.DROPPED.value
    store.close_many(work, [row.number for row in rows], state=state, word=word, ended_at=work.now)
    for row in rows:
        _tell(work, row.id)
        if row.is_kept_by_charger:
            _withdraw(work, row.id)


# --- what chargers say ----------------------------------------------------------------------------


def tell_status(work: Work, items: Sequence[tuple[Place, StatusTold]]) -> None:
    """Drop the reservations of connectors that break or go out of service (OCPP 1.6 §5.13).

    No statement unless one of these sayings is of that kind; then one look-up for all of them.
    """
    bad = [(place, said) for place, said in items if said.status in DROPPING]
    if not bad:
        return
    rows = store.find_open(work, [place.charger_id for place, _ in bad])
    _drop(
        work,
        [row for row in rows if any(_is_hit(row, place, said, work.now) for place, said in bad)],
        word="ConnectorLost",
    )


def _is_hit(row: Any, place: Place, said: StatusTold, now: datetime) -> bool:
    # Connector 0 is the whole charger; what is told of times before the reservation is history.
    return (
        row.charger_id == place.charger_id
        and said.connector in {0, row.connector}
        and believed(said.told_at, now) >= row.made_at
    )


def weigh(
    work: Work, started: Sequence[tuple[Place, Started]], card_ids: Sequence[str | None]
) -> list[Weighed]:
    """Say for each start whether its connector is kept for another card, and which reservation it uses.

    ``card_ids`` are the cards as which their tags were recognised, whatever the readers made of these.

    One look-up for all of them, and a second one only where somebody reserved just any connector. A start
    that is told late is weighed by the time when it happened.
    """
    rows: dict[str, list[Any]] = {}
    for row in store.find_open(work, [place.charger_id for place, _ in started]):
        rows.setdefault(row.charger_id, []).append(row)
    free = _free(work, [each.charger_id for found in rows.values() for each in found if each.connector == 0])
    return [
        _weigh(rows[place.charger_id], place, said, card_id, free.get(place.charger_id, ()), work.now)
        if place.charger_id in rows
        else UNTOUCHED
        for (place, said), card_id in zip(started, card_ids, strict=True)
    ]


def _free(work: Work, charger_ids: Sequence[str]) -> dict[str, list[int]]:
    free: dict[str, list[int]] = {}
    for row in store.connectors_of(work, charger_ids) if charger_ids else ():
        if row.status in FREE:
            free.setdefault(row.charger_id, []).append(row.number)
    return free


def _weigh(
    rows: Sequence[Any],
    place: Place,
    said: Started,
    card_id: str | None,
    free: Sequence[int],
    now: datetime,
) -> Weighed:
    here = [row for row in rows if row.location_id == place.location_id]
    at = believed(said.told_at, now)
    # One that is being asked for holds nothing yet; but the charger may use it before we hear its answer.
    holding = [_kept(row) for row in here if row.state == ReservationState.ACTIVE]
    named = [_kept(row) for row in here if row.number == said.reservation]
    # A card with a reservation is known by it, even where its reader tells the tag in reverse (quirk Q34).
    own = (row.tag_key for row in here if card_id is not None and row.card_id == card_id)
    key = next(own, tag_key(said.id_tag))
    used = rules.fulfilled([*holding, *named], said.connector, key, at, number=said.reservation)
    other = rules.in_the_way(holding, said.connector, key, at, free=free)
    ids = {row.number: row.id for row in here}
    return Weighed(other is not None, ids[used.number] if used is not None and other is None else None)


def use(work: Work, used: Sequence[tuple[str, int]]) -> None:
    """Close reservations that transactions made use of, each with the transaction's number.

    Only those of accepted cards belong here: a refused start does not use a reservation up.
    """
    for reservation_id, number in used:
        values = {"state": ReservationState.USED.value, "transaction_number": number}
        if store.set_open(work, reservation_id, ended_at=work.now, **values):
            _tell(work, reservation_id)


def require_free(work: Work, charger_id: str, connector: int | None, id_tag: str) -> None:
    """Refuse to start with a card at a connector that is kept for another one.

    Without a connector only a charger that is kept for others altogether refuses. Raises: NotFound;
    Forbidden; ConnectorKept.
    """
    charger = chargers.get(work, charger_id, Permission.CONTROL)
    rows = [
        row
        for row in store.find_open(work, [charger_id])
        if row.state == ReservationState.ACTIVE and row.location_id == charger.location_id
    ]
    if not rows:
        return
    kept = [_kept(row) for row in rows]
    free = [each.number for each in charger.connectors if each.status.value in FREE]
    asked = [connector] if connector is not None else [each.number for each in charger.connectors] or [1]
    found = [rules.in_the_way(kept, each, tag_key(id_tag), work.now, free=free) for each in asked]
    other = next((each for each in found if each is not None), None)
    if other is not None and None not in found:
        raise ConnectorKept(
            "this connector is kept for another card: start with that card, or cancel the reservation first"
            if other.connector > 0
            else "the last free connector is kept for another card: start with that card, or cancel the "
            "reservation first",
            until=other.expires_at.isoformat(),
            id=next(row.id for row in rows if row.number == other.number),
        )

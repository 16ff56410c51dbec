"""Keeps the list of cards in each charger in step with the cards of its location, and tells how it stands.

One job per charger does the talking, in the background class of its lane, one question at a time. What we
believe of a list is stored after each answer, so a job that dies is followed by one that goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from voltyard.cards.events import CardsChanged, CardsWithdrawn
from voltyard.chargers import commands
from voltyard.chargers import service as chargers
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.events import ChargerMoved, subject
from voltyard.chargers.service import Charger, Place
from voltyard.kernel import jobs
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work, pack
from voltyard.kernel.errors import NotFound
from voltyard.kernel.jobs import CLAIM_S
from voltyard.kernel.limits import CALL_DEADLINE_S
from voltyard.kernel.wire import decode
from voltyard.local_lists import abilities, differences, store
from voltyard.local_lists.abilities import Abilities
from voltyard.local_lists.differences import Step
from voltyard.local_lists.events import LocalListChanged, SyncList
from voltyard.locations.access import Permission
from voltyard.speech import (
    Ask,
    Booted,
    ForgetCards,
    GetKeys,
    ListedCard,
    Priority,
    ReplaceCards,
    SetKey,
    TellCardsVersion,
    UpdateCards,
    Verdict,
)

ACTOR = system("local-lists")
PAGE = 200
STEPS_PER_JOB = 5
"""Messages with cards that one job sends; what is left is the next one's: a claim does not last for ever."""
STEP_DEFAULT = 20
"""Cards in one message to a charger that does not tell how many it takes."""
CARDS_DEFAULT = 1_000
"""Cards for a charger that does not tell how many it keeps."""
CARDS_MOST = 10_000
BOOT_DELAY_S = 20.0
"""A charger that has just started has its connectors to tell of first."""
TURN_DELAY_S = 3.0
AWAY_DELAY_S = 1_800.0
"""A charger that is away is looked for this often; one that boots is served at once."""
SILENCE_DELAY_S = 600.0
CHECK_EVERY = timedelta(days=1)
"""After a boot a list that was looked at longer ago than this is looked at again: some forget theirs."""

# A key, then its switch, then the version, then cards: all of it within one claim of the job.
assert (STEPS_PER_JOB + 4) * CALL_DEADLINE_S < CLAIM_S


class ListState(StrEnum):
    """How the list of a charger stands."""

    UNKNOWN = "unknown"
    WAITING = "waiting"
    IN_STEP = "in_step"
    UNSUPPORTED = "unsupported"
    SWITCHED_OFF = "switched_off"
    FAILED = "failed"


class Taken(StrEnum):
    """What became of a list that somebody wants a charger to know by heart."""

    ACCEPTED = "accepted"
    OLD_VERSION = "old_version"
    """It is to change a list that is as new as this one, or newer (OCPP 1.6 §5.15)."""
    TOO_MANY_CARDS = "too_many_cards"
    NOT_THE_AUTHORITY = "not_the_authority"


# Also those that wait: whoever is sending just now has to see that more came.
_FOLLOWING: Final = tuple(
    state.value for state in (ListState.UNKNOWN, ListState.WAITING, ListState.IN_STEP, ListState.FAILED)
)


@dataclass(frozen=True, slots=True)
class LocalList:
    """How the list of a charger stands; counts are what the charger holds, as far as we know."""

    charger_id: str
    state: ListState
    version: int | None
    card_count: int
    left_out_count: int
    cards_max: int | None
    in_step_at: datetime | None
    checked_at: datetime | None
    word: str

    @property
    def is_full(self) -> bool:
        """Say whether there are more cards than the charger keeps."""
        return self.left_out_count > 0


@dataclass(frozen=True, slots=True)
class _Turn:
    """One job's look at a charger: where it stands, and what is known of its list."""

    charger: Charger
    row: Any

    @property
    def is_new_firmware(self) -> bool:
        return bool(self.row.firmware != self.firmware)

    @property
    def firmware(self) -> str:
        """Return the firmware, empty where none was told: it must not look like a new one each time."""
        return self.charger.firmware or ""


@dataclass(frozen=True, slots=True)
class _Draft:
    """What has to be sent: the next steps, whether they are the last ones, and what is left out.

    ``asked_at`` is when somebody wanted that last; what is wanted later is not in it.
    """

    steps: tuple[Step, ...]
    is_whole: bool
    is_last: bool
    location_id: str | None
    left_out_count: int
    asked_at: datetime | None


class _Away(Exception):
    """The charger has gone while we spoke with it."""


class _Silent(Exception):
    """The charger gave no answer, or has no room for our questions."""


# --- what people see ------------------------------------------------------------------------------


def get(work: Work, charger_id: str) -> LocalList:
    """Return how the list of a charger stands. Raises: NotFound."""
    charger = chargers.get(work, charger_id)
    row = store.find_lists(work, [charger_id]).get(charger_id)
    if row is None:
        return LocalList(charger_id, ListState.UNKNOWN, None, 0, 0, None, None, None, "")
    found = LocalList(
        charger_id,
        ListState(row.state),
        row.version,
        row.card_count,
        row.left_out_count,
        row.cards_max,
        row.in_step_at,
        row.checked_at,
        row.word,
    )
    if row.location_id == charger.location_id:
        return found
    # What is still in it are the cards of another location, which are nobody's business here.
    state = ListState.WAITING if found.state is ListState.IN_STEP else found.state
    return replace(found, state=state, card_count=0, left_out_count=0, in_step_at=None)


def request_sync(work: Work, charger_id: str) -> LocalList:
    """Have the list of a charger brought in step now; also one that was given up is tried again.

    Raises: NotFound; Forbidden.
    """
    chargers.get(work, charger_id, Permission.CONTROL)
    store.insert_unknown(work, [charger_id])
    # Nothing that was believed counts: whoever presses this sees that something is wrong.
    store.set_list(
        work,
        charger_id,
        state=ListState.WAITING.value,
        asked_at=work.now,
        version=None,
        cards_max=None,
        step_max=None,
        firmware=None,
    )
    _enqueue(work, charger_id)
    return get(work, charger_id)


# --- causes ---------------------------------------------------------------------------------------


def _enqueue(work: Work, charger_id: str, delay_s: float = 0.0) -> None:
    jobs.enqueue(work, SyncList(charger_id), delay_s=delay_s, key=_key(charger_id))


def _key(charger_id: str) -> str:
    return f"local-list:{charger_id}"


def _enqueue_later(work: Work, charger_id: str, delay_s: float) -> None:
    # Under a key of its own: what waits for long must not stand for what is wanted soon.
    jobs.enqueue(work, SyncList(charger_id), delay_s=delay_s, key=f"local-list-later:{charger_id}")


def booted(work: Work, items: Sequence[tuple[Place, Booted]]) -> None:
    """Have the lists of booting chargers looked at, where there is a reason; one look-up for all of them."""
    rows = store.find_lists(work, [place.charger_id for place, _ in items])
    due = {
        place.charger_id
        for place, said in items
        if _is_due(rows.get(place.charger_id), place, said.firmware, work.now)
    }
    if due:
        jobs.enqueue_many(
            work, [(SyncList(charger_id), BOOT_DELAY_S, _key(charger_id)) for charger_id in sorted(due)]
        )


def _is_due(row: Any, place: Place, firmware: str | None, now: datetime) -> bool:
    if row is None:
        return place.location_id is not None
    if row.forget_at is not None:
        return True
    if row.state == ListState.UNSUPPORTED:
        # Never asked again, until there is a firmware that may have learned it.
        return bool(firmware) and row.firmware != firmware
    if row.state == ListState.IN_STEP and row.location_id == place.location_id:
        return row.checked_at is None or row.checked_at < now - CHECK_EVERY
    return True


async def cards_changed(ctx: Context, message: CardsChanged) -> None:
    """Have all chargers of a location follow its cards."""
    await _spread(ctx, message.location_id, is_withdrawn=False)


async def cards_withdrawn(ctx: Context, message: CardsWithdrawn) -> None:
    """Have all chargers of a location follow its cards and forget what they remember of them."""
    await _spread(ctx, message.location_id, is_withdrawn=True)


async def _spread(ctx: Context, location_id: str, *, is_withdrawn: bool) -> None:
    after: str | None = ""
    while after is not None:
        after = await ctx.db.work(ACTOR, _mark, location_id, after, is_withdrawn)


def _mark(work: Work, location_id: str, after: str, is_withdrawn: bool) -> str | None:
    found = store.chargers_at(work, location_id, after=after, limit=PAGE)
    _note(work, found, is_withdrawn=is_withdrawn)
    return found[-1] if len(found) == PAGE else None


def _note(work: Work, charger_ids: Sequence[str], *, is_withdrawn: bool) -> None:
    store.insert_unknown(work, charger_ids)
    store.set_waiting(work, charger_ids, only=_FOLLOWING)
    if is_withdrawn:
        # The list alone is not enough: the cache of a charger keeps what it was once told of a card
        # (OCPP 1.6 §3.5.1), and offline a card that was refused here since would charge there.
        store.set_forget(work, charger_ids)
    if charger_ids:
        jobs.enqueue_many(work, [(SyncList(each), 0.0, _key(each)) for each in charger_ids])


async def moved(ctx: Context, message: ChargerMoved) -> None:
    """Have a charger that came to a location, or left one, forget the cards of the place before."""
    await ctx.db.work(ACTOR, _note_moved, message.charger_id)


def _note_moved(work: Work, charger_id: str) -> None:
    try:
        chargers.get(work, charger_id)
    except NotFound:  # it was deleted since
        return
    # Whoever decided about cards did so for the place before.
    if charger_id in store.find_lists(work, [charger_id]):
        store.set_list(work, charger_id, author_id=None, authored=None, authored_version=0)
    _note(work, [charger_id], is_withdrawn=True)


# --- the talk with one charger --------------------------------------------------------------------


async def sync(ctx: Context, message: SyncList) -> None:
    """Bring the list of one charger in step; done when it is, when it cannot be, or when the charger is away.

    Idempotent: what is believed of the list is compared with what the charger says of it.
    """
    turn = await ctx.db.work(ACTOR, _begin, message.charger_id)
    if turn is None:
        return
    try:
        await _forget(ctx, turn)
        await _follow(ctx, turn)
    except _Away:
        await ctx.db.work(ACTOR, _enqueue_later, message.charger_id, AWAY_DELAY_S)
    except _Silent:
        await ctx.db.work(ACTOR, _give_up_for_now, message.charger_id)
    finally:
        await ctx.db.work(ACTOR, _end_turn, message.charger_id)


def _begin(work: Work, charger_id: str) -> _Turn | None:
    try:
        charger = chargers.get(work, charger_id)
    except NotFound:  # it was deleted since
        return None
    store.insert_unknown(work, [charger_id])
    row = store.find_lists(work, [charger_id])[charger_id]
    is_settled = row.state in {ListState.UNSUPPORTED, ListState.IN_STEP} and row.forget_at is None
    if not charger.is_online:
        # It is served when it boots; but one that only connects again need not boot (OCPP 1.6-J §5.4).
        if not is_settled:
            _enqueue_later(work, charger_id, AWAY_DELAY_S)
        return None
    if not store.take_turn(work, charger_id, work.now + timedelta(seconds=CLAIM_S)):
        _enqueue(work, charger_id, TURN_DELAY_S)
        return None
    return _Turn(charger, row)


def _end_turn(work: Work, charger_id: str) -> None:
    store.set_list(work, charger_id, busy_until=None)


def _give_up_for_now(work: Work, charger_id: str) -> None:
    row = store.find_lists(work, [charger_id])[charger_id]
    if row.word != "NoAnswer":
        # Once more soon; after that at its next boot, or when the cards change.
        _enqueue_later(work, charger_id, SILENCE_DELAY_S)
    _settle(work, charger_id, ListState.FAILED, "NoAnswer")


def _settle(work: Work, charger_id: str, state: ListState, word: str, **values: Any) -> None:
    store.set_list(work, charger_id, state=state.value, word=word[:64], checked_at=work.now, **values)
    place = chargers.places(work, [charger_id])[0]
    work.emit(
        subject(place.location_id, charger_id), LocalListChanged(charger_id, place.location_id, state.value)
    )


async def _ask(ctx: Context, turn: _Turn, ask: Ask) -> Command:
    done = await commands.ask(ctx, ACTOR, turn.charger.id, ask, priority=Priority.BACKGROUND)
    if done.status is CommandStatus.OFFLINE:
        raise _Away
    if done.status is CommandStatus.EXPIRED or done.word == "TooManyWaiting":
        raise _Silent
    return done


async def _forget(ctx: Context, turn: _Turn) -> None:
    """Empty the charger's cache, if it may remember what no longer holds."""
    since_at = turn.row.forget_at
    if since_at is not None:
        # Rejected means that there is no cache, or none in use (OCPP 1.6 §5.4): nothing to forget.
        await _ask(ctx, turn, ForgetCards())
        await ctx.db.work(ACTOR, store.clear_forget, turn.charger.id, since_at)


async def _follow(ctx: Context, turn: _Turn) -> None:
    """Send what the charger's list lacks."""
    charger_id = turn.charger.id
    if turn.row.state == ListState.UNSUPPORTED and not turn.is_new_firmware:
        return
    if not await _is_able(ctx, turn):
        return
    told = await _ask(ctx, turn, TellCardsVersion())
    # A charger that cannot tell the version may take a list all the same: the answer to that decides.
    version = abilities.read_version(told.answer) if told.status is CommandStatus.EXECUTED else None
    draft = await ctx.db.work(ACTOR, _draft, charger_id, version, False)
    refusal = await _send(ctx, turn, draft)
    if refusal is not None and not draft.is_whole and not _is_unable(refusal):
        # VersionMismatch or Failed: the list is made anew (OCPP 1.6 §5.15).
        draft = await ctx.db.work(ACTOR, _draft, charger_id, version, True)
        refusal = await _send(ctx, turn, draft)
    if refusal is not None:
        state = ListState.UNSUPPORTED if _is_unable(refusal) else ListState.FAILED
        await ctx.db.work(ACTOR, _refused, turn, state, refusal)
    elif draft.is_last:
        await ctx.db.work(ACTOR, _in_step, charger_id, draft)
    else:
        await ctx.db.work(ACTOR, _enqueue, charger_id)


def _is_unable(refusal: Command) -> bool:
    # Whichever way it says so (quirk Q54).
    return refusal.word.casefold() in {"notsupported", "notimplemented"}


def _refused(work: Work, turn: _Turn, state: ListState, refusal: Command) -> None:
    # The charger may hold half of it: the next try begins from the ground.
    _settle(work, turn.charger.id, state, refusal.word, version=None, firmware=turn.firmware)


async def _is_able(ctx: Context, turn: _Turn) -> bool:
    """Learn how many cards the charger keeps, and have it use its list; False where it keeps none."""
    row = turn.row
    is_known = row.state in {ListState.WAITING, ListState.IN_STEP} and row.firmware is not None
    if is_known and not turn.is_new_firmware:
        return True
    done = await _ask(ctx, turn, GetKeys(abilities.KEYS))
    found = abilities.read(done.answer if done.status is CommandStatus.EXECUTED else None)
    if not found.is_listing:
        await ctx.db.work(ACTOR, _learn, turn, found, ListState.UNSUPPORTED, "NotSupported")
        return False
    if found.is_enabled is False:
        word = "ReadOnly"
        if not found.is_fixed:
            word = (await _ask(ctx, turn, SetKey(abilities.ENABLED, "true"))).word
        if word != "Accepted":
            # After RebootRequired the boot is what brings us here again.
            await ctx.db.work(ACTOR, _learn, turn, found, ListState.SWITCHED_OFF, word)
            return False
    await ctx.db.work(ACTOR, _learn, turn, found, None, "")
    return True


def _learn(work: Work, turn: _Turn, found: Abilities, state: ListState | None, word: str) -> None:
    values = {
        "cards_max": found.cards_max,
        "step_max": found.step_max,
        "firmware": turn.firmware,
    }
    if state is None:
        store.set_list(work, turn.charger.id, **values)
    else:
        _settle(work, turn.charger.id, state, word, **values)


def set_author(work: Work, charger_id: str, author_id: str | None) -> None:
    """Have another party decide which cards a charger knows by heart, the location where it is None.

    What the charger remembers of the party before is emptied, list and cache.
    """
    store.insert_unknown(work, [charger_id])
    row = store.find_lists(work, [charger_id])[charger_id]
    if row.author_id == author_id:
        return
    store.set_list(work, charger_id, author_id=author_id, authored=None, authored_version=0)
    _note(work, [charger_id], is_withdrawn=True)


def authored(work: Work, charger_id: str, author_id: str) -> tuple[int, tuple[ListedCard, ...]]:
    """Return the version and the cards that an author has given; 0 and none where it is not the author."""
    row = store.find_lists(work, [charger_id]).get(charger_id)
    if row is None or row.author_id != author_id:
        return 0, ()
    return row.authored_version, decode(row.authored, tuple[ListedCard, ...]) if row.authored else ()


def send_authored(
    work: Work, charger_id: str, author_id: str, version: int, cards: Sequence[ListedCard], *, is_whole: bool
) -> Taken:
    """Have a charger know the cards of its author by heart: these alone, or these besides those of before.

    A card without a verdict is taken off. Nothing is done unless the list is taken.
    """
    row = store.find_lists(work, [charger_id]).get(charger_id)
    before, held = authored(work, charger_id, author_id)
    if not is_whole and version <= before:
        return Taken.OLD_VERSION
    list_now = {} if is_whole else {differences.key(card.id_tag): card for card in held}
    for card in cards:
        if card.verdict is None:
            list_now.pop(differences.key(card.id_tag), None)
        else:
            list_now[differences.key(card.id_tag)] = card
    if len(list_now) > CARDS_MOST:
        return Taken.TOO_MANY_CARDS
    if row is None or row.author_id != author_id:
        return Taken.NOT_THE_AUTHORITY
    gone = {differences.key(card.id_tag) for card in held}
    gone -= {key for key, card in list_now.items() if card.verdict is Verdict.ACCEPTED}
    store.set_list(work, charger_id, authored=pack(tuple(list_now.values())), authored_version=version)
    _note(work, [charger_id], is_withdrawn=bool(gone))
    return Taken.ACCEPTED


def _wanted(work: Work, row: Any, location_id: str | None, most: int) -> tuple[dict[str, ListedCard], int]:
    """Return the list for a charger at a location, and how many cards do not fit."""
    if location_id is None:
        # It left: the cards of its former owner must not charge there offline.
        return {}, 0
    if row.author_id is not None:
        given = decode(row.authored, tuple[ListedCard, ...]) if row.authored else ()
        return differences.together(given[:most]), max(0, len(given) - most)
    rows = store.cards_of(work, location_id, most)
    cards = [
        differences.listed(row.id_tag, is_blocked=row.is_blocked, expires_at=row.expires_at, now=work.now)
        for row in rows
    ]
    left_out = store.count_cards(work, location_id) - len(rows) if len(rows) == most else 0
    return differences.together(cards), left_out


def _draft(work: Work, charger_id: str, version: int | None, is_whole: bool) -> _Draft:
    """Work out the next messages, and reserve their versions before any of them is sent."""
    location_id = chargers.places(work, [charger_id])[0].location_id
    row = store.find_lists(work, [charger_id])[charger_id]
    most = min(CARDS_DEFAULT if row.cards_max is None else row.cards_max, CARDS_MOST)
    wanted, left_out = _wanted(work, row, location_id, most)
    held = None
    if not is_whole and row.version is not None and row.version == version and _is_same(row, location_id):
        held = {card.tag_key: _listed(card) for card in store.held(work, charger_id)}
    if held is None and not is_whole and version == 0 and not wanted:
        held = {}  # version 0 is an empty list (OCPP 1.6 §5.10), and none is wanted
    newest = differences.newest(row.newest_version, version)
    steps = differences.steps(held, wanted, newest=newest, step_max=row.step_max or STEP_DEFAULT)
    now = tuple(steps[:STEPS_PER_JOB])
    if now:
        # A version that was sent once is never sent again, also after a crash.
        store.set_list(work, charger_id, newest_version=now[-1].version)
    return _Draft(now, held is None, len(now) == len(steps), location_id, left_out, row.asked_at)


def _is_same(row: Any, location_id: str | None) -> bool:
    # A list of another location is replaced, not changed: what would be taken out of it are the tags of
    # the owner before, and commands can be read.
    return bool(row.location_id == location_id)


def _listed(row: Any) -> ListedCard:
    return ListedCard(row.id_tag, Verdict(row.verdict), row.expires_at)


async def _send(ctx: Context, turn: _Turn, draft: _Draft) -> Command | None:
    """Send steps one after the other, and note each that was taken; return the answer that refused one."""
    for step in draft.steps:
        kind = ReplaceCards if step.is_whole else UpdateCards
        done = await _ask(ctx, turn, kind(step.version, step.cards))
        if done.status is not CommandStatus.EXECUTED:
            return done
        await ctx.db.work(ACTOR, _took, turn.charger.id, step, draft.location_id)
    return None


def _took(work: Work, charger_id: str, step: Step, location_id: str | None) -> None:
    gone = [differences.key(card.id_tag) for card in step.cards if card.verdict is None]
    news = [
        {
            "tag_key": differences.key(card.id_tag),
            "id_tag": card.id_tag,
            "verdict": card.verdict.value,
            "expires_at": card.expires_at,
        }
        for card in step.cards
        if card.verdict is not None
    ]
    store.change_held(work, charger_id, gone=gone, news=news, is_whole=step.is_whole)
    store.set_list(work, charger_id, version=step.version, location_id=location_id)


def _in_step(work: Work, charger_id: str, draft: _Draft) -> None:
    row = store.find_lists(work, [charger_id])[charger_id]
    is_behind = row.asked_at != draft.asked_at
    is_still = row.state == ListState.IN_STEP and row.in_step_at is not None
    _settle(
        work,
        charger_id,
        ListState.WAITING if is_behind else ListState.IN_STEP,
        "Accepted",
        location_id=draft.location_id,
        card_count=len(store.held(work, charger_id)),
        left_out_count=draft.left_out_count,
        in_step_at=row.in_step_at if is_still or is_behind else work.now,
    )

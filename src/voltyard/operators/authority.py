"""Who decides about a card: the Billing operator, else what it said before, else the owner's rule.

The desk commits what a charger said first, with the verdict of the location's own cards. Then it comes here
with those sayings that a Billing operator decides about, and answers the charger with what is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voltyard.cards.service import tag_key
from voltyard.chargers import commands, effects
from voltyard.chargers.commands import CommandStatus
from voltyard.chargers.service import Place
from voltyard.kernel import jobs
from voltyard.kernel.actor import link as link_actor
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, Unavailable, VoltyardError
from voltyard.kernel.limits import AUTHORISE_BUDGET_S, PREAUTHORISED_S, VERDICT_DAYS
from voltyard.kernel.log import logger
from voltyard.kernel.wire import decode
from voltyard.local_lists import service as local_lists
from voltyard.operators import serving, store
from voltyard.operators.events import Attune, Authorise, Deliver, EndRefused, Verdicted
from voltyard.operators.words import words
from voltyard.speech import (
    Ask,
    ByHand,
    Fallback,
    Judged,
    MayCharge,
    Priority,
    Role,
    Said,
    StartCharging,
    Started,
    StopCharging,
    VendorReply,
    VendorTold,
    Verdict,
)
from voltyard.transactions import service as transactions

ACTOR: Final = system("authority")
VERDICT_LIFE: Final = timedelta(days=VERDICT_DAYS)
AGAIN_S: Final = 30.0
FRESH: Final = timedelta(hours=1)
STARTS: Final = (StartCharging.__name__, "RemoteStartTransaction")
"""The kinds of a command that starts, before and after it went to the charger."""
DECIDED: Final = (MayCharge, Started, VendorTold)
"""What a Billing operator is asked about before the charger is answered."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """That a Billing operator decides about a saying, and what counts if it is silent."""

    link_id: str
    location_id: str
    id_tag: str
    silent: Verdict | None
    """None: the location's own verdict counts."""
    is_known: bool = False
    """It need not be asked: it asked for this start itself, or has no say."""
    expires_at: datetime | None = None
    parent_tag: str | None = None
    is_fresh: bool = False
    """Its acceptance was kept a short while ago: the same again need not be kept."""


def defer(work: Work, items: Sequence[tuple[Place, Said]]) -> dict[int, Deferred]:
    """Return which of these sayings a Billing operator decides about, by their place in the row."""
    asked = [index for index, (_, said) in enumerate(items) if isinstance(said, DECIDED)]
    if not asked:
        return {}
    links = store.billing_links(work, {items[index][0].charger_id for index in asked})
    return {
        index: _deferred(work, links[items[index][0].charger_id], items[index])
        for index in asked
        if items[index][0].charger_id in links
    }


def _deferred(work: Work, row: Any, item: tuple[Place, Said]) -> Deferred:
    place, said = item
    if not isinstance(said, MayCharge | Started):
        is_known = "vendor" not in words(row.consents)
        return Deferred(row.id, row.location_id, "", None, is_known=is_known)
    if _has_asked_for(work, place.charger_id, row.id, said):
        is_known = isinstance(said, MayCharge)  # a start is delivered all the same
        return Deferred(row.id, row.location_id, said.id_tag, Verdict.ACCEPTED, is_known=is_known)
    found = _acceptance(work, row.id, said.id_tag)
    if found is not None:
        return Deferred(
            row.id, row.location_id, said.id_tag, Verdict.ACCEPTED,
            expires_at=found.expires_at, parent_tag=found.parent_tag,
            is_fresh=work.now - found.at < FRESH,
        )  # fmt: skip
    rule = Fallback(row.fallback)
    silent = {Fallback.REFUSE: Verdict.INVALID, Fallback.ALL: Verdict.ACCEPTED}.get(rule)
    return Deferred(row.id, row.location_id, said.id_tag, silent)


def remembered(work: Work, items: Sequence[tuple[Place, MayCharge]]) -> dict[int, Judged]:
    """Return what is told of cards that a Billing operator decides about where it is not asked, by place.

    That is an acceptance that still counts, or nothing: a charger keeps what it is told in its cache
    (OCPP 1.6 §4.10), and the location's own verdict would contradict the operator's there.
    """
    links = store.billing_links(work, {place.charger_id for place, _ in items}) if items else {}
    told: dict[int, Judged] = {}
    for index, (place, said) in enumerate(items):
        if (link := links.get(place.charger_id)) is not None:
            found = _acceptance(work, link.id, said.id_tag)
            told[index] = (
                Judged()
                if found is None
                else Judged(Verdict.ACCEPTED, expires_at=found.expires_at, parent_tag=found.parent_tag)
            )
    return told


def _acceptance(work: Work, link_id: str, id_tag: str) -> Any:
    """Return an operator's acceptance of a card that still counts, None where there is none."""
    found = store.find_verdict(work, link_id, tag_key(id_tag)[:64])
    is_counting = (
        found is not None
        and work.now - found.at <= VERDICT_LIFE
        and (found.expires_at is None or found.expires_at > work.now)
    )
    return found if is_counting else None


def _has_asked_for(work: Work, charger_id: str, link_id: str, said: MayCharge | Started) -> bool:
    """Say whether an operator itself asked for this start lately.

    A start is noted as the one that was asked for before we come here, and may be said again.
    """
    since_at = work.now - timedelta(seconds=PREAUTHORISED_S)
    awaits = effects.awaited(StartCharging(said.id_tag))
    return any(
        row.awaits == awaits
        or (
            isinstance(said, Started)
            and row.effect_at is not None
            and effects.awaited(_written(row.request)) == awaits
        )
        for row in store.asked_since(work, charger_id, link_id, STARTS, since_at)
    )


def _written(request: str) -> Ask:
    """Return a start as its command has it: as it was asked, or as it went to the charger after that."""
    try:
        return decode(request, StartCharging)
    except Invalid:
        return ByHand(STARTS[1], request)


async def judge(ctx: Context, deferred: Deferred, own: Judged, call_number: int) -> Judged:
    """Return what a charger is answered about a card; ``own`` is what the location's cards say.

    Whatever the verdict on a start, the transaction stands; a refusal has the charger end it as its
    StopTransactionOnInvalidId says (OCPP 1.6 §9.1.25).
    """
    told = Verdicted()
    if not deferred.is_known:
        asked = Deliver(call_number) if own.number is not None else Authorise(deferred.id_tag)
        told = await _ask(ctx, deferred.link_id, asked)
    if told.verdict is not None:
        if not _is_kept(deferred, told):
            await _keep(ctx, deferred, told, told.verdict)
        found = Judged(told.verdict, own.number, told.expires_at, told.parent_tag)
    elif deferred.silent is None:
        found = own
    else:
        found = Judged(deferred.silent, own.number, deferred.expires_at, deferred.parent_tag)
    if own.number is not None and found.verdict is not own.verdict and found.verdict is not None:
        await ctx.db.work(ACTOR, transactions.set_verdict, own.number, found.verdict)
    return found


async def _keep(ctx: Context, deferred: Deferred, told: Verdicted, verdict: Verdict) -> None:
    """Keep a verdict for times of silence; what cannot be kept counts now all the same."""
    try:
        await ctx.db.work(
            ACTOR,
            serving.judged,
            deferred.link_id,
            deferred.id_tag,
            verdict,
            told.expires_at,
            told.parent_tag,
        )
    except VoltyardError as wrong:
        logger("authority").warning("a verdict was not kept", link=deferred.link_id, code=wrong.code())


def _is_kept(deferred: Deferred, told: Verdicted) -> bool:
    """Say whether it is known already that the operator accepts this card."""
    same = (told.expires_at, told.parent_tag) == (deferred.expires_at, deferred.parent_tag)
    return deferred.is_fresh and told.verdict is Verdict.ACCEPTED and same


async def vendor_reply(ctx: Context, deferred: Deferred, own: VendorReply, call_number: int) -> VendorReply:
    """Return what a charger's vendor message is answered: the Billing operator's word, if it has one."""
    if deferred.is_known:  # the owner has not allowed it to speak to the charger like this
        return own
    told = await _ask(ctx, deferred.link_id, Deliver(call_number))
    return told.vendor or own


async def _ask(ctx: Context, link_id: str, asked: Deliver | Authorise) -> Verdicted:
    verb = "deliver" if isinstance(asked, Deliver) else "authorise"
    try:
        return await ctx.bus.request(f"line.{link_id}.{verb}", asked, Verdicted, timeout_s=AUTHORISE_BUDGET_S)
    except Unavailable:
        return Verdicted()
    except VoltyardError as wrong:
        logger("authority").warning("a billing operator was not asked", link=link_id, code=wrong.code())
        return Verdicted()


async def end_refused(ctx: Context, message: EndRefused) -> None:
    """End a transaction whose card was refused too late to tell its charger, unless it is told to go on."""
    found = await ctx.db.read(ACTOR, _still_runs, message)
    if found is None:
        return
    actor = link_actor(message.link_id, found)
    stop = StopCharging(message.number)
    done = await commands.ask(ctx, actor, message.charger_id, stop, priority=Priority.STOP)
    if done.status in {CommandStatus.OFFLINE, CommandStatus.EXPIRED}:
        # It goes on charging for nobody: ask again while it does.
        await ctx.db.work(ACTOR, _again, message)


def _again(work: Work, message: EndRefused) -> None:
    jobs.enqueue(work, message, delay_s=AGAIN_S, key=f"end-refused:{message.number}")


def _still_runs(work: Work, message: EndRefused) -> str | None:
    """Return the location of a transaction that has to end, None where it need not."""
    link = store.find_link(work, message.link_id)
    running = {row.number for row in store.running_of(work, message.charger_id)}
    if link is None or link.ended_at is not None or link.role != Role.BILLING.value:
        return None
    if message.number not in running:
        return None
    told = store.find_reported(work, message.charger_id, "stoptransactiononinvalidid")
    if told is not None and told.strip().lower() == "false":
        return None
    return str(link.location_id)


async def attune(ctx: Context, message: Attune) -> None:
    """Have a charger forget cards that another party accepted, and keep what the present one wants."""
    await ctx.db.work(ACTOR, _attune, message.charger_id)


def _attune(work: Work, charger_id: str) -> None:
    link = store.billing_links(work, [charger_id]).get(charger_id)
    local_lists.set_author(work, charger_id, link.id if link is not None else None)

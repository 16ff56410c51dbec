"""What an operator asks of the charger that it believes in, and what is done about it.

By its role it is passed on to the charger, done on what we keep for this operator alone, or refused with an
answer that OCPP has for it. Whatever it is, the operator gets one valid answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import msgspec

from voltyard.chargers import commands
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, Refused, VoltyardError
from voltyard.kernel.limits import CALL_DEADLINE_S
from voltyard.kernel.log import logger
from voltyard.kernel.seal import seal
from voltyard.kernel.settings import PrivateNetworks
from voltyard.lines import telling
from voltyard.lines.pace import Rarely
from voltyard.local_lists import service as local_lists
from voltyard.local_lists.service import Taken
from voltyard.ocpp.frames import Call
from voltyard.ocpp.v16 import actions, asked
from voltyard.ocpp.v16.dialect import Malformed
from voltyard.operators import limits, serving
from voltyard.operators.addresses import check_file_url
from voltyard.operators.service import seal_of
from voltyard.operators.serving import Facts, Serving
from voltyard.proxy import keys, policy, standin
from voltyard.proxy.keys import Key
from voltyard.proxy.policy import Way
from voltyard.proxy.rewriting import replaced, value, without
from voltyard.proxy.standin import Effect, StandIn, State
from voltyard.reservations import service as reservations
from voltyard.reservations.service import AlreadyReserved
from voltyard.speech import (
    Ask,
    ByHand,
    ForgetCards,
    ListedCard,
    Priority,
    Restart,
    Role,
    SetAvailability,
    SetKey,
    StopCharging,
    Trigger,
    Unlock,
    Verdict,
)
from voltyard.transactions import service as transactions

READING_AGE: Final = timedelta(seconds=60)
"""A reading that is no older than this is told again rather than asked of the charger."""
RESET_EVERY_S: Final = 600.0
"""A charger that restarts serves nobody, and no other operator: once is enough for a while."""
TRIGGER_EVERY_S: Final = 10.0
TIMEOUT_S: Final = CALL_DEADLINE_S - 5.0
"""How long a charger may take: the operator waits for as long as OCPP lets it, and a little less is left."""

Carry = Callable[[Sequence[Effect]], None]


@dataclass(frozen=True, slots=True)
class Done:
    """How a request was answered: a payload, or an error of the protocol; and what stands in the record."""

    answer: bytes = b""
    error: str = ""
    description: str = ""
    status: str = "done"
    note: str = ""
    is_accepted: bool = False
    """The charger was asked, and said yes."""
    is_manner_changed: bool = False
    after: Callable[[], None] | None = None
    """What is to be done once the answer is on its way."""

    @property
    def shown(self) -> str:
        """Return the answer as the record shows it."""
        if not self.error:
            return self.answer.decode("utf-8", "replace")
        return msgspec.json.encode({"errorCode": self.error, "errorDescription": self.description}).decode()


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, with all that is needed to do it."""

    ctx: Context
    link: Serving
    stand_in: StandIn
    facts: Facts
    call: Call
    what: Any
    """The request as the struct of its action."""
    carry: Carry
    rarely: Rarely
    """What this operator has had the charger do lately."""

    @property
    def priority(self) -> Priority:
        return Priority.BILLING if self.link.role is Role.BILLING else Priority.DATA_CONTROL

    def status(self, word: str, note: str = "", *, is_manner_changed: bool = False) -> Done:
        """Answer with a status word."""
        answer = asked.answer(self.call.action, status=word)
        return Done(answer, note=note, is_manner_changed=is_manner_changed)

    def refused(self, note: str) -> Done:
        """Answer that it is not done, and note why."""
        return Done(asked.answer(self.call.action, status="Rejected"), status="refused", note=note)

    def is_too_soon(self, what: str, every_s: float) -> bool:
        """Say whether the charger did this for this operator less than this ago."""
        return self.rarely.is_too_soon(what, every_s, self.ctx.clock.monotonic())

    def did(self, what: str) -> None:
        """Note that the charger does this now."""
        self.rarely.did(what, self.ctx.clock.monotonic())


class Requests:
    """Carries out what operators ask."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._rarely = Rarely()
        self._log = logger("requests")

    async def carry_out(self, link: Serving, stand_in: StandIn, call: Call, carry: Carry) -> Done:
        """Do what an operator asks, or not; never raises but when cancelled.

        What counts is the link as it is stored by now: its owner may have taken something away a moment ago.
        """
        what = asked.read(call.action, call.payload)
        if isinstance(what, Malformed):
            return Done(error=what.code, description=what.detail, status="refused", note="malformed")
        try:
            stored, facts = await self._ctx.db.read(serving.ACTOR, serving.standing, link.id, link.charger_id)
            if stored is None or stored.is_leaving:
                return _gone(call)
            link = stored
            connector = getattr(what, "connector_id", None) if call.action == "UnlockConnector" else None
            is_running = any(connector in {None, each} for _, each, _ in facts.running)
            decision = policy.decide(
                link.role, call.action, is_running=is_running, consents=frozenset(link.consents)
            )
            if decision.way is Way.REFUSE:
                return Done(
                    decision.answer,
                    decision.error,
                    policy.REASONS.get(decision.why, ""),
                    "refused",
                    decision.why,
                )
            if call.action in _STARTS and stand_in.state is not State.ONLINE:
                # OCPP 1.6 §4.2: before its boot is accepted a charger starts and stops nothing for others.
                return Done(
                    asked.answer(call.action, status="Rejected"), status="refused", note="not_accepted"
                )
            request = _Request(self._ctx, link, stand_in, facts, call, what, carry, self._rarely)
            return await _DOING.get(call.action, _pass_on)(request)
        except Refused as wrong:
            return _refused(call, wrong)
        except VoltyardError as wrong:
            self._log.info("a request failed", link=link.id, action=call.action, code=wrong.code())
            return _refused(call, wrong)
        except Exception:
            self._log.exception("a request failed", link=link.id, action=call.action)
            return Done(error="InternalError", status="failed")


_STARTS: Final = frozenset(("RemoteStartTransaction", "RemoteStopTransaction"))


def _gone(call: Call) -> Done:
    """Refuse what somebody asks who is no operator of this charger any more."""
    decision = policy.decide(Role.OBSERVER, call.action, is_running=False)
    if decision.way is Way.REFUSE:
        return Done(decision.answer, decision.error, status="refused", note="forbidden")
    return Done(error="SecurityError", status="refused", note="forbidden")


def _refused(call: Call, wrong: VoltyardError) -> Done:
    """Answer what could not be done, with a status where the action has one."""
    for word in ("Rejected", "Failed", "Unknown"):
        try:
            return Done(asked.answer(call.action, status=word), status="refused", note=wrong.code())
        except (Invalid, TypeError):
            continue
    return Done(error="InternalError", status="failed", note=wrong.code())


# --- passed on to the charger ---------------------------------------------------------------------


def _answer(request: _Request, done: Command, note: str = "") -> Done:
    """Return a charger's own answer to its operator, or why there is none."""
    action = request.call.action
    is_accepted = done.status is CommandStatus.EXECUTED
    is_answered = (is_accepted or done.status is CommandStatus.REJECTED) and done.answer is not None
    payload = (done.answer or "").encode() if is_answered else b""
    told = _error_of(payload)
    if told is not None:
        return Done(error=told[0], description=told[1], note=note)
    valid = _valid(action, payload)
    if valid is not None:
        return Done(valid, note=note, is_accepted=is_accepted)
    for word in ("Accepted", "Unlocked") if is_accepted else ("Rejected", "UnlockFailed"):
        try:
            answer = asked.answer(action, status=word)
        except (Invalid, TypeError):
            continue
        status = "done" if is_accepted else "failed"
        return Done(answer, status=status, note=done.word, is_accepted=is_accepted)
    return Done(error="InternalError", status="failed", note=done.word)


def _valid(action: str, payload: bytes) -> bytes | None:
    """Return what a charger answered if OCPP knows it, without what OCPP does not know; else None."""
    try:
        told = msgspec.json.decode(payload, type=actions.TO_CHARGER[action][1])
        fields = msgspec.json.decode(payload, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return None
    return (
        payload
        if fields == msgspec.to_builtins(told, builtin_types=(datetime,))
        else msgspec.json.encode(told)
    )


class _Error(msgspec.Struct, rename="camel"):
    error_code: str
    error_description: str = ""


def _error_of(payload: bytes) -> tuple[str, str] | None:
    try:
        found = msgspec.json.decode(payload, type=_Error)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found.error_code, found.error_description


async def _pass_on(request: _Request) -> Done:
    """Have the charger hear it as it is."""
    return await _ask(request, ByHand(request.call.action, request.call.payload.decode("utf-8", "replace")))


async def _move_a_file(request: _Request) -> Done:
    """Have the charger fetch or leave a file where its operator wants it, but not in its owner's network."""
    what = request.what
    if request.call.action == "GetLog":
        url = what.log.remote_location
    else:
        url = what.firmware.location if request.call.action == "SignedUpdateFirmware" else what.location
    is_private_allowed = request.ctx.settings.operator_private_networks is PrivateNetworks.ALLOW
    try:
        check_file_url(url, is_private_allowed=is_private_allowed)
    except Invalid as wrong:
        return Done(
            error="PropertyConstraintViolation",
            description=str(wrong.errors[0][1]),
            status="refused",
            note="unfit_address",
        )
    # What was judged is what is sent: of a name that stands twice, a charger might take the other one.
    judged = msgspec.json.encode(what)
    return await _ask(request, ByHand(request.call.action, judged.decode()))


async def _ask(request: _Request, ask: Ask, note: str = "", priority: Priority | None = None) -> Done:
    done = await commands.ask(
        request.ctx,
        request.link.actor,
        request.link.charger_id,
        ask,
        priority=priority or request.priority,
        timeout_s=TIMEOUT_S,
    )
    return _answer(request, done, note)


async def _start(request: _Request) -> Done:
    """Start for who bills; its limit for this one charge is left out: limits are set by themselves."""
    what = request.what
    note = "profile_left_out" if what.charging_profile is not None else ""
    done = await transactions.request_start(
        request.ctx,
        request.link.actor,
        request.link.charger_id,
        id_tag=what.id_tag,
        connector=what.connector_id,
        timeout_s=TIMEOUT_S,
    )
    return _answer(request, done, note)


async def _stop(request: _Request) -> Done:
    """Stop the transaction that the operator knows by its number; a strange one is never passed on."""
    number = await request.ctx.db.read(
        serving.ACTOR, serving.ours, request.link.id, request.what.transaction_id
    )
    if number is None:
        return request.refused("unknown_transaction")
    return await _ask(request, StopCharging(number), "number", Priority.STOP)


async def _unlock(request: _Request) -> Done:
    return await _ask(request, Unlock(request.what.connector_id))


async def _reset(request: _Request) -> Done:
    """Restart the charger, but not again and again: some back offices do so whenever they miss something."""
    if request.is_too_soon("Reset", RESET_EVERY_S):
        return request.refused("too_soon")
    done = await _ask(request, Restart(request.what.type == "Hard"))
    if done.is_accepted:
        request.did("Reset")
    return done


async def _forget_cards(request: _Request) -> Done:
    return await _ask(request, ForgetCards())


async def _reserve(request: _Request) -> Done:
    """Keep a connector under a number of ours; the same number of theirs again replaces the reservation."""
    what, ctx, link = request.what, request.ctx, request.link
    before = await ctx.db.read(serving.ACTOR, serving.reservation_of, link.id, what.reservation_id)
    if before is not None:
        with suppress(Refused):  # it may be over
            await reservations.cancel(ctx, link.actor, before)
    try:
        made = await reservations.create(
            ctx,
            link.actor,
            link.charger_id,
            connector=what.connector_id,
            expires_at=what.expiry_date,
            id_tag=what.id_tag,
        )
    except VoltyardError as wrong:
        word = str(wrong.facts.get("word", ""))
        known = word if word in {"Faulted", "Occupied", "Unavailable"} else "Rejected"
        # OCPP 1.6 §7.43: Occupied stands for reserved as well.
        return request.status("Occupied" if isinstance(wrong, AlreadyReserved) else known, wrong.code())
    await ctx.db.work(serving.ACTOR, serving.keep_reservation, link.id, what.reservation_id, made.id)
    return request.status("Accepted", "number")


async def _cancel(request: _Request) -> Done:
    found = await request.ctx.db.read(
        serving.ACTOR, serving.reservation_of, request.link.id, request.what.reservation_id
    )
    if found is None:
        return request.status("Rejected", "unknown_reservation")
    await reservations.cancel(request.ctx, request.link.actor, found)
    return request.status("Accepted", "number")


# --- done on what is this operator's own ----------------------------------------------------------


async def _availability(request: _Request) -> Done:
    """Put a connector out of use for this operator; it is in use only if all want it so."""
    what, link, ctx = request.what, request.link, request.ctx
    connector, is_operative = what.connector_id, what.type == "Operative"
    before, out = await ctx.db.work(
        serving.ACTOR, serving.set_inoperative, link.id, connector, is_operative=is_operative
    )
    if is_operative and {0, connector} & out:
        return request.status("Accepted", "others_want_it_out_of_use")
    done = await _ask(request, SetAvailability(connector, is_operative))
    if not done.is_accepted:
        await ctx.db.work(serving.ACTOR, serving.restore_inoperative, link.id, before)
        return done
    if connector == 0 and is_operative:
        # OCPP 1.6 §5.2: that was meant for each connector, and undid what others want.
        for each in sorted(out):
            await _ask(request, SetAvailability(each, is_operative=False))
    return done


def _reported(work: Work, charger_id: str) -> tuple[Key, ...]:
    return tuple(
        Key(row.name, row.reported, bool(row.is_readonly)) for row in serving.reported(work, charger_id)
    )


async def _get_configuration(request: _Request) -> Done:
    reported = await request.ctx.db.read(serving.ACTOR, _reported, request.link.charger_id)
    shown = keys.shown(reported, request.link.keys, role=request.link.role)
    return Done(keys.get_answer(shown, request.what.key or ()))


async def _change_configuration(request: _Request) -> Done:
    """Change a key of this operator's own view, or of the charger where its role lets it."""
    what, link, ctx = request.what, request.link, request.ctx
    reported = await ctx.db.read(serving.ACTOR, _reported, link.charger_id)
    change = keys.change(link.role, what.key, what.value, reported=reported, overlay=link.keys)
    match change:
        case keys.Keep(key, text):
            await ctx.db.work(serving.ACTOR, serving.keep_key, link.id, key, text)
            return request.status("Accepted", "kept_for_this_operator", is_manner_changed=True)
        case keys.Password(password):
            sealed = seal(password, ctx.settings.secret_key(), seal_of(link.id, "password"))
            await ctx.db.work(serving.ACTOR, serving.keep_password, link.id, sealed)
            return request.status("Accepted", "new_password")
        case keys.Refused(status, why):
            return Done(asked.answer(request.call.action, status=status), status="refused", note=why)
        case keys.SetOnCharger(key, text):
            done = await _ask(request, SetKey(key, text))
            if change.is_kept and b"Accepted" in done.answer:
                await ctx.db.work(serving.ACTOR, serving.keep_key, link.id, key, text)
                return Done(done.answer, note=done.note, is_manner_changed=True)
            return done


async def _set_profile(request: _Request) -> Done:
    """Keep a limit as the charger that the operator believes in would; then compose it with the others'."""
    link, ctx = request.link, request.ctx
    limit = asked.limits(request.what)
    if limit.number is not None:
        number = await ctx.db.read(serving.ACTOR, serving.ours, link.id, limit.number)
        if number is None:
            return request.refused("unknown_transaction")
        limit = msgspec.structs.replace(limit, number=number)
    try:
        await ctx.db.work(serving.ACTOR, limits.put, link.id, link.charger_id, limit)
    except Invalid as wrong:
        return request.refused(wrong.code())
    return request.status("Accepted", "composed")


async def _clear_profile(request: _Request) -> Done:
    link = request.link
    is_found = await request.ctx.db.work(
        serving.ACTOR, limits.clear, link.id, link.charger_id, asked.clear(request.what)
    )
    return request.status("Accepted" if is_found else "Unknown", "composed" if is_found else "")


async def _composite(request: _Request) -> Done:
    ask = asked.composite(request.what)
    link = request.link
    if ask.connector not in {0, *(each[0] for each in request.facts.statuses)} or ask.duration_s <= 0:
        return request.status("Rejected")
    view = await request.ctx.db.read(
        serving.ACTOR, limits.own_view, link.id, link.charger_id, ask.connector, ask.duration_s
    )
    return Done(asked.composite_answer(ask.connector, view, ask.unit))


async def _trigger(request: _Request) -> Done:
    """Tell what is known at once; ask the charger only for what is not (specification of TriggerMessage,
    §5.17).
    """
    what, stand_in = request.what, request.stand_in
    at = request.ctx.clock.now()
    connector = what.connector_id
    told: list[tuple[str, bytes]] = []
    match what.requested_message:
        case "BootNotification":
            told.append((standin.BOOT, telling.boot(request.facts)))
        case "Heartbeat":
            told.append(("Heartbeat", b"{}"))
        case "StatusNotification":
            found = (
                telling.statuses(request.facts, at)
                if connector is None
                else [telling.status(request.facts, connector, at)]
            )
            told += [(standin.STATUS, each) for each in found if each is not None]
        case "FirmwareStatusNotification" | "DiagnosticsStatusNotification" as action:
            told.append((action, b'{"status":"Idle"}'))
        case "MeterValues":
            told += await _readings(request, connector)
        case _:
            return request.status("NotImplemented")
    if told:

        def tell() -> None:
            for action, payload in told:
                request.carry(stand_in.tell(action, payload, request.ctx.clock.monotonic()))

        return Done(asked.answer(request.call.action, status="Accepted"), note="from_cache", after=tell)
    if what.requested_message != "MeterValues":
        return request.status("Rejected")
    return await _trigger_reading(request, connector)


async def _trigger_reading(request: _Request, connector: int | None) -> Done:
    """Have the charger measure for one who may make it do things, now and then."""
    if request.link.role is Role.OBSERVER:
        return request.refused("observer_only_watches")
    if connector not in {None, *(each[0] for each in request.facts.statuses)}:
        return request.refused("not_found")
    what = f"MeterValues {connector}"
    if request.is_too_soon(what, TRIGGER_EVERY_S):
        return request.refused("too_soon")
    request.did(what)
    return await _ask(request, Trigger("MeterValues", connector))


async def _readings(request: _Request, connector: int | None) -> list[tuple[str, bytes]]:
    """Return the latest reading of each connector that is asked for, if it is fresh; with their numbers."""
    link, now = request.link, request.ctx.clock.now()
    latest = await request.ctx.db.read(
        serving.ACTOR, serving.latest_readings, link.charger_id, request.stand_in.cursor
    )
    numbers = {said.transaction_number for said in latest if said.transaction_number is not None}
    known = await request.ctx.db.read(serving.ACTOR, serving.known, link.id, numbers)
    fresh: dict[bytes, bytes] = {}
    for said in latest:
        payload = said.payload.encode()
        where = value(payload, "connectorId") or b"0"
        if now - said.at > READING_AGE or (connector is not None and where != b"%d" % connector):
            continue
        number = said.transaction_number
        tie = known.get(number) if number is not None else None
        if tie is None or tie.theirs is None:
            fresh[where] = without(payload, ("transactionId",))
        else:
            fresh[where] = replaced(payload, {"transactionId": b"%d" % tie.theirs})
    return [(standin.METER, payload) for payload in fresh.values()]


async def _list_version(request: _Request) -> Done:
    link = request.link
    version, _ = await request.ctx.db.read(serving.ACTOR, local_lists.authored, link.charger_id, link.id)
    return Done(asked.answer(request.call.action, list_version=version))


async def _send_list(request: _Request) -> Done:
    """Keep the list of the one who bills, and have the charger follow it (OCPP 1.6 §5.15)."""
    what, link = request.what, request.link
    cards = [
        ListedCard(
            each.id_tag,
            None if each.id_tag_info is None else Verdict(each.id_tag_info.status),
            None if each.id_tag_info is None else each.id_tag_info.expiry_date,
            None if each.id_tag_info is None else each.id_tag_info.parent_id_tag,
        )
        for each in what.local_authorization_list or ()
    ]
    taken = await request.ctx.db.work(
        serving.ACTOR,
        local_lists.send_authored,
        link.charger_id,
        link.id,
        what.list_version,
        cards,
        is_whole=what.update_type == "Full",
    )
    match taken:
        case Taken.ACCEPTED:
            return request.status("Accepted")
        case Taken.OLD_VERSION:
            return request.status("VersionMismatch")
        case Taken.TOO_MANY_CARDS | Taken.NOT_THE_AUTHORITY:
            return request.status("Failed", taken.value)


_DOING: Final[Mapping[str, Callable[[_Request], Awaitable[Done]]]] = MappingProxyType(
    {
        "RemoteStartTransaction": _start,
        "RemoteStopTransaction": _stop,
        "UnlockConnector": _unlock,
        "Reset": _reset,
        "ClearCache": _forget_cards,
        "ReserveNow": _reserve,
        "CancelReservation": _cancel,
        "ChangeAvailability": _availability,
        "GetConfiguration": _get_configuration,
        "ChangeConfiguration": _change_configuration,
        "SetChargingProfile": _set_profile,
        "ClearChargingProfile": _clear_profile,
        "GetCompositeSchedule": _composite,
        "TriggerMessage": _trigger,
        "GetLocalListVersion": _list_version,
        "SendLocalList": _send_list,
        "UpdateFirmware": _move_a_file,
        "SignedUpdateFirmware": _move_a_file,
        "GetDiagnostics": _move_a_file,
        "GetLog": _move_a_file,
    }
)

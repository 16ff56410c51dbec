"""Effects: what must be heard for a charger's promise to be kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import SYSTEM
from tests.unit.chargers.test_commands import charger_with_owner, serve
from voltyard.chargers import commands, effects, outcomes, tables
from voltyard.chargers.commands import CommandStatus
from voltyard.chargers.effects import Effect
from voltyard.chargers.events import CommandChanged
from voltyard.kernel.errors import TimedOut
from voltyard.kernel.limits import (
    CONNECT_EFFECT_MAX_S,
    CONNECT_EFFECT_S,
    CONNECT_SLACK_S,
    RESTART_EFFECT_S,
)
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Beat,
    Booted,
    ByHand,
    ConnectorStatus,
    Ended,
    GetKeys,
    LogTold,
    MayCharge,
    Metered,
    Restart,
    SigningAsked,
    StartCharging,
    Started,
    StatusTold,
    StopCharging,
    Trigger,
    TriggerExtended,
    Unlock,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCEPTED = Answer(True, "Accepted", '{"status":"Accepted"}')
STATUS = StatusTold(2, ConnectorStatus.AVAILABLE)


@pytest.mark.parametrize(
    ("ask", "said", "others"),
    [
        (StartCharging("04ab"), Started(1, "04AB", 0), Started(1, "05", 0)),
        (ByHand("RemoteStartTransaction", '{"idTag":"a:b"}'), Started(1, "A:B", 0), Started(1, "a", 0)),
        (StopCharging(7), Ended(7, 0), Ended(8, 0)),
        (StopCharging(7), Ended(0, 0), Started(7, "7", 0)),
        (ByHand("RemoteStopTransaction", '{"transactionId":7}'), Ended(-1, 0), Ended(70, 0)),
        (Restart(), Booted("V", "M"), Beat()),
        (ByHand("Reset", '{"type":"Hard"}'), Booted("V", "M"), STATUS),
        (Trigger("StatusNotification", 2), STATUS, StatusTold(1, ConnectorStatus.AVAILABLE)),
        (Trigger("StatusNotification"), STATUS, Beat()),
        (Trigger("Heartbeat", 1), Beat(), STATUS),
        (Trigger("MeterValues", 1), Metered(1, None, ()), Metered(2, None, ())),
        (TriggerExtended("SignChargePointCertificate"), SigningAsked("pem"), Beat()),
        (ByHand("ExtendedTriggerMessage", '{"requestedMessage":"LogStatusNotification"}'),
         LogTold("Idle"), Beat()),
        (ByHand("TriggerMessage", '{"requestedMessage":"StatusNotification","connectorId":2}'),
         STATUS, StatusTold(0, ConnectorStatus.AVAILABLE)),
    ],
)  # fmt: skip
def test_what_is_waited_for_is_known_when_it_is_heard(ask, said, others):
    awaits = effects.awaited(ask)
    assert awaits is not None
    assert effects.is_heard(awaits, said)
    assert not effects.is_heard(awaits, others)
    assert not effects.is_heard(awaits, MayCharge("04AB"))
    assert effects.lasts_s(awaits) > 0


@pytest.mark.parametrize("ask", [GetKeys(), Unlock(1), ByHand("ClearCache", "{}")])
def test_what_brings_nothing_about_waits_for_nothing(ask):
    assert effects.awaited(ask) is None


@given(st.sampled_from(["Reset", "RemoteStartTransaction", "RemoteStopTransaction", "TriggerMessage", "X"]),
       st.text() | st.recursive(st.none() | st.integers() | st.text(),
                                lambda inner: st.dictionaries(st.text(), inner)).map(commands.encode)
       .map(bytes.decode))  # fmt: skip
def test_whatever_a_person_writes_is_borne(action: str, payload: str):
    ask = ByHand(action, payload)
    awaits = effects.awaited(ask)
    assert awaits is None or 0 < len(awaits) <= effects.AWAITS_LENGTH
    number = effects.connector_of(ask)
    assert number is None or 0 <= number < 2**31
    for said in (Started(1, "x", 0), Ended(1, 0), Booted("", ""), STATUS):
        assert awaits is None or effects.is_heard(awaits, said) in {True, False}


@pytest.mark.parametrize(
    ("ask", "connector"),
    [
        (Unlock(2), 2),
        (StartCharging("1"), None),
        (StartCharging("1", 3), 3),
        (ByHand("UnlockConnector", '{"connectorId":4}'), 4),
        (ByHand("UnlockConnector", '{"connectorId":true}'), None),
        (ByHand("UnlockConnector", '{"connectorId":99999999999}'), None),
        (ByHand("UnlockConnector", "[]"), None),
        (Restart(), None),
    ],
)
def test_the_connector_of_an_ask_is_typed(ask, connector):
    assert effects.connector_of(ask) == connector


async def look(ctx, owner, command):
    return await ctx.db.read(owner.actor, commands.get, command.id)


async def test_an_effect_that_is_heard_is_ticked_off_and_told(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, ACCEPTED)
    command = await commands.ask(ctx, owner.actor, charger.id, StartCharging("04AB", 1))
    assert (command.effect, command.effect_at, command.connector) == (Effect.WAITING, None, 1)
    clock.advance(20)
    await ctx.db.work(SYSTEM, effects.note, [(charger.id, Started(1, "05", 0))])
    assert (await look(ctx, owner, command)).effect is Effect.WAITING
    listening = await ctx.bus.listen("live.>", queue_max=5)
    await ctx.db.work(SYSTEM, effects.note, [("chg_other", Beat()), (charger.id, Started(1, "04AB", 0))])
    found = await look(ctx, owner, command)
    assert (found.effect, found.effect_at) == (Effect.HAPPENED, clock.now())
    assert (await listening.next())[1] == CommandChanged(
        command.id, charger.id, charger.location_id, "executed"
    )
    clock.advance(3600)
    assert (await look(ctx, owner, command)).effect is Effect.HAPPENED


async def test_an_effect_that_does_not_come_is_missed_without_anybody_noting_it(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, ACCEPTED)
    command = await commands.ask(ctx, owner.actor, charger.id, StartCharging("04AB"))
    clock.advance(CONNECT_EFFECT_S + CONNECT_SLACK_S)
    assert (await look(ctx, owner, command)).effect is Effect.WAITING
    clock.advance(1)
    assert (await look(ctx, owner, command)).effect is Effect.MISSED
    await ctx.db.work(SYSTEM, effects.note, [(charger.id, Started(1, "04AB", 0))])
    assert (await look(ctx, owner, command)).effect is Effect.MISSED


@pytest.mark.parametrize(
    ("told", "connect_s"),
    [
        ("120", 120),
        (" 30 ", 30),
        (None, CONNECT_EFFECT_S),
        ("soon", CONNECT_EFFECT_S),
        ("0", CONNECT_EFFECT_S),
        ("-5", CONNECT_EFFECT_S),
        ("9" * 400, CONNECT_EFFECT_S),
        ("86400", CONNECT_EFFECT_MAX_S),
    ],
)
def test_a_charger_tells_how_long_it_waits_for_the_cable(told, connect_s):
    assert effects.connects_s(told) == connect_s


async def test_a_start_is_missed_when_the_charger_itself_gives_up(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    row = {
        "charger_id": charger.id,
        "key": "connectiontimeout",
        "name": "ConnectionTimeOut",
        "reported": "120",
    }
    await ctx.db.work(SYSTEM, lambda work: work.insert(tables.parameters, **row))

    async def accept(_asked):
        return commands.Told(ACCEPTED, "RemoteStartTransaction", "{}")

    await ctx.bus.serve(f"charger.{charger.id}.ask", commands.Asked, accept)
    command = await commands.ask(ctx, owner.actor, charger.id, StartCharging("04AB"))
    clock.advance(120 + CONNECT_SLACK_S)
    assert (await look(ctx, owner, command)).effect is Effect.WAITING
    clock.advance(1)
    missed = await look(ctx, owner, command)
    assert outcomes.explain(missed).message == "Accepted, but the cable was not plugged in within 120 s."


async def test_an_effect_may_be_heard_before_the_answer_is_noted(ctx):
    charger, owner = await charger_with_owner(ctx)

    async def quick(_asked):
        await ctx.db.work(SYSTEM, effects.note, [(charger.id, Started(1, "04AB", 0))])
        return commands.Told(ACCEPTED, "RemoteStartTransaction", "{}")

    await ctx.bus.serve(f"charger.{charger.id}.ask", commands.Asked, quick)
    command = await commands.ask(ctx, owner.actor, charger.id, StartCharging("04AB"))
    assert (command.status, command.effect) == (CommandStatus.EXECUTED, Effect.HAPPENED)


async def test_a_rejected_command_waits_for_nothing(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, AnswerRefused("InternalError"))
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    assert command.effect is Effect.NONE
    await ctx.db.work(SYSTEM, effects.note, [(charger.id, Booted("V", "M"))])
    assert (await look(ctx, owner, command)).effect is Effect.NONE


async def test_a_silent_charger_that_obeys_is_heard_all_the_same(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, wrong=TimedOut())
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    assert (command.status, command.effect) == (CommandStatus.EXPIRED, Effect.WAITING)
    clock.advance(RESTART_EFFECT_S - 1)
    await ctx.db.work(SYSTEM, effects.note, [(charger.id, Booted("V", "M"))])
    assert (await look(ctx, owner, command)).effect is Effect.HAPPENED

"""Commands: written down before the charger is asked, closed with what became of them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.factories import PIN, SYSTEM, make_charger, make_location, make_member, make_user
from voltyard.chargers import commands
from voltyard.chargers import service as chargers
from voltyard.chargers.commands import CommandStatus
from voltyard.chargers.events import CommandChanged
from voltyard.kernel.errors import Forbidden, Invalid, NotFound, PeerFault, TimedOut, TooMany, Unavailable
from voltyard.kernel.limits import CALL_DEADLINE_S
from voltyard.locations.access import Level
from voltyard.speech import Answer, AnswerRefused, Asked, ByHand, Priority, Restart, Told


async def serve(ctx, charger_id: str, outcome=None, *, wrong: Exception | None = None) -> list[Asked]:
    """Be the exchange that holds the charger: note what is asked, and answer or fail."""
    asked: list[Asked] = []

    async def answer(ask: Asked) -> Told:
        asked.append(ask)
        if wrong is not None:
            raise wrong
        return Told(outcome, "Reset", '{"type":"Soft"}')

    await ctx.bus.serve(f"charger.{charger_id}.ask", Asked, answer)
    return asked


async def charger_with_owner(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    return await make_charger(ctx, location.id), owner


async def test_a_command_that_the_charger_carries_out_is_executed(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    asked = await serve(ctx, charger.id, Answer(True, "Accepted", '{"status":"Accepted"}'))
    listening = await ctx.bus.listen(f"live.{charger.location_id}.>", queue_max=5)
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    assert (command.status, command.word, command.answer) == (
        CommandStatus.EXECUTED,
        "Accepted",
        '{"status":"Accepted"}',
    )
    assert (command.kind, command.request) == ("Reset", '{"type":"Soft"}')
    assert (command.actor_kind, command.actor_id, command.door) == ("user", owner.user.id, "portal")
    assert (command.created_at, command.sent_at, command.finished_at) == (clock.now(),) * 3
    assert asked == [Asked(Restart(), Priority.PORTAL, f"user:{owner.user.id}", CALL_DEADLINE_S)]
    assert (await listening.next())[1] == CommandChanged(
        command.id, charger.id, charger.location_id, "executed"
    )
    assert await ctx.db.read(owner.actor, commands.get, command.id) == command


async def test_a_rejection_is_an_outcome(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, Answer(False, "Rejected", '{"status":"Rejected"}'))
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    assert (command.status, command.word) == (CommandStatus.REJECTED, "Rejected")


async def test_an_error_of_the_protocol_is_a_rejection_with_its_code(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, AnswerRefused("NotSupported", "no such thing"))
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    assert (command.status, command.word) == (CommandStatus.REJECTED, "NotSupported")
    assert json.loads(command.answer) == {"errorCode": "NotSupported", "errorDescription": "no such thing"}


async def test_a_charger_that_nobody_holds_is_offline_at_once(ctx):
    charger, owner = await charger_with_owner(ctx)
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    assert (command.status, command.word, command.sent_at) == (CommandStatus.OFFLINE, "ChargerOffline", None)


@pytest.mark.parametrize(
    ("wrong", "status", "word"),
    [
        (TimedOut(), CommandStatus.EXPIRED, "NoAnswer"),
        (TooMany(), CommandStatus.REJECTED, "TooManyWaiting"),
        (Unavailable(), CommandStatus.OFFLINE, "Unavailable"),
    ],
)
async def test_what_keeps_a_command_from_its_charger_is_an_outcome(ctx, wrong, status, word):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, wrong=wrong)
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    assert (command.status, command.word) == (status, word)


async def test_what_cannot_be_sent_is_told_to_the_one_who_asked_and_written_down(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, wrong=Invalid("no such field", (("/payload", "what"),)))
    with pytest.raises(Invalid) as caught:
        await commands.ask(ctx, owner.actor, charger.id, ByHand("Reset", "{}"))
    assert caught.value.errors == (("/payload", "what"),)
    (command,) = await ctx.db.read(owner.actor, commands.list_commands, charger.id)
    assert (command.status, command.word) == (CommandStatus.REJECTED, "NotSendable")


@pytest.mark.parametrize("timeout_s", [0, -1, 51, float("nan")])
async def test_a_time_limit_out_of_range_is_refused(ctx, timeout_s):
    charger, owner = await charger_with_owner(ctx)
    with pytest.raises(Invalid):
        await commands.ask(ctx, owner.actor, charger.id, Restart(), timeout_s=timeout_s)
    assert await ctx.db.read(owner.actor, commands.list_commands, charger.id) == []


async def test_only_those_who_may_control_can_command(ctx):
    charger, _ = await charger_with_owner(ctx)
    looker = await make_member(ctx, charger.location_id, Level.BASIC)
    with pytest.raises(Forbidden):
        await commands.ask(ctx, looker.actor, charger.id, Restart())
    with pytest.raises(NotFound):
        await commands.ask(ctx, (await make_user(ctx)).actor, charger.id, Restart())
    manager = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    assert (await commands.ask(ctx, manager.actor, charger.id, Restart())).status is CommandStatus.OFFLINE


async def test_a_command_written_by_hand_keeps_its_words(ctx):
    charger, owner = await charger_with_owner(ctx)
    command = await commands.ask(ctx, owner.actor, charger.id, ByHand("X" * 200, '{"a": 1}'))
    assert (command.kind, command.request) == ("X" * 64, '{"a": 1}')


async def test_a_command_whose_asker_died_expires(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    is_asked, never = asyncio.Event(), asyncio.Event()

    async def silent(_ask: Asked) -> Told:
        is_asked.set()
        await never.wait()
        raise AssertionError

    await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, silent)
    asking = asyncio.create_task(commands.ask(ctx, owner.actor, charger.id, Restart()))
    await is_asked.wait()
    asking.cancel()
    await asyncio.wait([asking])
    (command,) = await ctx.db.read(owner.actor, commands.list_commands, charger.id)
    assert command.status is CommandStatus.PREPARED
    assert await ctx.db.work(SYSTEM, commands.expire_left_over) == 0
    clock.advance(2 * CALL_DEADLINE_S + commands.BUS_SLACK_S + 1)
    assert await ctx.db.work(SYSTEM, commands.expire_left_over) == 1
    assert await ctx.db.work(SYSTEM, commands.expire_left_over) == 0
    expired = await ctx.db.read(owner.actor, commands.get, command.id)
    assert (expired.status, expired.word, expired.finished_at) == (
        CommandStatus.EXPIRED,
        "Interrupted",
        clock.now(),
    )


async def test_an_answer_that_comes_after_the_end_changes_nothing(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_ask: Asked) -> Told:
        entered.set()
        await go_on.wait()
        return Told(Answer(True, "Accepted", "{}"), "Reset", "{}")

    await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, slow)
    asking = asyncio.create_task(commands.ask(ctx, owner.actor, charger.id, Restart()))
    await entered.wait()
    clock.advance(3 * CALL_DEADLINE_S)
    await ctx.db.work(SYSTEM, commands.expire_left_over)
    listening = await ctx.bus.listen("live.>", queue_max=5)
    go_on.set()
    assert (await asking).status is CommandStatus.EXPIRED
    event = (await listening.next())[1]
    assert isinstance(event, CommandChanged)
    assert event.status == "expired"


async def test_an_unexpected_failure_is_not_hidden(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, wrong=PeerFault("odd", "ProtocolError"))
    with pytest.raises(PeerFault):
        await commands.ask(ctx, owner.actor, charger.id, Restart())


async def test_commands_are_listed_newest_first_to_those_who_see_the_charger(ctx):
    charger, owner = await charger_with_owner(ctx)
    made = [(await commands.ask(ctx, owner.actor, charger.id, Restart())).id for _ in range(3)]
    listed = await ctx.db.read(owner.actor, commands.list_commands, charger.id, limit=2)
    rest = await ctx.db.read(owner.actor, commands.list_commands, charger.id, after=listed[-1].id)
    assert [each.id for each in listed + rest] == sorted(made, reverse=True)
    stranger = await make_user(ctx)
    with pytest.raises(NotFound):
        await ctx.db.read(stranger.actor, commands.list_commands, charger.id)
    with pytest.raises(NotFound):
        await ctx.db.read(stranger.actor, commands.get, made[0])
    with pytest.raises(NotFound):
        await ctx.db.read(owner.actor, commands.get, "cmd_" + "0" * 26)


async def test_what_was_asked_at_another_location_is_not_shown_at_the_next_one(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    before = await commands.ask(ctx, owner.actor, charger.id, Restart())
    clock.advance(60)
    await ctx.db.work(owner.actor, chargers.unlink, charger.location_id, charger.id)
    buyer = await make_user(ctx)
    home = await make_location(ctx, buyer)
    await chargers.claim(ctx, buyer.actor, home.id, identity=charger.identity, pin=PIN)
    after = await commands.ask(ctx, buyer.actor, charger.id, Restart())
    assert await ctx.db.read(buyer.actor, commands.list_commands, charger.id) == [after]
    assert await ctx.db.read(buyer.actor, commands.get, after.id) == after
    with pytest.raises(NotFound):
        await ctx.db.read(buyer.actor, commands.get, before.id)
    for command in (before, after):
        with pytest.raises(NotFound):
            await ctx.db.read(owner.actor, commands.get, command.id)

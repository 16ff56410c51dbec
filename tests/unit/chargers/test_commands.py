"""Commands: written down before the charger is asked, closed with what became of them."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import PIN, SYSTEM, make_charger, make_location, make_member, make_user, place_of
from voltyard.chargers import commands
from voltyard.chargers import service as chargers
from voltyard.chargers.commands import CommandStatus
from voltyard.chargers.events import CommandChanged
from voltyard.kernel.errors import (
    ChargerOffline,
    Forbidden,
    Invalid,
    NotFound,
    PeerFault,
    TimedOut,
    TooMany,
    Unavailable,
)
from voltyard.kernel.limits import CALL_DEADLINE_S, OWN_COMMAND_DAYS
from voltyard.locations.access import Level
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Asked,
    ByHand,
    CompositeLimits,
    ConnectorStatus,
    GetKeys,
    LimitPeriod,
    LimitUnit,
    Priority,
    Restart,
    StatusTold,
    TellComposite,
    Told,
    Trigger,
)


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
    assert asked == [Asked(Restart(), Priority.PORTAL, f"user:{owner.user.id}", CALL_DEADLINE_S, command.id)]
    told = [(await listening.next())[1] for _ in range(2)]
    assert told == [
        CommandChanged(command.id, charger.id, charger.location_id, status)
        for status in ("prepared", "executed")
    ]
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


async def test_what_people_asked_is_found_without_what_voltyard_asked_by_itself(ctx):
    charger, owner = await charger_with_owner(ctx)
    mine = [(await commands.ask(ctx, owner.actor, charger.id, Restart())).id for _ in range(2)]
    its_own = (await commands.ask(ctx, SYSTEM, charger.id, Restart())).id
    for is_by_people, found in ((True, mine[::-1]), (False, [its_own]), (None, [its_own, *mine[::-1]])):
        listed = await ctx.db.read(owner.actor, commands.list_commands, charger.id, is_by_people=is_by_people)
        assert [each.id for each in listed] == found


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


# --- what the gateway saw -------------------------------------------------------------------------


class Held:
    """A charger whose answer is awaited: a test decides what happens meanwhile."""

    def __init__(self, ctx, actor, charger_id: str) -> None:
        self.ctx, self.actor, self.charger_id = ctx, actor, charger_id
        self.entered, self.end = asyncio.Event(), asyncio.get_running_loop().create_future()
        self.asked: Asked | None = None

    async def __aenter__(self):
        async def hold(asked: Asked) -> Told:
            self.asked = asked
            self.entered.set()
            return await self.end

        serving = await self.ctx.bus.serve(f"charger.{self.charger_id}.ask", Asked, hold)
        self.asking = asyncio.create_task(commands.ask(self.ctx, self.actor, self.charger_id, Restart()))
        await self.entered.wait()
        self.command_id = self.asked.command_id
        self.serving = serving
        return self

    async def __aexit__(self, *_wrong):
        self.asking.cancel()
        await asyncio.wait([self.asking])
        await self.serving.stop()

    async def look(self):
        return await self.ctx.db.read(self.actor, commands.get, self.command_id)


async def test_a_command_is_sent_when_it_is_on_the_socket(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    async with Held(ctx, owner.actor, charger.id) as held:
        assert (await held.look()).status is CommandStatus.PREPARED
        listening = await ctx.bus.listen("live.>", queue_max=5)
        at = clock.now()
        clock.advance(3)
        await ctx.db.work(SYSTEM, commands.sent, [(held.command_id, at), ("", at)])
        found = await held.look()
        assert (found.status, found.sent_at, found.finished_at) == (CommandStatus.SENT, at, None)
        assert (await listening.next())[1] == CommandChanged(
            held.command_id, charger.id, charger.location_id, "sent"
        )
        held.end.set_result(Told(Answer(True, "Accepted", "{}"), "Reset", "{}"))
        done = await held.asking
        assert (done.sent_at, done.finished_at, done.latency_s) == (at, clock.now(), 3)


async def test_an_answer_that_was_quicker_than_the_log_keeps_its_end(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    async with Held(ctx, owner.actor, charger.id) as held:
        clock.advance(20)
        at = clock.now()
        clock.advance(1)
        held.end.set_result(Told(Answer(True, "Accepted", "{}"), "Reset", "{}"))
        done = await held.asking
        assert done.latency_s == 21
        await ctx.db.work(SYSTEM, commands.sent, [(held.command_id, at)])
        found = await held.look()
        assert (found.status, found.finished_at, found.sent_at) == (done.status, done.finished_at, at)
        assert found.latency_s == 1


async def test_what_was_never_on_the_socket_was_not_sent(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, wrong=TimedOut())
    assert (await commands.ask(ctx, owner.actor, charger.id, Restart())).sent_at is None


async def test_a_command_knows_how_many_are_before_it(ctx):
    charger, owner = await charger_with_owner(ctx)
    async with Held(ctx, owner.actor, charger.id) as first:
        listening = await ctx.bus.listen("live.>", queue_max=5)
        second = asyncio.create_task(commands.ask(ctx, owner.actor, charger.id, GetKeys()))
        await listening.next()
        listed = await ctx.db.read(owner.actor, commands.list_commands, charger.id)
        assert [each.ahead for each in listed] == [1, 0]
        second.cancel()
        await asyncio.wait([second])
        assert (await first.look()).ahead == 0


async def test_a_late_answer_is_kept_beside_the_end(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, wrong=TimedOut())
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    clock.advance(15)
    listening = await ctx.bus.listen("live.>", queue_max=5)
    late = [(command.id, "Accepted", True, '{"status":"Accepted","password":"x"}'), ("", "", False, "{}")]
    await ctx.db.work(SYSTEM, commands.answered_late, late)
    assert (await listening.next())[1].status == "expired"
    found = await ctx.db.read(owner.actor, commands.get, command.id)
    assert (found.status, found.word, found.answer) == (CommandStatus.EXPIRED, "NoAnswer", None)
    assert (found.late_word, found.is_late_accepted, found.late_at) == ("Accepted", True, clock.now())
    assert json.loads(found.late_answer) == {"status": "Accepted", "password": "***"}
    again = [(command.id, "Rejected", False, "{}")]
    await ctx.db.work(SYSTEM, commands.answered_late, again)
    assert await ctx.db.read(owner.actor, commands.get, command.id) == found
    looker = await make_member(ctx, charger.location_id, Level.BASIC)
    assert (await ctx.db.read(looker.actor, commands.get, command.id)).late_answer is None


async def test_an_answer_in_time_cannot_become_a_late_one(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, Answer(False, "Rejected", "{}"))
    command = await commands.ask(ctx, owner.actor, charger.id, Restart())
    await ctx.db.work(SYSTEM, commands.answered_late, [(command.id, "Accepted", True, "{}")])
    assert await ctx.db.read(owner.actor, commands.get, command.id) == command


NEWS = ("sent", "late", "expire", "accepted", "rejected", "offline")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(NEWS), min_size=1, max_size=6))
async def test_a_command_never_leaves_a_final_status(sqlite_ctx, clock, news):
    """Whatever comes in whatever order: the first end stays, and so does the time of it."""
    ctx = sqlite_ctx
    charger, owner = await charger_with_owner(ctx)
    ends = {
        "accepted": (CommandStatus.EXECUTED, "Accepted"),
        "rejected": (CommandStatus.REJECTED, "Rejected"),
        "offline": (CommandStatus.OFFLINE, "ChargerOffline"),
    }
    async with Held(ctx, owner.actor, charger.id) as held:
        end = None
        for each in news:
            clock.advance(3 * CALL_DEADLINE_S)
            if each == "sent":
                await ctx.db.work(SYSTEM, commands.sent, [(held.command_id, clock.now())])
            elif each == "late":
                late = [(held.command_id, "Accepted", True, "{}")]
                await ctx.db.work(SYSTEM, commands.answered_late, late)
            elif each == "expire":
                await ctx.db.work(SYSTEM, commands.expire_left_over)
            else:
                await ctx.db.work(
                    SYSTEM, commands._close, held.command_id, *ends[each], None, clock.now(), None
                )
            found = await held.look()
            if end is None and found.status.is_final:
                end = (found.status, found.word, found.finished_at)
            assert found.status.is_final == (end is not None)
            assert end in {None, (found.status, found.word, found.finished_at)}


# --- triggers and limits --------------------------------------------------------------------------


async def with_connectors(ctx, charger, *numbers: int) -> None:
    place = place_of(charger)
    for number in numbers:
        told = StatusTold(number, ConnectorStatus.AVAILABLE)
        await ctx.db.work(SYSTEM, chargers.tell_status, [(place, told)])


@pytest.mark.parametrize("connector", [None, 0])
async def test_q55_a_trigger_for_the_whole_charger_falls_back_to_each_connector(ctx, connector):
    charger, owner = await charger_with_owner(ctx)
    await with_connectors(ctx, charger, 0, 1, 2)
    asked: list[Trigger] = []

    async def answer(ask: Asked) -> Told:
        asked.append(ask.ask)
        is_accepted = ask.ask.connector == 2
        return Told(Answer(is_accepted, "Accepted" if is_accepted else "Rejected", "{}"), "T", "{}")

    await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, answer)
    done = await commands.trigger(ctx, owner.actor, charger.id, "StatusNotification", connector)
    assert asked == [Trigger("StatusNotification", number) for number in (None, 1, 2)]
    assert (done.status, done.connector) == (CommandStatus.EXECUTED, 2)


@pytest.mark.parametrize(
    ("what", "connector", "outcome"),
    [
        ("StatusNotification", None, Answer(True, "Accepted", "{}")),
        ("StatusNotification", 1, Answer(False, "Rejected", "{}")),
        ("Heartbeat", None, Answer(False, "Rejected", "{}")),
    ],
)
async def test_a_trigger_asks_once_where_that_is_all_there_is_to_ask(ctx, what, connector, outcome):
    charger, owner = await charger_with_owner(ctx)
    await with_connectors(ctx, charger, 1, 2)
    asked = await serve(ctx, charger.id, outcome)
    await commands.trigger(ctx, owner.actor, charger.id, what, connector)
    assert [each.ask for each in asked] == [Trigger(what, connector)]


async def test_a_trigger_gives_up_with_a_charger_that_goes_silent(ctx):
    charger, owner = await charger_with_owner(ctx)
    await with_connectors(ctx, charger, 1, 2)

    async def answer(ask: Asked) -> Told:
        if ask.ask.connector is None:
            return Told(AnswerRefused("NotSupported"), "T", "{}")
        raise TimedOut

    await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, answer)
    done = await commands.trigger(ctx, owner.actor, charger.id, "MeterValues")
    assert (done.status, done.connector) == (CommandStatus.EXPIRED, 1)


async def test_a_composite_is_what_the_charger_told(ctx):
    charger, owner = await charger_with_owner(ctx)
    limits = CompositeLimits((LimitPeriod(0, limit_a=16.0), LimitPeriod(60, limit_a=6.0)), None, 120)
    asked = await serve(ctx, charger.id, Answer(True, "Accepted", "{}", limits))
    assert await commands.composite(ctx, owner.actor, charger.id, 1, 120, LimitUnit.AMPERES) == limits
    assert asked[0].ask == TellComposite(1, 120, LimitUnit.AMPERES)


@pytest.mark.parametrize(
    ("outcome", "raised"),
    [
        (Answer(True, "Accepted", "{}"), commands.NoComposite),
        (Answer(False, "Rejected", "{}"), commands.NoComposite),
        (AnswerRefused("NotImplemented"), commands.NoComposite),
        (TimedOut(), TimedOut),
        (None, ChargerOffline),
    ],
)
async def test_a_charger_that_tells_no_composite_is_told_so(ctx, outcome, raised):
    charger, owner = await charger_with_owner(ctx)
    if isinstance(outcome, Exception):
        await serve(ctx, charger.id, wrong=outcome)
    elif outcome is not None:
        await serve(ctx, charger.id, outcome)
    with pytest.raises(raised):
        await commands.composite(ctx, owner.actor, charger.id, 0, 60)


@pytest.mark.parametrize(("connector", "duration_s"), [(-1, 60), (0, 0), (0, 8 * 24 * 3600)])
async def test_a_composite_out_of_range_is_not_asked_for(ctx, connector, duration_s):
    charger, owner = await charger_with_owner(ctx)
    with pytest.raises(Invalid):
        await commands.composite(ctx, owner.actor, charger.id, connector, duration_s)


async def test_what_voltyard_asked_by_itself_is_forgotten_and_what_people_asked_is_kept(ctx, clock):
    charger, owner = await charger_with_owner(ctx)
    own = await commands.ask(ctx, SYSTEM, charger.id, Restart())
    asked = await commands.ask(ctx, owner.actor, charger.id, Restart())
    clock.advance(OWN_COMMAND_DAYS * commands.DAY_S - 60)
    assert await ctx.db.work(SYSTEM, commands.forget_own) == 0
    clock.advance(120)
    assert await ctx.db.work(SYSTEM, commands.forget_own) == 1
    assert await ctx.db.work(SYSTEM, commands.forget_own) == 0
    left = await ctx.db.read(owner.actor, commands.list_commands, charger.id)
    assert [command.id for command in left] == [asked.id]
    assert own.id != asked.id

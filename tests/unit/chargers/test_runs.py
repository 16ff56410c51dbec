"""Runs: one action for many chargers, with a result for each, whatever dies in between."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user
from voltyard.chargers import commands, runs
from voltyard.chargers.events import RunChanged
from voltyard.chargers.runs import CarryOnRun, Counts, ItemStatus, RunStatus
from voltyard.kernel import jobs
from voltyard.kernel.actor import Kind
from voltyard.kernel.errors import Invalid, NotFound, TimedOut
from voltyard.kernel.limits import CALL_DEADLINE_S, RUN_CHARGERS_MAX, RUN_CHUNK, RUN_DAYS, RUNS_OPEN_MAX
from voltyard.kernel.wire import decode
from voltyard.locations.access import Level
from voltyard.speech import Answer, Asked, ByHand, Told

ACCEPTED = Answer(True, "Accepted", '{"status":"Accepted"}')
REJECTED = Answer(False, "Rejected", '{"status":"Rejected"}')
SOFT = '{"type":"Soft"}'


async def play(ctx, charger_id: str, outcome) -> list[Asked]:
    asked: list[Asked] = []

    async def answer(ask: Asked) -> Told:
        asked.append(ask)
        if isinstance(outcome, Exception):
            raise outcome
        return Told(outcome, "Reset", SOFT)

    await ctx.bus.serve(f"charger.{charger_id}.ask", Asked, answer)
    return asked


async def place_with_chargers(ctx, count: int):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    return owner, location, [await make_charger(ctx, location.id) for _ in range(count)]


async def begin(ctx, person, charger_ids, action: str = "Reset", payload: str = SOFT):
    return await ctx.db.work(person.actor, runs.begin, action, payload, charger_ids)


async def work_off(ctx) -> int:
    """Do the jobs of runs until there are none; return how many there were."""
    count = 0
    while True:
        claimed = await ctx.db.work(SYSTEM, jobs.claim, "tests")
        if not claimed:
            return count
        for job in claimed:
            if job.kind == "CarryOnRun":
                await runs.carry_on(ctx, decode(job.body, CarryOnRun))
                count += 1
            await ctx.db.work(SYSTEM, jobs.done, job.id, "tests")


async def look(ctx, person, run):
    return (
        await ctx.db.read(person.actor, runs.get, run.id),
        await ctx.db.read(person.actor, runs.list_items, run.id),
    )


async def test_each_charger_has_its_own_result(ctx, clock):
    owner, location, mine = await place_with_chargers(ctx, 4)
    foreign = await make_charger(ctx, (await make_location(ctx)).id)
    obeying, refusing, silent, offline = (charger.id for charger in mine)
    asked = await play(ctx, obeying, ACCEPTED)
    await play(ctx, refusing, REJECTED)
    await play(ctx, silent, TimedOut())
    untouched = await play(ctx, foreign.id, ACCEPTED)
    named = [obeying, refusing, silent, offline, foreign.id, "chg_unknown", obeying]
    run = await begin(ctx, owner, named)
    assert (run.status, run.counts) == (RunStatus.RUNNING, Counts(6, 4, 0, 0, 0, 2))
    listening = await ctx.bus.listen(f"live.{location.id}.>", queue_max=100)
    assert await work_off(ctx) == 1
    run, items = await look(ctx, owner, run)
    assert (run.status, run.finished_at) == (RunStatus.COMPLETED, clock.now())
    assert run.counts == Counts(total=6, pending=0, sent=1, offline=1, error=2, skipped=2)
    assert run.counts.done == 6
    assert [(item.charger_id, item.status) for item in items] == [
        (obeying, ItemStatus.SENT),
        (refusing, ItemStatus.ERROR),
        (silent, ItemStatus.ERROR),
        (offline, ItemStatus.OFFLINE),
        (foreign.id, ItemStatus.SKIPPED_FORBIDDEN),
        ("chg_unknown", ItemStatus.SKIPPED_FORBIDDEN),
    ]
    assert [item.message for item in items] == [
        "Accepted: the charger restarts and is back in a minute or two.",
        "The charger refuses to restart just now.",
        "It was not sent: other commands kept the charger busy for too long. Try again.",
        "The charger is offline: check its power and network.",
        runs.FORBIDDEN,
        runs.FORBIDDEN,
    ]
    assert {item.executed_at for item in items} == {clock.now()}
    assert [item.label for item in items][-2:] == [foreign.id, "chg_unknown"]
    assert items[0].label == mine[0].identity
    assert [each.ask for each in asked] == [ByHand("Reset", SOFT)]
    assert untouched == []
    command = await ctx.db.read(owner.actor, commands.get, items[0].command_id)
    assert (command.actor_id, command.door) == (owner.user.id, "portal")
    heard = [(await listening.next())[1] for _ in range(12)]
    assert RunChanged(run.id, obeying, location.id) in heard


async def test_what_comes_of_a_command_later_is_told_with_it(ctx, clock):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    await play(ctx, charger.id, ACCEPTED)
    run = await begin(ctx, owner, [charger.id])
    await work_off(ctx)
    clock.advance(3600)
    _, (item,) = await look(ctx, owner, run)
    assert item.message == "Accepted, but the charger had not started anew after 5 min."


async def test_a_payload_that_a_charger_cannot_take_is_an_error_of_that_charger(ctx):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    await play(ctx, charger.id, Invalid("type: is not allowed"))
    run = await begin(ctx, owner, [charger.id], payload='{"type":"Warm"}')
    await work_off(ctx)
    _, (item,) = await look(ctx, owner, run)
    assert (item.status, item.message) == (ItemStatus.ERROR, "Type: is not allowed.")


async def test_the_rights_are_those_of_the_moment_of_sending(ctx, clock):
    owner, location, (charger,) = await place_with_chargers(ctx, 1)
    soon = clock.now() + timedelta(seconds=60)
    helper = await make_member(ctx, location.id, Level.SENSITIVE, until_at=soon)
    asked = await play(ctx, charger.id, ACCEPTED)
    run = await begin(ctx, helper, [charger.id])
    clock.advance(60)
    await work_off(ctx)
    run, (item,) = await look(ctx, helper, run)
    assert (run.status, item.status) == (RunStatus.COMPLETED, ItemStatus.SKIPPED_FORBIDDEN)
    assert asked == []
    del owner


async def test_a_run_with_nobody_to_ask_is_over_at_once(ctx):
    owner, *_ = await place_with_chargers(ctx, 0)
    run = await begin(ctx, owner, ["chg_unknown"])
    assert (run.status, run.counts.skipped) == (RunStatus.COMPLETED, 1)
    assert await work_off(ctx) == 0


async def test_more_chargers_than_one_job_does_are_left_to_the_next(sqlite_ctx):
    ctx = sqlite_ctx
    owner, _, chargers = await place_with_chargers(ctx, RUN_CHUNK + 1)
    run = await begin(ctx, owner, [each.id for each in chargers])
    assert await work_off(ctx) == 2
    run, items = await look(ctx, owner, run)
    assert (run.status, {item.status for item in items}) == (RunStatus.COMPLETED, {ItemStatus.OFFLINE})


# --- a job that dies ------------------------------------------------------------------------------


async def die_while_asking(ctx, run, charger_id: str) -> str:
    """Have a job die while the charger is being asked; return the id of the command."""
    entered, never = asyncio.Event(), asyncio.Event()
    asked: list[Asked] = []

    async def silent(ask: Asked) -> Told:
        asked.append(ask)
        entered.set()
        await never.wait()
        raise AssertionError

    serving = await ctx.bus.serve(f"charger.{charger_id}.ask", Asked, silent)
    carrying = asyncio.create_task(runs.carry_on(ctx, CarryOnRun(run.id)))
    await entered.wait()
    carrying.cancel()
    await asyncio.wait([carrying])
    await serving.stop()
    return asked[0].command_id


async def test_a_charger_that_was_being_asked_when_a_job_died_is_not_asked_again(ctx):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    run = await begin(ctx, owner, [charger.id])
    command_id = await die_while_asking(ctx, run, charger.id)
    asked = await play(ctx, charger.id, ACCEPTED)
    await work_off(ctx)
    run, (item,) = await look(ctx, owner, run)
    assert (item.status, item.message, item.command_id) == (ItemStatus.ERROR, runs.UNKNOWN, command_id)
    assert (run.status, asked) == (RunStatus.COMPLETED, [])


async def test_a_command_that_expired_with_its_job_is_not_known_either(ctx, clock):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    run = await begin(ctx, owner, [charger.id])
    await die_while_asking(ctx, run, charger.id)
    clock.advance(3 * CALL_DEADLINE_S)
    await ctx.db.work(SYSTEM, commands.expire_left_over)
    await work_off(ctx)
    _, (item,) = await look(ctx, owner, run)
    assert (item.status, item.message) == (ItemStatus.ERROR, runs.UNKNOWN)


async def test_a_job_that_died_after_the_answer_left_it_with_the_command(ctx):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    run = await begin(ctx, owner, [charger.id])
    asked = await play(ctx, charger.id, ACCEPTED)
    turn = await ctx.db.work(SYSTEM, runs._next, run.id)
    command_id = commands.new_id("cmd")
    assert await ctx.db.work(SYSTEM, runs._begin, run.id, 0, command_id)
    await commands.ask(ctx, turn.actor, charger.id, turn.ask, command_id=command_id)
    await work_off(ctx)
    _, (item,) = await look(ctx, owner, run)
    assert (item.status, item.command_id, len(asked)) == (ItemStatus.SENT, command_id, 1)


async def test_a_job_that_died_before_it_asked_is_made_good(ctx):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    run = await begin(ctx, owner, [charger.id])
    asked = await play(ctx, charger.id, ACCEPTED)
    await ctx.db.work(SYSTEM, runs._begin, run.id, 0, commands.new_id("cmd"))
    await work_off(ctx)
    _, (item,) = await look(ctx, owner, run)
    assert (item.status, len(asked)) == (ItemStatus.SENT, 1)


async def test_a_job_that_is_done_twice_asks_once(ctx):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    run = await begin(ctx, owner, [charger.id])
    asked = await play(ctx, charger.id, ACCEPTED)
    for _ in range(2):
        await runs.carry_on(ctx, CarryOnRun(run.id))
    assert len(asked) == 1
    await runs.carry_on(ctx, CarryOnRun("run_" + "0" * 26))


# --- cancelling, seeing, forgetting ---------------------------------------------------------------


async def test_a_cancelled_run_asks_nobody_any_more(ctx, clock):
    owner, location, (charger,) = await place_with_chargers(ctx, 1)
    asked = await play(ctx, charger.id, ACCEPTED)
    run = await begin(ctx, owner, [charger.id, "chg_unknown"])
    listening = await ctx.bus.listen("live.>", queue_max=5)
    cancelled = await ctx.db.work(owner.actor, runs.cancel, run.id)
    assert (cancelled.status, cancelled.finished_at) == (RunStatus.CANCELLED, clock.now())
    assert (await listening.next())[1] == RunChanged(run.id, charger.id, location.id)
    await work_off(ctx)
    run, items = await look(ctx, owner, run)
    assert (run, [item.status for item in items]) == (
        cancelled,
        [ItemStatus.PENDING, ItemStatus.SKIPPED_FORBIDDEN],
    )
    assert asked == []
    assert await ctx.db.work(owner.actor, runs.cancel, run.id) == cancelled
    assert not await ctx.db.work(SYSTEM, runs._begin, run.id, 0, "cmd_1")


async def test_a_run_is_its_persons_own(ctx):
    owner, location, (charger,) = await place_with_chargers(ctx, 1)
    run = await begin(ctx, owner, [charger.id])
    colleague = await make_member(ctx, location.id, Level.FULL)
    for act in (runs.get, runs.list_items):
        with pytest.raises(NotFound):
            await ctx.db.read(colleague.actor, act, run.id)
    with pytest.raises(NotFound):
        await ctx.db.work(colleague.actor, runs.cancel, run.id)
    assert await ctx.db.read(colleague.actor, runs.list_runs) == []
    assert await ctx.db.read(SYSTEM, runs.list_runs) == []
    assert await ctx.db.read(owner.actor, runs.list_runs) == [run]
    over_the_api = type(owner.actor)(Kind.TOKEN, owner.user.id, owner.actor.team_ids, "api")
    assert await ctx.db.read(over_the_api, runs.get, run.id) == run


async def test_runs_are_listed_newest_first(ctx):
    owner, *_ = await place_with_chargers(ctx, 0)
    made = [(await begin(ctx, owner, ["chg_1"])).id for _ in range(3)]
    first = await ctx.db.read(owner.actor, runs.list_runs, limit=2)
    rest = await ctx.db.read(owner.actor, runs.list_runs, after=first[-1].id)
    assert [each.id for each in first + rest] == sorted(made, reverse=True)


async def test_the_name_of_a_charger_that_one_may_no_longer_see_is_not_told(ctx, clock):
    owner, location, (charger,) = await place_with_chargers(ctx, 1)
    soon = clock.now() + timedelta(seconds=60)
    helper = await make_member(ctx, location.id, Level.SENSITIVE, until_at=soon)
    run = await begin(ctx, helper, [charger.id])
    await work_off(ctx)
    assert (await look(ctx, helper, run))[1][0].label == charger.identity
    clock.advance(60)
    assert (await look(ctx, helper, run))[1][0].label == charger.id
    del owner


async def test_secrets_are_kept_only_as_long_as_they_are_needed(ctx):
    owner, location, (charger,) = await place_with_chargers(ctx, 1)
    asked = await play(ctx, charger.id, ACCEPTED)
    secret = '{"key":"WifiPassword","value":"hush"}'
    run = await begin(ctx, owner, [charger.id], "ChangeConfiguration", secret)
    assert "hush" not in run.payload
    await work_off(ctx)
    assert json.loads(asked[0].ask.payload)["value"] == "hush"
    row = await ctx.db.read(SYSTEM, runs.store.find_run, run.id)
    assert "hush" not in row.payload
    del location


@pytest.mark.parametrize(
    ("action", "payload", "ids", "pointer"),
    [
        ("Re set", "{}", ["chg_1"], "/command"),
        ("", "{}", ["chg_1"], "/command"),
        ("Reset", "[]", ["chg_1"], "/data"),
        ("Reset", "{", ["chg_1"], "/data"),
        ("Reset", "{}", [], "/charger_ids"),
        ("Reset", "{}", [f"chg_{n}" for n in range(RUN_CHARGERS_MAX + 1)], "/charger_ids"),
    ],
)
async def test_a_run_that_cannot_be_is_refused(ctx, action, payload, ids, pointer):
    owner, *_ = await place_with_chargers(ctx, 0)
    with pytest.raises(Invalid) as caught:
        await begin(ctx, owner, ids, action, payload)
    assert [each[0] for each in caught.value.errors] == [pointer]


async def test_only_so_many_runs_go_on_at_the_same_time(ctx):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    for _ in range(RUNS_OPEN_MAX):
        run = await begin(ctx, owner, [charger.id])
    with pytest.raises(runs.TooManyRuns):
        await begin(ctx, owner, [charger.id])
    await ctx.db.work(owner.actor, runs.cancel, run.id)
    await begin(ctx, owner, [charger.id])


async def test_old_runs_are_forgotten(ctx, clock):
    owner, _, (charger,) = await place_with_chargers(ctx, 1)
    await begin(ctx, owner, [charger.id])
    assert await ctx.db.work(SYSTEM, runs.forget_old) == 0
    clock.advance((RUN_DAYS + 1) * 24 * 3600)
    assert await ctx.db.work(SYSTEM, runs.forget_old) == 1
    assert await ctx.db.read(owner.actor, runs.list_runs) == []

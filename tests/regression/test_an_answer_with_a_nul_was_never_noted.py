"""A charger's word with a NUL in it could not be stored on PostgreSQL: its command never ended.

The job that had asked was parked for good, and the caller was told that the request was wrong.
"""

from tests.factories import SYSTEM, make_charger, make_location
from voltyard.chargers import commands
from voltyard.chargers.commands import CommandStatus
from voltyard.ocpp.v16 import dialect
from voltyard.speech import AnswerRefused, Asked, Outcome, Restart, Told


async def ask(ctx, charger, outcome: Outcome) -> commands.Command:
    async def answer(_asked: Asked) -> Told:
        return Told(outcome, "Reset", "{}")

    serving = await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, answer)
    try:
        return await commands.ask(ctx, SYSTEM, charger.id, Restart())
    finally:
        await serving.stop()


async def test_whatever_a_charger_says_its_command_comes_to_an_end(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    read = dialect.read_answer(Restart(), b'{"status":"Perh\\u0000aps"}')
    for outcome in (read, AnswerRefused("Odd\0", "det\0ail")):
        done = await ask(ctx, charger, outcome)
        assert done.status is CommandStatus.REJECTED
        assert done.word in {"Perhaps", "Odd"}


async def test_a_late_word_with_a_nul_is_kept_too(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    expired = await commands.ask(ctx, SYSTEM, charger.id, Restart())
    said = [(expired.id, "Perh\0aps", False, '{"status":"Perh\\u0000aps"}')]
    await ctx.db.work(SYSTEM, commands.answered_late, said)
    assert (await ctx.db.read(SYSTEM, commands.get, expired.id)).late_word in {"Perhaps", ""}

"""The password that a charger was given stood in clear in its list of commands, for all who see the charger.

Requests and answers were stored as they were sent; now secrets are masked, and only some see the rest.
"""

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user
from voltyard.chargers import commands
from voltyard.locations.access import Level
from voltyard.speech import Answer, Asked, ByHand, SetKey, Told

PAYLOAD = '{"key":"AuthorizationKey","value":"s3cret"}'


async def test_a_secret_reaches_the_charger_and_nobody_else(ctx):
    owner = await make_user(ctx)
    charger = await make_charger(ctx, (await make_location(ctx, owner)).id)
    looker = await make_member(ctx, charger.location_id, Level.BASIC)
    heard: list[Asked] = []

    async def answer(asked: Asked) -> Told:
        heard.append(asked)
        return Told(Answer(True, "Accepted", "{}"), "ChangeConfiguration", PAYLOAD)

    asks = [SetKey("AuthorizationKey", "s3cret"), ByHand("ChangeConfiguration", PAYLOAD)]
    offline = [await commands.ask(ctx, owner.actor, charger.id, ask) for ask in asks]
    await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, answer)
    made = offline + [await commands.ask(ctx, owner.actor, charger.id, ask) for ask in asks]
    assert [asked.ask for asked in heard] == asks
    rows = await ctx.db.read(SYSTEM, commands.list_commands, charger.id)
    for command in made + rows:
        assert "s3cret" not in command.request
        assert "***" in command.request
    seen = await ctx.db.read(looker.actor, commands.list_commands, charger.id)
    seen.append(await ctx.db.read(looker.actor, commands.get, made[-1].id))
    assert {(command.request, command.answer) for command in seen} == {("", None)}

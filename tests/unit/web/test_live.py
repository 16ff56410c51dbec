import pytest

from voltyard.accounts import service as accounts
from voltyard.kernel.actor import system
from voltyard.kernel.errors import Unauthenticated
from voltyard.kernel.wire import Message, encode
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.web.auth import Credential, recognise
from voltyard.web.door import Door
from voltyard.web.live import UNKNOWN_LOOKS_S, Heard, Watch

SYSTEM = system("test")


class Changed(Message, frozen=True):
    what: str


class Charged(Message, frozen=True):
    what: str


async def watch(door: Door, name: str, *, is_admin: bool = False) -> Watch:
    user = await accounts.register(door.ctx, f"{name}@example.com", password=None, is_admin=is_admin)
    _, token = await door.ctx.db.work(SYSTEM, accounts.add_token, "script", door.key, user.id)
    watching = Watch(door, await recognise(door, Credential(token, is_cookie=False)), ("Charged",))
    await watching.renew()
    return watching


async def found(door: Door, watching: Watch) -> str:
    return (await door.ctx.db.work(watching.caller.actor, locations.create, name="Home")).id


async def test_one_hears_of_ones_own_locations_only(door: Door):
    ann, bob = await watch(door, "ann"), await watch(door, "bob")
    home = await found(door, ann)
    await ann.renew()
    heard = Heard("Changed", '{"type":"Changed","what":"x"}')
    assert await ann.passes(f"live.{home}.chg_1", Changed("x")) == heard
    assert await ann.passes(f"live.{home}.chg_1", encode(Changed("x"))) == heard
    assert await bob.passes(f"live.{home}.chg_1", Changed("x")) is None


async def test_sensitive_kinds_need_sensitive_access(door: Door):
    ann, bob = await watch(door, "ann"), await watch(door, "bob")
    home = await found(door, ann)
    team_id = bob.caller.user.teams[0].id
    await door.ctx.db.work(ann.caller.actor, locations.grant, home, team_id, Level.BASIC)
    await ann.renew()
    await bob.renew()
    assert await bob.passes(f"live.{home}.chg_1", Changed("x")) is not None
    assert await bob.passes(f"live.{home}.chg_1", Charged("x")) is None
    assert await ann.passes(f"live.{home}.chg_1", Charged("x")) is not None


async def test_a_place_never_heard_of_is_looked_up_once(door: Door):
    ann, bob = await watch(door, "ann"), await watch(door, "bob")
    home = await found(door, ann)
    assert await ann.passes(f"live.{home}.chg_1", Changed("x")) is None, "looked a moment ago"
    door.ctx.clock.advance(UNKNOWN_LOOKS_S)
    assert await ann.passes(f"live.{home}.chg_1", Changed("x")) is not None
    assert await bob.passes(f"live.{home}.chg_1", Changed("x")) is None
    team_id = bob.caller.user.teams[0].id
    await door.ctx.db.work(ann.caller.actor, locations.grant, home, team_id, Level.BASIC)
    door.ctx.clock.advance(UNKNOWN_LOOKS_S)
    assert await bob.passes(f"live.{home}.chg_1", Changed("x")) is None, "known to be foreign"
    await bob.renew()
    assert await bob.passes(f"live.{home}.chg_1", Changed("x")) is not None


async def test_chargers_that_wait_are_told_to_administrators(door: Door):
    ann, root = await watch(door, "ann"), await watch(door, "root", is_admin=True)
    assert await ann.passes("live.none.chg_1", Changed("x")) is None
    assert await root.passes("live.none.chg_1", Changed("x")) is not None


async def test_a_revoked_token_is_noticed(door: Door):
    ann = await watch(door, "ann")
    await door.ctx.db.work(ann.caller.actor, accounts.revoke_token, ann.caller.actor.token_id)
    with pytest.raises(Unauthenticated):
        await ann.renew()

"""Which lines a process keeps, alone or beside others, and what it does when things go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from tests.factories import SYSTEM
from tests.unit.lines.scene import Scene, office, playing, scene_of
from voltyard.kernel import leases
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.context import Context
from voltyard.kernel.db import DatabaseUnavailable, Work
from voltyard.kernel.errors import TooMany, VoltyardError
from voltyard.kernel.limits import LISTENER_QUEUE_MAX
from voltyard.kernel.settings import PrivateNetworks, Settings
from voltyard.lines.dial import Target
from voltyard.lines.line import Line
from voltyard.lines.main import SHARES, TRIALS_BURST, Lines, allowed, share_of
from voltyard.operators import service, store
from voltyard.operators.events import WAKE, Deliver, Verdicted, Woken
from voltyard.operators.service import Wanted
from voltyard.speech import Role

NOBODY = "ws://127.0.0.1:9/ocpp"


@pytest.fixture
async def scene(sqlite_ctx: Context) -> AsyncIterator[Scene]:
    async with scene_of(sqlite_ctx) as found:
        yield found


# --- links come and go ----------------------------------------------------------------------------


async def test_a_link_is_served_at_once_and_no_longer_than_it_is_there(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back, Role.OBSERVER)
        await scene.disconnect(link_id)
        await scene.until(lambda: not scene.seen(back).is_connected)
        await scene.until(lambda: not scene.lines._lines)
        assert scene.lines._by_charger == scene.lines._tasks == {}


async def test_a_process_that_hears_no_events_finds_links_and_sayings_by_itself(scene: Scene):
    deaf = replace(scene.ctx, bus=LocalBus(is_strict=True))
    async with office() as back:
        lines = Lines(deaf)
        async with playing(lines.run):
            scene.lines._by_charger.clear()
            link_id = await scene.connect(back, Role.OBSERVER, identity="DEAF")
            await scene.until(lambda: link_id in lines._lines, step_s=1)
            await scene.until(lambda: len(back.charger("DEAF").statuses) >= 3, step_s=1)
            await scene.status("Faulted")
            await scene.until(lambda: back.charger("DEAF").status(1) == "Faulted", step_s=1)


async def test_when_events_were_lost_every_line_looks(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back, Role.OBSERVER)
        await scene.told(link_id)
        await scene.status("Faulted")
        for _ in range(LISTENER_QUEUE_MAX + 1):
            await scene.ctx.bus.publish(WAKE, Woken(("somebody else",)))
        await scene.until(lambda: scene.seen(back).status(1) == "Faulted")


async def test_when_events_were_lost_changed_links_are_noticed_at_once(scene: Scene):
    async with office() as back, office() as other:
        link_id = await scene.online(back, Role.OBSERVER)
        await scene.ctx.db.work(SYSTEM, store.set_link, link_id, url=other.url)
        for _ in range(LISTENER_QUEUE_MAX + 1):
            await scene.ctx.bus.publish(WAKE, Woken(("somebody else",)))
        await scene.until(lambda: other.charger(scene.charger.identity).boots)


class TroubledDatabase:
    """A database that refuses some functions as often as it is told to."""

    def __init__(self, ctx: Context) -> None:
        self._db = ctx.db
        self.troubles: dict[str, int] = {}
        self.wrong: type[Exception] = DatabaseUnavailable

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def _may(self, act: Any) -> None:
        name = act.__name__
        if self.troubles.get(name, 0) > 0:
            self.troubles[name] -= 1
            raise self.wrong

    async def read(self, actor: Any, act: Any, *args: Any, **kwargs: Any) -> Any:
        self._may(act)
        return await self._db.read(actor, act, *args, **kwargs)

    async def work(self, actor: Any, act: Any, *args: Any, **kwargs: Any) -> Any:
        self._may(act)
        return await self._db.work(actor, act, *args, **kwargs)


@asynccontextmanager
async def troubled(ctx: Context) -> AsyncIterator[tuple[Scene, TroubledDatabase]]:
    database = TroubledDatabase(ctx)
    async with scene_of(replace(ctx, db=database)) as scene:
        yield scene, database


@pytest.mark.parametrize(
    "act",
    ["list_served", "find", "facts", "situation", "list_owed", "feed", "record", "set_state", "away"],
)
@pytest.mark.parametrize("wrong", [DatabaseUnavailable, RuntimeError])
async def test_a_database_that_fails_for_a_moment_costs_nothing_but_time(sqlite_ctx: Context, act, wrong):
    async with troubled(sqlite_ctx) as (scene, database), office() as back:
        database.wrong = wrong
        database.troubles[act] = 2
        link_id = await scene.connect(back, Role.OBSERVER)
        await scene.until(lambda: scene.seen(back).registration == "Accepted", step_s=1)
        await scene.charge()
        await scene.change(link_id, name="Another")
        await scene.until(lambda: scene.seen(back).transactions, step_s=1)
        await scene.until(lambda: not scene.seen(back).transactions[0].is_running, step_s=1)
        await scene.reach(link_id, "online", step_s=1)
        assert len(scene.seen(back).transactions) == 1
        await scene.go()
        await scene.reach(link_id, "waiting", step_s=5)


async def test_a_line_that_fails_is_begun_again_and_hurts_no_other(scene: Scene, monkeypatch):
    async with office() as back:
        link_id = await scene.online(back, Role.OBSERVER)
        failed: list[str] = []
        live = Line._live

        async def fail(line: Line, pause_s: float) -> Any:
            if line.link_id != link_id and not failed:
                failed.append(line.link_id)
                raise RuntimeError
            return await live(line, pause_s)

        monkeypatch.setattr(Line, "_live", fail)
        other = await scene.connect(back, Role.OBSERVER, identity="OTHER")
        await scene.until(lambda: back.charger("OTHER").boots, step_s=1)
        assert failed == [other]
        assert scene.seen(back).connections == 1


# --- shares ---------------------------------------------------------------------------------------


def test_every_link_belongs_to_one_share():
    found = {share_of(f"link_{number:026}") for number in range(1_000)}
    assert found == set(range(SHARES))


def among_others(ctx: Context) -> Context:
    """Return a context whose process is one of several."""
    settings = ctx.settings.model_copy(update={"nats_url": SecretStr("nats://127.0.0.1:4222")})
    return replace(ctx, settings=settings)


def held_by(work: Work, holder: str) -> list[str]:
    """Return the leases of a process."""
    rows = work.rows(leases.leases.select().where(leases.leases.c.holder == holder))
    return [row.name for row in rows]


@pytest.mark.parametrize("how", ["stops", "dies"])
async def test_processes_divide_the_lines_and_take_over_from_one_that_is_gone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, how
):
    ctx = among_others(scene.ctx)
    for number in range(8):
        await scene.connect(NOBODY, Role.OBSERVER, identity=f"CP-{number}")
    one, two = Lines(ctx, "one"), Lines(ctx, "two")
    everything = set(range(SHARES))
    async with playing(two.run):
        async with playing(one.run):
            await scene.until(lambda: len(one._shares) == len(two._shares) == 16, step_s=3)
            assert one._shares | two._shares == everything
            await scene.until(lambda: len(one._tasks) + len(two._tasks) == 8, step_s=1)
            assert {share_of(each) for each in one._tasks} <= one._shares
            if how == "dies":

                async def nothing(*_: Any, **__: Any) -> None:
                    """Say no good-bye."""

                monkeypatch.setattr(one, "_give_back", nothing)
        # One that stops leaves nothing that others would have to wait for.
        left = await scene.ctx.db.read(SYSTEM, held_by, "one")
        assert len(left) == (0 if how == "stops" else 1 + SHARES // 2)
        await scene.until(lambda: two._shares == everything, step_s=3)
        await scene.until(lambda: len(two._tasks) == 8)


async def test_a_share_is_given_back_once_its_lines_have_ended(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    ctx, number = among_others(scene.ctx), 0
    while share_of(await scene.connect(NOBODY, Role.OBSERVER, identity=f"CP-{number}")) < SHARES // 2:
        number += 1
    one, two = Lines(ctx, "one"), Lines(ctx, "two")
    may_end, run = asyncio.Event(), Line.run

    async def linger(line: Line) -> None:
        try:
            await run(line)
        finally:
            if line._around is one._around:
                await may_end.wait()

    monkeypatch.setattr(Line, "run", linger)
    async with playing(one.run):
        await scene.until(lambda: len(one._tasks) == number + 1, step_s=1)
        async with playing(two.run):
            await scene.until(lambda: len(one._shares) == SHARES // 2, step_s=3)
            assert len(await scene.ctx.db.read(SYSTEM, held_by, "one")) == 1 + SHARES
            assert two._shares == set()
            may_end.set()
            await scene.until(lambda: len(two._shares) == SHARES // 2, step_s=3)


# --- trying out -----------------------------------------------------------------------------------


async def test_an_operator_is_tried_out_with_what_was_entered_or_is_kept(scene: Scene):
    async with office(password="secret word") as back:

        async def tried(link_id: str = "", **wanted: Any) -> list[tuple[str, bool]]:
            found = await service.try_out(scene.ctx, SYSTEM, scene.charger.id, Wanted(**wanted), link_id)
            return [(each.step, each.is_ok) for each in found.attempts]

        good = await tried(url=back.url, password="secret word")
        assert good == [
            (step, True) for step in ("url", "dns", "address", "tcp", "http", "subprotocol", "open")
        ]
        assert (await tried(url=back.url))[-1] == ("http", False)
        assert (await tried(url=NOBODY))[-1] == ("tcp", False)
        link_id = await scene.online(back, password="secret word")
        assert (await tried(link_id))[-1] == ("open", True)
        assert (await tried(link_id, password="another word"))[-1] == ("http", False)


async def test_nobody_tries_connections_again_and_again(scene: Scene):
    async def tried() -> None:
        await service.try_out(scene.ctx, SYSTEM, scene.charger.id, Wanted(url=NOBODY))

    for _ in range(TRIALS_BURST):
        await tried()
    with pytest.raises(TooMany) as refused:
        await tried()
    assert refused.value.facts["retry_after_s"] == 5
    scene.wait(5)
    await tried()


def test_an_installation_never_calls_itself(settings: Settings):
    found = allowed(Target(NOBODY, "CP-1"), settings)
    assert not found.is_private_allowed
    assert found.own_ports == {settings.ocpp_port, settings.http_port}
    assert all("://" not in door and door for door in found.own_doors)
    private = settings.model_copy(
        update={"operator_private_networks": PrivateNetworks.ALLOW, "ocpp_tls_port": 9_443}
    )
    assert allowed(Target(NOBODY, "CP-1"), private).is_private_allowed
    assert 9_443 in allowed(Target(NOBODY, "CP-1"), private).own_ports


async def test_a_link_that_was_changed_is_noticed_though_nobody_tells(scene: Scene):
    deaf = replace(scene.ctx, bus=LocalBus(is_strict=True))
    async with office() as back, office() as other:
        lines = Lines(deaf)
        async with playing(lines.run):
            link_id = await scene.connect(back, Role.OBSERVER, identity="DEAF")
            await scene.until(lambda: back.charger("DEAF").boots, step_s=1)
            # The lines of the scene are to leave it alone.
            await scene.until(lambda: link_id in scene.lines._lines)
            scene.lines._tasks[link_id].cancel()
            await scene.change(link_id, url=other.url)
            await scene.until(lambda: other.charger("DEAF").boots, step_s=1)


async def test_a_line_that_ends_serves_nothing_more_however_often_it_is_told(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back, Role.OBSERVER)
        line, task = scene.line(link_id), scene.lines._tasks[link_id]
        for _ in range(3):
            assert scene.lines._end([link_id]) == [task]
            await asyncio.sleep(0)
        assert task.cancelling() == 1
        await asyncio.wait((task,))
        for subject in ("deliver", "authorise"):
            with pytest.raises(VoltyardError):
                await scene.ctx.bus.request(
                    f"line.{line.link_id}.{subject}", Deliver(1), Verdicted, timeout_s=0.1
                )


def test_an_own_door_is_known_by_its_port_also_where_it_names_none(settings: Settings):
    named = settings.model_copy(
        update={"public_ocpp_url": "wss://OCPP.example.com/ocpp", "public_url": "https://example.com:8443"}
    )
    assert allowed(Target(NOBODY, "CP-1"), named).own_doors == {"ocpp.example.com:443", "example.com:8443"}

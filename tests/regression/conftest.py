"""The portal in process, over an empty SQLite database, and somebody who is logged in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from voltyard.accounts import service as accounts
from voltyard.cards.service import Judgement
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Place
from voltyard.kernel.actor import Actor, Kind, system
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database, metadata
from voltyard.kernel.files import Files
from voltyard.kernel.settings import Settings
from voltyard.locations import service as locations
from voltyard.portal.app import build
from voltyard.speech import Hello, Started, Verdict
from voltyard.transactions import service as transactions

SYSTEM = system("test")
PASSWORD = "a long enough password"


@dataclass
class Portal:
    """The portal, an administrator's browser in front of it, and the parts behind it."""

    ctx: Context
    actor: Actor
    http: httpx2.AsyncClient

    async def text(self, place: str, status: int = 200) -> str:
        answer = await self.http.get(place)
        assert answer.status_code == status, answer.text
        return str(answer.text)

    async def add_location(self, name: str, timezone: str) -> str:
        made = await self.ctx.db.work(self.actor, locations.create, name=name, timezone=timezone)
        return made.id

    async def charge(self, location_id: str, identity: str) -> tuple[str, str]:
        """Connect a charger and start a transaction now; return the ids of both."""
        hello = Hello(identity, f"ses-{identity}", "gateway-1", "ocpp1.6", "192.0.2.7")
        key = self.ctx.settings.secret_key()
        welcomes = await self.ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=True)
        charger_id = welcomes[0].charger_id
        assert charger_id is not None
        await chargers.claim(self.ctx, self.actor, location_id, identity=identity)
        said = Started(1, "04AABBCC", 1_000, self.ctx.clock.now())
        place = Place(charger_id, location_id)
        await self.ctx.db.work(SYSTEM, transactions.start, [(place, said)], [Judgement(Verdict.ACCEPTED)])
        found = await self.ctx.db.read(
            self.actor, transactions.list_transactions, charger_id=charger_id, limit=1
        )
        return charger_id, found[0].id


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    url = f"sqlite:///{tmp_path / 'voltyard.db'}"
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    clock, bus = FakeClock(), LocalBus(is_strict=True)
    settings = Settings(data=tmp_path, secret="a secret of the tests", public_url="http://voltyard.test")
    ctx = Context(Database(url, clock=clock, bus=bus), bus, clock, Files(tmp_path / "files"), settings)
    user = await accounts.register(ctx, "kim@example.com", password=PASSWORD, name="Kim", is_admin=True)
    actor = Actor(
        kind=Kind.USER, subject_id=user.id, team_ids=(user.teams[0].id,), door="portal", is_admin=True
    )
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(build(ctx)),
        base_url="http://voltyard.test",
        headers={"Origin": "http://voltyard.test"},
    ) as http:
        answer = await http.post("/login", data={"email": "kim@example.com", "password": PASSWORD})
        assert answer.status_code == 303
        yield Portal(ctx, actor, http)
    await ctx.db.close()
    await bus.close()

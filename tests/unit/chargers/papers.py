"""Certificates for the tests of chargers: an authority that is made once, and chargers that ask it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.factories import SYSTEM
from voltyard.chargers import certificates as room
from voltyard.chargers import security_store
from voltyard.kernel import certificates
from voltyard.kernel.certificates import Pair
from voltyard.kernel.context import Context
from voltyard.speech import Answer, AnswerRefused, Asked, Details, Told

BEFORE = datetime(2025, 1, 1, tzinfo=UTC)


@cache
def pairs() -> tuple[Pair, Pair]:
    """Return a root and an issuer, the same for all tests: making them takes long."""
    until_at = BEFORE + timedelta(days=7_000)
    root = certificates.new_root("Test root", "Voltyard", BEFORE, until_at)
    return root, certificates.new_issuer(root, "Test issuer", "Voltyard", BEFORE, until_at)


async def give_authority(ctx: Context) -> tuple[Pair, Pair]:
    """Let a database have an authority without the time that it takes to make one."""
    for name, pair in zip((room.ROOT, room.ISSUER), pairs(), strict=True):
        row = room._row(name, pair, ctx.settings.secret_key())
        await ctx.db.work(SYSTEM, security_store.insert_authority, row)
    return pairs()


def der(pem: str) -> str:
    """Return a certificate as a Hello carries it."""
    made = x509.load_pem_x509_certificate(pem.encode())
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


class Answering:
    """A charger that answers whatever it is asked as the test wants, and remembers it."""

    def __init__(self, ctx: Context, charger_id: str) -> None:
        self.ctx = ctx
        self.charger_id = charger_id
        self.asked: list[Any] = []
        self.status = "Accepted"
        self.is_accepted = True
        self.details: Details | None = None
        self.wrong: Exception | None = None
        self.before: Any = None

    async def __aenter__(self) -> Self:
        self._serving = await self.ctx.bus.serve(f"charger.{self.charger_id}.ask", Asked, self.answer)
        return self

    async def __aexit__(self, *_wrong: object) -> None:
        await self._serving.stop()

    def reject(self, status: str = "Rejected") -> None:
        """Refuse from now on."""
        self.status, self.is_accepted = status, False

    async def answer(self, asked: Asked) -> Told:
        """Answer one ask."""
        self.asked.append(asked.ask)
        if self.before is not None:
            await self.before(asked.ask)
        if self.wrong is not None:
            raise self.wrong
        kind = type(asked.ask).__name__
        if self.status == "CALLERROR":
            return Told(AnswerRefused("NotSupported"), kind, "{}")
        outcome = Answer(self.is_accepted, self.status, f'{{"status":"{self.status}"}}', self.details)
        return Told(outcome, kind, "{}")

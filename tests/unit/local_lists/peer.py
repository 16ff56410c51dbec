"""A charger that keeps a list of cards, as the specification says, at our end of the bus."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.factories import SYSTEM
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Charger
from voltyard.kernel.bus import Serving
from voltyard.kernel.context import Context
from voltyard.kernel.errors import TimedOut
from voltyard.speech import (
    Answer,
    Ask,
    Asked,
    CardsVersion,
    ForgetCards,
    GetKeys,
    Hello,
    Priority,
    ReplaceCards,
    SetKey,
    TellCardsVersion,
    Told,
    UpdateCards,
)


@dataclass
class Peer:
    """What the charger holds and how it behaves; ``asked`` is all that it was asked."""

    ctx: Context
    charger: Charger
    keys: dict[str, str] = field(
        default_factory=lambda: {
            "SupportedFeatureProfiles": "Core,LocalAuthListManagement",
            "LocalAuthListEnabled": "true",
            "LocalAuthListMaxLength": "100",
            "SendLocalListMaxLength": "3",
        }
    )
    held: dict[str, str] = field(default_factory=dict)
    version: int = 0
    cannot: frozenset[type] = frozenset()
    refuses: dict[type, str] = field(default_factory=dict)
    is_silent: bool = False
    asked: list[Ask] = field(default_factory=list)
    serving: Serving | None = None

    async def connect(self) -> Peer:
        """Open the socket."""
        hello = Hello(self.charger.identity, "ses-1", "gateway-1", "ocpp1.6", "192.0.2.7")
        key = self.ctx.settings.secret_key()
        await self.ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=False)
        self.serving = await self.ctx.bus.serve(f"charger.{self.charger.id}.ask", Asked, self.answer)
        return self

    async def leave(self) -> None:
        """Lose the socket."""
        await self.ctx.db.work(SYSTEM, chargers.disconnect, self.charger.id, "ses-1")
        assert self.serving is not None
        await self.serving.stop()

    async def answer(self, asked: Asked) -> Told:
        assert asked.priority is Priority.BACKGROUND
        self.asked.append(asked.ask)
        if self.is_silent:
            raise TimedOut
        return Told(self._answer(asked.ask), type(asked.ask).__name__, "{}")

    def _answer(self, ask: Ask) -> Answer:
        if type(ask) in self.cannot:
            return answered("NotSupported")
        if type(ask) in self.refuses:
            return answered(self.refuses[type(ask)])
        match ask:
            case GetKeys(keys):
                told = [{"key": key, "value": self.keys[key]} for key in keys if key in self.keys]
                return answered("", configurationKey=told)
            case SetKey(key, value):
                self.keys[key] = value
                return answered("Accepted")
            case TellCardsVersion():
                found = answered("", listVersion=self.version)
                return Answer(True, "", found.payload, CardsVersion(self.version))
            case ReplaceCards(version, cards):
                self.held = {card.id_tag: card.verdict.value for card in cards if card.verdict}
                self.version = version
                return answered("Accepted")
            case UpdateCards(version, cards):
                if version <= self.version:
                    return answered("VersionMismatch")
                for card in cards:
                    if card.verdict is None:
                        del self.held[card.id_tag]
                    else:
                        self.held[card.id_tag] = card.verdict.value
                self.version = version
                return answered("Accepted")
            case ForgetCards():
                return answered("Accepted")
            case _:
                raise AssertionError(ask)

    def count(self, kind: type) -> int:
        """Say how often it was asked for something of this kind."""
        return sum(type(ask) is kind for ask in self.asked)


def answered(status: str, **more: Any) -> Answer:
    """Make the answer that a dialect would make of this."""
    payload = more if not status else {"status": status, **more}
    return Answer(status in {"", "Accepted"}, status, json.dumps(payload))

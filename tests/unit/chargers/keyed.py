"""A charger with configuration keys, as it answers over the bus; its habits are those of real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from voltyard.kernel.context import Context
from voltyard.kernel.errors import ChargerOffline, TimedOut
from voltyard.speech import Answer, AnswerRefused, Asked, GetKeys, Outcome, Restart, SetKey, Told

FACTORY = {
    "AuthorizeRemoteTxRequests": "false",
    "ClockAlignedDataInterval": "900",
    "ConnectionTimeOut": "60",
    "ConnectorPhaseRotation": "0.RST",
    "GetConfigurationMaxKeys": "10",
    "HeartbeatInterval": "300",
    "LocalAuthorizeOffline": "true",
    "LocalPreAuthorize": "false",
    "MeterValuesAlignedData": "Energy.Active.Import.Register",
    "MeterValuesSampledData": "Energy.Active.Import.Register,Voltage",
    "MeterValueSampleInterval": "60",
    "NumberOfConnectors": "2",
    "ResetRetries": "1",
    "StopTransactionOnEVSideDisconnect": "true",
    "StopTransactionOnInvalidId": "true",
    "StopTxnAlignedData": "",
    "StopTxnSampledData": "",
    "SupportedFeatureProfiles": "Core,SmartCharging",
    "TransactionMessageAttempts": "3",
    "TransactionMessageRetryInterval": "60",
    "UnlockConnectorOnEVSideDisconnect": "true",
    "BackOfficeUrl": "ws://voltyard.test/ocpp",
    "WifiPassword": "correct horse",
}
READ_ONLY = frozenset(("GetConfigurationMaxKeys", "NumberOfConnectors", "SupportedFeatureProfiles"))


@dataclass
class KeyedCharger:
    """What a charger keeps and how it behaves; ``asked`` is what it was asked."""

    ctx: Context
    charger_id: str
    values: dict[str, str | None] = field(default_factory=lambda: dict(FACTORY))
    can_list: bool = True
    errs_at_unknown: bool = False
    after_reboot: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()
    measurands_max: int = 22
    silent_at: Callable[[Any], bool] = lambda _ask: False
    gone_at: Callable[[Any], bool] = lambda _ask: False
    asked: list[Any] = field(default_factory=list)
    priorities: set[str] = field(default_factory=set)
    waiting: dict[str, str] = field(default_factory=dict)

    async def serve(self) -> KeyedCharger:
        """Be there."""
        self._serving = await self.ctx.bus.serve(f"charger.{self.charger_id}.ask", Asked, self.answer)
        return self

    async def leave(self) -> None:
        """Be there no more."""
        await self._serving.stop()

    def reboot(self) -> None:
        """Let what waited for it take effect."""
        self.values |= self.waiting
        self.waiting.clear()

    @property
    def changes(self) -> list[tuple[str, str]]:
        """Return what it was asked to change."""
        return [(ask.key, ask.value) for ask in self.asked if isinstance(ask, SetKey)]

    @property
    def questions(self) -> list[tuple[str, ...]]:
        """Return which keys it was asked for."""
        return [ask.keys for ask in self.asked if isinstance(ask, GetKeys)]

    async def answer(self, asked: Asked) -> Told:
        """Answer one ask."""
        self.asked.append(asked.ask)
        self.priorities.add(asked.priority.value)
        if self.gone_at(asked.ask):
            raise ChargerOffline
        if self.silent_at(asked.ask):
            raise TimedOut
        match asked.ask:
            case GetKeys(keys):
                return Told(self._tell(keys), "GetConfiguration", json.dumps({"key": list(keys)}))
            case SetKey(key, value):
                word = self._change(key, value)
                request = json.dumps({"key": key, "value": value})
                return Told(
                    Answer(word in {"Accepted", "RebootRequired"}, word, json.dumps({"status": word})),
                    "ChangeConfiguration",
                    request,
                )
            case Restart():
                return Told(Answer(True, "Accepted", '{"status":"Accepted"}'), "Reset", '{"type":"Soft"}')
        raise AssertionError(asked)

    def _spelled(self, name: str) -> str | None:
        return next((known for known in self.values if known.casefold() == name.casefold()), None)

    def _tell(self, names: tuple[str, ...]) -> Outcome:
        if not names and not self.can_list:
            return AnswerRefused("NotSupported", "no")
        found = [self._spelled(name) for name in names] if names else list(self.values)
        unknown = [name for name, known in zip(names, found, strict=False) if known is None]
        if unknown and self.errs_at_unknown:
            return AnswerRefused("InternalError", "what?")
        told = [
            {"key": name, "readonly": name in READ_ONLY, "value": self.values[name]} for name in found if name
        ]
        if not names:
            told = told[: int(self.values.get("ListsAtMost") or len(told))]
        return Answer(True, "", json.dumps({"configurationKey": told, "unknownKey": unknown}))

    def _change(self, name: str, value: str) -> str:
        known = self._spelled(name)
        if known is None:
            return "NotSupported"
        if known in READ_ONLY or value == "wrong":
            return "Rejected"
        if known.endswith("Data") and len([each for each in value.split(",") if each]) > self.measurands_max:
            return "Rejected"
        if known in self.ignores:
            return "Accepted"
        if known in self.after_reboot:
            self.waiting[known] = value
            return "RebootRequired"
        self.values[known] = value
        return "Accepted"

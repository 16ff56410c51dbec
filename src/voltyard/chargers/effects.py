"""What a command is meant to bring about, and whether it came: a charge, a restart, a message.

A charger's *Accepted* is a promise. What has to be heard for the promise to be kept is written down with the
command, in one word, and ticked off when it is heard. That it was missed is no event: it is true as soon as
the time is over, for whoever looks. Pure but for ``note``, which chargers keep busy: nothing is written
unless a command of those chargers waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from voltyard.chargers import commands_store as store
from voltyard.chargers.events import CommandChanged, subject
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid
from voltyard.kernel.limits import (
    CONNECT_EFFECT_MAX_S,
    CONNECT_EFFECT_S,
    CONNECT_SLACK_S,
    MESSAGE_EFFECT_S,
    RESTART_EFFECT_S,
    STOP_EFFECT_S,
)
from voltyard.kernel.wire import decode
from voltyard.speech import (
    Ask,
    Beat,
    Booted,
    ByHand,
    DiagnosticsTold,
    Ended,
    FirmwareTold,
    LogTold,
    Metered,
    Restart,
    Said,
    SigningAsked,
    StartCharging,
    Started,
    StatusTold,
    StopCharging,
    Trigger,
    TriggerExtended,
)

AWAITS_LENGTH: Final = 96
CONNECT_KEY: Final = "connectiontimeout"
CONNECT_DIGITS_MAX: Final = 9
START: Final = "start"
STOP: Final = "stop"
BOOT: Final = "boot"
MESSAGE: Final = "message"
LASTS_S: Final = MappingProxyType({STOP: STOP_EFFECT_S, BOOT: RESTART_EFFECT_S, MESSAGE: MESSAGE_EFFECT_S})

_MESSAGES: Final[MappingProxyType[type, str]] = MappingProxyType(
    {
        Booted: "BootNotification",
        Beat: "Heartbeat",
        StatusTold: "StatusNotification",
        Metered: "MeterValues",
        DiagnosticsTold: "DiagnosticsStatusNotification",
        FirmwareTold: "FirmwareStatusNotification",
        LogTold: "LogStatusNotification",
        SigningAsked: "SignChargePointCertificate",
    }
)


class Effect(StrEnum):
    """Whether what a command was meant to bring about has come."""

    NONE = ""
    WAITING = "waiting"
    HAPPENED = "happened"
    MISSED = "missed"


def connector_of(ask: Ask) -> int | None:
    """Return the connector that an ask is about, None where it names none that is a number."""
    number = _payload(ask).get("connectorId") if isinstance(ask, ByHand) else getattr(ask, "connector", None)
    is_number = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**31
    return number if is_number else None


def awaited(ask: Ask) -> str | None:
    """Return in one word what must be heard for an ask to have had its effect; None if nothing need be."""
    match ask:
        case StartCharging(id_tag):
            return _of(START, id_tag)
        case StopCharging(number):
            return _of(STOP, number)
        case Restart():
            return BOOT
        case Trigger(what, connector) | TriggerExtended(what, connector):
            return _of(MESSAGE, what, connector)
        case ByHand(action):
            return _by_hand(action, _payload(ask))
    return None


def lasts_s(awaits: str, connect_s: float = CONNECT_EFFECT_S) -> float:
    """Return how long after the answer the effect may come; ``connect_s`` is the time to plug in."""
    kind = awaits.partition(":")[0]
    return connect_s + CONNECT_SLACK_S if kind == START else LASTS_S[kind]


def connects_s(told: str | None) -> float:
    """Return how long a charger waits for the cable, as it told of its ConnectionTimeOut."""
    if told is None or not told.strip().isdecimal() or len(told) > CONNECT_DIGITS_MAX:
        return CONNECT_EFFECT_S
    return min(float(told), CONNECT_EFFECT_MAX_S) or CONNECT_EFFECT_S


def is_message(awaits: str | None) -> bool:
    """Say whether a command waits for a message of the charger that would be recognised."""
    kind, _, about = (awaits or "").partition(":")
    return kind == MESSAGE and about.partition(":")[0] in _MESSAGES.values()


def is_heard(awaits: str, said: Said) -> bool:
    """Say whether a saying of the charger is what a command waits for."""
    kind, _, about = awaits.partition(":")
    if kind == BOOT:
        return isinstance(said, Booted)
    if kind == START:
        return isinstance(said, Started) and _of(START, said.id_tag) == awaits
    if kind == STOP:
        # Quirk Q38: some tell 0 or -1 instead of the transaction's number.
        return isinstance(said, Ended) and (said.number <= 0 or _of(STOP, said.number) == awaits)
    what, _, connector = about.partition(":")
    if _MESSAGES.get(type(said)) != what:
        return False
    return not connector or str(getattr(said, "connector", connector)) == connector


def note(work: Work, items: Sequence[tuple[str, Said]]) -> None:
    """Tick off the commands whose effect is among these sayings, each with the id of its charger.

    One statement that finds nothing, as long as no command of these chargers waits.
    """
    waiting = store.find_waiting(work, (charger_id for charger_id, _ in items))
    if not waiting:
        return
    heard: dict[str, list[Said]] = {}
    for charger_id, said in items:
        heard.setdefault(charger_id, []).append(said)
    done = [row.id for row in waiting if any(is_heard(row.awaits, each) for each in heard[row.charger_id])]
    if done:
        store.set_happened(work, done)
        for row in store.find_places(work, done):
            event = CommandChanged(row.id, row.charger_id, row.location_id, row.status)
            work.emit(subject(row.location_id, row.charger_id), event)


def _of(kind: str, *about: object) -> str:
    return ":".join(
        (kind, *(str(each).casefold() if kind == START else str(each) for each in about if each))
    )[:AWAITS_LENGTH]


def _payload(ask: Ask) -> dict[str, Any]:
    """Return what a person wrote, as far as it is an object."""
    if not isinstance(ask, ByHand):
        return {}
    try:
        written = decode(ask.payload, object)
    except Invalid:
        return {}
    return written if isinstance(written, dict) else {}


def _by_hand(action: str, payload: dict[str, Any]) -> str | None:
    read = _BY_HAND.get(action)
    return None if read is None else read(payload)


def _triggered(payload: dict[str, Any]) -> str:
    return _of(MESSAGE, payload.get("requestedMessage"), payload.get("connectorId"))


_BY_HAND: Final[MappingProxyType[str, Callable[[dict[str, Any]], str]]] = MappingProxyType(
    {
        "RemoteStartTransaction": lambda payload: _of(START, payload.get("idTag")),
        "RemoteStopTransaction": lambda payload: _of(STOP, payload.get("transactionId")),
        "Reset": lambda _payload: BOOT,
        "TriggerMessage": _triggered,
        "ExtendedTriggerMessage": _triggered,
    }
)

"""What is promised of whatever a peer sends: one function takes the bytes and checks all of it."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from voltyard.chargers.flaws import FLAWS
from voltyard.kernel.limits import BUS_BYTES_MAX, FRAME_BYTES_MAX
from voltyard.kernel.wire import Message, decode, encode
from voltyard.ocpp import frames, session
from voltyard.ocpp.v16 import actions, dialect
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Ask,
    ByHand,
    CertificateKind,
    GetKeys,
    Heard,
    LogKind,
    Outcome,
    Priority,
    Restart,
    Said,
    SendDiagnostics,
    SendLog,
    SetKey,
    StartCharging,
    TellCardsVersion,
    TellCertificates,
    TellComposite,
    TellVendor,
    Told,
    Trigger,
    Unlock,
)

ZONE = ZoneInfo("Europe/Amsterdam")
ASKS: tuple[Ask, ...] = (
    GetKeys(),
    SetKey("a", "b"),
    StartCharging("04"),
    Unlock(1),
    Restart(),
    Trigger("Heartbeat"),
    TellVendor("v"),
    TellComposite(1, 60),
    TellCardsVersion(),
    TellCertificates(CertificateKind.CENTRAL),
    SendDiagnostics("https://x"),
    SendLog(LogKind.SECURITY, 1, "https://x"),
    ByHand("ClearCache", "{}"),
)
ACTIONS = (*actions.FROM_CHARGER, *actions.TO_CHARGER, "Unknown")


def one_input(data: bytes) -> None:
    """Let everything that reads a peer's bytes read these. Raises: AssertionError for a broken promise."""
    mark = zlib.crc32(data)
    _frames(data)
    _session(data, mark)
    frame = frames.decode(data)
    if isinstance(frame, frames.Call):
        for action in {frame.action, ACTIONS[mark % len(ACTIONS)], ACTIONS[mark // 64 % len(ACTIONS)]}:
            _dialect(frames.Call(frame.id_raw, action, frame.payload, flaws=frame.flaws))
    payload = frame.payload if isinstance(frame, frames.Call | frames.CallResult) else data
    for ask in (ASKS[mark % len(ASKS)], ASKS[mark // 64 % len(ASKS)]):
        _answer(ask, payload)


def _frames(data: bytes) -> None:
    frame = frames.decode(data)
    if isinstance(frame, frames.Call | frames.CallResult):
        assert isinstance(json.loads(frame.payload), dict), "a payload is an object"
        json.loads(frame.id_raw)
        assert len(frame.id_raw) <= frames.ID_BYTES_MAX
        answer = frames.encode_result(frame.id_raw, b"{}")
        assert frame.id_raw in answer
        assert isinstance(frames.decode(answer), frames.CallResult)
    if isinstance(frame, frames.Broken) and frame.id_raw is not None:
        refusal = frames.encode_error(frame.id_raw, frame.code, frame.detail)
        assert isinstance(frames.decode(refusal), frames.CallError)
    if len(data) < FRAME_BYTES_MAX // 8:
        mended = frames.repair(data)
        assert len(mended) <= 7 * len(data) + 8, "a repair does not blow a frame up"


def _session(data: bytes, mark: int) -> None:
    one = session.Session("f-", is_half_duplex=bool(mark & 1), is_id_loose=bool(mark & 2))
    token, now = object(), 1.0
    effects = list(
        one.ask(token, "ClearCache", b"{}", priority=Priority.PORTAL, origin="f", timeout_s=9, now=0)
    )
    ends = 0
    for text in (data, data, data[: len(data) // 2]):
        effects += one.received(text, now)
        now += 1.0
        for effect in list(effects):
            effects.remove(effect)
            match effect:
                case session.Heard(call):
                    effects += one.answer(call, b"{}", now)
                case session.Answered() | session.AnsweredError() | session.Dropped():
                    assert effect.token is token
                    ends += 1
                case session.Send(sent):
                    assert isinstance(json.loads(sent), list), "what is sent is JSON"
                case session.Noted(what):
                    assert what in FLAWS or what == "answer_to_no_call", f"say what {what} means"
                case _:
                    pass
    ends += sum(isinstance(effect, session.Expired) for effect in one.tick(now + 100))
    ends += sum(isinstance(effect, session.Dropped) for effect in one.closed(now))
    assert ends == 1, "each ask ends once"


def _dialect(call: frames.Call) -> None:
    for zone in (UTC, ZONE):
        flaws: list[str] = []
        said = dialect.read(call, flaws, zone)
        for flaw in flaws:
            assert flaw in FLAWS, f"say what {flaw} means"
        if isinstance(said, dialect.Malformed):
            assert said.code in frames.ERROR_CODES
            continue
        _carried(said)


def _carried(said: Said) -> None:
    """Check that the bus brings a saying to the desk as it was, and that its times are in UTC."""
    heard = Heard("chg_x", "soc_x", "1", "A", "{}", said)
    text = encode(heard)
    assert len(text) < BUS_BYTES_MAX
    assert decode(text, Heard) == heard, "the bus carries it as it is"
    for at in _instants(said):
        assert at.tzinfo is not None
        assert at.utcoffset() == timedelta(0)


def _instants(value: Any) -> list[datetime]:
    if isinstance(value, datetime):
        return [value]
    if isinstance(value, Message):
        return [at for name in value.__struct_fields__ for at in _instants(getattr(value, name))]
    if isinstance(value, tuple):
        return [at for each in value for at in _instants(each)]
    return []


def _answer(ask: Ask, payload: bytes) -> None:
    outcome: Outcome = dialect.read_answer(ask, payload)
    assert isinstance(outcome, Answer | AnswerRefused)
    told = Told(outcome, "A", "{}")
    assert decode(encode(told), Told) == told, "the bus carries it as it is"

"""Replays the conversations in this folder, line by line, through a session and the dialect.

What goes in: `> ` a frame of the charger, `! ` something that we do, `+ ` seconds that pass.
What must come out, all of it and in this order: `< ` our frame, `= ` a sentence that was understood,
`~ ` what was noted. A line that starts with `#` is a remark, `  ` continues the line above.

`! ask <Ask> {…}` asks the charger, with `priority`, `origin` and `timeout_s` beside the ask's own fields
where they matter. `! hold` keeps our answers back until `! go on`; cards in BLOCKED are not let in.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from voltyard import speech
from voltyard.ocpp import session
from voltyard.ocpp.frames import Call
from voltyard.ocpp.v16 import dialect

FOLDER = Path(__file__).parent
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BLOCKED = {"STOLEN"}
HEARTBEAT_S = 300


class Replay:
    """A charger's connection with somebody behind it who decides by a few fixed rules."""

    def __init__(self) -> None:
        self.session = session.Session("vy-")
        self.now = 0.0
        self.is_held = False
        self.held: deque[tuple[Call, speech.Said]] = deque()
        self.number = 56
        self.came_out: list[str] = []

    def do(self, sign: str, text: str) -> None:
        if sign == ">":
            self.carry_out(self.session.received(text, self.now))
        elif sign == "+":
            self.now += float(text.removesuffix(" s"))
            self.carry_out(self.session.tick(self.now))
        elif text == "hold":
            self.is_held = True
        elif text == "go on":
            self.is_held = False
            self.answer_held()
        elif text == "close":
            self.carry_out(self.session.closed(self.now))
        else:
            self.ask(*text.removeprefix("ask ").split(" ", 1))

    def ask(self, kind: str, fields: str = "{}") -> None:
        values = json.loads(fields)
        priority = speech.Priority(values.pop("priority", "portal"))
        origin = values.pop("origin", "portal")
        timeout_s = values.pop("timeout_s", 30)
        ask: speech.Ask = msgspec.convert(values | {"type": kind}, speech.Ask)
        action, payload = dialect.write(ask)
        self.carry_out(
            self.session.ask(
                ask,
                action,
                payload,
                priority=priority,
                origin=origin,
                timeout_s=timeout_s,
                now=self.now,
            )
        )

    def carry_out(self, effects: session.Effects) -> None:
        for effect in effects:
            match effect:
                case session.Send(data):
                    self.came_out.append(f"< {data.decode()}")
                case session.Heard(call):
                    self.hear(call)
                case session.Answered(token, payload):
                    self.tell(dialect.read_answer(token, payload))  # type: ignore[arg-type]
                case session.AnsweredError(_, code, description):
                    self.tell(speech.AnswerRefused(code, description))
                case session.AnsweredLate(token, payload, code, description):
                    self.came_out.append(f"~ late {type(token).__name__}")
                    self.tell(
                        speech.AnswerRefused(code, description)
                        if code
                        else dialect.read_answer(token, payload)  # type: ignore[arg-type]
                    )
                case session.Expired(token, was_sent):
                    self.came_out.append(
                        f"~ expired {type(token).__name__} {'sent' if was_sent else 'unsent'}"
                    )
                case session.Dropped(token, why):
                    self.came_out.append(f"~ dropped {type(token).__name__} {why}")
                case session.Noted(what, detail):
                    self.came_out.append(f"~ {what} {detail}".rstrip())
                case session.Close(code, reason):
                    self.came_out.append(f"~ close {code} {reason}")

    def hear(self, call: Call) -> None:
        flaws: list[str] = []
        said = dialect.read(call, flaws)
        if flaws:
            self.came_out.append("~ " + " ".join(flaws))
        if isinstance(said, dialect.Malformed):
            self.carry_out(self.session.refuse(call, said.code, said.detail, self.now))
            return
        self.tell(said)
        self.held.append((call, said))
        self.answer_held()

    def answer_held(self) -> None:
        while self.held and not self.is_held:
            call, said = self.held.popleft()
            self.carry_out(self.session.answer(call, dialect.answer(said, self.decide(said)), self.now))

    def decide(self, said: speech.Said) -> speech.Reply:
        match said:
            case speech.Booted():
                return speech.Welcomed(speech.Registration.ACCEPTED, self.at, HEARTBEAT_S)
            case speech.Beat():
                return speech.Ticked(self.at)
            case speech.MayCharge(tag):
                return speech.Judged(self.judge(tag))
            case speech.Started(_, tag):
                self.number += 1
                return speech.Judged(self.judge(tag), self.number)
            case speech.Ended(id_tag=tag):
                return speech.Judged(None if tag is None else self.judge(tag))
            case speech.VendorTold():
                return speech.VendorReply("UnknownVendorId")
            case speech.SigningAsked():
                return speech.Decided(is_accepted=False)
        return speech.Thanks()

    @staticmethod
    def judge(tag: str) -> speech.Verdict:
        return speech.Verdict.BLOCKED if tag in BLOCKED else speech.Verdict.ACCEPTED

    @property
    def at(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def tell(self, sentence: msgspec.Struct) -> None:
        told: dict[str, Any] = msgspec.to_builtins(sentence)
        kind = told.pop("type")
        values = {name: plain(value) for name, value in told.items() if is_told(value)}
        self.came_out.append(f"= {kind} {json.dumps(values)}")


def plain(value: Any) -> Any:
    """Leave out what is not told inside readings and details."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if is_told(one)}
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return [
            {name: one for name, one in item.items() if name != "type" and is_told(one)} for item in value
        ]
    return value


def is_told(value: Any) -> bool:
    return value not in (None, (), [], (None, None, None), [None, None, None])


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Give the lines with their signs, continued ones in one piece."""
    sign, body = "", ""
    for line in text.splitlines():
        if line.startswith("  "):
            body += line.strip()
            continue
        if sign:
            yield sign, body
        sign, body = ("", "") if not line.strip() or line.startswith("#") else (line[0], line[2:])
        assert sign in {"", ">", "<", "!", "=", "~", "+"}, line
    if sign:
        yield sign, body


def same(came_out: str, text: str) -> bool:
    """Compare; JSON counts by its meaning, so that long lines may be laid out."""
    if came_out[0] != text[0]:
        return False
    start = min((came_out.find(mark) for mark in "[{" if mark in came_out), default=-1)
    if start < 0 or came_out[0] == "~":
        return came_out == text
    return came_out[:start] == text[:start] and json.loads(came_out[start:]) == json.loads(text[start:])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_conversation_goes_as_written(path: Path) -> None:
    replay = Replay()
    for sign, body in lines(path.read_text("utf-8")):
        if sign in {">", "!", "+"}:
            assert not replay.came_out, f"not in the transcript: {replay.came_out}"
            replay.do(sign, body)
        else:
            assert replay.came_out, f"did not come out: {sign} {body}"
            came_out = replay.came_out.pop(0)
            assert same(came_out, f"{sign} {body}"), f"{came_out}\nis not\n{sign} {body}"
    assert not replay.came_out, f"not in the transcript: {replay.came_out}"


def test_each_transcript_begins_with_what_it_shows() -> None:
    assert [path.name for path in FOLDER.glob("*.txt") if not path.read_text("utf-8").startswith("# ")] == []

"""A recorded conversation, as ``voltyard`` exports it, and whether a new one goes the same way.

Pure: texts in, values out. What may differ between two runs is left out of the comparison: times, numbers,
names; what may not is the words (``status``, ``errorCode``) and the shape of an answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from voltyard.sim.envelope import CallError, CallResult, Payload

CHARGER = "charger"
WORDS = frozenset(("status", "errorCode"))
"""What these say is compared; of all else only whether it is there, and of which kind."""
NUMBER = "transactionId"


class BadRecording(Exception):
    """The file is no recording; says which line and why."""


@dataclass(frozen=True)
class Entry:
    """One call of the recording. ``payload`` is None for a frame that is no call: see ``raw`` and ``odd``."""

    number: int
    at: datetime
    is_outward: bool
    """From the central system to the charger."""
    action: str
    payload: Payload | None
    raw: str
    answer: Any
    status: str
    socket: str
    odd: str

    @property
    def has_answer(self) -> bool:
        """Whether it is known how this call was answered."""
        return self.status != "pending" and isinstance(self.answer, dict)


@dataclass(frozen=True)
class Recording:
    """A conversation in the order in which it was held."""

    identity: str
    entries: tuple[Entry, ...]

    @property
    def sayings(self) -> tuple[Entry, ...]:
        """What the charger said."""
        return tuple(one for one in self.entries if not one.is_outward)

    @property
    def asks(self) -> tuple[Entry, ...]:
        """What the central system asked."""
        return tuple(one for one in self.entries if one.is_outward and one.action)


@dataclass(frozen=True)
class Difference:
    """One way in which a call went differently."""

    number: int
    action: str
    text: str

    def __str__(self) -> str:
        return f"call {self.number} {self.action}: {self.text}"


@dataclass
class Report:
    """What came of playing a recording."""

    played: int = 0
    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare(self, entry: Entry, answer: CallResult | CallError) -> None:
        """Compare an answer with the one that was recorded, if one was."""
        if not entry.has_answer:
            self.notes.append(f"call {entry.number} {entry.action}: nothing is recorded to compare with")
            return
        self.compared += 1
        for text in differences(entry.answer, told(answer)):
            self.differences.append(Difference(entry.number, entry.action, text))

    def lacks(self, entry: Entry, why: str) -> None:
        """Note that there was no answer where there had been one."""
        self.differences.append(Difference(entry.number, entry.action, why))


# --- reading --------------------------------------------------------------------------------------


def read_recording(text: str) -> Recording:
    """Read a file of JSON lines. Raises: BadRecording."""
    rows = [_row(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not rows:
        raise BadRecording("there is nothing in it")
    entries = sorted((_entry(number, row) for number, row in rows), key=lambda one: (one.at, one.number))
    identities = {str(row.get("identity") or "") for _, row in rows}
    return Recording(identities.pop() if len(identities) == 1 else "", tuple(entries))


def _row(number: int, line: str) -> tuple[int, dict[str, Any]]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise BadRecording(f"line {number} is no JSON object")
    return number, row


def _entry(number: int, row: Mapping[str, Any]) -> Entry:
    try:
        at = datetime.fromisoformat(row["at"])
        payload = row["payload"]
        return Entry(
            number=int(row["number"]),
            at=at if at.tzinfo else at.replace(tzinfo=UTC),
            is_outward=row["destination"] == CHARGER,
            action=str(row["action"]),
            payload=payload if isinstance(payload, dict) and row["action"] else None,
            raw=payload if isinstance(payload, str) else json.dumps(payload),
            answer=row.get("answer"),
            status=str(row.get("status") or "pending"),
            socket=str(row.get("session_id") or ""),
            odd=str(row.get("odd") or ""),
        )
    except KeyError as missing:
        raise BadRecording(f"line {number} lacks {missing}") from None
    except (ValueError, TypeError) as wrong:
        raise BadRecording(f"line {number}: {wrong}") from None


# --- comparing ------------------------------------------------------------------------------------


def told(answer: CallResult | CallError) -> Payload:
    """Return an answer in the form in which recordings hold it."""
    if isinstance(answer, CallError):
        return {"errorCode": answer.code, "errorDescription": answer.description}
    return answer.payload


def differences(recorded: Any, now: Any, path: str = "") -> Iterator[str]:
    """Tell in words in what two answers differ, beside what differs from run to run."""
    name = path or "the answer"
    if isinstance(recorded, dict) and isinstance(now, dict):
        yield from _members(recorded, now, path)
    elif isinstance(recorded, list) and isinstance(now, list):
        if bool(recorded) != bool(now):
            yield f"{name} had {len(recorded)} items and has {len(now)}"
        for number, (before, after) in enumerate(zip(recorded, now, strict=False)):
            yield from differences(before, after, f"{path}[{number}]")
    elif _kind(recorded) != _kind(now):
        yield f"{name} was {_kind(recorded)} and is {_kind(now)}: {_short(now)}"
    elif path.rpartition(".")[2] in WORDS and recorded != now:
        yield f"{name} was {_short(recorded)} and is {_short(now)}"


def _members(recorded: Payload, now: Payload, path: str) -> Iterator[str]:
    before = path and f"{path}."
    for name in dict.fromkeys([*recorded, *now]):
        if name == "errorDescription":
            continue
        if name not in now:
            yield f"{before}{name} was {_short(recorded[name])} and is missing"
        elif name not in recorded:
            yield f"{before}{name} is new: {_short(now[name])}"
        else:
            yield from differences(recorded[name], now[name], f"{before}{name}")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a yes or no"
        case int() | float():
            return "a number"
        case str():
            return "a time" if _is_time(value) else "a text"
        case list():
            return "a list"
        case _:
            return "an object"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return "T" in text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else text[:79] + "…"


# --- playing --------------------------------------------------------------------------------------


def renumbered(value: Any, numbers: Mapping[int, int]) -> Any:
    """Return a payload with the transactions' numbers of this run in the place of the recorded ones."""
    if isinstance(value, dict):
        return {
            name: numbers.get(each, each)
            if name == NUMBER and isinstance(each, int)
            else renumbered(each, numbers)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [renumbered(each, numbers) for each in value]
    return value


def learn_number(entry: Entry, answer: CallResult | CallError, numbers: dict[int, int]) -> None:
    """Note which number of this run stands for the recorded one."""
    if entry.action != "StartTransaction" or not isinstance(answer, CallResult) or not entry.has_answer:
        return
    before, after = entry.answer.get(NUMBER), answer.payload.get(NUMBER)
    if isinstance(before, int) and isinstance(after, int):
        numbers[before] = after


class AnswerBook:
    """The recorded answers to what the other side asks: the one to the same question first, then in order."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._unused: list[Entry] = [one for one in entries if one.has_answer]
        self._last: dict[str, Entry] = {}

    def find(self, action: str, payload: Payload, numbers: Mapping[int, int]) -> Entry | None:
        """Return the recorded call whose answer fits; None when nothing like it was ever asked."""
        alike = [one for one in self._unused if one.action == action]
        same = [one for one in alike if renumbered(one.payload, numbers) == payload]
        chosen = next(iter(same or alike), None)
        if chosen is None:
            return self._last.get(action)
        self._unused.remove(chosen)
        self._last[action] = chosen
        return chosen

    @property
    def unused(self) -> Sequence[Entry]:
        """What was asked in the recording and not this time."""
        return tuple(self._unused)

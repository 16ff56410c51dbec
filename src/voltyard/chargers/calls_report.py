"""The log of calls for people and programs: who asked, what was odd, and the log as a file.

``jsonl`` is a conversation that ``voltyard sim replay`` can play again; ``csv`` is for spreadsheets, ``txt``
for reading and for the support of a vendor. All are written page by page, the oldest call first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from voltyard.accounts import service as accounts
from voltyard.chargers import service
from voltyard.chargers.calls import Call, Wanted, list_calls
from voltyard.chargers.flaws import flaw
from voltyard.chargers.service import Charger
from voltyard.kernel.actor import Actor, Kind
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, NotFound
from voltyard.kernel.limits import EXPORT_ROWS_MAX
from voltyard.kernel.wire import decode, encode
from voltyard.locations.access import Permission

EXPORT_STEP = 500
CHARGER = "charger"
CENTRAL_SYSTEM = "central system"
COLUMNS: Final = (
    *("number", "at", "identity", "destination", "action", "message_id", "payload", "answer", "status"),
    *("latency_ms", "origin", "command_id", "session_id", "odd"),
)


class Format(StrEnum):
    """The kinds of files that a log is exported as."""

    JSONL = "jsonl"
    CSV = "csv"
    TXT = "txt"


MEDIA_TYPES: Final[Mapping[Format, str]] = MappingProxyType(
    {Format.JSONL: "application/jsonl", Format.CSV: "text/csv", Format.TXT: "text/plain"}
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who had a call of ours sent: the kind of actor, its id, and its name where it is a person."""

    kind: str
    id: str
    name: str

    @property
    def words(self) -> str:
        """Return who that was, in words."""
        if self.kind == Kind.TOKEN:
            return f"{self.name} (over the API)"
        return self.name


def destination(call: Call) -> str:
    """Return whom a call was meant for."""
    return CHARGER if call.is_outward else CENTRAL_SYSTEM


def odd(call: Call) -> str:
    """Return the kind of what was odd about a frame that is no call, else nothing."""
    return "" if call.action else call.answer or ""


def said(text: str | None) -> Any:
    """Return what a JSON text says, the text itself if it is none, None where there is nothing."""
    if not text:
        return None
    try:
        return decode(text, object)
    except Invalid:
        return text


def answered(call: Call) -> Any:
    """Return the answer to a call; a frame that is no call has none."""
    return said(call.answer) if call.action else None


def list_origins(work: Work, calls: Iterable[Call]) -> dict[str, Origin]:
    """Return who stands behind the origins of these calls, by origin; people have left keep their id only."""
    return {origin: _origin(work, origin) for origin in {call.origin for call in calls if call.origin}}


def _origin(work: Work, origin: str) -> Origin:
    kind, _, subject_id = origin.partition(":")
    if kind not in {Kind.USER, Kind.TOKEN}:
        return Origin(kind, subject_id, "Voltyard" if kind == Kind.SYSTEM else subject_id)
    try:
        return Origin(kind, subject_id, accounts.user(work, subject_id).name)
    except NotFound:
        return Origin(kind, subject_id, subject_id)


# --- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is being written: its name, its media type, and its pieces."""

    name: str
    media_type: str
    pieces: AsyncIterator[bytes]


async def export(
    ctx: Context, actor: Actor, charger_id: str, wanted: Wanted, kind: Format = Format.JSONL
) -> Export:
    """Begin a file with the calls that are wanted, at most EXPORT_ROWS_MAX. Raises: NotFound; Forbidden."""
    charger, page, origins = await ctx.db.read(actor, _first, charger_id, wanted)
    began_at = wanted.from_at or (page[0].at if page else ctx.clock.now())
    name = file_name(charger.identity, began_at, wanted.until_at or ctx.clock.now(), kind)
    pieces = _pieces(ctx, actor, charger, wanted, kind, (page, origins))
    return Export(name, MEDIA_TYPES[kind], pieces)


def file_name(identity: str, began_at: datetime, ended_at: datetime, kind: Format) -> str:
    """Return a name for a file that says whose log it is, and from when until when, in UTC."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in identity)
    began, ended = (at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ") for at in (began_at, ended_at))
    return f"{plain}_{began}_{ended}.{kind.value}"


Page = tuple[list[Call], Mapping[str, Origin]]


def _first(work: Work, charger_id: str, wanted: Wanted) -> tuple[Charger, list[Call], Mapping[str, Origin]]:
    return (
        service.get(work, charger_id, Permission.VIEW_SENSITIVE),
        *_page(work, charger_id, wanted, 0),
    )


def _page(work: Work, charger_id: str, wanted: Wanted, after: int) -> Page:
    found = list_calls(work, charger_id, wanted, after=after, limit=EXPORT_STEP)
    return found, list_origins(work, found)


async def _pieces(
    ctx: Context, actor: Actor, charger: Charger, wanted: Wanted, kind: Format, page: Page
) -> AsyncIterator[bytes]:
    written = 0
    yield HEADS[kind]()
    while page[0]:
        calls, origins = page
        yield b"".join(WRITERS[kind](row(call, charger.identity, origins)) for call in calls)
        written += len(calls)
        if len(calls) < EXPORT_STEP or written >= EXPORT_ROWS_MAX:
            return
        page = await ctx.db.read(actor, _page, charger.id, wanted, calls[-1].number)


def row(call: Call, identity: str, origins: Mapping[str, Origin]) -> dict[str, Any]:
    """Return a call as a row of a file; the names and kinds are those of the API."""
    return {
        "number": call.number,
        "at": call.at.isoformat(),
        "identity": identity,
        "destination": destination(call),
        "action": call.action,
        "message_id": call.message_id,
        "payload": said(call.payload),
        "answer": answered(call),
        "status": call.status.value,
        "latency_ms": call.latency_ms,
        "origin": origins[call.origin].words if call.origin else "",
        "command_id": call.command_id,
        "session_id": call.session_id,
        "odd": odd(call),
    }


def _jsonl(values: Mapping[str, Any]) -> bytes:
    return encode(values) + b"\n"


def _csv(values: Mapping[str, Any]) -> bytes:
    return _line([harmless(values[name]) for name in COLUMNS])


def _csv_head() -> bytes:
    return _line(COLUMNS)


def _line(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def harmless(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula, whoever wrote it."""
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else encode(value).decode()
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else text


def _txt(values: Mapping[str, Any]) -> bytes:
    arrow = "→ charger" if values["destination"] == CHARGER else "← charger"
    latency = "" if values["latency_ms"] is None else f" {values['latency_ms']:.0f} ms"
    asked = f" ({values['origin']})" if values["origin"] else ""
    name = values["action"] or flaw(values["odd"]).text
    lines = [f"{values['at']} {arrow} {name}{asked} [{values['status']}{latency}]"]
    for sign, text in (("?", values["payload"]), ("=", values["answer"])):
        if text is not None:
            lines.append(f"    {sign} {_plain(text)}")
    return ("\n".join(lines) + "\n").encode()


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode()


def _nothing() -> bytes:
    return b""


WRITERS: Final[Mapping[Format, Callable[[Mapping[str, Any]], bytes]]] = MappingProxyType(
    {Format.JSONL: _jsonl, Format.CSV: _csv, Format.TXT: _txt}
)
HEADS: Final[Mapping[Format, Callable[[], bytes]]] = MappingProxyType(
    {Format.JSONL: _nothing, Format.CSV: _csv_head, Format.TXT: _nothing}
)

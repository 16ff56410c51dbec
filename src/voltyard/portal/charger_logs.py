"""The log of a charger: every call with its answer, filtered, live, and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from markupsafe import Markup, escape
from starlette.datastructures import QueryParams
from starlette.responses import Response, StreamingResponse

from voltyard.chargers import calls, calls_report, calls_tail, commands
from voltyard.chargers.calls import Call, Wanted
from voltyard.chargers.calls_report import Format, Origin
from voltyard.chargers.calls_tail import Tail
from voltyard.chargers.flaws import Flaw, flaw
from voltyard.kernel.db import Work
from voltyard.kernel.errors import NotFound
from voltyard.kernel.limits import LINKS_OF_CHARGER_MAX
from voltyard.kernel.wire import encode
from voltyard.locations.access import Permission
from voltyard.operators import deliveries
from voltyard.operators import origins as origins_of
from voltyard.operators import service as operators
from voltyard.portal import formats, operator_words
from voltyard.portal.call_words import Piece, summary
from voltyard.portal.chargers import frame
from voltyard.portal.json_view import coloured
from voltyard.portal.shell import Here, Shell
from voltyard.portal.words import Look, _
from voltyard.speech import CallStatus
from voltyard.web.auth import Caller
from voltyard.web.door import door_of
from voltyard.web.doorway import GuardedRoute
from voltyard.web.tail import Event, TailStream

router = APIRouter(route_class=GuardedRoute)

PAGE = 50
SHOWN_MAX = 4_000
"""A longer text is shown in part; the page of the call shows all of it."""
DIGITS_MAX = 18
FIELDS: Final = ("status", "destination", "from", "to", "noise", "q", "command")
DESTINATIONS: Final[Mapping[str, bool]] = {"charger": True, "central": False}
SILENCE: Final = (Piece(_("no answer")),)
STATUS: Final[Mapping[str, Look]] = {
    "pending": Look(_("Waiting"), "info"),
    "done": Look(_("Done"), "good"),
    "failed": Look(_("Failed"), "bad"),
}


@dataclass(frozen=True, slots=True)
class Text:
    """A payload or an answer as it is shown; ``size`` is told when only a part of it is."""

    markup: Markup
    size: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A call as it is shown."""

    call: Call
    day: str
    day_key: str
    clock: str
    pieces: Sequence[Piece]
    payload: Text | None
    answer: Text | None
    origin: str
    odd: Flaw | None
    look: Look

    @property
    def latency(self) -> str:
        """Return how long the answer took, in the unit that fits."""
        latency_ms = self.call.latency_ms
        if latency_ms is None or self.odd is not None:
            return ""
        if latency_ms >= 9_950:
            return f"{latency_ms / 1000:.0f}{formats.GAP}s"
        if latency_ms >= 995:
            return f"{latency_ms / 1000:.1f}{formats.GAP}s"
        return f"{latency_ms:.0f}{formats.GAP}ms" if latency_ms >= 1 else f"<1{formats.GAP}ms"


def clock(at: datetime, zone: tzinfo) -> str:
    """Return the hour in local time, to the millisecond."""
    return at.astimezone(zone).isoformat(timespec="milliseconds")[11:23]


def row(
    call: Call, origins: Mapping[str, Origin], zone: tzinfo, locale: str, *, is_whole: bool = False
) -> Row:
    """Return a call as it is shown; ``is_whole`` shows all of a long payload."""
    kind = calls_report.odd(call)
    payload, answer = calls_report.said(call.payload), calls_report.answered(call)
    return Row(
        call=call,
        day=formats.day(call.at, zone, locale),
        day_key=call.at.astimezone(zone).date().isoformat(),
        clock=clock(call.at, zone),
        pieces=summary(call.action, payload, answer) + (SILENCE if _is_silent(call) else ()),
        payload=shown_text(payload, is_whole=is_whole),
        answer=shown_text(answer, is_whole=is_whole),
        origin=origins[call.origin].words if call.origin else "",
        odd=flaw(kind) if kind else None,
        look=STATUS[call.status.value],
    )


def _is_silent(call: Call) -> bool:
    return call.status is CallStatus.FAILED and bool(call.action) and call.answer is None


def shown_text(value: Any, *, is_whole: bool) -> Text | None:
    """Return a payload or an answer in colours, None where there is none."""
    if value is None:
        return None
    text = value if isinstance(value, str) else encode(value).decode()
    if len(text) > SHOWN_MAX and not is_whole:
        return Text(escape(text[:SHOWN_MAX]), len(text), is_cut=True)
    return Text(escape(text) if isinstance(value, str) else coloured(value), len(text), is_cut=False)


# --- what was asked for ---------------------------------------------------------------------------


def read_instant(text: str, zone: tzinfo) -> datetime | None:
    """Read the value of a date-and-time field in this zone; None if it is none."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None


def to_place(text: str) -> int | None:
    """Read the number of a call; None if it is none."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX
    return int(text) if is_number else None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is chosen on the page, as its address says it."""

    values: Mapping[str, str]
    actions: tuple[str, ...]

    @classmethod
    def of(cls, query: QueryParams) -> Chosen:
        """Read it from an address."""
        values = {name: query.get(name, "") for name in FIELDS}
        return cls(values, tuple(dict.fromkeys(name for name in query.getlist("action") if name)))

    def wanted(self, zone: tzinfo) -> Wanted:
        """Return which calls are meant; nonsense counts as not chosen."""
        values = self.values
        status = values["status"]
        return Wanted(
            actions=self.actions,
            status=CallStatus(status) if status in STATUS else None,
            is_outward=DESTINATIONS.get(values["destination"]),
            is_significant=self.is_quiet,
            q=values["q"],
            from_at=read_instant(values["from"], zone),
            until_at=read_instant(values["to"], zone),
            command_id=values["command"],
        )

    @property
    def is_quiet(self) -> bool:
        """Say whether what is said all day is hidden: always, but where it would hide what one looks for."""
        return self.values["noise"] != "show" and not self.actions and not self.values["command"]

    @property
    def is_filtered(self) -> bool:
        """Say whether anything beside the noise is left out."""
        return bool(self.actions) or any(self.values[name] for name in FIELDS if name != "noise")

    def query(self, **changes: object) -> str:
        """Return the address's query with these changes; an empty value leaves it out."""
        pairs = [("action", name) for name in self.actions] + [
            (name, str(value)) for name, value in (dict(self.values) | changes).items() if value
        ]
        return urlencode(pairs)


# --- pages ----------------------------------------------------------------------------------------


def view(work: Work, charger_id: str, chosen: Chosen, query: QueryParams, locale: str) -> dict[str, Any]:
    """Return a page of the log."""
    values = frame(work, charger_id)
    before, after = to_place(query.get("before", "")), to_place(query.get("after", ""))
    values |= {"chosen": chosen, "is_single": False, "insignificant": calls.INSIGNIFICANT}
    if Permission.VIEW_SENSITIVE not in values["may"]:
        return values | {"rows": [], "is_first": True}
    shown = _page(work, charger_id, chosen.wanted(values["zone"]), before, after)
    newest = calls.list_marks(work, charger_id, after=None, limit=1)
    links = operators.list_links(work, charger_id=charger_id, limit=1)
    origins = origins_of.list_origins(work, shown.calls)
    return values | {
        "rows": [row(call, origins, values["zone"], locale) for call in by_time(shown.calls)],
        "older": shown.calls[-1].number if shown.calls and shown.has_older else "",
        "newer": shown.calls[0].number if shown.calls and not shown.is_first else "",
        "is_first": shown.is_first,
        "newest": newest[0].number if newest else 0,
        "actions": sorted({*calls.list_actions(work, charger_id), *chosen.actions}),
        "command": _command(work, chosen.values["command"]),
        "has_operators": bool(links),
    }


def by_time(found: Sequence[Call]) -> list[Call]:
    """Return the calls of a page newest first; what we ask gets its number a moment after it is sent."""
    return sorted(found, key=lambda call: (call.at, call.number), reverse=True)


class Shown(NamedTuple):
    """The calls of a page, and where in the log it stands."""

    calls: list[Call]
    is_first: bool
    has_older: bool


def _page(work: Work, charger_id: str, wanted: Wanted, before: int | None, after: int | None) -> Shown:
    if before is None and after is not None:
        found = calls.list_calls(work, charger_id, wanted, after=after, limit=PAGE + 1)
        if len(found) > PAGE:
            return Shown(found[:PAGE][::-1], is_first=False, has_older=True)
        # Back at the top the page is a whole one, and goes on by itself.
    found = calls.list_calls(work, charger_id, wanted, before=before, limit=PAGE + 1)
    return Shown(found[:PAGE], is_first=before is None, has_older=len(found) > PAGE)


def _command(work: Work, command_id: str) -> str:
    """Return the kind of the command whose calls are shown, empty for none that one may see."""
    try:
        return commands.get(work, command_id).kind if command_id else ""
    except NotFound:
        return ""


@router.get("/chargers/{charger_id}/logs")
async def show(here: Here, charger_id: str) -> Response:
    """Show the log."""
    query = here.request.query_params
    values = await here.read(view, charger_id, Chosen.of(query), query, here.user.language)
    return here.page("charger_logs.html", tab="logs", days=here.ctx.settings.call_log_days, **values)


def single_view(work: Work, charger_id: str, number: int, locale: str) -> dict[str, Any]:
    """Return one call with all of its payload and answer."""
    values = frame(work, charger_id)
    call = calls.get(work, charger_id, number)
    origins = origins_of.list_origins(work, [call])
    shown = row(call, origins, values["zone"], locale, is_whole=True)
    told = deliveries.of_call(work, charger_id, number)
    links = operators.list_links(work, charger_id=charger_id, limit=LINKS_OF_CHARGER_MAX) if told else []
    return values | {
        "rows": [shown],
        "is_single": True,
        "chosen": Chosen.of(QueryParams()),
        "newest": number,
        "told": told,
        "operators": {link.id: link.name for link in links},
        "speak": operator_words,
    }


@router.get("/chargers/{charger_id}/logs/{number:int}")
async def show_call(here: Here, charger_id: str, number: int) -> Response:
    """Show one call whole, at an address that can be passed on."""
    if number >= 10**DIGITS_MAX:
        raise NotFound("this call is no longer in the log, or never was")
    values = await here.read(single_view, charger_id, number, here.user.language)
    return here.page("charger_logs.html", tab="logs", days=here.ctx.settings.call_log_days, **values)


@router.get("/chargers/{charger_id}/logs/export")
async def export(here: Here, charger_id: str) -> Response:
    """Give the calls that are shown, and all behind them, as a file."""
    query = here.request.query_params
    kind = query.get("format", "")
    wanted = Chosen.of(query).wanted(await here.read(_zone, charger_id))
    made = await calls_report.export(
        here.ctx, here.actor, charger_id, wanted, Format(kind) if kind in set(Format) else Format.JSONL
    )
    headers = {"Content-Disposition": f'attachment; filename="{made.name}"', "Cache-Control": "no-store"}
    return StreamingResponse(made.pieces, media_type=made.media_type, headers=headers)


def _zone(work: Work, charger_id: str) -> ZoneInfo:
    zone: ZoneInfo = frame(work, charger_id)["zone"]
    return zone


# --- live -----------------------------------------------------------------------------------------


class Follower:
    """What one open page has been told; each look goes on from there, and draws what it finds."""

    def __init__(self, shell: Shell, charger_id: str, chosen: Chosen, place: int, locale: str) -> None:
        self._shell, self._charger_id, self._chosen = shell, charger_id, chosen
        self._place, self._locale = place, locale
        self._tail: Tail | None = None
        self._has_operators = False

    async def look(self, caller: Caller) -> Sequence[Event]:
        """Return what is to be told now."""
        news, rows = await self._shell.ctx.db.read(caller.actor, self._look)
        self._tail = news.tail
        place = str(news.tail.newest)
        events = [self._event(each, place) for each in rows]
        if news.is_lost:
            events.insert(0, Event("lost", "{}", place))
        return events or [Event("", "", place)]

    def _look(self, work: Work) -> tuple[calls_tail.News, list[Row]]:
        zone = _zone(work, self._charger_id)
        if self._tail is None:
            self._has_operators = bool(operators.list_links(work, charger_id=self._charger_id, limit=1))
        # The tail of a log has no end in time.
        wanted = replace(self._chosen.wanted(zone), until_at=None)
        news = calls_tail.go_on(work, self._charger_id, wanted, self._tail, self._place)
        origins = origins_of.list_origins(work, [told.call for told in news.told])
        return news, [row(told.call, origins, zone, self._locale) for told in news.told]

    def _event(self, each: Row, place: str) -> Event:
        values = {
            "row": each,
            "is_single": False,
            "charger_id": self._charger_id,
            "has_operators": self._has_operators,
        }
        drawn = self._shell.render("_call_row.html", self._locale, values)
        return Event("call", encode({"number": each.call.number, "html": drawn}).decode(), place)


@router.get("/chargers/{charger_id}/logs/stream")
async def stream(here: Here, charger_id: str) -> Response:
    """Tell new calls, and answers that come later, as rows of the page."""
    query = here.request.query_params
    place = to_place(here.request.headers.get("last-event-id", "")) or to_place(query.get("place", "")) or 0
    follower = Follower(here.shell, charger_id, Chosen.of(query), place, here.user.language)
    return TailStream(door_of(here.request), here.caller, follower.look)

"""The log of a charger's calls: every message with its answer, live as well, and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from voltyard.api.shapes import Outward, refusals
from voltyard.chargers import calls, calls_report, calls_tail
from voltyard.chargers.calls_report import Format
from voltyard.chargers.calls_tail import News, Tail
from voltyard.chargers.flaws import flaw
from voltyard.kernel.db import Work
from voltyard.operators import origins as origins_of
from voltyard.speech import CallStatus
from voltyard.web.auth import Caller, Ctx, SignedIn
from voltyard.web.door import door_of
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage, BadCursor, from_cursor, to_cursor
from voltyard.web.tail import Event, TailStream

router = APIRouter(route_class=OnceRoute, tags=["log"])

NUMBER_DIGITS_MAX = 18
OLDER, NEWER = "<", ">"
ONLY = "The actions that are wanted; repeat it for more than one."


class Oddity(Outward):
    """What was odd about a frame that is no call."""

    kind: str
    text: str


class Asker(Outward):
    """Who had a call sent: a person, a program with their token, or a part of Voltyard itself."""

    kind: str
    id: str
    name: str


class LoggedCall(Outward):
    """One call of the log. What is no JSON, since a charger may send anything, is shown as text."""

    number: Annotated[int, Field(description="Its place in the log; numbers rise, with gaps.")]
    at: datetime
    destination: Literal["charger", "central system"]
    action: Annotated[str, Field(description="Empty for a frame that is no call: see `odd`.")]
    message_id: str
    session_id: str
    payload: Any
    answer: Annotated[Any, Field(description="Null while there is none.")]
    status: CallStatus
    latency_ms: Annotated[float | None, Field(description="How long the answer took.")]
    origin: Annotated[Asker | None, Field(description="Who asked; null for what the charger says itself.")]
    command_id: Annotated[str | None, Field(description="The command that it was sent for.")]
    odd: Oddity | None

    @classmethod
    def of(cls, call: calls.Call, origins: Mapping[str, calls_report.Origin]) -> LoggedCall:
        """Return a call in its shape."""
        kind = calls_report.odd(call)
        origin = origins.get(call.origin)
        return cls(
            number=call.number,
            at=call.at,
            destination="charger" if call.is_outward else "central system",
            action=call.action,
            message_id=call.message_id,
            session_id=call.session_id,
            payload=calls_report.said(call.payload),
            answer=calls_report.answered(call),
            status=call.status,
            latency_ms=call.latency_ms,
            origin=Asker(kind=origin.kind, id=origin.id, name=origin.name) if origin is not None else None,
            command_id=call.command_id,
            odd=Oddity(kind=kind, text=flaw(kind).text) if kind else None,
        )


class LogPage(Outward):
    """A page of the log, newest first; `next` leads to older calls, `previous` to newer ones.

    `previous` is there even when nothing newer is: asking for it again tells what has come since.
    """

    items: list[LoggedCall]
    next: str | None
    previous: str | None


def wanted_calls(
    action: Annotated[list[str] | None, Query(max_length=64, description=ONLY)] = None,
    status: Annotated[CallStatus | None, Query()] = None,
    destination: Annotated[
        Literal["charger", "central system"] | None, Query(description="Whom the call was meant for.")
    ] = None,
    from_at: Annotated[AwareDatetime | None, Query(alias="from", description="Made then or later.")] = None,
    to_at: Annotated[AwareDatetime | None, Query(alias="to", description="Made before then.")] = None,
    significant: Annotated[
        bool,
        Query(description=f"Leave out {', '.join(calls.INSIGNIFICANT)}, unless `action` names them."),
    ] = False,
    q: Annotated[
        str, Query(max_length=200, description="Looked for in payloads, answers and message ids.")
    ] = "",
    command: Annotated[str, Query(max_length=64, description="Only what was sent for this command.")] = "",
) -> calls.Wanted:
    """Read what is wanted of a log."""
    return calls.Wanted(
        actions=tuple(action or ()),
        status=status,
        is_outward=None if destination is None else destination == "charger",
        is_significant=significant,
        q=q,
        from_at=from_at,
        until_at=to_at,
        command_id=command,
    )


WantedCalls = Annotated[calls.Wanted, Depends(wanted_calls)]


def read_place(cursor: str | None) -> dict[str, int]:
    """Return where a page begins: below a number or above it. Raises: BadCursor."""
    if cursor is None:
        return {}
    key = from_cursor(cursor)
    number = to_place(key[1:])
    if key[:1] not in {OLDER, NEWER} or number is None:
        raise BadCursor("", (("/cursor", "take next or previous of an earlier page, or leave it out"),))
    return {"before": number} if key[:1] == OLDER else {"after": number}


def to_place(text: str) -> int | None:
    """Read the number of a call, None if it is none."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS_MAX
    return int(text) if is_number else None


def _list(
    work: Work, charger_id: str, wanted: calls.Wanted, place: Mapping[str, int], limit: int
) -> tuple[list[calls.Call], Mapping[str, calls_report.Origin]]:
    found = calls.list_calls(
        work, charger_id, wanted, before=place.get("before"), after=place.get("after"), limit=limit
    )
    return found, origins_of.list_origins(work, found)


@router.get("/chargers/{charger_id}/log", responses=refusals(403, 404))
async def list_log(
    ctx: Ctx, caller: SignedIn, charger_id: str, wanted: WantedCalls, asked: AskedPage
) -> LogPage:
    """List the calls between a charger and Voltyard, newest first."""
    place = read_place(asked.cursor)
    found, origins = await ctx.db.read(caller.actor, _list, charger_id, wanted, place, asked.most)
    has_more = len(found) > asked.limit
    shown = found[: asked.limit]
    is_upward = "after" in place
    if is_upward:
        shown.reverse()
    newest = shown[0].number if shown else place.get("after")
    oldest = shown[-1].number if shown else None
    return LogPage(
        items=[LoggedCall.of(call, origins) for call in shown],
        next=to_cursor(f"{OLDER}{oldest}") if oldest is not None and (has_more or is_upward) else None,
        previous=to_cursor(f"{NEWER}{newest}") if newest is not None else None,
    )


@router.get("/chargers/{charger_id}/log/{number:int}", responses=refusals(403, 404))
async def read_call(
    ctx: Ctx, caller: SignedIn, charger_id: str, number: Annotated[int, Path(lt=10**NUMBER_DIGITS_MAX)]
) -> LoggedCall:
    """Return one call of the log."""

    def read(work: Work) -> LoggedCall:
        call = calls.get(work, charger_id, number)
        return LoggedCall.of(call, origins_of.list_origins(work, [call]))

    return await ctx.db.read(caller.actor, read)


STREAM: Final[Mapping[int | str, Any]] = {
    **refusals(403, 404),
    200: {
        "description": "A stream that goes on. `call` is a call that is new, `update` one that was there "
        "before and whose answer came; their data is the call as `/log` lists it. After a return with "
        "`Last-Event-ID`, what came meanwhile is told, and the last seconds before once more: `number` tells "
        "what is known already. `lost` means that it was too much: read `/log` anew.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
}


class _Follower:
    """What one listener has been told; each look goes on from there."""

    def __init__(self, ctx: Ctx, charger_id: str, wanted: calls.Wanted, place: int | None) -> None:
        self._ctx, self._charger_id = ctx, charger_id
        # A tail has no end in time.
        self._wanted = replace(wanted, until_at=None)
        self._place = place
        self._tail: Tail | None = None

    async def look(self, caller: Caller) -> Sequence[Event]:
        """Return what is to be told now."""
        news, events = await self._ctx.db.read(caller.actor, self._look)
        self._tail = news.tail
        return events

    def _look(self, work: Work) -> tuple[News, list[Event]]:
        news = calls_tail.go_on(work, self._charger_id, self._wanted, self._tail, self._place)
        origins = origins_of.list_origins(work, [told.call for told in news.told])
        events = [
            Event(
                "call" if told.is_new else "update",
                LoggedCall.of(told.call, origins).model_dump_json(),
                str(news.tail.newest),
            )
            for told in news.told
        ]
        if news.is_lost:
            events.insert(0, Event("lost", "{}", str(news.tail.newest)))
        return news, events or [Event("", "", str(news.tail.newest))]


@router.get("/chargers/{charger_id}/log/stream", response_class=Response, responses=dict(STREAM))
async def follow_log(
    ctx: Ctx, request: Request, caller: SignedIn, charger_id: str, wanted: WantedCalls
) -> Response:
    """Follow the log: new calls, and answers that come later. `to` is ignored."""
    place = to_place(request.headers.get("last-event-id", ""))
    return TailStream(door_of(request), caller, _Follower(ctx, charger_id, wanted, place).look)


@router.get(
    "/chargers/{charger_id}/log/export",
    response_class=Response,
    responses={
        **refusals(403, 404),
        200: {
            "description": "A file, the oldest call first. `jsonl` is what `voltyard sim replay` plays.",
            "content": {kind: {"schema": {"type": "string"}} for kind in calls_report.MEDIA_TYPES.values()},
        },
    },
)
async def export_log(
    ctx: Ctx,
    caller: SignedIn,
    charger_id: str,
    wanted: WantedCalls,
    format: Annotated[Format, Query()] = Format.JSONL,  # noqa: A002 - as in the address
) -> Response:
    """Export the calls that are wanted as a file."""
    made = await calls_report.export(ctx, caller.actor, charger_id, wanted, format)
    return StreamingResponse(
        made.pieces,
        media_type=made.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{made.name}"',
            "Cache-Control": "no-store",
        },
    )

"""/log: every call of a charger, its filters and pages, the live tail, and files."""

from __future__ import annotations

import csv
import io
import json

import httpx2
import pytest
from fastapi import FastAPI

from voltyard.accounts import service as accounts
from voltyard.chargers import calls, calls_report, commands
from voltyard.chargers import service as chargers
from voltyard.kernel.context import Context
from voltyard.kernel.ids import new_id
from voltyard.kernel.wire import encode
from voltyard.speech import AnswerTraced, Beat, CallStatus, CallTraced, Heard, Restart, Traced
from voltyard.web.live import BEAT_S
from voltyard.web.tail import LOOK_S

from .conftest import SYSTEM, Listener, Person, Play

STATUS = '{"connectorId":1,"errorCode":"NoError","status":"Charging"}'


async def hear(ctx: Context, charger_id: str, action: str = "StatusNotification", raw: str = STATUS) -> int:
    """Have the log keep what a charger says; return its number."""
    heard = Heard(charger_id, "soc_1", f"m-{action}", action, raw, Beat())
    return (await ctx.db.work(SYSTEM, calls.log, [heard]))[0]


async def answer(ctx: Context, number: int, text: str = "{}", status: CallStatus = CallStatus.DONE) -> None:
    told = AnswerTraced(number, status, text, 12.5)
    await ctx.db.work(SYSTEM, calls.trace, Traced(answers=(told,)))


async def send(ctx: Context, charger_id: str, origin: str = "system:power", **over: object) -> int:
    """Have the log keep a call of ours."""
    values = {
        "charger_id": charger_id, "session_id": "soc_1", "message_id": "vy-1", "is_outward": True,
        "origin": origin, "command_id": "", "action": "Reset", "payload": '{"type":"Soft"}',
        "at": ctx.clock.now(), "status": CallStatus.PENDING,
    }  # fmt: skip
    return (await ctx.db.work(SYSTEM, calls.trace, Traced((CallTraced(**(values | over)),))))[0]


def path(charger_id: str, more: str = "") -> str:
    return f"/chargers/{charger_id}/log{more}"


async def listed(person: Person, charger_id: str, query: str = "") -> list[dict]:
    answered = await person.http.get(path(charger_id, query))
    assert answered.status_code == 200, answered.text
    return answered.json()["items"]


@pytest.mark.parametrize("more", ["", "/1", "/stream", "/export"])
async def test_who_may_not_see_the_log_is_told_so(
    anonymous: httpx2.AsyncClient, stranger: Person, guest: Person, charger_id: str, more: str
):
    assert (await anonymous.get(path(charger_id, more))).status_code == 401
    assert (await stranger.http.get(path(charger_id, more))).status_code == 404
    assert (await guest.http.get(path(charger_id, more))).status_code == 403


async def test_each_call_tells_who_what_and_how_it_ended(ctx: Context, owner: Person, charger_id: str):
    number = await hear(ctx, charger_id)
    await answer(ctx, number)
    ctx.clock.advance(1)
    ours = await send(ctx, charger_id, f"token:{owner.user.id}")
    newest, oldest = await listed(owner, charger_id)
    assert (newest["number"], newest["destination"], newest["status"]) == (ours, "charger", "pending")
    assert newest["origin"] == {"kind": "token", "id": owner.user.id, "name": "owner"}
    assert (newest["payload"], newest["answer"], newest["latency_ms"]) == ({"type": "Soft"}, None, None)
    assert (oldest["destination"], oldest["action"]) == ("central system", "StatusNotification")
    assert (oldest["payload"]["status"], oldest["answer"], oldest["latency_ms"]) == ("Charging", {}, 12.5)
    assert (oldest["origin"], oldest["odd"], oldest["status"]) == (None, None, "done")
    assert (await owner.http.get(path(charger_id, f"/{number}"))).json() == oldest
    assert (await owner.http.get(path(charger_id, "/999999"))).status_code == 404


async def test_a_frame_that_is_no_call_says_what_was_odd(ctx: Context, owner: Person, charger_id: str):
    await send(
        ctx, charger_id, "", is_outward=False, action="", message_id="", payload="[3,",
        status=CallStatus.FAILED, answer="unreadable_frame", latency_ms=0.0,
    )  # fmt: skip
    (odd,) = await listed(owner, charger_id)
    assert (odd["action"], odd["payload"], odd["answer"]) == ("", "[3,", None)
    assert odd["odd"]["kind"] == "unreadable_frame"
    assert len(odd["odd"]["text"]) > 20


async def test_the_log_is_filtered(ctx: Context, owner: Person, charger_id: str):
    for action in ("BootNotification", "Heartbeat", "StatusNotification"):
        await answer(ctx, await hear(ctx, charger_id, action))
    ctx.clock.advance(60)
    middle = ctx.clock.now().isoformat().replace("+00:00", "Z")
    failed = await send(ctx, charger_id)
    await answer(ctx, failed, '{"errorCode":"NotImplemented"}', CallStatus.FAILED)

    async def actions(**query: object) -> list[str]:
        answered = await owner.http.get(path(charger_id), params=query)
        assert answered.status_code == 200, answered.text
        return [each["action"] for each in answered.json()["items"]]

    assert await actions(action=["Reset", "BootNotification"]) == ["Reset", "BootNotification"]
    assert await actions(status="failed") == ["Reset"]
    assert await actions(destination="charger") == ["Reset"]
    assert await actions(destination="central system", significant=True) == [
        "StatusNotification",
        "BootNotification",
    ]
    assert await actions(action="Heartbeat", significant=True) == ["Heartbeat"]
    assert await actions(**{"from": middle}) == ["Reset"]
    assert await actions(to=middle, q="m-boot") == ["BootNotification"]
    assert await actions(q="notimpl") == ["Reset"]
    assert (await owner.http.get(path(charger_id, "?status=odd"))).status_code == 422


async def test_the_calls_of_a_command_are_found(ctx: Context, owner: Person, charger_id: str, play: Play):
    await play(charger_id)
    command = await commands.ask(ctx, owner.actor, charger_id, Restart(is_hard=False))
    await send(ctx, charger_id, command_id=command.id)
    await send(ctx, charger_id)
    assert len(await listed(owner, charger_id, f"?command={command.id}")) == 1
    assert await listed(owner, charger_id, f"?command={new_id('cmd')}") == []


async def test_pages_lead_both_ways(ctx: Context, owner: Person, charger_id: str):
    numbers = [await hear(ctx, charger_id) for _ in range(5)]

    async def page(cursor: str | None) -> tuple[list[int], dict]:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        found = (await owner.http.get(path(charger_id), params=query)).json()
        return [each["number"] for each in found["items"]], found

    first, found = await page(None)
    assert first == numbers[:2:-1]
    newest = found["previous"]
    second, found = await page(found["next"])
    assert second == numbers[2:0:-1]
    back, _ = await page(found["previous"])
    assert back == first
    third, found = await page(found["next"])
    assert third == numbers[:1]
    assert found["next"] is None
    nothing, found = await page(newest)
    assert (nothing, found["next"], found["previous"]) == ([], None, newest)
    numbers.append(await hear(ctx, charger_id))
    assert (await page(newest))[0] == numbers[-1:]
    for cursor in ("x", "PHg", "PDEuNQ", "Kzk"):
        assert (await owner.http.get(path(charger_id, f"?cursor={cursor}"))).status_code == 422


async def test_what_an_earlier_owner_did_stays_hidden(
    ctx: Context, owner: Person, stranger: Person, location_id: str, charger_id: str
):
    await hear(ctx, charger_id)
    ctx.clock.advance(1)
    await ctx.db.work(owner.actor, chargers.unlink, location_id, charger_id)
    theirs = await stranger.http.post("/locations", json={"name": "Theirs"})
    place = theirs.json()["id"]
    claimed = await stranger.http.post(
        f"/locations/{place}/chargers", json={"identity": "ACE0001", "pin": "1234"}
    )
    assert claimed.status_code == 201, claimed.text
    assert await listed(stranger, charger_id) == []


# --- the live tail --------------------------------------------------------------------------------


class Follower(Listener):
    """A client of the stream of a log."""

    def __init__(self, app: FastAPI, token: str, charger_id: str, query: str = "", **headers: str) -> None:
        super().__init__(app, token, **headers)
        place = "/api/v1" + path(charger_id, "/stream")
        self._scope |= {"path": place, "raw_path": place.encode(), "query_string": query.encode()}

    def told(self) -> list[tuple[str, int, str]]:
        return [(kind, said["number"], said["status"]) for kind, said in self.events()]

    async def heard(self, ctx: Context, count: int) -> list[tuple[str, int, str]]:
        """Let time pass until so many events were told."""
        for _ in range(200):
            if len(self.events()) >= count:
                break
            ctx.clock.advance(LOOK_S)
            await self.until_looked(ctx)
        assert len(self.events()) == count, self.events()
        return self.told()

    async def until_looked(self, ctx: Context) -> None:
        """Let the stream look once: its read is done when ours, begun later, is done and it sleeps again."""
        for _ in range(3):
            await ctx.db.read(SYSTEM, lambda work: work.now)


async def test_the_tail_tells_new_calls_and_answers_that_come_later(
    ctx: Context, app: FastAPI, owner: Person, charger_id: str
):
    known = await hear(ctx, charger_id)
    async with Follower(app, owner.token, charger_id) as mine:
        await mine.opened()
        assert mine.headers["content-type"].startswith("text/event-stream")
        ours = await send(ctx, charger_id)
        assert await mine.heard(ctx, 1) == [("call", ours, "pending")]
        await answer(ctx, ours)
        await answer(ctx, known)
        assert (await mine.heard(ctx, 3))[1:] == [("update", known, "done"), ("update", ours, "done")]
        ctx.clock.advance(calls.PENDING_MAX.total_seconds())
        silent = await send(ctx, charger_id)
        assert (await mine.heard(ctx, 4))[3] == ("call", silent, "pending")
        for _ in range(3):
            ctx.clock.advance(calls.PENDING_MAX.total_seconds() / 2)
            await mine.until_looked(ctx)
        assert (await mine.heard(ctx, 5))[4] == ("update", silent, "failed")


async def test_the_tail_tells_only_what_fits(ctx: Context, app: FastAPI, owner: Person, charger_id: str):
    async with Follower(app, owner.token, charger_id, "significant=true&status=failed") as mine:
        await mine.opened()
        await hear(ctx, charger_id, "Heartbeat")
        other, failing = await send(ctx, charger_id), await send(ctx, charger_id)
        await answer(ctx, other)
        await mine.until_looked(ctx)
        await answer(ctx, failing, '{"errorCode":"InternalError"}', CallStatus.FAILED)
        found = await mine.heard(ctx, 1)
        assert [(number, status) for _, number, status in found] == [(failing, "failed")]


async def test_who_comes_back_hears_what_came_meanwhile(
    ctx: Context, app: FastAPI, owner: Person, charger_id: str
):
    last = await hear(ctx, charger_id)
    ctx.clock.advance(600)
    missed = [await hear(ctx, charger_id) for _ in range(3)]
    headers = {"Last-Event-ID": str(last)}
    async with Follower(app, owner.token, charger_id, **headers) as mine:
        # The last one once more: it may not have been whole when it was told.
        assert [number for _, number, _ in await mine.heard(ctx, 4)] == [last, *missed]


async def test_who_missed_too_much_is_told_to_read_again(
    ctx: Context, app: FastAPI, owner: Person, charger_id: str
):
    heard = Heard(charger_id, "soc_1", "m", "Heartbeat", "{}", Beat())
    numbers = await ctx.db.work(SYSTEM, calls.log, [heard] * 1_001)
    async with Follower(app, owner.token, charger_id, **{"Last-Event-ID": str(numbers[0])}) as mine:
        await mine.until(lambda text: "event: lost" in text)
        new = await hear(ctx, charger_id)
        for _ in range(100):
            ctx.clock.advance(LOOK_S)
            await mine.until_looked(ctx)
            if len(mine.events()) == 2:
                break
        assert mine.events()[1][1]["number"] == new


async def test_a_listener_that_hears_nothing_keeps_its_place(
    ctx: Context, app: FastAPI, owner: Person, charger_id: str
):
    number = await hear(ctx, charger_id)
    async with Follower(app, owner.token, charger_id) as mine:
        await mine.opened()
        await mine.until_looked(ctx)
        ctx.clock.advance(BEAT_S)
        await mine.until(lambda text: f": alive\nid: {number}\n\n" in text)


async def test_the_tail_ends_with_the_token(ctx: Context, app: FastAPI, owner: Person, charger_id: str):
    async with Follower(app, owner.token, charger_id) as mine:
        await mine.opened()
        for token in await ctx.db.read(owner.actor, accounts.list_tokens):
            await ctx.db.work(owner.actor, accounts.revoke_token, token.id)
        ctx.clock.advance(BEAT_S)
        await mine.ended()


async def test_the_tail_ends_when_the_charger_goes_elsewhere(
    ctx: Context, app: FastAPI, owner: Person, location_id: str, charger_id: str
):
    async with Follower(app, owner.token, charger_id) as mine:
        await mine.opened()
        await mine.until_looked(ctx)
        await ctx.db.work(owner.actor, chargers.unlink, location_id, charger_id)
        ctx.clock.advance(LOOK_S)
        await mine.ended()


# --- files ----------------------------------------------------------------------------------------


async def test_a_log_is_exported_whole_in_pages(
    ctx: Context, owner: Person, charger_id: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(calls_report, "EXPORT_STEP", 2)
    numbers = [await hear(ctx, charger_id) for _ in range(5)]
    await answer(ctx, numbers[0], '{"a":1}')
    answered = await owner.http.get(path(charger_id, "/export"))
    assert answered.headers["content-type"].startswith("application/jsonl")
    assert 'filename="ACE0001_' in answered.headers["content-disposition"]
    assert answered.headers["content-disposition"].endswith('.jsonl"')
    rows = [json.loads(line) for line in answered.text.splitlines()]
    assert [each["number"] for each in rows] == numbers
    assert (rows[0]["answer"], rows[0]["identity"], rows[1]["answer"]) == ({"a": 1}, "ACE0001", None)
    assert rows[0]["payload"]["status"] == "Charging"


async def test_a_spreadsheet_runs_nothing_of_an_export(ctx: Context, owner: Person, charger_id: str):
    for action in ("=1+1", "+A", "-A", "@A", "Plain"):
        await hear(ctx, charger_id, action, encode("=cmd|x").decode())
    answered = await owner.http.get(path(charger_id, "/export?format=csv&destination=central system"))
    rows = list(csv.DictReader(io.StringIO(answered.text)))
    assert [row["action"] for row in rows] == ["'=1+1", "'+A", "'-A", "'@A", "Plain"]
    assert {row["payload"] for row in rows} == {"'=cmd|x"}


async def test_an_export_for_reading_says_it_in_lines(ctx: Context, owner: Person, charger_id: str):
    number = await hear(ctx, charger_id)
    await send(ctx, charger_id, f"user:{owner.user.id}")
    await answer(ctx, number, '{"a":1}')
    text = (await owner.http.get(path(charger_id, "/export?format=txt"))).text
    assert "← charger StatusNotification [done 12 ms]" in text
    assert "→ charger Reset (owner) [pending]" in text
    assert '    = {"a":1}\n' in text
    assert (await owner.http.get(path(charger_id, "/export?format=xls"))).status_code == 422


async def test_an_empty_export_is_an_empty_file(owner: Person, charger_id: str):
    answered = await owner.http.get(path(charger_id, "/export?action=Nothing"))
    assert (answered.status_code, answered.text) == (200, "")

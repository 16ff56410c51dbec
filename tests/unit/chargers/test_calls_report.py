"""The log as a file, and who stands behind a call."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user
from voltyard.chargers import calls, calls_report
from voltyard.chargers.calls import ALL, Wanted
from voltyard.chargers.calls_report import Format, file_name, harmless, said
from voltyard.kernel.errors import Forbidden
from voltyard.kernel.wire import encode
from voltyard.locations.access import Level
from voltyard.speech import CallStatus, CallTraced, Traced


async def send(ctx, charger_id: str, **over) -> int:
    values = {
        "charger_id": charger_id, "session_id": "soc_1", "message_id": "vy-1", "is_outward": True,
        "origin": "system:power", "command_id": "", "action": "Reset", "payload": '{"type":"Soft"}',
        "at": ctx.clock.now(), "status": CallStatus.PENDING,
    }  # fmt: skip
    return (await ctx.db.work(SYSTEM, calls.trace, Traced((CallTraced(**(values | over)),))))[0]


async def text_of(ctx, actor, charger_id: str, wanted: Wanted = ALL, kind: Format = Format.JSONL) -> str:
    made = await calls_report.export(ctx, actor, charger_id, wanted, kind)
    return b"".join([piece async for piece in made.pieces]).decode()


async def test_an_export_holds_every_call_once_and_no_more_than_its_limit(sqlite_ctx, monkeypatch):
    ctx = sqlite_ctx
    monkeypatch.setattr(calls_report, "EXPORT_STEP", 3)
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    numbers = [await send(ctx, charger.id) for _ in range(7)]
    lines = (await text_of(ctx, SYSTEM, charger.id)).splitlines()
    assert [json.loads(line)["number"] for line in lines] == numbers
    monkeypatch.setattr(calls_report, "EXPORT_ROWS_MAX", 6)
    assert len((await text_of(ctx, SYSTEM, charger.id)).splitlines()) == 6


async def test_no_secret_is_exported(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    secrets = [
        ("ChangeConfiguration", {"key": "AuthorizationKey", "value": "hunter2"}, {}),
        ("GetDiagnostics", {"location": "ftp://ann:hunter2@files.example/in"}, {"fileName": "x"}),
        ("UpdateFirmware", {"location": "https://v.example/files/down/hunter2/fw.bin"}, {}),
        ("UpdateFirmware", {"location": "https://v.example/fw.bin?sig=hunter2"}, {}),
        ("GetConfiguration", {}, {"configurationKey": [{"key": "BasicAuthPassword", "value": "hunter2"}]}),
        ("GetLog", {"log": {"remoteLocation": "sftp://ann:hunter2@files.example"}, "requestId": 1}, {}),
    ]
    for action, payload, answer in secrets:
        await send(
            ctx, charger.id, action=action, payload=encode(payload).decode(), status=CallStatus.DONE,
            answer=encode(answer).decode(), latency_ms=1.0,
        )  # fmt: skip
    # A frame that is no call may be an answer for which nobody waited any more.
    late = '[3,"old",{"configurationKey":[{"key":"AuthorizationKey","value":"hunter2"}]}]'
    await send(
        ctx, charger.id, is_outward=False, origin="", action="", payload=late, status=CallStatus.FAILED,
        answer="unknown_answer", latency_ms=0.0,
    )  # fmt: skip
    for kind in Format:
        text = await text_of(ctx, SYSTEM, charger.id, kind=kind)
        assert "hunter2" not in text
        assert text.count("***") == 7


async def test_only_who_sees_the_log_may_take_it_away(sqlite_ctx):
    ctx = sqlite_ctx
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    charger = await make_charger(ctx, location.id)
    basic = await make_member(ctx, location.id, Level.BASIC)
    with pytest.raises(Forbidden):
        await calls_report.export(ctx, basic.actor, charger.id, ALL)


async def test_who_asked_is_named_in_words(sqlite_ctx):
    ctx = sqlite_ctx
    owner = await make_user(ctx)
    charger = await make_charger(ctx, (await make_location(ctx, owner)).id)
    user_id = owner.actor.subject_id
    gone = "usr_" + "0" * 26
    for origin in (f"user:{user_id}", f"token:{user_id}", "system:power", f"user:{gone}", "link:lnk_1"):
        await send(ctx, charger.id, origin=origin)
    rows = [json.loads(line) for line in (await text_of(ctx, SYSTEM, charger.id)).splitlines()]
    name = owner.user.name if hasattr(owner, "user") else rows[0]["origin"]
    assert [row["origin"] for row in rows] == [name, f"{name} (over the API)", "Voltyard", gone, "lnk_1"]


def test_a_file_is_named_by_charger_and_time():
    began, ended = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    assert file_name('A/B "1"', began, ended, Format.CSV) == "A-B--1-_20260301T120000Z_20260302T000000Z.csv"


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1", "'=1"), ("+x", "'+x"), ("-x", "'-x"), ("@x", "'@x"), ("\tx", "'\tx"), ("a=1", "a=1"), ("", ""),
     (-1.5, -1.5), (None, None), ({"a": 1}, '{"a":1}'), (["-"], '["-"]')],
)  # fmt: skip
def test_a_cell_is_no_formula(cell, written):
    assert harmless(cell) == written


def test_what_is_no_json_is_shown_as_it_is():
    assert said('{"a":1}') == {"a": 1}
    assert said("[3,") == "[3,"
    assert said("") is None
    assert said(None) is None

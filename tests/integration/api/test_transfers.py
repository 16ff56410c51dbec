"""/chargers/{id}/transfers and /transfers."""

from __future__ import annotations

import httpx2
import pytest

from voltyard.chargers import transfers
from voltyard.kernel.context import Context
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.speech import Answer, FileNamed, LogKind, SendDiagnostics, SendLog

from .conftest import Enrol, Person, Play

NAMED = Answer(True, "", '{"fileName":"cp.log"}', FileNamed("cp.log"))


async def arrive(ctx: Context, url: str, data: bytes = b"all is well") -> None:
    """Leave a file at an address of ours, without the door."""
    token, key = url.split("/")[5], ctx.settings.secret_key()
    slot = await ctx.db.work(transfers.ACTOR, transfers.open_upload, token, "", key)
    arriving = ctx.files.arriving()
    arriving.write(data)
    await transfers.keep(ctx, slot, "", arriving)


@pytest.fixture
async def transfer(ctx: Context, owner: Person, charger_id: str, play: Play) -> dict[str, object]:
    """Diagnostics that have arrived."""
    heard = await play(charger_id, NAMED)
    made = await owner.http.post(f"/chargers/{charger_id}/transfers")
    assert made.status_code == 201, made.text
    await arrive(ctx, heard[0].ask.location_url)
    return made.json()


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, charger_id: str):
    assert (await anonymous.get(f"/chargers/{charger_id}/transfers")).status_code == 401
    assert (await anonymous.post(f"/chargers/{charger_id}/transfers")).status_code == 401
    for path in ("/transfers/xfr_1", "/transfers/xfr_1/file"):
        assert (await anonymous.get(path)).status_code == 401
    assert (await anonymous.delete("/transfers/xfr_1")).status_code == 401


async def test_a_foreign_team_sees_and_asks_nothing(stranger: Person, charger_id: str, transfer):
    path = f"/transfers/{transfer['id']}"
    for answer in (
        await stranger.http.get(f"/chargers/{charger_id}/transfers"),
        await stranger.http.post(f"/chargers/{charger_id}/transfers", json={}),
        await stranger.http.get(path),
        await stranger.http.get(f"{path}/file"),
        await stranger.http.delete(path),
    ):
        assert answer.status_code == 404


async def test_a_guest_sees_how_far_it_is_and_no_file(guest: Person, charger_id: str, transfer):
    path = f"/transfers/{transfer['id']}"
    shown = (await guest.http.get(path)).json()
    assert (shown["stage"], shown["files"]) == ("received", [])
    assert (await guest.http.get(f"{path}/file")).status_code == 403
    assert (await guest.http.delete(path)).status_code == 403
    assert (await guest.http.post(f"/chargers/{charger_id}/transfers")).status_code == 403


async def test_a_driver_downloads_but_deletes_nothing(
    ctx: Context, enrol: Enrol, owner: Person, location_id: str, transfer
):
    driver = await enrol("driver")
    await ctx.db.work(owner.actor, locations.grant, location_id, driver.team_id, Level.SENSITIVE)
    path = f"/transfers/{transfer['id']}"
    assert (await driver.http.get(f"{path}/file")).content == b"all is well"
    assert (await driver.http.delete(path)).status_code == 403


async def test_diagnostics_are_fetched_listed_downloaded_and_deleted(
    owner: Person, charger_id: str, transfer
):
    assert (transfer["kind"], transfer["stage"], transfer["is_going_on"]) == ("diagnostics", "asked", True)
    (listed,) = (await owner.http.get(f"/chargers/{charger_id}/transfers")).json()["items"]
    path = f"/transfers/{transfer['id']}"
    shown = (await owner.http.get(path)).json()
    assert listed == shown
    assert [step["stage"] for step in shown["steps"]] == ["asked", "uploading", "received"]
    (file,) = shown["files"]
    assert (file["name"], file["size_bytes"]) == ("cp.log", 11)
    for query in ("", f"?file_id={file['id']}"):
        answer = await owner.http.get(f"{path}/file{query}")
        assert (answer.status_code, answer.content) == (200, b"all is well")
        assert answer.headers["content-disposition"] == 'attachment; filename="cp.log"'
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "private, no-store"
    assert (await owner.http.get(f"{path}/file?file_id=file_1")).status_code == 404
    assert (await owner.http.delete(path)).status_code == 204
    assert (await owner.http.get(path)).status_code == 404


async def test_a_log_of_a_time_is_asked_for_with_all_that_was_wished(
    owner: Person, charger_id: str, play: Play
):
    heard = await play(charger_id)
    body = {
        "kind": "security_log",
        "from_at": "2025-12-01T00:00:00Z",
        "until_at": "2025-12-02T00:00:00Z",
        "address": "https://logs.example/in?sig=s3cret",
        "retries": 2,
        "retry_interval_s": 30,
    }
    made = await owner.http.post(f"/chargers/{charger_id}/transfers", json=body)
    (asked,) = heard
    assert isinstance(asked.ask, SendLog)
    assert (asked.ask.kind, asked.ask.location_url) == (LogKind.SECURITY, body["address"])
    assert (asked.ask.retries, asked.ask.retry_interval_s) == (2, 30)
    assert made.json()["address"] == "https://logs.example/in?***"
    assert "s3cret" not in made.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "firmware"}, "/kind"),
        ({"address": "gopher://a/"}, "/address"),
        ({"retries": 99}, "/retries"),
        ({"from_at": "2025-12-02T00:00:00"}, "/from_at"),
        ({"from_at": "2025-12-02T00:00:00Z", "until_at": "2025-12-01T00:00:00Z"}, "/until_at"),
        ({"whatever": 1}, "/whatever"),
    ],
)
async def test_what_cannot_be_is_pointed_at(owner: Person, charger_id: str, body, pointer: str):
    answer = await owner.http.post(f"/chargers/{charger_id}/transfers", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_post_with_a_key_asks_once(owner: Person, charger_id: str, play: Play):
    heard = await play(charger_id, NAMED)
    for _ in range(2):
        answer = await owner.http.post(
            f"/chargers/{charger_id}/transfers", headers={"Idempotency-Key": "one"}
        )
        assert answer.status_code == 201
    assert [type(asked.ask) for asked in heard] == [SendDiagnostics]


async def test_a_file_whose_bytes_are_gone_is_gone(ctx: Context, owner: Person, transfer):
    file = await ctx.db.read(owner.actor, transfers.received, transfer["id"])
    ctx.files.delete(file.stored)
    assert (await owner.http.get(f"/transfers/{transfer['id']}/file")).status_code == 410

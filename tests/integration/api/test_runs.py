"""/commands/bulk: one command for many chargers."""

from __future__ import annotations

import httpx2
import pytest

from voltyard.chargers import runs
from voltyard.chargers.runs import CarryOnRun
from voltyard.kernel.context import Context
from voltyard.speech import ByHand

from .conftest import Person, Play

RESET = {"command": "Reset", "data": {"type": "Soft"}}


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, charger_id: str):
    for path in ("/commands/bulk", "/commands/bulk/run_1/cancel"):
        asked = await anonymous.post(path, json=RESET | {"charger_ids": [charger_id]})
        assert asked.status_code == 401
    for path in ("/commands/bulk", "/commands/bulk/run_1"):
        assert (await anonymous.get(path)).status_code == 401


async def test_what_one_may_not_command_is_skipped_and_no_error(
    stranger: Person, guest: Person, charger_id: str, play: Play
):
    heard = await play(charger_id)
    for person in (stranger, guest):
        answer = await person.http.post(
            "/commands/bulk", json=RESET | {"charger_ids": [charger_id, "chg_unknown"]}
        )
        assert answer.status_code == 202, answer.text
        run = answer.json()
        assert run["status"] == "completed"
        assert run["counts"] == {
            "total": 2, "pending": 0, "sent": 0, "offline": 0, "error": 0, "skipped": 2,
        }  # fmt: skip
        assert {each["status"] for each in run["chargers"]} == {"skipped_forbidden"}
    assert heard == []


async def test_a_run_goes_on_after_the_answer(
    ctx: Context, owner: Person, stranger: Person, charger_id: str, play: Play
):
    heard = await play(charger_id)
    answer = await owner.http.post("/commands/bulk", json=RESET | {"charger_ids": [charger_id]})
    assert answer.status_code == 202, answer.text
    run = answer.json()
    path = f"/commands/bulk/{run['id']}"
    assert answer.headers["Location"] == f"/api/v1{path}"
    assert (run["status"], run["counts"]["pending"]) == ("running", 1)
    assert (run["command"], run["data"]) == ("Reset", {"type": "Soft"})
    await runs.carry_on(ctx, CarryOnRun(run["id"]))
    run = (await owner.http.get(path)).json()
    assert (run["status"], run["counts"]["sent"]) == ("completed", 1)
    (charger,) = run["chargers"]
    assert (charger["charger_id"], charger["status"]) == (charger_id, "sent")
    assert charger["executed_at"] is not None
    assert (await owner.http.get(f"/commands/{charger['command_id']}")).json()["door"] == "api"
    assert [asked.ask for asked in heard] == [ByHand("Reset", '{"type":"Soft"}')]
    listed = (await owner.http.get("/commands/bulk")).json()
    assert [each["id"] for each in listed["items"]] == [run["id"]]
    assert "chargers" not in listed["items"][0]
    assert (await stranger.http.get("/commands/bulk")).json()["items"] == []
    assert (await stranger.http.get(path)).status_code == 404
    assert (await stranger.http.post(f"{path}/cancel")).status_code == 404


async def test_a_run_can_be_cancelled(ctx: Context, owner: Person, charger_id: str, play: Play):
    heard = await play(charger_id)
    made = await owner.http.post("/commands/bulk", json=RESET | {"charger_ids": [charger_id]})
    path = f"/commands/bulk/{made.json()['id']}"
    cancelled = await owner.http.post(f"{path}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    await runs.carry_on(ctx, CarryOnRun(made.json()["id"]))
    assert (await owner.http.get(path)).json() == cancelled.json()
    assert heard == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"command": "Reset!"}, "/command"),
        ({"data": [1]}, "/data"),
        ({"charger_ids": []}, "/charger_ids"),
        ({"charger_ids": ["chg_1"] * 1_001}, "/charger_ids"),
        ({"speed": 1}, "/speed"),
    ],
)
async def test_what_is_wrong_is_pointed_at(owner: Person, body: dict[str, object], pointer: str):
    answer = await owner.http.post("/commands/bulk", json=RESET | {"charger_ids": ["chg_1"]} | body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

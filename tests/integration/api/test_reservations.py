"""/chargers/{id}/reservations and /reservations."""

from datetime import timedelta

import httpx2
import pytest

from voltyard.speech import Answer, AnswerRefused, CancelReservation, Reserve

from .conftest import Context, Person, Play


def body(ctx: Context, **over: object) -> dict[str, object]:
    until = ctx.clock.now() + timedelta(minutes=30)
    return {"connector_id": 1, "id_token": "04AABBCC", "expires_at": until.isoformat()} | over


async def test_nobody_is_told_to_log_in(ctx: Context, anonymous: httpx2.AsyncClient, charger_id: str):
    path = f"/chargers/{charger_id}/reservations"
    assert (await anonymous.get(path)).status_code == 401
    assert (await anonymous.post(path, json=body(ctx))).status_code == 401
    assert (await anonymous.get("/reservations/res_1")).status_code == 401
    assert (await anonymous.delete("/reservations/res_1")).status_code == 401


async def test_a_foreign_team_finds_nothing(
    ctx: Context, owner: Person, stranger: Person, charger_id: str, play: Play
):
    await play(charger_id)
    path = f"/chargers/{charger_id}/reservations"
    made = (await owner.http.post(path, json=body(ctx))).json()
    assert (await stranger.http.get(path)).status_code == 404
    assert (await stranger.http.post(path, json=body(ctx))).status_code == 404
    assert (await stranger.http.get(f"/reservations/{made['id']}")).status_code == 404
    assert (await stranger.http.delete(f"/reservations/{made['id']}")).status_code == 404


async def test_a_guest_looks_and_reserves_nothing(
    ctx: Context, owner: Person, guest: Person, charger_id: str, play: Play
):
    heard = await play(charger_id)
    path = f"/chargers/{charger_id}/reservations"
    made = (await owner.http.post(path, json=body(ctx))).json()
    assert (await guest.http.get(path)).json()["items"] == [made]
    assert (await guest.http.post(path, json=body(ctx, connector_id=2))).status_code == 403
    assert (await guest.http.delete(f"/reservations/{made['id']}")).status_code == 403
    assert len(heard) == 1


async def test_a_connector_is_kept_and_given_free(ctx: Context, owner: Person, charger_id: str, play: Play):
    heard = await play(charger_id)
    path = f"/chargers/{charger_id}/reservations"
    answer = await owner.http.post(path, json=body(ctx))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["state"], made["is_kept_by_charger"], made["connector_id"]) == ("active", True, 1)
    until = ctx.clock.now() + timedelta(minutes=30)
    assert [asked.ask for asked in heard] == [Reserve(1, made["number"], "04AABBCC", until)]
    assert (await owner.http.get(f"/reservations/{made['id']}")).json() == made
    again = await owner.http.post(path, json=body(ctx))
    assert (again.status_code, again.json()["code"]) == (409, "already_reserved")
    started = await owner.http.post(
        f"/chargers/{charger_id}/actions/start", json={"id_token": "FF", "connector_id": 1}
    )
    assert (started.status_code, started.json()["code"]) == (409, "connector_kept")
    gone = await owner.http.delete(f"/reservations/{made['id']}")
    assert (gone.status_code, gone.json()["state"]) == (200, "cancelled")
    assert heard[-1].ask == CancelReservation(made["number"])
    twice = await owner.http.delete(f"/reservations/{made['id']}")
    assert (twice.status_code, twice.json()["code"]) == (409, "reservation_ended")
    assert (await owner.http.get(path, params={"active": "true"})).json()["items"] == []
    assert len((await owner.http.get(path, params={"active": "false"})).json()["items"]) == 1


async def test_a_charger_that_cannot_is_a_conflict_unless_one_insists(
    ctx: Context, owner: Person, charger_id: str, play: Play
):
    await play(charger_id, AnswerRefused("NotImplemented"))
    path = f"/chargers/{charger_id}/reservations"
    answer = await owner.http.post(path, json=body(ctx))
    assert (answer.status_code, answer.json()["code"]) == (409, "reservation_unsupported")
    answer = await owner.http.post(path, json=body(ctx, even_unsupported=True))
    assert (answer.status_code, answer.json()["is_kept_by_charger"]) == (201, False)


async def test_an_occupied_connector_is_a_conflict(ctx: Context, owner: Person, charger_id: str, play: Play):
    await play(charger_id, Answer(False, "Occupied", '{"status":"Occupied"}'))
    answer = await owner.http.post(f"/chargers/{charger_id}/reservations", json=body(ctx))
    assert (answer.status_code, answer.json()["code"]) == (409, "reservation_refused")


@pytest.mark.parametrize(
    ("over", "pointer"),
    [
        ({"id_token": None}, ""),
        ({"card_id": "card_1"}, ""),
        ({"connector_id": -1}, "/connector_id"),
        ({"connector_id": 9}, "/connector"),
        ({"expires_at": "2026-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
    ],
)
async def test_what_makes_no_sense_is_pointed_at(
    ctx: Context, owner: Person, charger_id: str, play: Play, over: dict[str, object], pointer: str
):
    await play(charger_id)
    answer = await owner.http.post(f"/chargers/{charger_id}/reservations", json=body(ctx, **over))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

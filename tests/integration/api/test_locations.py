"""/locations."""

import httpx2
import pytest

from .conftest import Person

WRITES = [("PATCH", {"name": "Mine"}), ("DELETE", None)]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, location_id: str, method: str):
    body = {"name": "x"} if method == "PATCH" else None
    assert (await anonymous.request(method, f"/locations/{location_id}", json=body)).status_code == 401
    assert (await anonymous.get("/locations")).status_code == 401
    assert (await anonymous.post("/locations", json={"name": "x"})).status_code == 401


@pytest.mark.parametrize(("method", "body"), [("GET", None), *WRITES])
async def test_a_foreign_team_sees_nothing(stranger: Person, location_id: str, method: str, body: object):
    answer = await stranger.http.request(method, f"/locations/{location_id}", json=body)
    assert answer.status_code == 404
    assert (await stranger.http.get("/locations")).json() == {"items": [], "next": None}


@pytest.mark.parametrize(("method", "body"), WRITES)
async def test_a_guest_changes_nothing(guest: Person, location_id: str, method: str, body: object):
    answer = await guest.http.request(method, f"/locations/{location_id}", json=body)
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"


async def test_permissions_are_told(owner: Person, guest: Person, location_id: str):
    mine = (await owner.http.get(f"/locations/{location_id}")).json()
    theirs = (await guest.http.get(f"/locations/{location_id}")).json()
    assert {"own", "edit_cards", "control"} <= set(mine["permissions"])
    assert theirs["permissions"] == ["view"]
    assert mine["created_at"] == "2026-01-01T12:00:00Z"


async def test_a_location_is_created_changed_and_archived(owner: Person):
    made = await owner.http.post("/locations", json={"name": "Office", "timezone": "Europe/Copenhagen"})
    assert made.status_code == 201, made.text
    path = f"/locations/{made.json()['id']}"
    changed = await owner.http.patch(path, json={"city": "Aarhus"})
    assert (changed.json()["name"], changed.json()["city"]) == ("Office", "Aarhus")
    assert (await owner.http.delete(path)).status_code == 204
    assert (await owner.http.get("/locations")).json()["items"] == []
    assert (await owner.http.get(path)).json()["archived_at"] is not None


async def test_a_location_for_a_foreign_team_is_refused(owner: Person, stranger: Person):
    answer = await owner.http.post("/locations", json={"name": "x", "team_id": stranger.team_id})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x", "timezone": "Mars/Olympus"}, "/timezone"),
        ({"name": "x", "country": "N1"}, "/country"),
        ({"name": "x", "colour": "red"}, "/colour"),
        ({"name": "a\0b"}, "/name"),
        (["x"], ""),
    ],
)
async def test_what_is_wrong_is_pointed_at(owner: Person, body: object, pointer: str):
    answer = await owner.http.post("/locations", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert problem["type"] == "/problems/invalid"
    assert problem["status"] == 422
    assert problem["instance"] == "/api/v1/locations"
    assert problem["trace"] == answer.headers["trace-id"]


async def test_what_is_no_json_is_refused_with_a_reason(owner: Person):
    answer = await owner.http.post(
        "/locations", content=b"{name:", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == ""


async def test_a_list_is_searched(owner: Person, location_id: str):
    await owner.http.post("/locations", json={"name": "Office", "city": "Aarhus"})
    found = (await owner.http.get("/locations", params={"q": "utr"})).json()["items"]
    assert [each["id"] for each in found] == [location_id]
    team = (await owner.http.get("/locations", params={"team": owner.team_id})).json()["items"]
    assert len(team) == 2


async def test_all_pages_together_are_the_list(owner: Person):
    made = {
        (await owner.http.post("/locations", json={"name": f"Place {number}"})).json()["id"]
        for number in range(7)
    }
    seen: list[str] = []
    cursor = None
    sizes = []
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        shown = (await owner.http.get("/locations", params=params)).json()
        seen += [each["id"] for each in shown["items"]]
        sizes.append(len(shown["items"]))
        cursor = shown["next"]
        if cursor is None:
            break
    assert sizes == [3, 3, 1]
    assert len(seen) == len(set(seen))
    assert set(seen) == made


@pytest.mark.parametrize("cursor", ["not base 64!", "bm9uc2Vuc2U", "é"])
async def test_a_bad_cursor_is_pointed_at(owner: Person, cursor: str):
    answer = await owner.http.get("/locations", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["code"] == "bad_cursor"
    assert answer.json()["errors"][0]["pointer"] == "/cursor"


@pytest.mark.parametrize("limit", ["0", "101", "many"])
async def test_a_limit_out_of_range_is_pointed_at(owner: Person, limit: str):
    answer = await owner.http.get("/locations", params={"limit": limit})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/limit"


@pytest.mark.parametrize("path", ["/locations?q=a%00b", "/locations?team=%00", "/locations/%00"])
async def test_a_character_that_no_text_can_hold_is_refused(owner: Person, path: str):
    assert (await owner.http.get(path)).status_code == 422


@pytest.mark.parametrize("q", ["100%", "a_b", "\\", "'; DROP TABLE locations; --", "\U0001f50c" * 30])
async def test_any_text_may_be_searched_for(owner: Person, location_id: str, q: str):
    answer = await owner.http.get("/locations", params={"q": q})
    assert answer.status_code == 200

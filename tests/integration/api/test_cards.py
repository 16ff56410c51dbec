"""/locations/{id}/cards and /cards."""

import httpx2
import pytest

from .conftest import Person

NEW = {"name": "Blue car", "id_token": "04AABBCC"}


@pytest.fixture
async def card_id(owner: Person, location_id: str) -> str:
    answer = await owner.http.post(f"/locations/{location_id}/cards", json=NEW)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def requests(location_id: str, card_id: str) -> list[tuple[str, str, object]]:
    return [
        ("GET", f"/locations/{location_id}/cards", None),
        ("POST", f"/locations/{location_id}/cards", {"name": "Red car", "id_token": "05"}),
        ("GET", f"/cards/{card_id}", None),
        ("PATCH", f"/cards/{card_id}", {"name": "Mine"}),
        ("DELETE", f"/cards/{card_id}", None),
    ]


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, location_id: str, card_id: str):
    for method, path, body in requests(location_id, card_id):
        assert (await anonymous.request(method, path, json=body)).status_code == 401


async def test_a_foreign_team_sees_nothing(stranger: Person, location_id: str, card_id: str):
    for method, path, body in requests(location_id, card_id):
        assert (await stranger.http.request(method, path, json=body)).status_code == 404


async def test_a_guest_looks_and_changes_nothing(guest: Person, location_id: str, card_id: str):
    for method, path, body in requests(location_id, card_id):
        answer = await guest.http.request(method, path, json=body)
        assert answer.status_code == (200 if method == "GET" else 403)


async def test_a_card_is_added_blocked_and_removed(owner: Person, location_id: str, card_id: str):
    shown = (await owner.http.get(f"/cards/{card_id}")).json()
    assert (shown["name"], shown["id_token"], shown["is_blocked"]) == ("Blue car", "04AABBCC", False)
    changed = await owner.http.patch(f"/cards/{card_id}", json={"is_blocked": True})
    assert changed.json()["is_blocked"] is True
    assert (await owner.http.delete(f"/cards/{card_id}")).status_code == 204
    assert (await owner.http.get(f"/cards/{card_id}")).status_code == 404
    assert (await owner.http.get(f"/locations/{location_id}/cards")).json()["items"] == []


async def test_the_same_card_twice_is_a_conflict(owner: Person, location_id: str, card_id: str):
    answer = await owner.http.post(
        f"/locations/{location_id}/cards", json={"name": "Again", "id_token": "04:aa:bb:cc"}
    )
    assert answer.status_code == 409
    assert answer.json()["code"] == "card_exists"
    assert answer.json()["id"] == card_id


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "x"}, "/id_token"),
        ({"name": "x", "id_token": "1" * 21}, "/id_token"),
        ({"name": "x", "id_token": ": -"}, "/id_token"),
        ({"name": "", "id_token": "1"}, "/name"),
        ({"name": "x", "id_token": "1", "expires_at": "2027-01-01T00:00:00"}, "/expires_at"),
    ],
)
async def test_what_is_wrong_is_pointed_at(owner: Person, location_id: str, body: object, pointer: str):
    answer = await owner.http.post(f"/locations/{location_id}/cards", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_card_expires_in_utc(owner: Person, location_id: str):
    made = await owner.http.post(
        f"/locations/{location_id}/cards", json=NEW | {"expires_at": "2027-01-01T01:00:00+01:00"}
    )
    shown = (await owner.http.get(f"/cards/{made.json()['id']}")).json()
    assert shown["expires_at"] == "2027-01-01T00:00:00Z"


async def test_all_pages_together_are_the_list(owner: Person, location_id: str):
    path = f"/locations/{location_id}/cards"
    made = {
        (await owner.http.post(path, json={"name": f"Card {n}", "id_token": f"0{n}"})).json()["id"]
        for n in range(5)
    }
    first = (await owner.http.get(path, params={"limit": 3})).json()
    second = (await owner.http.get(path, params={"limit": 3, "cursor": first["next"]})).json()
    assert second["next"] is None
    assert {card["id"] for card in first["items"] + second["items"]} == made
    found = (await owner.http.get(path, params={"q": "card 4"})).json()["items"]
    assert [card["name"] for card in found] == ["Card 4"]

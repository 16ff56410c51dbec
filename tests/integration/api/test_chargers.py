"""/locations/{id}/chargers and /chargers."""

import httpx2
import pytest

from voltyard.chargers import commands
from voltyard.kernel.context import Context
from voltyard.speech import Answer, Trigger

from .conftest import PIN, Person, Play, deliver


def requests(location_id: str, charger_id: str) -> list[tuple[str, str, object]]:
    return [
        ("GET", f"/chargers/{charger_id}", None),
        ("PATCH", f"/chargers/{charger_id}", {"name": "Mine"}),
        ("POST", f"/locations/{location_id}/chargers", {"identity": "ACE0009", "pin": PIN}),
        ("DELETE", f"/locations/{location_id}/chargers/{charger_id}", None),
    ]


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, location_id: str, charger_id: str):
    assert (await anonymous.get("/chargers")).status_code == 401
    for method, path, body in requests(location_id, charger_id):
        assert (await anonymous.request(method, path, json=body)).status_code == 401


async def test_a_foreign_team_sees_nothing(stranger: Person, location_id: str, charger_id: str):
    assert (await stranger.http.get("/chargers")).json()["items"] == []
    for method, path, body in requests(location_id, charger_id):
        assert (await stranger.http.request(method, path, json=body)).status_code == 404


async def test_a_guest_looks_and_changes_nothing(guest: Person, location_id: str, charger_id: str):
    assert len((await guest.http.get("/chargers")).json()["items"]) == 1
    for method, path, body in requests(location_id, charger_id):
        answer = await guest.http.request(method, path, json=body)
        assert answer.status_code == (200 if method == "GET" else 403)


async def test_a_charger_is_claimed_renamed_and_unlinked(ctx: Context, owner: Person, location_id: str):
    charger_id = await deliver(ctx, "ACE0002")
    path = f"/locations/{location_id}/chargers"
    made = await owner.http.post(path, json={"identity": "ACE0002", "pin": PIN})
    assert made.status_code == 201, made.text
    assert made.json()["id"] == charger_id
    assert made.json()["connection"] == "never_seen"
    renamed = await owner.http.patch(f"/chargers/{charger_id}", json={"name": "Left of the door"})
    assert renamed.json()["name"] == "Left of the door"
    assert (await owner.http.delete(f"{path}/{charger_id}")).status_code == 204
    assert (await owner.http.get(f"/chargers/{charger_id}")).status_code == 404


async def test_a_claimed_charger_that_waits_is_greeted(
    ctx: Context, owner: Person, location_id: str, play: Play
):
    charger_id = await deliver(ctx, "ACE0003", is_online=True)
    heard = await play(charger_id, Answer(True, "Accepted", "{}"))
    made = await owner.http.post(
        f"/locations/{location_id}/chargers", json={"identity": "ACE0003", "pin": PIN}
    )
    assert made.json()["connection"] == "online"
    assert [asked.ask for asked in heard] == [Trigger("BootNotification")]
    kept = await ctx.db.read(owner.actor, commands.list_commands, charger_id)
    assert [command.status for command in kept] == ["executed"]


async def test_a_wrong_pin_claims_nothing(ctx: Context, owner: Person, location_id: str):
    await deliver(ctx, "ACE0002")
    path = f"/locations/{location_id}/chargers"
    wrong = await owner.http.post(path, json={"identity": "ACE0002", "pin": "9999"})
    unknown = await owner.http.post(path, json={"identity": "NOSUCH", "pin": PIN})
    assert wrong.status_code == unknown.status_code == 404
    assert wrong.json()["code"] == unknown.json()["code"] == "wrong_pin"
    assert wrong.json()["detail"] == unknown.json()["detail"]


async def test_too_many_wrong_pins_say_when_to_come_back(ctx: Context, owner: Person, location_id: str):
    await deliver(ctx, "ACE0002")
    path = f"/locations/{location_id}/chargers"
    answers = [
        await owner.http.post(path, json={"identity": "ACE0002", "pin": str(number)}) for number in range(11)
    ]
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "3600"


async def test_a_charger_of_another_location_is_a_conflict(owner: Person, stranger: Person, charger_id: str):
    theirs = (await stranger.http.post("/locations", json={"name": "Theirs"})).json()["id"]
    answer = await stranger.http.post(
        f"/locations/{theirs}/chargers", json={"identity": "ACE0001", "pin": PIN}
    )
    assert answer.status_code == 409
    assert answer.json()["code"] == "charger_elsewhere"


async def test_a_charger_shows_connectors_and_their_last_reading(
    owner: Person, charger_id: str, transaction_id: str
):
    shown = (await owner.http.get(f"/chargers/{charger_id}")).json()
    assert (shown["connection"], shown["vendor"], shown["model"]) == ("online", "Voltyard", "Sim 22")
    assert (shown["firmware"], shown["ocpp_version"]) == ("1.0", "ocpp1.6")
    assert [each["connector_id"] for each in shown["connectors"]] == [1, 2]
    assert shown["connectors"][0]["status"] == "Available"
    assert shown["connectors"][0]["reading"]["energy_wh"] == 1300
    assert shown["connectors"][0]["reading"]["current_a"] == {"l1": 8.0, "l2": 8.5, "l3": 9.0}
    assert shown["connectors"][1]["reading"] is None


async def test_a_list_is_filtered(ctx: Context, owner: Person, location_id: str, charger_id: str):
    await deliver(ctx, "ACE0004")
    await owner.http.post(f"/locations/{location_id}/chargers", json={"identity": "ACE0004", "pin": PIN})

    async def found(**params: str) -> list[str]:
        answer = await owner.http.get("/chargers", params=params)
        assert answer.status_code == 200, answer.text
        return sorted(each["identity"] for each in answer.json()["items"])

    assert await found() == ["ACE0001", "ACE0004"]
    assert await found(connection="online") == ["ACE0001"]
    assert await found(connection="never_seen") == ["ACE0004"]
    assert await found(connection="offline") == []
    assert await found(status="Available") == ["ACE0001"]
    assert await found(status="Faulted") == []
    assert await found(q="ace0004") == ["ACE0004"]
    assert await found(location=location_id) == ["ACE0001", "ACE0004"]
    assert await found(location="loc_00000000000000000000000000") == []


@pytest.mark.parametrize(("name", "value"), [("connection", "maybe"), ("status", "Tired"), ("limit", "x")])
async def test_a_filter_that_is_not_there_is_pointed_at(owner: Person, name: str, value: str):
    answer = await owner.http.get("/chargers", params={name: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{name}"


async def test_all_pages_together_are_the_list(ctx: Context, owner: Person, location_id: str):
    for number in range(5):
        await deliver(ctx, f"BAY{number}")
        await owner.http.post(
            f"/locations/{location_id}/chargers", json={"identity": f"BAY{number}", "pin": PIN}
        )
    first = (await owner.http.get("/chargers", params={"limit": 4})).json()
    second = (await owner.http.get("/chargers", params={"limit": 4, "cursor": first["next"]})).json()
    assert second["next"] is None
    assert len({each["id"] for each in first["items"] + second["items"]}) == 5


async def test_an_id_of_another_kind_names_nothing(owner: Person, location_id: str):
    assert (await owner.http.get(f"/chargers/{location_id}")).status_code == 404

"""/transactions."""

import httpx2
import pytest

from voltyard.chargers.service import Place
from voltyard.kernel.context import Context
from voltyard.speech import Ended
from voltyard.transactions import service as transactions
from voltyard.web.paging import to_cursor

from .conftest import SYSTEM, Person, charge

PATHS = ("", "/samples")


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, transaction_id: str):
    assert (await anonymous.get("/transactions")).status_code == 401
    assert (await anonymous.get("/transactions/orphans")).status_code == 401
    for path in PATHS:
        assert (await anonymous.get(f"/transactions/{transaction_id}{path}")).status_code == 401


@pytest.mark.parametrize("who", ["stranger", "guest"])
async def test_who_may_not_see_sensitive_data_sees_none(
    request: pytest.FixtureRequest, stranger: Person, guest: Person, transaction_id: str, who: str
):
    person = {"stranger": stranger, "guest": guest}[who]
    assert (await person.http.get("/transactions")).json()["items"] == []
    for path in PATHS:
        answer = await person.http.get(f"/transactions/{transaction_id}{path}")
        assert answer.status_code in {403, 404}
        assert (answer.status_code == 404) or who == "guest"


async def test_a_running_transaction_is_shown(owner: Person, transaction_id: str):
    shown = (await owner.http.get(f"/transactions/{transaction_id}")).json()
    assert (shown["status"], shown["ended_at"], shown["energy_wh"]) == ("active", None, 300)
    assert (shown["id_token"], shown["connector_id"]) == ("04AABBCC", 1)
    assert shown["started_at"] == "2026-01-01T12:00:00Z"


async def test_samples_come_in_the_order_of_time_and_in_pages(owner: Person, transaction_id: str):
    path = f"/transactions/{transaction_id}/samples"
    first = (await owner.http.get(path, params={"limit": 2})).json()
    second = (await owner.http.get(path, params={"limit": 2, "cursor": first["next"]})).json()
    assert [each["energy_wh"] for each in first["items"] + second["items"]] == [1100, 1200, 1300]
    assert second["next"] is None
    assert first["items"][0] == {
        "at": "2026-01-01T12:01:00Z",
        "current_a": {"l1": 8.0, "l2": 8.5, "l3": 9.0},
        "offered_a": 16.0,
        "power_w": 6000.0,
        "energy_wh": 1100.0,
        "soc_percent": 41.0,
        "voltage_v": {"l1": 230.0, "l2": 231.0, "l3": 232.0},
    }


async def test_a_cursor_of_another_list_is_refused(owner: Person, transaction_id: str, location_id: str):
    answer = await owner.http.get(
        f"/transactions/{transaction_id}/samples", params={"cursor": "MjAyNi0wMS0wMQ"}
    )
    assert answer.json()["code"] == "bad_cursor"
    assert (await owner.http.get("/transactions", params={"cursor": "YWJj"})).status_code == 422
    far = to_cursor(9_999_999_999)
    assert len((await owner.http.get("/transactions", params={"cursor": far})).json()["items"]) == 1


async def test_a_list_is_filtered_and_paged(ctx: Context, owner: Person, location_id: str, charger_id: str):
    place = Place(charger_id, location_id)
    over = [await charge(ctx, owner, place, meter_wh=1000 * turn, is_over=True) for turn in (1, 2, 3)]
    running = await charge(ctx, owner, place, meter_wh=9000)

    async def found(**params: str) -> list[str]:
        answer = await owner.http.get("/transactions", params=params)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    newest_first = [running, *reversed(over)]
    assert await found() == newest_first
    assert await found(status="active") == [running]
    assert await found(status="finished") == newest_first[1:]
    assert await found(charger=charger_id, location=location_id) == newest_first
    assert await found(charger=location_id) == []
    assert await found(card="card_00000000000000000000000000") == []
    assert await found(**{"from": "2026-01-01T12:03:00Z", "to": "2026-01-01T12:06:00Z"}) == [over[1]]
    first = (await owner.http.get("/transactions", params={"limit": 3})).json()
    second = (await owner.http.get("/transactions", params={"limit": 3, "cursor": first["next"]})).json()
    assert [each["id"] for each in first["items"] + second["items"]] == newest_first
    assert second["next"] is None


@pytest.mark.parametrize(
    ("name", "value"), [("from", "2026-01-01T00:00:00"), ("to", "yesterday"), ("status", "paused")]
)
async def test_a_filter_that_cannot_be_is_pointed_at(owner: Person, name: str, value: str):
    answer = await owner.http.get("/transactions", params={name: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{name}"


async def test_stops_without_a_transaction_are_shown(
    ctx: Context, owner: Person, stranger: Person, location_id: str, charger_id: str
):
    place = Place(charger_id, location_id)
    for number in (77, 78, 79):
        await ctx.db.work(SYSTEM, transactions.end, [(place, Ended(number, 500, ctx.clock.now()))])
    first = (await owner.http.get("/transactions/orphans", params={"limit": 2})).json()
    second = (
        await owner.http.get("/transactions/orphans", params={"limit": 2, "cursor": first["next"]})
    ).json()
    assert {each["number"] for each in first["items"] + second["items"]} == {77, 78, 79}
    assert second["next"] is None
    chosen = await owner.http.get("/transactions/orphans", params={"charger": charger_id})
    assert len(chosen.json()["items"]) == 3
    assert (await stranger.http.get("/transactions/orphans")).json()["items"] == []

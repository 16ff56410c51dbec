"""/chargers/{id}/local-list."""

import httpx2

from voltyard.local_lists import service as local_lists
from voltyard.local_lists.events import SyncList
from voltyard.speech import AnswerRefused

from .conftest import Context, Person, Play


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, charger_id: str):
    assert (await anonymous.get(f"/chargers/{charger_id}/local-list")).status_code == 401
    assert (await anonymous.post(f"/chargers/{charger_id}/local-list/sync")).status_code == 401


async def test_a_foreign_team_finds_nothing(stranger: Person, charger_id: str):
    assert (await stranger.http.get(f"/chargers/{charger_id}/local-list")).status_code == 404
    assert (await stranger.http.post(f"/chargers/{charger_id}/local-list/sync")).status_code == 404


async def test_a_guest_looks_and_asks_for_nothing(guest: Person, charger_id: str):
    answer = await guest.http.get(f"/chargers/{charger_id}/local-list")
    assert (answer.status_code, answer.json()["state"]) == (200, "unknown")
    assert (await guest.http.post(f"/chargers/{charger_id}/local-list/sync")).status_code == 403


async def test_a_list_is_brought_in_step_when_asked_and_says_how_it_stands(
    ctx: Context, owner: Person, charger_id: str, play: Play
):
    path = f"/chargers/{charger_id}/local-list"
    answer = await owner.http.post(f"{path}/sync")
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    await play(charger_id)
    await local_lists.sync(ctx, SyncList(charger_id))
    shown = (await owner.http.get(path)).json()
    assert (shown["state"], shown["card_count"], shown["left_out_count"]) == ("in_step", 0, 0)
    assert shown["charger_id"] == charger_id


async def test_a_charger_without_a_list_says_so(ctx: Context, owner: Person, charger_id: str, play: Play):
    await play(charger_id, AnswerRefused("NotSupported"))
    await local_lists.sync(ctx, SyncList(charger_id))
    shown = (await owner.http.get(f"/chargers/{charger_id}/local-list")).json()
    assert (shown["state"], shown["word"]) == ("unsupported", "NotSupported")

"""/chargers/{id}/actions, /chargers/{id}/ocpp and /commands."""

import httpx2
import pytest

from voltyard.chargers import commands, effects
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.errors import TimedOut
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Asked,
    Booted,
    ByHand,
    CompositeLimits,
    LimitPeriod,
    LimitUnit,
    Priority,
    Restart,
    StartCharging,
    StopCharging,
    TellComposite,
    Unlock,
)

from .conftest import SYSTEM, Person, Play


def requests(charger_id: str) -> list[tuple[str, object]]:
    return [
        (f"/chargers/{charger_id}/actions/start", {"id_token": "04AABBCC"}),
        (f"/chargers/{charger_id}/actions/stop", {}),
        (f"/chargers/{charger_id}/actions/restart", {"type": "soft"}),
        (f"/chargers/{charger_id}/actions/unlock", {"connector_id": 1}),
        (f"/chargers/{charger_id}/ocpp", {"action": "Reset", "payload": {"type": "Soft"}}),
    ]


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, charger_id: str):
    for path, body in requests(charger_id):
        assert (await anonymous.post(path, json=body)).status_code == 401
    assert (await anonymous.get(f"/chargers/{charger_id}/commands")).status_code == 401
    assert (await anonymous.get("/commands/cmd_1")).status_code == 401


async def test_a_foreign_team_asks_nothing(stranger: Person, charger_id: str, play: Play):
    heard = await play(charger_id)
    for path, body in requests(charger_id):
        assert (await stranger.http.post(path, json=body)).status_code == 404
    assert (await stranger.http.get(f"/chargers/{charger_id}/commands")).status_code == 404
    assert heard == []


async def test_a_guest_asks_nothing(guest: Person, charger_id: str, play: Play):
    heard = await play(charger_id)
    for path, body in requests(charger_id):
        assert (await guest.http.post(path, json=body)).status_code == 403
    assert heard == []


async def test_start_names_the_card_or_what_its_reader_reads(
    owner: Person, location_id: str, charger_id: str, play: Play
):
    heard = await play(charger_id)
    card = await owner.http.post(
        f"/locations/{location_id}/cards", json={"name": "Blue", "id_token": "04AABBCC"}
    )
    path = f"/chargers/{charger_id}/actions/start"
    first = await owner.http.post(path, json={"card_id": card.json()["id"], "connector_id": 2})
    second = await owner.http.post(path, json={"id_token": "05"})
    assert first.json()["status"] == second.json()["status"] == "executed"
    assert [asked.ask for asked in heard] == [StartCharging("04AABBCC", 2), StartCharging("05")]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"id_token": "1", "card_id": "card_1"}, ""),
        ({"id_token": "1" * 21}, "/id_token"),
        ({"id_token": "1", "connector_id": 0}, "/connector_id"),
        ({"id_token": "1", "speed": 2}, "/speed"),
    ],
)
async def test_a_start_that_cannot_be_is_pointed_at(
    owner: Person, charger_id: str, body: object, pointer: str
):
    answer = await owner.http.post(f"/chargers/{charger_id}/actions/start", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_stop_ends_the_only_transaction(
    owner: Person, charger_id: str, transaction_id: str, play: Play
):
    heard = await play(charger_id)
    number = (await owner.http.get(f"/transactions/{transaction_id}")).json()["number"]
    path = f"/chargers/{charger_id}/actions/stop"
    bare = await owner.http.post(path)
    named = await owner.http.post(path, json={"transaction_id": transaction_id})
    assert (bare.status_code, named.status_code) == (200, 200), bare.text
    assert [asked.ask for asked in heard] == [StopCharging(number)] * 2
    assert heard[0].priority is Priority.STOP


async def test_stop_without_a_transaction_is_a_conflict(owner: Person, charger_id: str):
    answer = await owner.http.post(f"/chargers/{charger_id}/actions/stop", json={})
    assert answer.status_code == 409
    assert answer.json()["code"] == "nothing_to_stop"


async def test_restart_and_unlock_say_what_is_meant(owner: Person, charger_id: str, play: Play):
    heard = await play(charger_id)
    path = f"/chargers/{charger_id}/actions"
    await owner.http.post(f"{path}/restart")
    await owner.http.post(f"{path}/restart", json={"type": "hard"})
    await owner.http.post(f"{path}/unlock", json={"connector_id": 2})
    assert [asked.ask for asked in heard] == [Restart(False), Restart(True), Unlock(2)]


async def test_by_hand_returns_what_the_charger_answered(owner: Person, charger_id: str, play: Play):
    heard = await play(charger_id, Answer(True, "Accepted", '{"status":"Accepted","more":[1]}'))
    answer = await owner.http.post(
        f"/chargers/{charger_id}/ocpp",
        json={"action": "Reset", "payload": {"type": "Soft"}, "timeout_s": 30},
    )
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown["status"] == shown["command"]["status"] == "executed"
    assert shown["answer"] == {"status": "Accepted", "more": [1]}
    assert heard[0].ask == ByHand("Reset", '{"type":"Soft"}')
    assert heard[0].timeout_s == 30


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Answer(False, "Rejected", '{"status":"Rejected"}'), "Rejected"),
        (AnswerRefused("NotImplemented", "what?"), "NotImplemented"),
    ],
)
async def test_a_refusal_is_an_outcome(
    owner: Person, charger_id: str, play: Play, outcome: Answer | AnswerRefused, word: str
):
    await play(charger_id, outcome)
    shown = (await owner.http.post(f"/chargers/{charger_id}/ocpp", json={"action": "Reset"})).json()
    assert (shown["status"], shown["command"]["word"]) == ("rejected", word)


async def test_an_absent_charger_is_an_outcome(owner: Person, charger_id: str):
    answer = await owner.http.post(f"/chargers/{charger_id}/ocpp", json={"action": "Reset"})
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["answer"]) == ("offline", None)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"action": "Reset!"}, "/action"),
        ({"action": "Reset", "payload": [1]}, "/payload"),
        ({"action": "Reset", "timeout_s": 51}, "/timeout_s"),
        ({"action": "Reset", "timeout_s": 0}, "/timeout_s"),
    ],
)
async def test_what_is_wrong_is_pointed_at(owner: Person, charger_id: str, body: object, pointer: str):
    answer = await owner.http.post(f"/chargers/{charger_id}/ocpp", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_commands_are_kept(owner: Person, stranger: Person, charger_id: str, play: Play):
    await play(charger_id)
    path = f"/chargers/{charger_id}/actions/restart"
    made = {(await owner.http.post(path)).json()["id"] for _ in range(3)}
    first = (await owner.http.get(f"/chargers/{charger_id}/commands", params={"limit": 2})).json()
    second = (
        await owner.http.get(f"/chargers/{charger_id}/commands", params={"limit": 2, "cursor": first["next"]})
    ).json()
    assert second["next"] is None
    assert {each["id"] for each in first["items"] + second["items"]} == made
    one = f"/commands/{made.pop()}"
    shown = (await owner.http.get(one)).json()
    assert (shown["status"], shown["door"], shown["actor_id"]) == ("executed", "api", owner.user.id)
    assert (await stranger.http.get(one)).status_code == 404


async def test_commands_of_people_are_listed_apart(
    owner: Person, guest: Person, charger_id: str, play: Play, ctx: Context
):
    await play(charger_id)
    mine = (await owner.http.post(f"/chargers/{charger_id}/actions/restart", json={})).json()["id"]
    its_own = (await commands.ask(ctx, SYSTEM, charger_id, Restart())).id
    path = f"/chargers/{charger_id}/commands"
    for person in (owner, guest):
        for asked, found in (("true", [mine]), ("false", [its_own])):
            listed = (await person.http.get(path, params={"is_by_people": asked})).json()["items"]
            assert [each["id"] for each in listed] == found
    assert (await owner.http.get(path, params={"is_by_people": "who"})).status_code == 422


async def test_a_command_is_told_in_words_with_what_came_of_it(
    ctx: Context, owner: Person, charger_id: str, play: Play
):
    await play(charger_id)
    made = (await owner.http.post(f"/chargers/{charger_id}/ocpp", json={"action": "Reset"})).json()
    assert made["message"] == "Accepted by the charger."
    restart = (await owner.http.post(f"/chargers/{charger_id}/actions/restart")).json()
    path = f"/commands/{restart['id']}"
    assert (restart["effect"], restart["effect_at"], restart["is_unable"]) == ("waiting", None, False)
    await ctx.db.work(SYSTEM, effects.note, [(charger_id, Booted("V", "M"))])
    shown = (await owner.http.get(path)).json()
    assert (shown["effect"], shown["effect_at"] is not None, shown["late"]) == ("happened", True, None)


async def test_a_late_answer_stands_beside_the_end(
    ctx: Context, owner: Person, guest: Person, charger_id: str
):
    async def silent(_asked: Asked) -> None:
        raise TimedOut

    await ctx.bus.serve(f"charger.{charger_id}.ask", Asked, silent)
    made = (await owner.http.post(f"/chargers/{charger_id}/actions/unlock", json={"connector_id": 2})).json()
    assert (made["status"], made["connector_id"]) == ("expired", 2)
    assert isinstance(ctx.clock, FakeClock)
    ctx.clock.advance(15)
    late = [(made["id"], "Unlocked", True, '{"status":"Unlocked"}')]
    await ctx.db.work(SYSTEM, commands.answered_late, late)
    shown = (await owner.http.get(f"/commands/{made['id']}")).json()
    assert (shown["status"], shown["answer"]) == ("expired", None)
    assert shown["message"] == "The charger answered only after 15 s: Unlocked."
    assert (shown["late"]["word"], shown["late"]["answer"]) == ("Unlocked", {"status": "Unlocked"})
    assert (await guest.http.get(f"/commands/{made['id']}")).json()["late"]["answer"] is None


async def test_a_composite_schedule_is_told_in_amperes_or_watts(owner: Person, charger_id: str, play: Play):
    limits = CompositeLimits(
        (LimitPeriod(0, limit_a=16.0, phases=3), LimitPeriod(3600, limit_w=6e3)), None, 7200
    )
    heard = await play(charger_id, Answer(True, "Accepted", "{}", limits))
    path = f"/chargers/{charger_id}/composite-schedule"
    answer = await owner.http.get(path, params={"connector": 1, "duration_s": 7200, "unit": "A"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "connector": 1,
        "starts_at": None,
        "duration_s": 7200,
        "periods": [
            {"start_s": 0, "limit_a": 16.0, "limit_w": None, "phases": 3},
            {"start_s": 3600, "limit_a": None, "limit_w": 6000.0, "phases": None},
        ],
    }
    assert heard[0].ask == TellComposite(1, 7200, LimitUnit.AMPERES)


async def test_a_composite_schedule_that_is_not_told_says_why(
    anonymous: httpx2.AsyncClient, stranger: Person, guest: Person, owner: Person, charger_id: str, play: Play
):
    path = f"/chargers/{charger_id}/composite-schedule"
    assert (await anonymous.get(path)).status_code == 401
    assert (await stranger.http.get(path)).status_code == 404
    assert (await guest.http.get(path)).status_code == 403
    assert (await owner.http.get(path)).status_code == 503
    assert (await owner.http.get(path, params={"duration_s": 0})).status_code == 422
    await play(charger_id, AnswerRefused("NotSupported"))
    refused = await owner.http.get(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "no_composite")

"""/chargers/{id}/operators, /operators, their deliveries, and the limits they hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from voltyard.api.app import build
from voltyard.chargers import calls
from voltyard.chargers import service as chargers
from voltyard.kernel.actor import Kind
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import LINKS_OF_CHARGER_MAX
from voltyard.kernel.settings import PrivateNetworks
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.operators import deliveries_store, directory, events, limits, serving
from voltyard.operators.serving import Learned, Record
from voltyard.speech import Beat, Heard, LimitPeriod, LimitPurpose, SetLimit

from .conftest import SYSTEM, Enrol, Person, Play, client

PASSWORD = "a password of an operator"
NEW = {"name": "Ampère", "url": "wss://ocpp.example.com/chargers", "role": "data_control"}
START = '{"connectorId":1,"idTag":"04AABBCC","meterStart":1000,"timestamp":"2026-01-01T12:00:00Z"}'


@pytest.fixture
async def link_id(owner: Person, charger_id: str) -> str:
    """An operator of the owner's charger that watches and sets, with a password."""
    return str((await connect(owner, charger_id, password=PASSWORD))["id"])


@pytest.fixture
async def private(ctx: Context, owner: Person) -> AsyncIterator[httpx2.AsyncClient]:
    """The owner, where the installation lets operators stand in private networks."""
    allowing = ctx.settings.model_copy(update={"operator_private_networks": PrivateNetworks.ALLOW})
    outer = FastAPI()
    outer.mount("/api/v1", build(replace(ctx, settings=allowing)))
    async with client(outer, Authorization=f"Bearer {owner.token}") as http:
        yield http


async def connect(person: Person, charger_id: str, **over: object) -> dict[str, Any]:
    answer = await person.http.post(f"/chargers/{charger_id}/operators", json=NEW | over)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def hear(ctx: Context, charger_id: str, transaction_number: int | None = None) -> int:
    """Have the log keep that a transaction starts; return the number of the call."""
    heard = Heard(charger_id, "soc_1", "m-1", "StartTransaction", START, Beat())
    return (await ctx.db.work(SYSTEM, calls.log, [heard], [transaction_number]))[0]


async def note(ctx: Context, link_id: str, charger_id: str, *records: dict[str, Any]) -> None:
    """Have a line note messages between its operator and us."""
    rows = [Record(link_id, charger_id, **record) for record in records]
    await ctx.db.work(serving.ACTOR, serving.record, rows)


async def park(ctx: Context, link_id: str, charger_id: str) -> int:
    """Have an operator refuse a start for good; return the number of the delivery."""
    number = await hear(ctx, charger_id)
    refused = {
        "call_number": number, "cursor": number, "message_id": "vy-7", "action": "StartTransaction",
        "status": "parked", "tries": 5, "answer": '["InternalError","",{}]', "latency_ms": 40.0,
        "transaction_number": 7,
    }  # fmt: skip
    await note(ctx, link_id, charger_id, refused)
    (row,) = await ctx.db.read(SYSTEM, deliveries_store.open_deliveries, link_id)
    return int(row.number)


def requests(charger_id: str, link_id: str, call: int, delivery: int) -> list[tuple[str, str, object, bool]]:
    """Return every request, and whether who may see sensitive data may make it."""
    of_charger, of_link = f"/chargers/{charger_id}", f"/operators/{link_id}"
    return [
        ("GET", f"{of_charger}/operators", None, True),
        ("GET", f"/operators?charger={charger_id}", None, True),
        ("POST", f"{of_charger}/operators", NEW, False),
        ("POST", f"{of_charger}/operators/test", {"url": NEW["url"]}, False),
        ("GET", of_link, None, True),
        ("PATCH", of_link, {"name": "Another"}, False),
        ("POST", f"{of_link}/make-billing", {"former_role": "observer"}, False),
        ("POST", f"{of_link}/test", None, False),
        ("GET", f"{of_link}/history", None, True),
        ("GET", f"{of_link}/comparison", None, True),
        ("GET", f"{of_link}/deliveries", None, True),
        ("POST", f"{of_link}/deliveries/{delivery}/retry", None, False),
        ("POST", f"{of_link}/deliveries/{delivery}/skip", None, False),
        ("GET", f"{of_charger}/log/{call}/deliveries", None, True),
        ("GET", f"{of_charger}/limits", None, True),
        ("DELETE", of_link, None, False),
    ]


async def send(http: httpx2.AsyncClient, method: str, path: str, body: object, _is_look: bool) -> int:
    return (await http.request(method, path, json=body)).status_code


async def test_only_who_may_is_let_through(
    ctx: Context,
    anonymous: httpx2.AsyncClient,
    owner: Person,
    stranger: Person,
    guest: Person,
    enrol: Enrol,
    location_id: str,
    charger_id: str,
    link_id: str,
):
    delivery = await park(ctx, link_id, charger_id)
    call = await ctx.db.read(SYSTEM, calls.last_number_of, charger_id)
    every = requests(charger_id, link_id, call, delivery)
    for request in every:
        assert await send(anonymous, *request) == 401, request
        assert await send(stranger.http, *request) == 404, request
        assert await send(guest.http, *request) == 403, request
    looker, installer = await enrol("looker"), await enrol("installer")
    await ctx.db.work(owner.actor, locations.grant, location_id, looker.team_id, Level.SENSITIVE)
    for request in every:
        assert await send(looker.http, *request) == (200 if request[3] else 403), request
    until_at = ctx.clock.now() + timedelta(days=1)
    await ctx.db.work(
        owner.actor, locations.grant, location_id, installer.team_id, Level.FULL, until_at=until_at
    )
    assert (await installer.http.get(f"/operators/{link_id}")).status_code == 200
    assert isinstance(ctx.clock, FakeClock)
    ctx.clock.advance(86_401)
    for request in every:
        assert await send(installer.http, *request) == 404, request
    assert (await owner.http.get(f"/operators/{link_id}")).json()["name"] == NEW["name"]


async def test_the_directory_is_for_all_who_are_logged_in(anonymous: httpx2.AsyncClient, stranger: Person):
    assert (await anonymous.get("/operator-directory")).status_code == 401
    told = (await stranger.http.get("/operator-directory")).json()
    assert told["next"] is None
    assert [each["key"] for each in told["items"]] == list(directory.DIRECTORY)
    assert told["items"][0] == {
        "key": "tap_electric",
        "name": "Tap Electric",
        "role": "billing",
        "url": "wss://ocpp.tapelectric.app",
        "hint": "Add the charger in the Tap Electric portal first; it shows the charger's identity.",
        "is_password_needed": False,
        "is_boot_on_connect": True,
    }


async def test_an_operator_is_connected_changed_and_disconnected(
    ctx: Context, owner: Person, location_id: str, charger_id: str
):
    made = await connect(owner, charger_id, consents=["firmware"], fallback="location_cards")
    assert made == {
        "id": made["id"],
        "charger_id": charger_id,
        "charger_name": "ACE0001",
        "location_id": location_id,
        "name": "Ampère",
        "preset": "other",
        "url": "wss://ocpp.example.com/chargers",
        "is_identity_appended": True,
        "identity": "ACE0001",
        "role": "data_control",
        "fallback": "location_cards",
        "username": "",
        "has_password": False,
        "is_password_changing": False,
        "has_certificate": False,
        "has_authority": False,
        "tag_alias": "",
        "is_limiting": True,
        "is_boot_on_connect": True,
        "consents": ["firmware"],
        "state": "connecting",
        "reason": "",
        "state_at": "2026-01-01T12:00:00Z",
        "queue": {"waiting": 0, "since": None, "parked": 0},
        "delivered_at": None,
        "created_at": "2026-01-01T12:00:00Z",
    }
    path = f"/operators/{made['id']}"
    assert (await owner.http.get(path)).json() == made
    await hear(ctx, charger_id)
    shown = (await owner.http.get(path)).json()
    assert shown["queue"] == {"waiting": 1, "since": "2026-01-01T12:00:00Z", "parked": 0}
    changed = await owner.http.patch(path, json={"username": "ace", "consents": [], "is_limiting": False})
    assert changed.status_code == 200, changed.text
    assert changed.json() == shown | {"username": "ace", "consents": [], "is_limiting": False}
    gone = await owner.http.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await owner.http.get(path)).status_code == 404
    assert (await owner.http.get(f"/chargers/{charger_id}/operators")).json()["items"] == []


async def test_a_preset_knows_the_address(owner: Person, charger_id: str):
    answer = await owner.http.post(
        f"/chargers/{charger_id}/operators", json={"preset": "monta", "role": "billing"}
    )
    made = answer.json()
    assert (made["name"], made["url"], made["preset"]) == ("Monta", "wss://ocpp.monta.app", "monta")


async def test_a_new_operator_is_told_what_runs_if_that_is_wanted(
    ctx: Context, owner: Person, charger_id: str, transaction_id: str
):
    running = (await owner.http.get(f"/transactions/{transaction_id}")).json()
    await hear(ctx, charger_id, running["number"])
    assert (await connect(owner, charger_id))["queue"]["waiting"] == 0
    assert (await connect(owner, charger_id, is_running_told=True))["queue"]["waiting"] == 1


async def test_a_charger_serves_no_more_than_some_operators(owner: Person, charger_id: str):
    for _ in range(LINKS_OF_CHARGER_MAX):
        await connect(owner, charger_id)
    refused = await owner.http.post(f"/chargers/{charger_id}/operators", json=NEW)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_operators")


async def test_lists_have_pages_and_show_what_one_may_see(
    owner: Person, stranger: Person, guest: Person, charger_id: str
):
    made = [await connect(owner, charger_id, name=f"Operator {turn}") for turn in range(3)]
    path = f"/chargers/{charger_id}/operators"
    first = (await owner.http.get(path, params={"limit": 2})).json()
    assert first["items"] == made[:2]
    second = (await owner.http.get("/operators", params={"limit": 2, "cursor": first["next"]})).json()
    assert second == {"items": made[2:], "next": None}
    for person in (stranger, guest):
        assert (await person.http.get("/operators")).json() == {"items": [], "next": None}
    assert (await owner.http.get(path, params={"cursor": "nonsense"})).json()["code"] == "bad_cursor"


async def test_a_post_with_a_key_connects_once(owner: Person, charger_id: str):
    path, key = f"/chargers/{charger_id}/operators", {"Idempotency-Key": "once"}
    answers = [await owner.http.post(path, json=NEW, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert (await owner.http.get(path)).json()["items"] == [answers[0].json()]


async def test_only_one_operator_bills_until_the_two_are_swapped(owner: Person, charger_id: str):
    first = await connect(owner, charger_id, role="billing")
    refused = await owner.http.post(f"/chargers/{charger_id}/operators", json=NEW | {"role": "billing"})
    assert (refused.status_code, refused.json()["code"]) == (409, "billing_taken")
    assert refused.json()["link"] == first["id"]
    second = await connect(owner, charger_id, name="Second")
    path = f"/operators/{second['id']}"
    refused = await owner.http.patch(path, json={"role": "billing"})
    assert (refused.status_code, refused.json()["code"]) == (409, "billing_taken")
    wrong = await owner.http.post(f"{path}/make-billing", json={"former_role": "billing"})
    assert wrong.status_code == 422
    assert [each["pointer"] for each in wrong.json()["errors"]] == ["/former_role"]
    swapped = await owner.http.post(f"{path}/make-billing", json={"former_role": "data_control"})
    assert (swapped.status_code, swapped.json()) == (200, second | {"role": "billing"})
    assert (await owner.http.get(f"/operators/{first['id']}")).json()["role"] == "data_control"
    back = await owner.http.post(f"/operators/{first['id']}/make-billing")
    assert back.json()["role"] == "billing"
    assert (await owner.http.get(path)).json()["role"] == "observer"


PRIVATE = ("ws://192.168.1.7:9000", "wss://127.0.0.1/ocpp", "wss://[::1]/ocpp")


async def test_a_private_address_is_refused_unless_the_installation_allows_it(
    owner: Person, charger_id: str, link_id: str, private: httpx2.AsyncClient
):
    for url in PRIVATE:
        for method, path, body in (
            ("POST", f"/chargers/{charger_id}/operators", NEW | {"url": url}),
            ("POST", f"/chargers/{charger_id}/operators/test", {"url": url}),
            ("PATCH", f"/operators/{link_id}", {"url": url}),
            ("POST", f"/operators/{link_id}/test", {"url": url}),
        ):
            refused = await owner.http.request(method, path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (422, "url_refused")
            assert [each["pointer"] for each in refused.json()["errors"]] == ["/url"]
        made = await private.post(f"/chargers/{charger_id}/operators", json=NEW | {"url": url})
        assert (made.status_code, made.json()["url"]) == (201, url)


@pytest.mark.parametrize(
    ("over", "pointer"),
    [
        ({"role": None}, "/role"),
        ({"role": "owner"}, "/role"),
        ({"fallback": "some"}, "/fallback"),
        ({"url": None}, "/url"),
        ({"name": ""}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"identity": "a/b"}, "/identity"),
        ({"username": "a:b"}, "/username"),
        ({"password": "x" * 41}, "/password"),
        ({"password": "xyz", "is_password_hex": True}, "/password"),
        ({"tag_alias": "x" * 21}, "/tag_alias"),
        ({"consents": ["firmware", "everything"]}, "/consents"),
        ({"state": "online"}, "/state"),
    ],
)
async def test_what_makes_no_sense_is_pointed_at(
    owner: Person, charger_id: str, over: dict[str, object], pointer: str
):
    answer = await owner.http.post(f"/chargers/{charger_id}/operators", json=NEW | over)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    assert PASSWORD not in answer.text


async def test_a_secret_is_in_no_answer(owner: Person, charger_id: str):
    secrets = {"password": PASSWORD, "certificate_pem": "CERTIFICATE", "key_pem": "PRIVATE OF A KEY"}
    path, key = f"/chargers/{charger_id}/operators", {"Idempotency-Key": "once"}
    answers = [await owner.http.post(path, json=NEW | secrets, headers=key) for _ in range(2)]
    made = answers[0].json()
    assert (made["has_password"], made["has_certificate"]) == (True, True)
    home = f"/operators/{made['id']}"
    answers += [
        await owner.http.patch(home, json={"password": PASSWORD, "key_pem": "PRIVATE OF A KEY"}),
        await owner.http.patch(home, json={"password": PASSWORD, "fallback": "some"}),
        await owner.http.patch(home, json={"password": PASSWORD * 2}),
        await owner.http.post(f"{home}/test", json={"password": PASSWORD}),
        *[await owner.http.get(each) for each in (path, home, f"{home}/history", "/operators")],
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 200, 422, 422, 503, 200, 200, 200, 200]
    for answer in answers:
        assert PASSWORD not in answer.text
        assert PASSWORD.encode().hex() not in answer.text
        assert "PRIVATE OF A KEY" not in answer.text
        assert "sealed" not in answer.text
    cleared = await owner.http.patch(home, json={"password": "", "certificate_pem": ""})
    assert (cleared.json()["has_password"], cleared.json()["has_certificate"]) == (False, False)


async def test_blanks_of_a_password_count(ctx: Context, owner: Person, charger_id: str):
    made = await connect(owner, charger_id, password=" ")
    assert made["has_password"]


async def test_history_tells_who_did_what(owner: Person, charger_id: str, link_id: str):
    path = f"/operators/{link_id}"
    await owner.http.patch(path, json={"password": "another", "name": "New name"})
    await owner.http.post(f"{path}/make-billing")
    told = (await owner.http.get(f"{path}/history")).json()
    assert told["next"] is None
    assert [each["what"] for each in told["items"]] == ["swapped", "changed", "connected"]
    swapped, changed, connected = told["items"]
    assert swapped["detail"] == {"role": "billing", "for": None}
    assert changed["detail"] == {"password": "changed", "name": "New name"}
    assert connected == {
        "at": "2026-01-01T12:00:00Z",
        "actor_kind": Kind.TOKEN.value,
        "actor_id": owner.user.id,
        "door": "api",
        "what": "connected",
        "detail": {"name": NEW["name"], "role": "data_control", "url": NEW["url"]},
    }


# --- testing --------------------------------------------------------------------------------------


async def test_a_test_that_nobody_can_make_is_refused_for_now(owner: Person, charger_id: str, link_id: str):
    for path, body in (
        (f"/chargers/{charger_id}/operators/test", {"url": NEW["url"]}),
        (f"/operators/{link_id}/test", None),
    ):
        refused = await owner.http.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (503, "unserved")
        assert "retry-after" in refused.headers


async def test_a_test_tells_each_step_and_stores_nothing(
    ctx: Context, owner: Person, charger_id: str, link_id: str
):
    asked: list[events.TrialAsked] = []

    async def attempt(ask: events.TrialAsked) -> events.Tried:
        asked.append(ask)
        return events.Tried(
            (events.Attempted("dns", True, "found"), events.Attempted("tcp", False, "nobody answers"))
        )

    await ctx.bus.serve("lines.test", events.TrialAsked, attempt)
    before = (await owner.http.get("/operators")).json()
    trial = {"preset": "monta", "username": "ace", "password": PASSWORD, "role": "billing"}
    answer = await owner.http.post(f"/chargers/{charger_id}/operators/test", json=trial)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "attempts": [
                {"step": "dns", "is_ok": True, "why": "found"},
                {"step": "tcp", "is_ok": False, "why": "nobody answers"},
            ]
        },
    )
    assert (await owner.http.post(f"/operators/{link_id}/test")).json() == answer.json()
    changed = await owner.http.post(f"/operators/{link_id}/test", json={"identity": "OTHER"})
    assert changed.json() == answer.json()
    assert [(each.url, each.identity, each.username) for each in asked] == [
        ("wss://ocpp.monta.app", "ACE0001", "ace"),
        (NEW["url"], "ACE0001", ""),
        (NEW["url"], "OTHER", ""),
    ]
    assert all(each.password_sealed and PASSWORD not in each.password_sealed for each in asked)
    assert (await owner.http.get("/operators")).json() == before


# --- deliveries -----------------------------------------------------------------------------------


async def test_a_delivery_tells_what_went_where_and_what_came_back(
    ctx: Context, owner: Person, charger_id: str, link_id: str
):
    number = await hear(ctx, charger_id)
    told = START.replace("04AABBCC", "FLEET")
    await note(
        ctx,
        link_id,
        charger_id,
        {
            "call_number": number, "cursor": number, "message_id": "vy-1", "action": "StartTransaction",
            "payload": told, "note": "tag_alias,shortened", "transaction_number": 57, "latency_ms": 12.5,
            "answer": '{"transactionId":9001,"idTagInfo":{"status":"Accepted"}}',
        },
        {"is_inward": True, "action": "Reset", "payload": "{", "status": "refused", "note": "role"},
    )  # fmt: skip
    asked, start = (await owner.http.get(f"/operators/{link_id}/deliveries")).json()["items"]
    assert start == {
        "number": start["number"],
        "link_id": link_id,
        "call_number": number,
        "transaction_number": 57,
        "is_inward": False,
        "message_id": "vy-1",
        "action": "StartTransaction",
        "payload": {
            "connectorId": 1, "idTag": "FLEET", "meterStart": 1000, "timestamp": "2026-01-01T12:00:00Z",
        },
        "said": {
            "connectorId": 1, "idTag": "04AABBCC", "meterStart": 1000, "timestamp": "2026-01-01T12:00:00Z",
        },
        "note": ["tag_alias", "shortened"],
        "at": "2026-01-01T12:00:00Z",
        "said_at": "2026-01-01T12:00:00Z",
        "status": "done",
        "answer": {"transactionId": 9001, "idTagInfo": {"status": "Accepted"}},
        "latency_ms": 12.5,
        "tries": 1,
        "next_at": None,
    }  # fmt: skip
    assert (asked["is_inward"], asked["payload"], asked["said"], asked["answer"]) == (True, "{", None, None)
    assert (asked["status"], asked["note"], asked["said_at"]) == ("refused", ["role"], None)
    assert (await owner.http.get(f"/operators/{link_id}")).json()["delivered_at"] == "2026-01-01T12:00:00Z"


async def test_deliveries_are_found_by_what_became_of_them_and_page_by_page(
    ctx: Context, owner: Person, charger_id: str, link_id: str
):
    path = f"/operators/{link_id}/deliveries"
    empty = (await owner.http.get(path)).json()
    assert empty == {"items": [], "next": None, "previous": None}
    await note(
        ctx,
        link_id,
        charger_id,
        {"action": "BootNotification", "payload": "{}"},
        {"action": "Heartbeat", "payload": "{}"},
        {"action": "MeterValues", "payload": "{}", "status": "failed"},
        {"action": "Reset", "payload": "{}", "is_inward": True, "status": "refused"},
    )

    async def actions(**query: Any) -> list[str]:
        answer = await owner.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return [each["action"] for each in answer.json()["items"]]

    assert await actions() == ["Reset", "MeterValues", "Heartbeat", "BootNotification"]
    assert await actions(significant=True) == ["Reset", "BootNotification"]
    assert await actions(significant=True, action="Heartbeat") == ["Heartbeat"]
    assert await actions(action=["Heartbeat", "Reset"]) == ["Reset", "Heartbeat"]
    assert await actions(status=["failed", "refused"]) == ["Reset", "MeterValues"]
    assert await actions(is_inward=True) == ["Reset"]
    assert await actions(is_inward=False, status="done") == ["Heartbeat", "BootNotification"]
    first = (await owner.http.get(path, params={"limit": 3})).json()
    assert await actions(limit=3, cursor=first["next"]) == ["BootNotification"]
    rest = (await owner.http.get(path, params={"limit": 3, "cursor": first["next"]})).json()
    assert rest["next"] is None
    assert await actions(limit=2, cursor=rest["previous"]) == ["MeterValues", "Heartbeat"]
    assert await actions(cursor=first["previous"]) == []
    await note(ctx, link_id, charger_id, {"action": "StatusNotification", "payload": "{}"})
    assert await actions(cursor=first["previous"]) == ["StatusNotification"]
    assert (await owner.http.get(path, params={"status": "lost"})).status_code == 422
    assert (await owner.http.get(path, params={"cursor": "nonsense"})).json()["code"] == "bad_cursor"


async def test_what_was_refused_is_told_again_or_skipped(
    ctx: Context, owner: Person, charger_id: str, link_id: str
):
    number = await park(ctx, link_id, charger_id)
    path = f"/operators/{link_id}/deliveries/{number}"
    queue = (await owner.http.get(f"/operators/{link_id}")).json()["queue"]
    assert (queue["waiting"], queue["parked"]) == (1, 1)
    again = await owner.http.post(f"{path}/retry")
    assert again.status_code == 200, again.text
    shown = again.json()
    assert (shown["status"], shown["tries"], shown["next_at"]) == ("retrying", 0, "2026-01-01T12:00:00Z")
    skipped = await owner.http.post(f"{path}/skip")
    assert (skipped.status_code, skipped.json()["status"]) == (200, "skipped")
    for verb in ("retry", "skip"):
        refused = await owner.http.post(f"{path}/{verb}")
        assert (refused.status_code, refused.json()["code"]) == (409, "not_parked")
        lost = await owner.http.post(f"/operators/{link_id}/deliveries/999999/{verb}")
        assert lost.status_code == 404
    assert (await owner.http.get(f"/operators/{link_id}")).json()["queue"]["parked"] == 0
    unknown = (await owner.http.get(f"/operators/{link_id}/comparison")).json()["transactions"]
    assert [(each["number"], each["state"]) for each in unknown] == [(7, "unknown")]


async def test_one_saying_is_followed_to_each_operator(
    ctx: Context, owner: Person, enrol: Enrol, location_id: str, charger_id: str, link_id: str
):
    other = await connect(owner, charger_id, name="Other")
    number = await hear(ctx, charger_id)
    path = f"/chargers/{charger_id}/log/{number}/deliveries"
    assert (await owner.http.get(path)).json() == {"items": [], "next": None}
    for each, status in ((link_id, "done"), (other["id"], "failed")):
        told = {"call_number": number, "action": "StartTransaction", "status": status}
        await note(ctx, each, charger_id, told)
    found = (await owner.http.get(path)).json()["items"]
    assert [(each["link_id"], each["status"]) for each in found] == [
        (link_id, "done"),
        (other["id"], "failed"),
    ]
    assert found[0]["payload"]["idTag"] == "04AABBCC"
    assert (await owner.http.get(f"/chargers/{charger_id}/log/999999/deliveries")).status_code == 404
    # What was said before a charger came to its present owner is not that one's business.
    heir = await enrol("heir")
    home = await ctx.db.work(heir.actor, locations.create, name="Elsewhere", city="Ede", country="NL")
    assert isinstance(ctx.clock, FakeClock)
    ctx.clock.advance(60)
    await ctx.db.work(owner.actor, chargers.unlink, location_id, charger_id)
    await chargers.claim(ctx, heir.actor, home.id, identity="ACE0001", pin="1234")
    assert (await heir.http.get(path)).status_code == 404
    assert (await heir.http.get("/operators")).json()["items"] == []
    assert (await heir.http.get(f"/operators/{link_id}")).status_code == 404


async def test_an_operators_transactions_are_compared_with_ours(
    ctx: Context, owner: Person, charger_id: str, link_id: str, transaction_id: str
):
    ours = (await owner.http.get(f"/transactions/{transaction_id}")).json()
    learned = Learned(
        ours["number"], "stopped", 9001, "Invalid", "04AABBCC",
        started_at=ctx.clock.now(), stopped_at=ctx.clock.now(),
    )  # fmt: skip
    await note(ctx, link_id, charger_id, {"learned": learned})
    told = (await owner.http.get(f"/operators/{link_id}/comparison")).json()
    (one,) = told["transactions"]
    assert (one["number"], one["theirs"], one["state"]) == (ours["number"], 9001, "stopped")
    assert (one["verdict"], one["id_token"], one["energy_wh"]) == ("Invalid", "04AABBCC", 300)
    assert (told["refused_id_tokens"], told["energy_wh"]) == (["04AABBCC"], 300)


# --- limits ---------------------------------------------------------------------------------------


async def test_who_holds_a_charger_at_which_current_is_told(
    ctx: Context, owner: Person, charger_id: str, link_id: str, play: Play
):
    path = f"/chargers/{charger_id}/limits"
    assert (await owner.http.get(path)).json() == {"items": [], "next": None}
    await play(charger_id)
    limit = SetLimit(1, LimitPurpose.DEFAULT, 5, 0, (LimitPeriod(0, 10.0),), starts_at=ctx.clock.now())
    await ctx.db.work(serving.ACTOR, limits.put, link_id, charger_id, limit)
    await limits.compose(ctx, events.Compose(charger_id))
    assert (await owner.http.get(path)).json()["items"] == [
        {
            "connector_id": 1,
            "limit_a": 10.0,
            "by": [{"id": link_id, "name": NEW["name"]}],
            "word": "Accepted",
            "sent_at": "2026-01-01T12:00:00Z",
        }
    ]
    assert (await owner.http.delete(f"/operators/{link_id}")).status_code == 204
    (held,) = (await owner.http.get(path)).json()["items"]
    assert held["by"] == [{"id": link_id, "name": None}]
    ctx.clock.advance(limits.PACE_S)
    await limits.compose(ctx, events.Compose(charger_id))
    assert (await owner.http.get(path)).json()["items"] == []


async def test_an_id_of_another_kind_names_no_operator(owner: Person, charger_id: str):
    for wrong in ("nonsense", charger_id, new_id("link")):
        assert (await owner.http.get(f"/operators/{wrong}")).status_code == 404

"""/chargers/{id}/parameters and /chargers/{id}/setup."""

import httpx2
import pytest

from tests.unit.chargers.keyed import FACTORY, KeyedCharger
from voltyard.kernel.context import Context
from voltyard.locations import service as locations
from voltyard.locations.access import Level

from .conftest import Enrol, Person

SETUP = {"phases": 3, "max_current_a": 16, "net_type": "TN", "phase_rotation": "RST", "breaker_a": 20}


@pytest.fixture
async def keyed(ctx: Context, charger_id: str) -> KeyedCharger:
    return await KeyedCharger(ctx, charger_id).serve()


def requests(charger_id: str) -> list[tuple[str, str, object]]:
    home = f"/chargers/{charger_id}"
    return [
        ("GET", f"{home}/parameters", None),
        ("PATCH", f"{home}/parameters", {"changes": {"HeartbeatInterval": "60"}}),
        ("POST", f"{home}/parameters/read", None),
        ("POST", f"{home}/parameters/measurands", {"key": "MeterValuesSampledData", "measurands": ["SoC"]}),
        ("GET", f"{home}/setup", None),
        ("POST", f"{home}/setup", SETUP),
    ]


async def send(http: httpx2.AsyncClient, method: str, path: str, body: object) -> int:
    return (await http.request(method, path, json=body)).status_code


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, charger_id: str):
    for request in requests(charger_id):
        assert await send(anonymous, *request) == 401


async def test_a_foreign_team_knows_of_nothing(stranger: Person, keyed: KeyedCharger):
    for request in requests(keyed.charger_id):
        assert await send(stranger.http, *request) == 404
    assert keyed.asked == []


async def test_a_guest_sees_and_changes_nothing(guest: Person, keyed: KeyedCharger):
    for request in requests(keyed.charger_id):
        assert await send(guest.http, *request) == 403
    assert keyed.asked == []


async def test_who_may_control_may_read_and_not_change(
    enrol: Enrol, ctx: Context, owner: Person, location_id: str, keyed: KeyedCharger
):
    person = await enrol("manager")
    await ctx.db.work(owner.actor, locations.grant, location_id, person.team_id, Level.SENSITIVE)
    found = [await send(person.http, *request) for request in requests(keyed.charger_id)]
    assert found == [200, 403, 200, 403, 200, 403]
    assert keyed.changes == []


async def test_parameters_are_read_and_listed(owner: Person, keyed: KeyedCharger):
    path = f"/chargers/{keyed.charger_id}/parameters"
    assert (await owner.http.get(path)).json() == {
        "items": [],
        "next": None,
        "read_at": None,
        "is_by_key": False,
        "reboot_required_at": None,
    }
    read = await owner.http.post(f"{path}/read")
    assert (read.status_code, read.json()) == (200, {"count": len(FACTORY), "is_complete": True})
    listed = (await owner.http.get(path)).json()
    assert listed["read_at"] == "2026-01-01T12:00:00Z"
    by_key = {each["key"]: each for each in listed["items"]}
    assert by_key["HeartbeatInterval"] == {
        "key": "HeartbeatInterval",
        "reported": "300",
        "reported_at": "2026-01-01T12:00:00Z",
        "desired": None,
        "desired_at": None,
        "actor_kind": "",
        "actor_id": "",
        "door": "",
        "result": None,
        "is_pending": False,
        "is_drifted": False,
        "is_readonly": False,
        "is_unknown": False,
        "is_risky": False,
        "is_secret": False,
        "managed_by": None,
        "is_standard": True,
        "profile": "Core",
        "type": "integer",
        "unit": "s",
        "range": "a whole number of seconds, 0 or more",
        "about": "How long the charger stays silent before it says that it is alive.",
    }
    assert by_key["ConnectorPhaseRotation"]["managed_by"] == "configuration"
    assert by_key["WifiPassword"]["reported"] == "***"
    assert by_key["BackOfficeUrl"]["is_risky"]


async def test_what_is_changed_is_told_key_by_key(owner: Person, keyed: KeyedCharger):
    path = f"/chargers/{keyed.charger_id}/parameters"
    keyed.after_reboot = frozenset({"ResetRetries"})
    saved = await owner.http.patch(
        path, json={"changes": {"HeartbeatInterval": 60, "LocalPreAuthorize": True, "ResetRetries": "4"}}
    )
    assert saved.status_code == 200
    assert saved.json() == {
        "results": [
            {"key": "HeartbeatInterval", "value": "60", "result": "accepted", "word": "Accepted"},
            {"key": "LocalPreAuthorize", "value": "true", "result": "accepted", "word": "Accepted"},
            {"key": "ResetRetries", "value": "4", "result": "reboot_required", "word": "RebootRequired"},
        ],
        "is_reboot_required": True,
    }
    found = {each["key"]: each for each in (await owner.http.get(path)).json()["items"]}["HeartbeatInterval"]
    assert (found["desired"], found["actor_kind"], found["actor_id"]) == ("60", "token", owner.user.id)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"HeartbeatInterval": "soon"}, "/changes/HeartbeatInterval"),
        ({"NumberOfConnectors": "3"}, "/changes/NumberOfConnectors"),
        ({"SecurityProfile": "3"}, "/changes/SecurityProfile"),
        ({"A/B" * 30: "3"}, "/changes/" + "A~1B" * 30),
        ({}, "/changes"),
        ({"A": 1.5}, None),
        ({"A": "x" * 501}, "/changes/A"),
    ],
)
async def test_what_cannot_be_is_refused(owner: Person, keyed: KeyedCharger, changes, pointer):
    path = f"/chargers/{keyed.charger_id}/parameters"
    answer = await owner.http.patch(path, json={"changes": changes})
    assert answer.status_code == 422
    assert pointer is None or answer.json()["errors"][0]["pointer"] == pointer
    assert keyed.asked == []


async def test_one_may_insist(owner: Person, keyed: KeyedCharger):
    body = {"changes": {"HeartbeatInterval": "soon"}, "force": True}
    answer = await owner.http.patch(f"/chargers/{keyed.charger_id}/parameters", json=body)
    assert answer.json()["results"][0]["result"] == "accepted"


async def test_a_charger_that_cannot_be_read_says_so(owner: Person, charger_id: str, ctx: Context):
    path = f"/chargers/{charger_id}/parameters/read"
    answer = await owner.http.post(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "charger_offline")
    keyed = await KeyedCharger(ctx, charger_id, values={}, can_list=False, errs_at_unknown=True).serve()
    answer = await owner.http.post(path, json={"list": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_read")
    assert keyed.questions[0] == ()


async def test_measurands_are_cut_to_what_the_charger_can(owner: Person, keyed: KeyedCharger):
    keyed.measurands_max = 1
    path = f"/chargers/{keyed.charger_id}/parameters/measurands"
    body = {"key": "MeterValuesSampledData", "measurands": ["Voltage", "SoC"]}
    assert (await owner.http.post(path, json=body)).json() == {
        "key": "MeterValuesSampledData",
        "value": "Voltage",
        "result": "cut",
        "word": "Accepted",
    }
    assert (await owner.http.post(path, json=body | {"key": "CpoName"})).status_code == 422


async def test_a_charger_is_set_up(owner: Person, keyed: KeyedCharger):
    path = f"/chargers/{keyed.charger_id}/setup"
    before = (await owner.http.get(path)).json()
    assert (before["setup_pending"], before["setup_completed"], before["phases"]) == (False, False, None)
    keyed.after_reboot = frozenset({"ConnectorPhaseRotation"})
    made = await owner.http.post(path, json=SETUP)
    assert made.status_code == 200
    assert made.json() == SETUP | {
        "setup_pending": True,
        "setup_completed": False,
        "message": "The charger has to restart before its set-up is complete.",
        "advised_current_a": 16.0,
        "told": "reboot_required",
        "is_reboot_required": True,
        "set_at": "2026-01-01T12:00:00Z",
        "actor_kind": "token",
        "actor_id": owner.user.id,
        "door": "api",
    }
    assert (await owner.http.get(path)).json() == made.json()
    again = await owner.http.post(path, json=SETUP)
    assert (again.status_code, again.headers["Retry-After"]) == (429, "60")


@pytest.mark.parametrize(
    "change",
    [
        {"phases": 2},
        {"max_current_a": 5},
        {"net_type": "XX"},
        {"phase_rotation": "R"},
        {"phase_rotation": "rst"},
        {"breaker_a": 10},
        {"group": "x"},
    ],
)
async def test_a_set_up_that_cannot_be_is_refused(owner: Person, keyed: KeyedCharger, change):
    answer = await owner.http.post(f"/chargers/{keyed.charger_id}/setup", json=SETUP | change)
    assert answer.status_code == 422
    assert keyed.asked == []

"""/chargers/{id}/security, /pin, /certificates and /roots."""

from __future__ import annotations

import httpx2

from tests.unit.chargers.papers import give_authority
from tests.unit.chargers.test_credentials import certificate_for
from voltyard.chargers import security
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Place
from voltyard.kernel.context import Context
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.speech import (
    Answer,
    CertificateHash,
    InstallCertificate,
    InstalledCertificates,
    SecurityTold,
    SetKey,
    TriggerExtended,
)

from .conftest import PIN, SYSTEM, Enrol, Person, Play

HASH = {"algorithm": "SHA256", "issuer_name_hash": "aa", "issuer_key_hash": "bb", "serial": "1f"}
NEVER = "cert_01JD00000000000000000000AA"


def looks(charger_id: str) -> list[str]:
    paths = ("security", "security/events", "pin", "certificates", "roots")
    return [f"/chargers/{charger_id}/{path}" for path in paths]


def changes(charger_id: str) -> list[tuple[str, object]]:
    at = f"/chargers/{charger_id}"
    return [
        (f"{at}/security/profile", {"profile": 1}),
        (f"{at}/security/password", {}),
        (f"{at}/certificates", None),
        (f"{at}/certificates/{NEVER}/revoke", None),
        (f"{at}/roots", {}),
        (f"{at}/roots/read", {}),
        (f"{at}/roots/delete", HASH),
    ]


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, charger_id: str):
    for path in (*looks(charger_id), "/security/root"):
        assert (await anonymous.get(path)).status_code == 401
    for path, body in changes(charger_id):
        assert (await anonymous.post(path, json=body)).status_code == 401


async def test_a_foreign_team_sees_nothing(stranger: Person, charger_id: str):
    for path in looks(charger_id):
        assert (await stranger.http.get(path)).status_code == 404
    for path, body in changes(charger_id):
        assert (await stranger.http.post(path, json=body)).status_code == 404


async def test_a_guest_sees_and_changes_nothing(guest: Person, charger_id: str):
    for path in looks(charger_id):
        assert (await guest.http.get(path)).status_code == 403
    for path, body in changes(charger_id):
        assert (await guest.http.post(path, json=body)).status_code == 403


async def test_a_member_who_sees_sensitive_data_looks_and_changes_nothing(
    ctx: Context, enrol: Enrol, owner: Person, location_id: str, charger_id: str
):
    person = await enrol("member")
    await ctx.db.work(owner.actor, locations.grant, location_id, person.team_id, Level.SENSITIVE)
    for path in looks(charger_id):
        assert (await person.http.get(path)).status_code == 200, path
    for path, body in changes(charger_id):
        assert (await person.http.post(path, json=body)).status_code == 403


async def test_how_a_charger_proves_itself_is_told(owner: Person, charger_id: str):
    told = (await owner.http.get(f"/chargers/{charger_id}/security")).json()
    assert told["enforced_profile"] == 0
    assert told["profile_in_use"] == 0
    assert told["has_password"] is False
    assert told["plain_url"] == "ws://voltyard.test:8887/ocpp/ACE0001"
    assert told["tls_url"] == ""


async def test_a_pin_is_told_and_kept_nowhere_on_the_way(ctx: Context, owner: Person, charger_id: str):
    answer = await owner.http.get(f"/chargers/{charger_id}/pin")
    assert answer.json() == {"pin": PIN}
    assert answer.headers["cache-control"] == "no-store"
    assert len(await ctx.db.read(owner.actor, security.list_looks, charger_id)) == 1


async def test_a_pin_of_before_is_not_told(ctx: Context, owner: Person, charger_id: str):
    await ctx.db.work(SYSTEM, chargers.store.set_charger, charger_id, pin_sealed=None)
    answer = await owner.http.get(f"/chargers/{charger_id}/pin")
    assert (answer.status_code, answer.json()["code"]) == (409, "pin_not_kept")


async def test_a_new_password_is_sent_and_not_told(owner: Person, charger_id: str, play: Play):
    heard = await play(charger_id)
    answer = await owner.http.post(f"/chargers/{charger_id}/security/password", json={})
    assert answer.json()["status"] == "executed"
    sent = heard[0].ask
    assert isinstance(sent, SetKey)
    assert sent.value not in answer.text
    assert (await owner.http.get(f"/chargers/{charger_id}/security")).json()["has_password"] is True
    wrong = await owner.http.post(f"/chargers/{charger_id}/security/password", json={"password": "too short"})
    assert wrong.json()["errors"][0]["pointer"] == "/password"


async def test_a_profile_is_raised_when_all_is_there(owner: Person, charger_id: str, play: Play):
    path = f"/chargers/{charger_id}/security/profile"
    refused = await owner.http.post(path, json={"profile": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready_for_profile")
    await play(charger_id)
    await owner.http.post(f"/chargers/{charger_id}/security/password")
    assert (await owner.http.post(path, json={"profile": 1})).json()["status"] == "executed"
    assert (await owner.http.get(f"/chargers/{charger_id}/security")).json()["wanted_profile"] == 1
    assert (await owner.http.post(path, json={"profile": 4})).status_code == 422


async def test_security_events_come_in_pages(ctx: Context, owner: Person, charger_id: str, location_id: str):
    said = [(Place(charger_id, location_id), SecurityTold(f"Event{number}")) for number in range(3)]
    await ctx.db.work(SYSTEM, security.told, said)
    path = f"/chargers/{charger_id}/security/events"
    first = (await owner.http.get(path, params={"limit": 2})).json()
    assert [each["kind"] for each in first["items"]] == ["Event2", "Event1"]
    rest = (await owner.http.get(path, params={"cursor": first["next"]})).json()
    assert [each["kind"] for each in rest["items"]] == ["Event0"]


async def test_a_certificate_is_asked_for_listed_and_revoked(
    ctx: Context, owner: Person, charger_id: str, play: Play
):
    heard = await play(charger_id)
    path = f"/chargers/{charger_id}/certificates"
    assert (await owner.http.post(path)).json()["status"] == "executed"
    assert heard[0].ask == TriggerExtended("SignChargePointCertificate")
    await certificate_for(ctx, await ctx.db.read(owner.actor, chargers.get, charger_id))
    (kept,) = (await owner.http.get(path)).json()["items"]
    assert kept["status"] == "accepted"
    told = (await owner.http.get(f"/chargers/{charger_id}/security")).json()
    assert told["certificate"]["serial"] == kept["serial"]
    assert (await owner.http.post(f"{path}/{kept['id']}/revoke")).status_code == 204
    assert (await owner.http.post(f"{path}/{kept['id']}/revoke")).json()["code"] == "not_in_force"
    assert (await owner.http.post(f"{path}/{NEVER}/revoke")).status_code == 404


async def test_roots_are_installed_read_and_deleted(ctx: Context, owner: Person, charger_id: str, play: Play):
    root, _ = await give_authority(ctx)
    listed = InstalledCertificates((CertificateHash(**HASH),))
    heard = await play(charger_id, Answer(True, "Accepted", "{}", listed))
    path = f"/chargers/{charger_id}/roots"
    assert (await owner.http.get("/security/root")).json() == {"certificate": root.certificate_pem}
    assert (await owner.http.post(path)).json()["status"] == "executed"
    sent = heard[0].ask
    assert isinstance(sent, InstallCertificate)
    assert sent.certificate_pem == root.certificate_pem
    (kept,) = (await owner.http.get(path)).json()["items"]
    assert (kept["name"], kept["is_ours"]) == ("Test root", True)
    await owner.http.post(f"{path}/read", json={"kind": "central"})
    (kept,) = (await owner.http.get(path)).json()["items"]
    assert kept["hash"] == HASH
    await owner.http.post(f"{path}/delete", json=HASH)
    assert (await owner.http.get(path)).json()["items"] == []
    wrong = await owner.http.post(path, json={"certificate": "nonsense"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_certificate")

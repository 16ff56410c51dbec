"""/firmware and /chargers/{id}/firmware."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from voltyard.api import firmware as door
from voltyard.kernel.context import Context
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.speech import Answer, UpdateFirmware, UpdateSignedFirmware

from .conftest import Enrol, Person, Play

BARE = Answer(True, "", "{}")
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
ADDRESS = {"address": "ftp://fw.example/2.bin"}


async def upload(person: Person, data: bytes = b"firmware", **fields: str) -> httpx2.Response:
    return await person.http.post(
        "/firmware", data={"version": "2.0"} | fields, files={"file": ("fw-2.0.bin", data)}
    )


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient, charger_id: str):
    assert (await anonymous.get("/firmware")).status_code == 401
    assert (await anonymous.post("/firmware", files={"file": ("a", b"x")})).status_code == 401
    assert (await anonymous.get("/firmware/fw_1")).status_code == 401
    assert (await anonymous.delete("/firmware/fw_1")).status_code == 401
    assert (await anonymous.post(f"/chargers/{charger_id}/firmware", json=ADDRESS)).status_code == 401
    many = {"charger_ids": [charger_id]}
    assert (await anonymous.post("/firmware/fw_1/updates", json=many)).status_code == 401


async def test_a_foreign_team_sees_uploads_and_updates_nothing(
    owner: Person, stranger: Person, charger_id: str
):
    file = (await upload(owner)).json()
    assert (await stranger.http.get("/firmware")).json()["items"] == []
    assert (await stranger.http.get(f"/firmware/{file['id']}")).status_code == 404
    assert (await stranger.http.delete(f"/firmware/{file['id']}")).status_code == 404
    assert (await upload(stranger)).status_code == 403
    for body in (ADDRESS, {"firmware_id": file["id"]}):
        assert (await stranger.http.post(f"/chargers/{charger_id}/firmware", json=body)).status_code == 404


async def test_too_low_a_level_updates_nothing(
    ctx: Context, enrol: Enrol, owner: Person, guest: Person, location_id: str, charger_id: str
):
    driver = await enrol("driver")
    await ctx.db.work(owner.actor, locations.grant, location_id, driver.team_id, Level.SENSITIVE)
    for person in (guest, driver):
        assert (await person.http.post(f"/chargers/{charger_id}/firmware", json=ADDRESS)).status_code == 403
        assert (await upload(person)).status_code == 403


async def test_firmware_is_uploaded_listed_used_and_deleted(owner: Person, charger_id: str, play: Play):
    heard = await play(charger_id, BARE)
    made = await upload(owner, b"x" * 3_000_000, vendor="Voltyard", model="Sim 22")
    assert made.status_code == 201, made.text
    file = made.json()
    assert (file["name"], file["version"], file["size_bytes"]) == ("fw-2.0.bin", "2.0", 3_000_000)
    assert (file["vendor"], file["model"], file["is_signed"]) == ("Voltyard", "Sim 22", False)
    assert (await upload(owner, b"x" * 3_000_000)).json()["id"] == file["id"]
    assert (await owner.http.get("/firmware")).json() == {"items": [file], "next": None}
    assert (await owner.http.get(f"/firmware/{file['id']}")).json() == file
    begun = await owner.http.post(
        f"/chargers/{charger_id}/firmware", json={"firmware_id": file["id"], "retries": 1}
    )
    assert begun.status_code == 201, begun.text
    assert (begun.json()["stage"], begun.json()["version_wanted"]) == ("asked", "2.0")
    assert isinstance(heard[0].ask, UpdateFirmware)
    again = await owner.http.post(f"/chargers/{charger_id}/firmware", json={"firmware_id": file["id"]})
    assert (again.status_code, again.json()["code"]) == (409, "update_running")
    needed = await owner.http.delete(f"/firmware/{file['id']}")
    assert (needed.status_code, needed.json()["code"]) == (409, "firmware_in_use")
    called_back = await owner.http.delete(f"/transfers/{begun.json()['id']}")
    assert (called_back.status_code, called_back.json()["code"]) == (409, "under_way")
    other = (await upload(owner, b"y")).json()
    assert (await owner.http.delete(f"/firmware/{other['id']}")).status_code == 204
    assert (await owner.http.get(f"/firmware/{other['id']}")).status_code == 404


async def test_a_signed_update_is_asked_for_with_what_was_uploaded(
    owner: Person, charger_id: str, play: Play
):
    heard = await play(charger_id)
    file = (await upload(owner, signature="c2lnbmVk", certificate=PEM)).json()
    assert file["is_signed"]
    body = {"firmware_id": file["id"], "is_signed": True}
    assert (await owner.http.post(f"/chargers/{charger_id}/firmware", json=body)).status_code == 201
    ask = heard[0].ask
    assert isinstance(ask, UpdateSignedFirmware)
    assert (ask.signature, ask.certificate_pem) == ("c2lnbmVk", PEM)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"version": ""}, "/version"),
        ({"version": "x" * 121}, "/version"),
        ({"signature": "c2ln"}, "/signature"),
        ({"signature": "c2ln", "certificate": "none"}, "/certificate"),
    ],
)
async def test_what_is_wrong_with_an_upload_is_pointed_at(
    ctx: Context, owner: Person, charger_id: str, fields: dict[str, str], pointer: str
):
    answer = await upload(owner, **fields)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert [path for path in (ctx.settings.data / "files").rglob("*") if path.is_file()] == []


async def test_firmware_that_is_too_large_is_refused_with_and_without_a_length(
    ctx: Context, owner: Person, charger_id: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(door, "FIRMWARE_BYTES_MAX", 100_000)
    long = await upload(owner, b"x" * 300_000)
    assert (long.status_code, long.json()["code"]) == (413, "too_large")

    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield b"x" * 10_000

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    endless = await owner.http.post("/firmware", content=body(), headers=kind)
    assert (endless.status_code, endless.json()["code"]) == (413, "too_large")
    assert endless.json()["detail"].startswith("a file has at most")
    assert [path for path in (ctx.settings.data / "files").rglob("*") if path.is_file()] == []


async def test_a_body_that_is_no_form_holds_no_file(owner: Person, charger_id: str):
    assert (await owner.http.post("/firmware", json={"version": "1"})).status_code == 422


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/firmware_id"),
        (ADDRESS | {"firmware_id": "fw_1"}, "/firmware_id"),
        ({"address": "nowhere"}, "/address"),
        (ADDRESS | {"retrieve_at": "2026-01-01"}, "/retrieve_at"),
        (ADDRESS | {"retrieve_at": "2027-01-01T00:00:00Z"}, "/retrieve_at"),
        (ADDRESS | {"is_signed": True}, "/is_signed"),
        (ADDRESS | {"speed": 1}, "/speed"),
    ],
)
async def test_an_update_that_cannot_be_is_pointed_at(owner: Person, charger_id: str, body, pointer: str):
    answer = await owner.http.post(f"/chargers/{charger_id}/firmware", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_many_chargers_are_ordered_an_update(owner: Person, charger_id: str, play: Play):
    await play(charger_id, BARE)
    file = (await upload(owner)).json()
    path = f"/firmware/{file['id']}/updates"
    ordered = await owner.http.post(path, json={"charger_ids": [charger_id]})
    assert ordered.status_code == 202, ordered.text
    (begun,) = ordered.json()["transfers"]
    assert (begun["stage"], begun["charger_id"]) == ("waiting", charger_id)
    again = (await owner.http.post(path, json={"charger_ids": [charger_id]})).json()
    assert again == {"transfers": [], "skipped": [charger_id]}
    assert (await owner.http.post(path, json={"charger_ids": []})).status_code == 422
    assert (await owner.http.delete(f"/transfers/{begun['id']}")).status_code == 204

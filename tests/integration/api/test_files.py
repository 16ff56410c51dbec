"""The chargers' door for files: what it takes and gives, and what it refuses, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest
from fastapi import FastAPI

from voltyard.api import files as door
from voltyard.chargers import firmware, transfers
from voltyard.chargers.stages import Stage
from voltyard.kernel.context import Context
from voltyard.kernel.limits import (
    ADDRESS_HOURS,
    ARRIVING_MAX,
    RECEIVED_FILES_MAX,
    WRONG_ADDRESSES_PER_MINUTE_MAX,
)
from voltyard.speech import Answer, FileNamed

from .conftest import Person, Play

NAMED = Answer(True, "", '{"fileName":"cp.log"}', FileNamed("cp.log"))
MIB = 1024 * 1024


@pytest.fixture
async def chargers_http(ctx: Context) -> AsyncIterator[httpx2.AsyncClient]:
    """A client as a charger has one."""
    outer = FastAPI()
    outer.mount("/files", door.build(ctx))
    outer.state.door = outer.router.routes[-1].app  # type: ignore[attr-defined]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(outer)) as http:
        yield http


@pytest.fixture
async def address(ctx: Context, owner: Person, charger_id: str, play: Play) -> str:
    """The address that a charger was told for its diagnostics."""
    heard = await play(charger_id, NAMED)
    await transfers.fetch_diagnostics(ctx, owner.actor, charger_id)
    return str(heard[0].ask.location_url)


@pytest.fixture
async def firmware_address(ctx: Context, owner: Person, charger_id: str, play: Play) -> str:
    """The address that a charger was told for its firmware of ten thousand bytes."""
    heard = await play(charger_id, Answer(True, "", "{}"))
    arriving = ctx.files.arriving()
    arriving.write(bytes(range(250)) * 40)
    said = firmware.tidy(name="new fw.bin", version="2")
    file = await firmware.add(ctx, owner.actor, arriving, said)
    await firmware.update(ctx, owner.actor, charger_id, firmware_id=file.id)
    return str(heard[0].ask.location_url)


async def newest(ctx: Context, owner: Person, charger_id: str) -> transfers.Transfer:
    return (await ctx.db.read(owner.actor, transfers.list_transfers, charger_id))[0]


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(("appended", "name"), [("", "cp.log"), ("my.log", "my.log"), ("/in/x.zip", "x.zip")])
async def test_a_body_is_a_file_with_or_without_a_name_behind_the_address(
    ctx: Context, owner: Person, charger_id: str, address: str, chargers_http, method, appended, name
):
    answer = await chargers_http.request(method, address + appended, content=b"all is well")
    assert (answer.status_code, answer.text) == (200, "Received.\n")
    done = await newest(ctx, owner, charger_id)
    assert (done.stage, done.files[0].name) == (Stage.RECEIVED, name)
    assert ctx.files.load(done.files[0].stored) == b"all is well"


async def test_an_address_without_its_last_slash_is_the_same(
    ctx: Context, owner: Person, charger_id: str, address: str, chargers_http
):
    assert (await chargers_http.put(address.rstrip("/"), content=b"x")).status_code == 200
    assert (await newest(ctx, owner, charger_id)).stage is Stage.RECEIVED


async def test_a_body_without_a_length_is_taken(
    ctx: Context, owner: Person, charger_id: str, address: str, chargers_http
):
    answer = await chargers_http.put(address, content=pieces(b"a" * MIB, b"b" * MIB))
    assert answer.status_code == 200
    done = await newest(ctx, owner, charger_id)
    assert done.files[0].size_bytes == 2 * MIB
    assert ctx.files.load(done.files[0].stored) == b"a" * MIB + b"b" * MIB


async def test_a_form_holds_a_file_beside_fields(
    ctx: Context, owner: Person, charger_id: str, address: str, chargers_http
):
    answer = await chargers_http.post(
        address, data={"serial": "1"}, files={"upload": ("..\\logs\\a.log", b"\r\n--x\r\n" * 5_000)}
    )
    assert answer.status_code == 200, answer.text
    file = (await newest(ctx, owner, charger_id)).files[0]
    assert (file.name, ctx.files.load(file.stored)) == ("a.log", b"\r\n--x\r\n" * 5_000)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "text/plain", 422),
        (b"--b\r\nno header", "multipart/form-data; boundary=b", 422),
        (b"anything", "multipart/form-data", 422),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n',
         "multipart/form-data; boundary=b", 422),
        (b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\nhalf of',
         "multipart/form-data; boundary=b", 422),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"1" * 200_000,
         "multipart/form-data; boundary=b", 422),
        ((b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\n1\r\n'
         b'--b\r\nContent-Disposition: form-data; name="y"; filename="b"\r\n\r\n2\r\n--b--\r\n'),
         "multipart/form-data; boundary=b", 422),
    ],
)  # fmt: skip
async def test_what_is_no_file_is_refused_and_leaves_nothing(
    ctx: Context, owner: Person, charger_id: str, address: str, chargers_http, body, kind, status
):
    answer = await chargers_http.post(address, content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert [path for path in (ctx.settings.data / "files").rglob("*") if path.is_file()] == []
    assert (await newest(ctx, owner, charger_id)).stage is Stage.FAILED


async def test_a_file_that_is_too_long_is_refused_at_once_or_as_soon_as_it_shows(
    ctx: Context, owner: Person, charger_id: str, address: str, chargers_http, monkeypatch
):
    monkeypatch.setattr(door, "RECEIVED_BYTES_MAX", MIB)
    for content in (b"x" * (2 * MIB), pieces(*[b"x" * 100_000] * 11)):
        answer = await chargers_http.put(address, content=content)
        assert (answer.status_code, answer.text) == (
            413, "The request is too large: a file has at most 1 MiB\n",
        )  # fmt: skip
    done = await newest(ctx, owner, charger_id)
    assert (done.stage, done.word, done.files) == (Stage.FAILED, "too_large", ())
    assert [path for path in (ctx.settings.data / "files").rglob("*") if path.is_file()] == []


async def test_a_wrong_address_is_answered_in_constant_words_and_not_too_often(chargers_http, address: str):
    answers = set()
    for path in (
        "up/vyf_0000/", "up/x", "down/vyf_0000/a.bin", "down/x", "", "up/", f"down/{address.split('/')[5]}/x",
    ):  # fmt: skip
        method = "GET" if path.startswith("down") else "PUT"
        answer = await chargers_http.request(method, f"http://voltyard.test/files/{path}")
        answers.add((answer.status_code, answer.text))
    assert answers == {(404, "There is nothing at this address.\n")}
    statuses = [
        (await chargers_http.put("http://voltyard.test/files/up/vyf_1/")).status_code
        for _ in range(WRONG_ADDRESSES_PER_MINUTE_MAX)
    ]
    assert statuses[-1] == 429
    assert (await chargers_http.put(address, content=b"mine is right")).status_code == 200


async def test_an_address_ends(ctx: Context, chargers_http, address: str, firmware_address: str):
    ctx.clock.advance(timedelta(hours=ADDRESS_HOURS).total_seconds())  # type: ignore[attr-defined]
    for answer in (await chargers_http.put(address, content=b"x"), await chargers_http.get(firmware_address)):
        assert answer.status_code == 410
        assert answer.text.startswith("This address has ended: ")


async def test_a_token_is_written_nowhere(
    ctx: Context, owner: Person, charger_id: str, chargers_http, address: str, capsys
):
    token = address.split("/")[5]
    ctx.clock.advance(timedelta(hours=ADDRESS_HOURS).total_seconds())  # type: ignore[attr-defined]
    await chargers_http.put(address, content=b"x")
    kept = [path.read_bytes() for path in ctx.settings.data.rglob("*") if path.is_file()]
    assert not any(token.encode() in each for each in kept)
    shown = await owner.http.get(f"/chargers/{charger_id}/commands")
    assert token not in shown.text
    assert token not in "".join(capsys.readouterr())


async def test_a_few_files_are_taken_for_one_request(chargers_http, address: str):
    for number in range(RECEIVED_FILES_MAX):
        assert (await chargers_http.put(f"{address}{number}.log", content=b"x")).status_code == 200
    assert (await chargers_http.put(f"{address}more.log", content=b"x")).status_code == 409


async def test_so_many_files_arrive_at_a_time_and_no_more(chargers_http, address: str):
    outer = chargers_http._transport.app
    counts = outer.state.door.state.counts
    counts._arriving = ARRIVING_MAX
    answer = await chargers_http.put(address, content=b"x")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    counts._arriving = 0
    assert (await chargers_http.put(address, content=b"x")).status_code == 200
    assert counts._arriving == 0


async def test_firmware_is_given_whole_or_from_where_it_was_cut(
    ctx: Context, owner: Person, charger_id: str, chargers_http, firmware_address: str
):
    data = bytes(range(250)) * 40
    head = await chargers_http.head(firmware_address)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "10000", b"")
    assert (await newest(ctx, owner, charger_id)).stage is Stage.ASKED
    whole = await chargers_http.get(firmware_address)
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["content-disposition"].startswith("attachment")
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, status, content in (
        ("bytes=4000-", 206, data[4000:]),
        ("bytes=0-99", 206, data[:100]),
        ("bytes=-100", 206, data[-100:]),
        ("bytes=10000-", 416, None),
        ("lines=1-2", 400, None),
    ):
        headers = {"Range": asked, "If-Range": whole.headers["etag"]}
        part = await chargers_http.get(firmware_address, headers=headers)
        assert part.status_code == status
        assert content is None or part.content == content
    changed = await chargers_http.get(firmware_address, headers={"Range": "bytes=1-", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, data)
    assert (await newest(ctx, owner, charger_id)).stage is Stage.DOWNLOADING
    assert (await chargers_http.put(firmware_address, content=b"x")).status_code == 405


async def test_firmware_that_was_deleted_is_gone(
    ctx: Context, owner: Person, chargers_http, firmware_address: str
):
    (file,) = await ctx.db.read(owner.actor, firmware.list_firmware)
    ctx.files.delete(f"firmware/{file.id}")
    assert (await chargers_http.get(firmware_address)).status_code == 410

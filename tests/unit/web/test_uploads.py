"""Files in requests: whole or not at all, in whatever pieces they come, and never larger than they may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from voltyard.kernel.errors import Invalid
from voltyard.kernel.files import Files
from voltyard.web import uploads
from voltyard.web.problems import TooLarge
from voltyard.web.uploads import NotWhole, take

FORM = "multipart/form-data; boundary=b"
LIMIT = 1_000_000


def request(pieces: list[bytes], *, is_cut: bool = False, **headers: str) -> Request:
    """Make a request whose body comes in these pieces."""
    told: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": is_cut or number < len(pieces) - 1}
        for number, piece in enumerate(pieces or [b""])
    ]
    told.append({"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        return told.pop(0)

    shown = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": shown}, receive)


def form(data: bytes, name: str = "a.bin", **fields: str) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return b"".join([*parts, head, data, b"\r\n--b--\r\n"])


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(whole)) for place in places} | {len(whole)})
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=3_000), places=st.lists(st.integers(0, 3_500), max_size=12), is_form=st.booleans()
)
def test_a_file_is_the_same_in_whatever_pieces_it_comes(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, places: list[int], is_form: bool
):
    files = Files(tmp_path_factory.mktemp("files"))
    whole = form(data, version="2", note="x") if is_form else data

    async def go() -> None:
        kind = FORM if is_form else "text/plain"
        taken = await take(request(cut(whole, places), content_type=kind), files, bytes_max=LIMIT)
        assert (taken.name, taken.fields) == (
            ("a.bin", {"version": "2", "note": "x"}) if is_form else ("", {})
        )
        taken.arriving.keep("whole")
        assert files.load("whole") == data
        files.delete("whole")

    asyncio.run(go())


@pytest.mark.parametrize("kind", ["application/octet-stream", FORM])
async def test_a_body_that_is_cut_leaves_nothing(tmp_path: Path, kind: str):
    cut_off = request([form(b"x" * 10)[:-5]], is_cut=True, content_type=kind)
    with pytest.raises(NotWhole):
        await take(cut_off, Files(tmp_path), bytes_max=LIMIT)
    assert left(tmp_path) == []


async def test_a_body_that_pauses_for_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "BODY_PAUSE_S", 0.01)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody comes here")

    silent = Request({"type": "http", "method": "PUT", "path": "/", "headers": []}, receive)
    with pytest.raises(NotWhole):
        await take(silent, Files(tmp_path), bytes_max=LIMIT)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: request([b"x" * 400_000] * 3),
        lambda: request([form(b"x" * 1_000_001)], content_type=FORM),
        lambda: request([b"x"], content_length=str(LIMIT + 200_000)),
    ],
)
async def test_a_file_that_is_too_large_leaves_nothing(tmp_path: Path, make: Callable[[], Request]):
    with pytest.raises(TooLarge) as refused:
        await take(make(), Files(tmp_path), bytes_max=LIMIT)
    assert refused.value.facts == {"bytes_max": LIMIT}
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n',
        form(b"1")[:-7] + form(b"2"),
        form(b"1", note="x" * 200_000),
    ],
)
async def test_a_form_that_holds_no_single_file_is_refused(tmp_path: Path, body: bytes):
    with pytest.raises(Invalid):
        await take(request([body], content_type=FORM), Files(tmp_path), bytes_max=LIMIT)
    assert left(tmp_path) == []


async def test_a_large_file_is_written_as_it_comes(tmp_path: Path):
    files = Files(tmp_path)
    grown: list[int] = []

    async def body() -> AsyncIterator[dict[str, Any]]:
        for number in range(8):
            yield {"type": "http.request", "body": b"x" * 600_000, "more_body": number < 7}

    told = body()

    async def receive() -> dict[str, Any]:
        grown.append(sum(path.stat().st_size for path in left(tmp_path)))
        return await anext(told)

    asked = Request({"type": "http", "method": "PUT", "path": "/", "headers": []}, receive)
    taken = await take(asked, files, bytes_max=8_000_000)
    assert taken.arriving.size_bytes == 4_800_000
    assert grown[-1] >= 4_000_000
    taken.arriving.drop()
    assert left(tmp_path) == []

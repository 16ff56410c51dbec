"""Stored files: names stay in the folder, a file appears whole or not at all."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voltyard.kernel.errors import Invalid, NotFound
from voltyard.kernel.files import Files

ANYWHERE = Path("/srv/voltyard/files")
OUTSIDE = (
    "",
    ".",
    "..",
    "/etc/passwd",
    "../secret.key",
    "exports/../../secret.key",
    "exports/..",
    "exports//a.csv",
    "exports/",
    "/",
    ".hidden",
    "exports/.hidden",
    "a\\..\\b",
    "~root",
    "-rf",
    "a b",
    "a\n",
    "a\0b",
    "ä.csv",
    "C:evil",
    "a" * 201,
)
WRITERS = 4
ROUNDS = 10

words = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}(\.[a-z]{1,4})?", fullmatch=True)
names = st.lists(words, min_size=1, max_size=4).map("/".join)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "files")


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_could_leave_the_folder_is_refused_by_every_verb(files: Files, name: str):
    for act in (files.path, files.load, files.delete, lambda name: files.save(name, b"")):
        with pytest.raises(Invalid):
            act(name)


@given(st.text(st.sampled_from("ab./\\-_~\0\n"), max_size=12) | st.text(max_size=12))
@example("a/../b")
def test_no_name_at_all_leaves_the_folder(name: str):
    try:
        path = Files(ANYWHERE).path(name)
    except Invalid:
        return
    assert Path(os.path.normpath(path)) == path
    assert path.is_relative_to(ANYWHERE)
    assert path != ANYWHERE


@given(names)
def test_plain_words_are_names(name: str):
    assert Files(ANYWHERE).path(name) == ANYWHERE / name


def test_what_was_saved_is_loaded_byte_for_byte(files: Files, tmp_path: Path):
    data = bytes(range(256))
    path = files.save("exports/2026/march.csv", data)
    assert path == tmp_path / "files" / "exports" / "2026" / "march.csv"
    assert files.load("exports/2026/march.csv") == data


def test_a_newer_file_takes_the_place_of_an_older_one(files: Files, tmp_path: Path):
    files.save("logo.png", b"the longer one of two")
    files.save("logo.png", b"short")
    assert files.load("logo.png") == b"short"
    assert everything(tmp_path) == {"files/logo.png"}


def test_a_save_that_fails_leaves_the_older_file_and_nothing_else(files: Files, tmp_path: Path):
    files.save("logo.png", b"old")
    with pytest.raises(TypeError):
        files.save("logo.png", "text is no bytes")
    assert files.load("logo.png") == b"old"
    (tmp_path / "files" / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.save("folder", b"new")
    assert everything(tmp_path) == {"files/logo.png"}


def test_a_file_that_several_save_at_once_is_always_one_of_theirs(files: Files, tmp_path: Path):
    whole = [bytes([number]) * 300_000 for number in range(WRITERS)]
    files.save("export.csv", whole[0])
    start = Barrier(WRITERS + 1)

    def save(number: int) -> None:
        start.wait()
        for _ in range(ROUNDS):
            files.save("export.csv", whole[number])

    def load() -> set[bytes]:
        start.wait()
        return {files.load("export.csv") for _ in range(ROUNDS * WRITERS)}

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        savers = [pool.submit(save, number) for number in range(WRITERS)]
        seen = pool.submit(load).result()
        for each in savers:
            each.result()
    assert seen <= set(whole)
    assert everything(tmp_path) == {"files/export.csv"}


@pytest.mark.parametrize("name", ["nothing.csv", "nowhere/nothing.csv", "logo.png/inside", "exports"])
def test_a_file_that_is_not_there_is_not_found(files: Files, name: str):
    files.save("logo.png", b"")
    files.save("exports/a.csv", b"")
    with pytest.raises(NotFound) as caught:
        files.load(name)
    assert caught.value.facts["name"] == name


def test_deleting_is_done_once_and_asked_as_often_as_one_likes(files: Files):
    files.save("exports/a.csv", b"1")
    files.save("exports/b.csv", b"2")
    for name in ("exports/a.csv", "exports/a.csv", "exports/b.csv/inside", "exports", "nowhere/a.csv"):
        files.delete(name)
    with pytest.raises(NotFound):
        files.load("exports/a.csv")
    assert files.load("exports/b.csv") == b"2"


def test_a_file_that_arrives_in_pieces_is_there_only_once_it_is_whole(files: Files, tmp_path: Path):
    arriving = files.arriving()
    for piece in (b"one ", b"two ", b"three"):
        arriving.write(piece)
    assert not files.is_there("diagnostics/a.log")
    arriving.keep("diagnostics/a.log")
    arriving.drop()
    assert files.load("diagnostics/a.log") == b"one two three"
    assert (arriving.size_bytes, arriving.sha256) == (13, sha256(b"one two three").hexdigest())
    assert everything(tmp_path) == {"files/diagnostics/a.log"}


def test_what_is_dropped_leaves_no_trace(files: Files, tmp_path: Path):
    arriving = files.arriving()
    arriving.write(b"half of")
    arriving.drop()
    assert everything(tmp_path) == set()


def test_a_file_that_arrives_cannot_be_kept_outside_of_the_folder(files: Files, tmp_path: Path):
    arriving = files.arriving()
    with pytest.raises(Invalid):
        arriving.keep("../secret.key")
    arriving.drop()
    assert everything(tmp_path) == set()


def test_what_never_became_a_file_is_swept_away_after_a_while(files: Files, tmp_path: Path):
    old, young = files.arriving(), files.arriving()
    old.write(b"half of")
    old._file.close()
    os.utime(old._path, (0, 0))
    assert files.sweep(older_than_s=3600) == 1
    young.keep("whole")
    assert everything(tmp_path) == {"files/whole"}
    assert Files(tmp_path / "none").sweep(older_than_s=1) == 0

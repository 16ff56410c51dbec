"""Setting up does what is needed and no more, and says what to do when it cannot."""

import sys
from pathlib import Path

import pytest

import set_up
from set_up import SetUpFailed, run, step


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    monkeypatch.setattr(set_up, "STAMPS", tmp_path / "stamps")
    (tmp_path / "input").write_text("one")
    return tmp_path


@pytest.fixture
def done(checkout: Path):
    """Count how often a step that makes `product` was really done."""
    times: list[int] = []

    def make() -> str:
        (checkout / "product").touch()
        times.append(1)
        return ""

    def do() -> int:
        step("make", "product", [checkout / "input"], checkout / "product", make)
        return len(times)

    return do


def test_a_step_is_done_once_while_its_inputs_stay_the_same(done, checkout: Path):
    assert done() == 1
    (checkout / "input").touch()
    assert done() == 1


def test_a_step_is_done_again_when_an_input_changed(done, checkout: Path):
    assert done() == 1
    (checkout / "input").write_text("two")
    assert done() == 2


def test_a_step_is_done_again_when_its_product_has_gone(done, checkout: Path):
    assert done() == 1
    (checkout / "product").unlink()
    assert done() == 2


def test_a_step_that_failed_is_tried_again(checkout: Path):
    def fail() -> str:
        raise SetUpFailed("no")

    for _ in range(2):
        with pytest.raises(SetUpFailed):
            step("make", "product", [checkout / "input"], checkout / "product", fail)


def test_a_new_file_in_a_folder_counts_as_a_change(checkout: Path):
    (checkout / "folder").mkdir()
    before = set_up.digest([checkout / "folder"])
    (checkout / "folder" / "new").touch()
    assert set_up.digest([checkout / "folder"]) != before


def test_a_program_that_fails_shows_the_end_of_what_it_said(tmp_path: Path):
    with pytest.raises(SetUpFailed, match=r"ended with 3:\n    broken") as failed:
        run([sys.executable, "-c", "print('broken'); raise SystemExit(3)"], folder=tmp_path)
    assert "registry" not in str(failed.value)


def test_a_registry_out_of_reach_is_named_with_what_to_do(tmp_path: Path):
    with pytest.raises(SetUpFailed, match=r"registry seems out of reach.*UV_DEFAULT_INDEX"):
        run([sys.executable, "-c", "raise SystemExit('connect ECONNREFUSED')"], folder=tmp_path)


def test_a_missing_program_is_named(tmp_path: Path):
    with pytest.raises(SetUpFailed, match="cannot be started"):
        run([tmp_path / "nowhere"], folder=tmp_path)

"""Logs: one line a decision; secrets, tags and addresses of people do not stand in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel.log import SECRETS, TAGS, logger, mask, set_up

SECRET = "hunter2-and-more"
TAG = "04A2B3C4D5"
# A traceback shows lines of code: this value must not stand in any.
UNWRITTEN = ("only", "in", "a", "variable")

plain = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
names = st.text(max_size=8).filter(lambda name: name.lower() not in SECRETS | TAGS)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the process its log back as it was."""
    was_configured, before = structlog.is_configured(), structlog.get_config()
    yield
    structlog.contextvars.clear_contextvars()
    if was_configured:
        structlog.configure(**before)
    else:
        structlog.reset_defaults()


def masked(**event: object) -> dict[str, object]:
    return dict(mask(None, "info", event))


@pytest.mark.parametrize("name", sorted(SECRETS))
@pytest.mark.parametrize("value", [SECRET, SECRET.encode(), None, 1234, ["a"], {"value": SECRET}])
def test_a_secret_is_hidden_whole_whatever_it_is(name: str, value: object):
    assert masked(**{name: value}) == {name: "***"}


@pytest.mark.parametrize("name", sorted(TAGS))
def test_of_tags_and_addresses_only_the_ends_are_shown(name: str):
    assert masked(**{name: TAG}) == {name: "04…D5"}


@pytest.mark.parametrize("short", ["", "A", "ABCD"])
def test_of_a_short_tag_nothing_is_shown(short: str):
    assert masked(id_tag=short) == {"id_tag": "…"}


def test_a_tag_that_is_not_there_is_not_there():
    assert masked(id_tag=None) == {"id_tag": None}


@pytest.mark.parametrize("name", sorted(SECRETS | TAGS))
def test_what_is_hidden_is_hidden_one_level_down_too(name: str):
    for event in (
        masked(body={name: SECRET, "connector": 1}),
        masked(bodies=[{name: SECRET}, {"connector": 1}]),
        masked(bodies=({name: SECRET},)),
    ):
        assert SECRET not in repr(event)
    assert masked(body={"connector": 1}) == {"body": {"connector": 1}}


@pytest.mark.parametrize(
    "name", ["Authorization", "PASSWORD", "new_password", "newPassword", "Set-Cookie", "AuthorizationKey"]
)
def test_a_secret_is_known_in_every_spelling(name: str):
    assert masked(**{name: SECRET}) == {name: "***"}
    assert masked(headers={name: SECRET}) == {"headers": {name: "***"}}


@pytest.mark.parametrize("name", ["idTag", "Id-Tag", "ID_TAG", "Email"])
def test_a_tag_is_known_in_every_spelling(name: str):
    assert masked(**{name: TAG}) == {name: "04…D5"}


def test_each_of_several_addresses_is_masked():
    assert masked(email=["anna@example.com", "b@c"]) == {"email": ["an…om", "…"]}


@pytest.mark.parametrize("name", ["token_id", "pin_tries", "charger_id", "tags_read", "event", "path"])
def test_what_only_sounds_like_a_secret_stays(name: str):
    assert masked(**{name: TAG}) == {name: TAG}


def test_what_was_logged_is_not_changed_for_whoever_logged_it():
    body = {"password": SECRET, "list": [{"id_tag": TAG}]}
    before = copy.deepcopy(body)
    masked(body=body, bodies=[body])
    assert body == before


@given(st.dictionaries(names, plain | st.lists(plain, max_size=3), max_size=4))
def test_everything_else_is_left_as_it_is(event: dict[str, object]):
    event = {name: value for name, value in event.items() if name.rpartition("_")[2].lower() not in SECRETS}
    assert masked(**event) == event


def test_a_line_in_json_names_its_part_level_and_time(capsys: pytest.CaptureFixture[str]):
    set_up(is_json=True)
    logger("desk").info("let in", charger_id="chg_1", id_tag=TAG, password=SECRET)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "let in",
        "level": "info",
        "part": "desk",
        "charger_id": "chg_1",
        "id_tag": "04…D5",
        "password": "***",
    }


def test_a_line_for_people_hides_the_same(capsys: pytest.CaptureFixture[str]):
    set_up()
    logger("desk").warning("refused", facts={"token": SECRET}, id_tag=TAG, connector=2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "refused" in shown.err
    assert "connector=2" in shown.err
    assert SECRET not in shown.err
    assert TAG not in shown.err


@pytest.mark.parametrize("is_json", [True, False])
def test_a_fault_is_shown_without_the_values_of_its_variables(
    capsys: pytest.CaptureFixture[str], is_json: bool
):
    set_up(is_json=is_json)

    def fall(password: str) -> None:
        assert password
        raise RuntimeError("fell")

    try:
        fall("-".join(UNWRITTEN))
    except RuntimeError:
        logger("desk").exception("failed")
    shown = capsys.readouterr().err
    assert "RuntimeError: fell" in shown
    assert "-".join(UNWRITTEN) not in shown


def test_what_is_bound_to_the_task_is_told_and_masked(capsys: pytest.CaptureFixture[str]):
    set_up(is_json=True)
    structlog.contextvars.bind_contextvars(trace="abc", token=SECRET)
    logger("web").info("asked")
    line = json.loads(capsys.readouterr().err)
    assert (line["trace"], line["token"]) == ("abc", "***")


@pytest.mark.parametrize(
    ("level", "told"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1), ("INFO", 3)],
)
def test_what_is_below_the_level_is_not_told(capsys: pytest.CaptureFixture[str], level: str, told: int):
    set_up(level=level, is_json=True)
    log = logger("desk")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert len(capsys.readouterr().err.splitlines()) == told


def test_text_of_others_cannot_make_lines_of_its_own(capsys: pytest.CaptureFixture[str]):
    set_up(is_json=True)
    logger("exchange").info("odd", detail='first\n{"event": "forged"}')
    assert len(capsys.readouterr().err.splitlines()) == 1

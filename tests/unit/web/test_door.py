import pytest
from fastapi import FastAPI
from starlette.requests import Request

from voltyard.web.door import Door, Recent, door_of

from .conftest import Make


def test_a_key_is_new_again_after_the_period():
    recent = Recent(10.0)
    assert [recent.is_new("a", at_s) for at_s in (0.0, 5.0, 9.9, 10.0, 11.0)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert recent.is_new("b", 5.0)


def test_memory_is_bounded():
    recent = Recent(10.0, keys_max=2)
    for key in "abc":
        recent.is_new(key, 0.0)
    assert recent.is_new("a", 1.0)
    assert not recent.is_new("c", 1.0)


def test_a_door_is_found_from_its_requests(make: Make, door: Door):
    assert door_of(make()) is door
    assert "a secret of the tests" not in repr(door)


def test_an_app_without_a_door_is_a_mistake():
    app = FastAPI()
    app.state.door = None
    with pytest.raises(AssertionError):
        door_of(Request({"type": "http", "headers": [], "app": app}))

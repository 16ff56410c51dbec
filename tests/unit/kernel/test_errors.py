"""The one exception tree: codes that are unique and lasting, titles that are written down."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
from collections import Counter

import pytest

import voltyard
from voltyard.kernel.errors import (
    ChargerOffline,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PeerFault,
    Refused,
    TimedOut,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unserved,
    VoltyardError,
    every_error,
)

REFUSALS = (Unauthenticated, Forbidden, NotFound, Conflict, Invalid, TooMany)
FAILURES = (ChargerOffline, TimedOut, Unserved)


def below(kind: type[VoltyardError]) -> list[type[VoltyardError]]:
    """Return a class and all below it, those included that hide behind another's code."""
    return [kind, *(each for child in kind.__subclasses__() for each in below(child))]


def ours() -> list[type[VoltyardError]]:
    """Return every error class of Voltyard itself; tests define some of their own."""
    for module in pkgutil.walk_packages(voltyard.__path__, "voltyard."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # A class with two parents is met twice.
    return list(
        dict.fromkeys(kind for kind in below(VoltyardError) if kind.__module__.startswith("voltyard."))
    )


def test_the_tree_has_three_branches():
    assert all(issubclass(kind, Refused) for kind in REFUSALS)
    assert all(issubclass(kind, Unavailable) for kind in FAILURES)
    assert not issubclass(PeerFault, Refused | Unavailable)


def test_every_error_has_a_code_of_its_own():
    doubled = {code: number for code, number in Counter(kind.code() for kind in ours()).items() if number > 1}
    assert not doubled


def test_every_error_is_found_by_its_code():
    found = every_error()
    assert {kind.code(): kind for kind in ours()}.items() <= found.items()


def test_every_error_has_a_title_and_a_meaning_of_its_own():
    titles = Counter(kind.title for kind in ours())
    assert [title for title, number in titles.items() if number > 1] == []
    assert [kind.__name__ for kind in ours() if "title" not in vars(kind)] == []
    assert [kind.__name__ for kind in ours() if not inspect.getdoc(kind)] == []


def test_titles_are_short_sentences_without_a_full_stop():
    wrong = [kind.title for kind in ours() if len(kind.title) > 80 or kind.title.endswith(".")]
    assert wrong == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [(VoltyardError, "voltyard_error"), (NotFound, "not_found"), (ChargerOffline, "charger_offline")],
)
def test_a_code_is_the_class_name_in_snake_case(kind: type[VoltyardError], code: str):
    assert kind.code() == code


def test_an_error_without_a_detail_says_its_title():
    assert str(Conflict()) == Conflict().detail == Conflict.title


def test_an_error_keeps_its_detail_and_its_facts():
    error = NotFound("no such card", id="card_1", count=3)
    assert (str(error), error.detail, dict(error.facts)) == (
        "no such card",
        "no such card",
        {"id": "card_1", "count": 3},
    )


def test_invalid_keeps_its_pointers_beside_the_facts():
    error = Invalid("two values", (("/name", "too long"), ("/cards/0/tag", "missing")), most=20)
    assert error.errors == (("/name", "too long"), ("/cards/0/tag", "missing"))
    assert (error.detail, dict(error.facts)) == ("two values", {"most": 20})
    assert Invalid("one value").errors == ()


def test_a_peer_s_fault_carries_the_code_of_the_wire():
    error = PeerFault("no such action", "NotImplemented", action="Dance")
    assert (error.ocpp_code, dict(error.facts)) == ("NotImplemented", {"action": "Dance"})
    assert PeerFault().ocpp_code == "GenericError"


def test_errors_of_one_kind_do_not_share_their_facts():
    first, second = Conflict(connector=1), Conflict()
    assert (dict(first.facts), dict(second.facts)) == ({"connector": 1}, {})


def test_an_error_survives_being_copied_between_processes():
    error = pickle.loads(pickle.dumps(Invalid("wrong", (("/a", "b"),), most=2)))
    assert (type(error), error.detail, error.errors, dict(error.facts)) == (
        Invalid,
        "wrong",
        (("/a", "b"),),
        {"most": 2},
    )

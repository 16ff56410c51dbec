"""The list of cards in a charger, against an independent set of JSON schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import AT, NOON, TIMES, fits
from voltyard.kernel.errors import Invalid
from voltyard.ocpp.v16 import local_list
from voltyard.speech import CardsVersion, ListedCard, ReplaceCards, TellCardsVersion, UpdateCards, Verdict

tags = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
versions = st.integers(0, 2**31 - 1)
let_in = st.builds(ListedCard, tags, st.sampled_from(Verdict), st.none() | TIMES, st.none() | tags)
cards = st.lists(let_in | st.builds(ListedCard, tags), max_size=3).map(tuple)
ACCEPTED = {"status": "Accepted"}


@pytest.mark.parametrize(
    ("ask", "action", "payload"),
    [
        # An empty list is left out, which every charger takes for one.
        (ReplaceCards(3), "SendLocalList", {"listVersion": 3, "updateType": "Full"}),
        (
            ReplaceCards(3, (ListedCard("A", Verdict.ACCEPTED, NOON, "P"), ListedCard("B", Verdict.BLOCKED))),
            "SendLocalList",
            {
                "listVersion": 3,
                "updateType": "Full",
                "localAuthorizationList": [
                    {"idTag": "A", "idTagInfo": ACCEPTED | {"expiryDate": AT, "parentIdTag": "P"}},
                    {"idTag": "B", "idTagInfo": {"status": "Blocked"}},
                ],
            },
        ),
        (
            UpdateCards(4, (ListedCard("A"), ListedCard("B", Verdict.ACCEPTED))),
            "SendLocalList",
            {
                "listVersion": 4,
                "updateType": "Differential",
                "localAuthorizationList": [{"idTag": "A"}, {"idTag": "B", "idTagInfo": ACCEPTED}],
            },
        ),
        (TellCardsVersion(), "GetLocalListVersion", {}),
    ],
)
def test_an_ask_is_written_to_the_letter(ask: Any, action: str, payload: dict[str, Any]) -> None:
    written, raw = local_list.write(ask)
    assert (written, json.loads(raw)) == (action, payload)


@given(
    st.builds(ReplaceCards, versions, st.lists(let_in, max_size=3).map(tuple))
    | st.builds(UpdateCards, versions, cards)
)
def test_what_is_written_fits_the_schema(ask: Any) -> None:
    fits(*local_list.write(ask))


@pytest.mark.parametrize(
    ("ask", "pointer"),
    [
        (ReplaceCards(-1), "/listVersion"),
        (ReplaceCards(1, (ListedCard("A", Verdict.ACCEPTED), ListedCard("B"))), "/cards/1/verdict"),
        (UpdateCards(1, (ListedCard("A" * 21),)), "/localAuthorizationList/0/idTag"),
        (UpdateCards(1, (ListedCard(""),)), "/localAuthorizationList/0/idTag"),
        (
            UpdateCards(1, (ListedCard("A", Verdict.ACCEPTED, parent_tag="P" * 21),)),
            "/localAuthorizationList/0/idTagInfo/parentIdTag",
        ),
    ],
)
def test_what_has_no_room_is_refused(ask: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        local_list.write(ask)
    assert refused.value.errors[0][0] == pointer


@pytest.mark.parametrize(
    ("payload", "version"),
    [
        (b'{"listVersion":7}', 7),
        (b'{"listVersion":0}', 0),
        (b'{"listVersion":-1}', -1),
        (b'{"listVersion":"7","vendor":1}', 7),  # Q24
        (b'{"listVersion":"many"}', None),
        (b'{"listVersion":null}', None),
        (b"{}", None),
        (b"[]", None),
    ],
)
def test_a_version_is_read(payload: bytes, version: int | None) -> None:
    assert local_list.read_version(payload) == (None if version is None else CardsVersion(version))


@settings(deadline=None)
@given(st.binary(max_size=20) | st.integers().map(lambda it: b'{"listVersion":%d}' % it))
def test_read_version_never_raises(payload: bytes) -> None:
    found = local_list.read_version(payload)
    assert found is None or abs(found.version) <= 2**31

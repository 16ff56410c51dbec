"""What a charger tells of its list is read, however it spells it; what it does not tell is not guessed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.local_lists import abilities
from voltyard.local_lists.abilities import Abilities


def told(**keys: str) -> str:
    entries = [{"key": name, "readonly": False, "value": value} for name, value in keys.items()]
    return json.dumps({"configurationKey": entries})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            told(LocalAuthListEnabled="true", LocalAuthListMaxLength="500", SendLocalListMaxLength="20"),
            Abilities(is_enabled=True, cards_max=500, step_max=20),
        ),
        (told(localauthlistenabled="FALSE"), Abilities(is_enabled=False)),
        (told(SupportedFeatureProfiles="Core, LocalAuthListManagement ,Reservation"), Abilities()),
        (told(SupportedFeatureProfiles="Core,Reservation"), Abilities(is_listing=False)),
        # Quirk Q33: a profile that is not named, although its keys are there.
        (told(SupportedFeatureProfiles="Core", LocalAuthListMaxLength="9"), Abilities(cards_max=9)),
        (told(SupportedFeatureProfiles=""), Abilities()),
        (told(LocalAuthListMaxLength="0"), Abilities(is_listing=False, cards_max=0)),
        (told(LocalAuthListMaxLength="many", SendLocalListMaxLength="0"), Abilities()),
        (
            '{"configurationKey":[{"key":"LocalAuthListEnabled","readonly":true,"value":"false"}]}',
            Abilities(is_enabled=False, is_fixed=True),
        ),
        ('{"unknownKey":["LocalAuthListEnabled"]}', Abilities()),
        (None, Abilities()),
    ],
)
def test_the_keys_say_what_the_charger_keeps(answer, expected):
    assert abilities.read(answer) == expected


@pytest.mark.parametrize(
    ("answer", "version"),
    [('{"listVersion":0}', 0), ('{"listVersion":7}', 7), ('{"listVersion":-1}', None), ("{}", None),
     ('{"listVersion":true}', None), ("[]", None), ("", None), (None, None)],
)  # fmt: skip
def test_a_version_is_read_where_there_is_one(answer, version):
    assert abilities.read_version(answer) == version


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["configurationKey", "key", "value", "readonly", "listVersion"]), inner
        )
    ),
    max_leaves=12,
)


@given(anything.map(json.dumps) | st.text(max_size=20))
def test_whatever_was_answered_reading_it_never_fails(answer):
    abilities.read(answer)
    abilities.read_version(answer)

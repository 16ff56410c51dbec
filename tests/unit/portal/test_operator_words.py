"""A sentence for each word that the lines write, and no word that breaks it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from voltyard.chargers.calls import COUNTED_MAX
from voltyard.lines.dial import Step
from voltyard.operators.deliveries import Delivery, DeliveryStatus
from voltyard.operators.service import CONSENTS, Link
from voltyard.portal import operator_words as speak
from voltyard.proxy import keys, policy
from voltyard.proxy.standin import State
from voltyard.speech import Fallback, Role

AT = datetime(2026, 3, 1, 9, 14, tzinfo=UTC)
LINK = Link(
    "link_1", "chg_1", "Left", "loc_1", "Monta", "monta", "wss://ocpp.monta.app", True, "ALF-1",
    Role.BILLING, Fallback.REFUSE, "", False, False, False, False, "", True, True, (), "online", "", AT,
    None, AT,
)  # fmt: skip
DELIVERY = Delivery(
    1, "link_1", 7, 1017, False, "m1", "StartTransaction", "{}", None, (), AT, AT, DeliveryStatus.DONE, "{}",
    12.0, 1, None,
)  # fmt: skip


@pytest.mark.parametrize("words", [policy.REASONS, keys.REASONS])
def test_each_reason_of_the_proxy_has_its_sentence(words):
    assert words.keys() <= speak.NOTE.keys()


def test_whatever_a_machine_calls_a_thing_has_words():
    assert {state.value for state in State} - {"closed"} <= speak.STATE.keys()
    assert {step.value for step in Step} == speak.STEP.keys()
    assert set(DeliveryStatus) == speak.STATUS.keys()
    assert set(Role) == speak.ROLE.keys()
    assert set(Fallback) == speak.FALLBACK.keys() == speak.FALLBACK_NOW.keys()
    assert set(CONSENTS) == speak.CONSENT.keys()


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("online", "changed", ""),
        ("waiting", "charger_offline", speak.STATE["waiting"].hint),
        ("refused", "the operator refused the user name", "The operator refused the user name."),
        ("backing_off", "closed at 100%", "Closed at 100%%."),
        ("pending", "", speak.STATE["pending"].hint),
        ("strange", "", ""),
    ],
)
def test_a_state_says_why(state: str, reason: str, told: str):
    link = replace(LINK, state=state, reason=reason)
    assert speak.why(link) == told
    assert speak.state(link).word


@pytest.mark.parametrize(
    ("waiting", "parked", "told", "refused"),
    [
        (0, 0, "Nothing waits", ""),
        (1, 0, "1 message waits", ""),
        (14, 2, "12 messages wait", "2 refused: look"),
        (2, 2, "Nothing waits", "2 refused: look"),
        (COUNTED_MAX, 0, "More than 1000 messages wait", ""),
    ],
)
def test_the_queue_counts_apart_what_was_refused(waiting: int, parked: int, told: str, refused: str):
    link = replace(LINK, waiting=waiting, parked=parked)
    assert speak.queue(link).plain == told
    piece = speak.parked(link)
    assert (piece.plain if piece else "") == refused


def test_what_was_changed_on_the_way_is_told_in_order_and_a_strange_word_as_it_is():
    found = speak.notes(replace(DELIVERY, note=("tag_replaced", "50%")))
    assert found == (speak.NOTE["tag_replaced"], "50%%")


def test_what_we_do_for_an_operator_is_answered_and_not_delivered():
    assert speak.status(DELIVERY).word == "Delivered"
    assert speak.status(replace(DELIVERY, is_inward=True)).word == "Answered"
    assert (
        speak.status(replace(DELIVERY, is_inward=True, status=DeliveryStatus.REFUSED)).word == "Turned down"
    )


def test_skipping_says_what_an_operator_will_miss():
    start, stop, other = (
        speak.skipping(replace(DELIVERY, action=action))
        for action in ("StartTransaction", "StopTransaction", "MeterValues")
    )
    assert "does not bill it" in start
    assert "take it for running" in stop
    assert "never hears of it" in other


def test_disconnecting_says_who_decides_afterwards():
    billing, control, observer = (speak.disconnecting(replace(LINK, role=role)) for role in Role)
    assert "Voltyard decides about cards again" in billing
    assert "limits" in control
    assert "stays as it is" in observer


@pytest.mark.parametrize(
    ("what", "detail", "told"),
    [
        ("connected", {"name": "Monta", "role": "billing", "url": "wss://x"}, "Connected it as Billing"),
        ("connected", {}, "Connected it as –"),
        ("swapped", {"role": "billing", "for": None}, "Made it the Billing operator"),
        (
            "swapped",
            {"role": "observer", "for": "link_2"},
            "Gave the Billing role to another operator; this one is Observer now",
        ),
        ("changed", {"url": "wss://y", "password_sealed": "changed"}, "Changed: address, password"),
        ("changed", {"new_column": 1}, "Changed: new_column"),
        ("disconnected", {"name": "Monta"}, "Disconnected it"),
        ("moved", {}, "moved"),
    ],
)
def test_the_history_is_told_in_words(what: str, detail: dict[str, object], told: str):
    assert speak.did(what, detail).plain == told


def test_what_an_operator_knows_of_a_charge_has_words():
    assert speak.known("open").word == "Runs for it"
    assert speak.known("half%").word == "half%%"

"""Outcomes: what became of a command, in a sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.chargers import outcomes
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.effects import Effect
from voltyard.chargers.outcomes import explain

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TONES = {"good", "info", "warn", "bad"}
KINDS = sorted({*outcomes._PURPOSE, *outcomes._PURPOSE.values(), "UpdateFirmware", "MakeCoffee"})
WORDS = sorted(
    {word for _, word in outcomes._WORDS} | set(outcomes._ERRORS) | {"NotImplemented", "Maybe", ""}
)


def command(kind: str = "Reset", status: str = "executed", word: str = "Accepted", **over) -> Command:
    made = Command(
        "cmd_1", "chg_1", kind, "{}", CommandStatus(status), word, None, "user", "usr_1", "portal", NOW, NOW,
        NOW,
    )  # fmt: skip
    return replace(made, **over)


def said(*args, is_plugged: bool = False, **over) -> str:
    return explain(command(*args, **over), is_plugged=is_plugged).message


@pytest.mark.parametrize(
    ("kind", "word", "effect", "sentence"),
    [
        ("RemoteStartTransaction", "Accepted", "waiting", "Accepted: waiting for the cable."),
        ("RemoteStartTransaction", "Accepted", "happened", "Accepted, and the charge has begun."),
        ("StartCharging", "Accepted", "missed", "Accepted, but the cable was not plugged in within 60 s."),
        ("RemoteStopTransaction", "Accepted", "waiting", "Accepted: the charger is stopping."),
        ("RemoteStopTransaction", "Accepted", "missed", "Accepted, but the charge had not ended after 60 s."),
        ("Reset", "Accepted", "waiting", "Accepted: the charger restarts and is back in a minute or two."),
        ("Reset", "Accepted", "happened", "Accepted, and the charger has restarted."),
        ("Reset", "Accepted", "missed", "Accepted, but the charger had not started anew after 5 min."),
        ("TriggerMessage", "Accepted", "happened", "Accepted, and the message came."),
        ("TriggerMessage", "Accepted", "missed", "Accepted, but nothing came within 60 s."),
        ("UnlockConnector", "Unlocked", "", "The connector is unlocked."),
        ("ChangeAvailability", "Scheduled", "",
         "Accepted: it applies as soon as the running charge has ended."),
        ("ChangeConfiguration", "RebootRequired", "",
         "The charger has taken the value: it applies after a restart."),
        ("GetLocalListVersion", "", "", "The charger told the version of its list."),
        ("MakeCoffee", "Accepted", "", "Accepted by the charger."),
    ],
)  # fmt: skip
def test_what_was_accepted_says_what_came_of_it(kind, word, effect, sentence):
    assert said(kind, "executed", word, effect=Effect(effect)) == sentence


@pytest.mark.parametrize(
    ("kind", "word", "sentence"),
    [
        ("UnlockConnector", "UnlockFailed", "The charger could not unlock the connector."),
        ("ReserveNow", "Occupied", "Not reserved: the connector is in use or reserved already."),
        ("SendLocalList", "VersionMismatch",
         "The charger has another version of the list: send the whole list instead."),
        ("ClearChargingProfile", "Unknown", "The charger holds no such limit, so nothing was cleared."),
        ("DataTransfer", "UnknownVendorId", "The charger does not know this vendor."),
        ("Reset", "InternalError", "Something failed inside the charger while it tried."),
        ("Reset", "TooManyWaiting", "Too many requests wait for this charger: try again in a minute."),
        ("Reset", "NotSendable", "It does not fit the charger's protocol, so it was not sent."),
        ("Reset", "FormationViolation", "The charger and Voltyard did not understand each other"),
        ("ClearCache", "What?", "Rejected by the charger."),
    ],
)  # fmt: skip
def test_what_was_refused_says_why(kind, word, sentence):
    assert said(kind, "rejected", word).startswith(sentence)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_charger_cannot_do_is_said_in_one_way(kind):
    for word in ("NotSupported", "NotImplemented"):
        assert explain(command(kind, "rejected", word)).tone == "bad"
        assert command(kind, "rejected", word).is_unable
    assert command(kind, "expired", "NoAnswer").is_unable
    assert not command(kind, "rejected", "Rejected").is_unable
    assert not command(kind, "offline", "ChargerOffline").is_unable


def test_with_the_cable_in_an_accepted_start_waits_for_nothing():
    start = command("RemoteStartTransaction", effect=Effect.WAITING)
    assert explain(start, is_plugged=True).message == "Accepted: the charger is starting."
    missed = replace(start, effect=Effect.MISSED)
    assert "although the cable is in" in explain(missed, is_plugged=True).message


def test_while_it_waits_a_command_says_for_whom():
    assert said("Reset", "sent", "") == said("Reset", "prepared", "") == "Asking the charger …"
    assert said("Reset", "prepared", "", ahead=1) == "Waiting behind another command."
    assert said("Reset", "prepared", "", ahead=3) == "Waiting behind 3 other commands."
    assert said("Reset", "sent", "", ahead=3) == "Asking the charger …"


def test_silence_is_told_apart_from_never_having_been_sent():
    assert said("Reset", "expired", "NoAnswer").startswith("The charger gave no answer in time")
    assert said("Reset", "expired", "NoAnswer", sent_at=None).startswith("It was not sent")
    assert said("Reset", "expired", "Interrupted").startswith("Voltyard was interrupted")
    assert said("Reset", "offline", "ChargerOffline").startswith("The charger is offline")
    happened = said("Reset", "expired", "NoAnswer", effect=Effect.HAPPENED)
    assert happened == "The charger gave no answer, but it has restarted."


def test_a_late_answer_is_told_apart():
    late = command("Reset", "expired", "NoAnswer", late_word="Accepted", late_at=NOW + timedelta(seconds=45))
    assert explain(late).message == "The charger answered only after 45 s: Accepted."
    assert explain(replace(late, late_word="")).message == "The charger answered only after 45 s."
    assert late.latency_s == 45


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ('{"fileName":"log.zip"}', "The charger uploads log.zip."),
        ("{}", "The charger has nothing to upload."),
        ('{"fileName":4}', "The charger has nothing to upload."),
        ("[", "Accepted by the charger."),
        (None, "Accepted by the charger."),
    ],
)
def test_diagnostics_without_a_file_name_are_nothing(answer, sentence):
    assert said("GetDiagnostics", "executed", "", answer=answer) == sentence


@given(
    st.sampled_from(KINDS) | st.text(max_size=64),
    st.sampled_from(CommandStatus),
    st.sampled_from(WORDS) | st.text(max_size=64),
    st.sampled_from(Effect),
    st.booleans(),
    st.none() | st.just(NOW),
)
def test_every_command_has_a_sentence_that_its_facts_fill(kind, status, word, effect, is_plugged, at):
    one = command(kind, status, word, effect=effect, late_at=at, late_word=word, sent_at=at)
    told = explain(one, is_plugged=is_plugged)
    assert told.tone in TONES
    assert told.message.endswith((".", "…"))

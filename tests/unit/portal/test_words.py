from __future__ import annotations

import pytest

from voltyard.chargers.commands import CommandStatus
from voltyard.portal import words
from voltyard.speech import ConnectorStatus, Verdict

TONES = {"good", "live", "info", "warn", "bad", "mute"}


@pytest.mark.parametrize("status", ConnectorStatus)
def test_each_of_the_nine_states_has_words_of_its_own(status: ConnectorStatus):
    look = words.status(status)
    assert look is not words.UNKNOWN
    assert look.tone in TONES
    assert [each.word for each in words.STATUS.values()].count(look.word) == 1


@pytest.mark.parametrize("status", ["", None, "Parked"])
def test_a_status_that_nobody_told_is_called_so(status: str | None):
    assert words.status(status) is words.UNKNOWN


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_has_words(verdict: Verdict):
    assert words.verdict(verdict).word.startswith("Card ")


def test_an_unknown_verdict_is_shown_as_it_is():
    assert words.verdict("Maybe").word == "Maybe"


def test_each_connection_has_words():
    assert {words.connection(code).word for code in ("online", "offline", "never_seen")} == {
        "Online",
        "Offline",
        "Never seen",
    }


def test_no_error_says_nothing_and_an_unknown_one_keeps_its_name():
    assert words.error("NoError") == ""
    assert words.error("GroundFailure").startswith("Earth leakage")
    assert words.error("E-4711") == "E-4711"


def test_reasons_are_told_in_words():
    assert words.reason("EVDisconnected") == "The cable was unplugged at the car"
    assert words.reason(None) == "The charger gave no reason"
    assert words.reason("Meteorite") == "Meteorite"


def test_commands_are_named_by_what_they_do():
    assert words.command("RemoteStartTransaction") == words.command("StartCharging") == "Start charging"
    assert words.command("GetDiagnostics") == "Fetch diagnostics"
    assert words.command("MakeCoffee") == "MakeCoffee"


@pytest.mark.parametrize("status", CommandStatus)
def test_each_end_of_a_command_has_a_badge(status: CommandStatus):
    assert words.OUTCOME[status].tone in TONES


def test_help_is_there_for_those_who_can_be_helped():
    assert "owner" in words.help_for("forbidden")
    assert words.help_for("card_exists") == ""

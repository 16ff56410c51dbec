from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from voltyard.chargers.calls import Said
from voltyard.lines import records
from voltyard.operators import serving
from voltyard.proxy.sayings import Saying
from voltyard.proxy.standin import Learned, Owed, Report, Tie
from voltyard.speech import Role

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAID = Said(7, "CHARGER", "StopTransaction", '{"meterStop":5}', NOON, 3)
SAYING = Saying(7, "StopTransaction", b'{"meterStop":5}', NOON, 3)


def record(role: Role = Role.BILLING, *, is_awaited: bool = False, **changed: Any) -> serving.Record:
    report = Report(7, SAYING, None, SAYING.action, "id", None, "", "done", b"{}", 0.25, 1, None, None)
    link: Any = SimpleNamespace(id="LINK", charger_id="CHARGER", role=role)
    return records.record(link, report._replace(**changed), NOON, is_awaited=is_awaited)


def test_a_row_of_the_log_is_told_as_it_stands_there():
    assert records.saying(SAID) == SAYING


def test_what_an_operator_knows_is_tied_to_our_numbers():
    assert records.ties({3: serving.Known(3, 900, "open")}) == {3: Tie(900, "open")}


def test_what_is_owed_waits_for_as_long_as_is_left():
    rows = [
        serving.Owed(1, SAID, "retrying", 2, NOON + timedelta(seconds=30)),
        serving.Owed(2, SAID, "parked", 5, None),
    ]
    assert records.owed(rows, NOON) == [Owed(1, SAYING, False, 2, 30.0), Owed(2, SAYING, True, 5, 0.0)]


def test_a_report_is_stored_with_what_it_is_about():
    found = record(answer=b"\xff", payload=b'{"meterStop":6}', retry_in_s=60.0, tries=2)
    assert (found.link_id, found.charger_id, found.cursor, found.call_number) == ("LINK", "CHARGER", 7, 7)
    assert (found.payload, found.answer, found.latency_ms) == ('{"meterStop":6}', "\ufffd", 250.0)
    assert (found.tries, found.next_at, found.learned) == (2, NOON + timedelta(seconds=60), None)


def test_only_a_stop_has_an_end():
    learned = Learned(3, 900, "open")
    assert record(learned=learned).learned == serving.Learned(3, "open", 900)
    stopped = record(learned=learned._replace(is_stop=True)).learned
    assert stopped is not None
    assert stopped.stopped_at == NOON


@pytest.mark.parametrize(
    ("role", "is_awaited", "verdict", "is_late"),
    [
        (Role.BILLING, False, "Invalid", True),
        (Role.BILLING, True, "Invalid", False),
        (Role.BILLING, False, "Accepted", False),
        (Role.BILLING, False, "", False),
        (Role.DATA_CONTROL, False, "Invalid", False),
    ],
)
def test_a_refusal_is_late_when_nobody_is_left_to_tell_the_charger(
    role: Role, is_awaited: bool, verdict: str, is_late: bool
):
    learned = record(role, is_awaited=is_awaited, learned=Learned(3, 900, "open", verdict)).learned
    assert learned is not None
    assert learned.is_late_refusal is is_late

"""Limits: each is a bound, and those that lean on one another fit together.

The module asserts its own relations when it is imported; here stand those between several modules.
"""

from __future__ import annotations

import pytest

from voltyard.kernel import jobs, limits

LIMITS = {name: value for name, value in vars(limits).items() if name.isupper()}


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_is_a_positive_number(name: str):
    assert isinstance(LIMITS[name], int | float)
    assert LIMITS[name] > 0


@pytest.mark.parametrize("name", [name for name in LIMITS if name.endswith(("_MAX", "_DAYS", "_DEFAULT"))])
def test_what_is_counted_is_whole(name: str):
    assert isinstance(LIMITS[name], int) or name.endswith("_S_MAX")


def test_a_card_is_judged_before_the_charger_loses_patience():
    assert limits.AUTHORISE_BUDGET_S < limits.ANSWER_BUDGET_S < limits.CALL_DEADLINE_S


def test_a_command_ends_before_the_browser_gives_up():
    assert limits.CALL_DEADLINE_S < limits.COMMAND_TIMEOUT_MAX_S < limits.HTTP_TIMEOUT_S


def test_a_lease_survives_two_beats_that_were_missed():
    assert limits.LEASE_S > 3 * limits.LEASE_BEAT_S


def test_a_socket_is_pinged_twice_before_it_counts_as_silent():
    assert 2 * limits.PING_S < limits.SILENCE_S


def test_a_saying_waits_for_company_much_shorter_than_for_its_answer():
    assert limits.BATCH_MS / 1000 * 10 < limits.AUTHORISE_BUDGET_S


def test_a_frame_fits_the_buffer_of_its_socket():
    assert limits.FRAME_BYTES_MAX <= limits.SEND_BUFFER_BYTES_MAX


def test_one_origin_never_fills_a_charger_s_lane():
    assert limits.ASK_QUEUE_ORIGIN_MAX < limits.ASK_QUEUE_MAX


def test_one_address_never_holds_all_handshakes():
    assert limits.HANDSHAKES_PER_ADDRESS_MAX < limits.HANDSHAKES_MAX


def test_every_try_of_a_job_has_a_pause_before_the_next():
    assert len(jobs.PAUSES_S) >= limits.JOB_TRIES_MAX - 1
    assert jobs.PAUSES_S[0] >= limits.JOB_BEAT_S


def test_a_page_that_nobody_sized_is_a_page_that_one_may_ask_for():
    assert limits.PAGE_DEFAULT <= limits.PAGE_MAX <= limits.SAMPLES_PAGE_MAX <= limits.EXPORT_ROWS_MAX

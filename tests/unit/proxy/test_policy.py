"""The table of what each role may ask, whole and by its rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import fits
from voltyard.ocpp.frames import ERROR_CODES
from voltyard.ocpp.v16 import actions
from voltyard.proxy import policy
from voltyard.proxy.policy import REASONS, Decision, Way, decide
from voltyard.speech import Role

BILLING, DATA_CONTROL, OBSERVER = Role
F, V, R = Way
CONSENTS = ("firmware", "diagnostics", "vendor")

roles = st.sampled_from(Role)
known = st.sampled_from(sorted(actions.TO_CHARGER))
some_consents = st.sets(st.sampled_from(CONSENTS))


def test_each_action_has_a_row_for_each_role() -> None:
    assert set(policy._TABLE) == set(actions.TO_CHARGER)
    assert set(policy._ROLES) == set(Role)
    for row in policy._TABLE.values():
        assert len(row.cells) == len(Role)


def test_each_reason_is_used_and_each_word_has_its_sentence() -> None:
    used = {cell.why for row in policy._TABLE.values() for cell in row.cells} - {""}
    assert used | {"not_for_chargers", "unknown_action"} == set(REASONS)
    for sentence in REASONS.values():
        assert sentence.endswith(".")


@given(
    roles,
    known | st.text(max_size=9) | st.sampled_from(sorted(actions.FROM_CHARGER)),
    st.booleans(),
    some_consents,
)
def test_a_refusal_fits_the_schema(role: Role, action: str, is_running: bool, consents: set[str]) -> None:
    decision = decide(role, action, is_running=is_running, consents=consents)
    if decision.way is not Way.REFUSE:
        assert decision == Decision(decision.way)
        return
    assert decision.why in REASONS
    assert bool(decision.answer) != bool(decision.error)
    if decision.error:
        assert decision.error in ERROR_CODES
    else:
        fits(action, decision.answer, is_answer=True)


@given(roles, st.booleans(), some_consents)
def test_only_billing_may_start_and_stop(role: Role, is_running: bool, consents: set[str]) -> None:
    for action in (
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "ReserveNow",
        "CancelReservation",
        "ClearCache",
    ):
        decision = decide(role, action, is_running=is_running, consents=consents)
        assert (decision.way is Way.FORWARD) == (role is BILLING)


@given(roles, some_consents)
def test_nothing_that_ends_a_transaction_passes_while_one_runs_but_from_who_bills(
    role: Role, consents: set[str]
) -> None:
    assert decide(role, "Reset", is_running=True, consents=consents).way is Way.REFUSE
    unlock = decide(role, "UnlockConnector", is_running=True, consents=consents)
    assert (unlock.way is Way.FORWARD) == (role is BILLING)


@given(known, st.booleans(), some_consents)
def test_an_observer_changes_nothing_at_a_charger(action: str, is_running: bool, consents: set[str]) -> None:
    decision = decide(OBSERVER, action, is_running=is_running, consents=consents)
    is_read = action in {"GetConfiguration", "TriggerMessage"}
    assert decision.way is (Way.VIRTUAL if is_read else Way.REFUSE)


@pytest.mark.parametrize(
    ("action", "idle", "running"),
    [
        ("RemoteStartTransaction", (F, R, R), (F, R, R)),
        ("RemoteStopTransaction", (F, R, R), (F, R, R)),
        ("UnlockConnector", (F, F, R), (F, R, R)),
        ("Reset", (F, F, R), (R, R, R)),
        ("ChangeAvailability", (V, V, R), (V, V, R)),
        ("ReserveNow", (F, R, R), (F, R, R)),
        ("SendLocalList", (V, R, R), (V, R, R)),
        ("GetLocalListVersion", (V, R, R), (V, R, R)),
        ("ClearCache", (F, R, R), (F, R, R)),
        ("GetConfiguration", (V, V, V), (V, V, V)),
        ("ChangeConfiguration", (V, V, R), (V, V, R)),
        ("SetChargingProfile", (V, V, R), (V, V, R)),
        ("TriggerMessage", (V, V, V), (V, V, V)),
        ("DataTransfer", (R, R, R), (R, R, R)),
        ("UpdateFirmware", (R, R, R), (R, R, R)),
        ("GetLog", (R, R, R), (R, R, R)),
        ("InstallCertificate", (R, R, R), (R, R, R)),
        ("ExtendedTriggerMessage", (R, R, R), (R, R, R)),
    ],
)
def test_each_role_has_its_way(action: str, idle: tuple[Way, ...], running: tuple[Way, ...]) -> None:
    assert tuple(decide(role, action, is_running=False).way for role in Role) == idle
    assert tuple(decide(role, action, is_running=True).way for role in Role) == running


@pytest.mark.parametrize(
    ("action", "consent", "ways"),
    [
        ("DataTransfer", "vendor", (F, F, R)),
        ("UpdateFirmware", "firmware", (F, R, R)),
        ("SignedUpdateFirmware", "firmware", (F, R, R)),
        ("GetDiagnostics", "diagnostics", (F, R, R)),
        ("GetLog", "diagnostics", (F, R, R)),
        ("InstallCertificate", "firmware", (R, R, R)),
    ],
)
def test_the_consent_of_the_owner_opens_what_it_names(
    action: str, consent: str, ways: tuple[Way, ...]
) -> None:
    assert tuple(decide(role, action, is_running=True, consents=(consent,)).way for role in Role) == ways
    others = [each for each in CONSENTS if each != consent]
    for role in Role:
        assert decide(role, action, is_running=True, consents=others).way is Way.REFUSE


@pytest.mark.parametrize(
    ("role", "action", "decision"),
    [
        (
            DATA_CONTROL,
            "RemoteStartTransaction",
            Decision(R, b'{"status":"Rejected"}', why="role_may_not_start"),
        ),
        (BILLING, "Reset", Decision(R, b'{"status":"Rejected"}', why="stops_a_transaction")),
        (
            DATA_CONTROL,
            "UnlockConnector",
            Decision(R, b'{"status":"NotSupported"}', why="stops_a_transaction"),
        ),
        (
            DATA_CONTROL,
            "ReserveNow",
            Decision(R, b'{"status":"Rejected"}', why="reservation_is_authorisation"),
        ),
        (
            DATA_CONTROL,
            "GetLocalListVersion",
            Decision(R, b'{"listVersion":-1}', why="cards_belong_to_billing"),
        ),
        (OBSERVER, "ClearChargingProfile", Decision(R, b'{"status":"Unknown"}', why="observer_only_watches")),
        (BILLING, "DataTransfer", Decision(R, b'{"status":"UnknownVendorId"}', why="no_consent")),
        (BILLING, "UpdateFirmware", Decision(R, error="NotSupported", why="no_consent")),
        (DATA_CONTROL, "GetDiagnostics", Decision(R, b"{}", why="role_may_not_maintain")),
        (BILLING, "DeleteCertificate", Decision(R, b'{"status":"Failed"}', why="certificates_are_ours")),
        (BILLING, "Heartbeat", Decision(R, error="NotSupported", why="not_for_chargers")),
        (BILLING, "Dance", Decision(R, error="NotImplemented", why="unknown_action")),
    ],
)
def test_a_refusal_says_why_in_a_word_and_what_is_answered(
    role: Role, action: str, decision: Decision
) -> None:
    assert decide(role, action, is_running=True) == decision

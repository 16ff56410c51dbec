"""Reservations, against an independent set of JSON schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import AT, NOON, TIMES, fits
from voltyard.kernel.errors import Invalid
from voltyard.ocpp.v16 import reservation
from voltyard.speech import CancelReservation, Reserve

tags = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("ask", "action", "payload"),
    [
        (
            Reserve(1, 7, "A", NOON, "P"),
            "ReserveNow",
            {"connectorId": 1, "reservationId": 7, "idTag": "A", "expiryDate": AT, "parentIdTag": "P"},
        ),
        (
            Reserve(0, 7, "A", NOON.replace(microsecond=5)),
            "ReserveNow",
            {"connectorId": 0, "reservationId": 7, "idTag": "A", "expiryDate": AT},
        ),
        (CancelReservation(7), "CancelReservation", {"reservationId": 7}),
    ],
)
def test_an_ask_is_written_to_the_letter(ask: Any, action: str, payload: dict[str, Any]) -> None:
    written, raw = reservation.write(ask)
    assert (written, json.loads(raw)) == (action, payload)


@given(
    st.builds(Reserve, st.integers(0, 9), st.integers(-(2**31), 2**31 - 1), tags, TIMES, st.none() | tags)
    | st.builds(CancelReservation, st.integers(-(2**31), 2**31 - 1))
)
def test_what_is_written_fits_the_schema(ask: Any) -> None:
    fits(*reservation.write(ask))


@pytest.mark.parametrize(
    ("ask", "pointer"),
    [
        (Reserve(-1, 7, "A", NOON), "/connectorId"),
        (Reserve(1, 2**31, "A", NOON), "/reservationId"),
        (Reserve(1, 7, "", NOON), "/idTag"),
        (Reserve(1, 7, "A" * 21, NOON), "/idTag"),
        (Reserve(1, 7, "A", NOON, "P" * 21), "/parentIdTag"),
        (Reserve(1, 7, "A", NOON.replace(tzinfo=None)), "/expiryDate"),
        (CancelReservation(-(2**31) - 1), "/reservationId"),
    ],
)
def test_what_has_no_room_is_refused(ask: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        reservation.write(ask)
    assert refused.value.errors[0][0] == pointer

"""Connectors kept for a card. OCPP 1.6 §5.13 and §5.1, the profile Reservation."""

from __future__ import annotations

from typing import Literal, assert_never

from voltyard.ocpp.v16.messages import CiString20, ConnectorId, IdTag, Instant, Number, Payload, PlainAnswer
from voltyard.ocpp.v16.writing import request, seconds
from voltyard.speech import CancelReservation as Cancel
from voltyard.speech import Reserve


class ReserveNow(Payload, frozen=True):
    """OCPP 1.6 §6.37."""

    connector_id: ConnectorId
    expiry_date: Instant
    id_tag: IdTag
    reservation_id: Number
    parent_id_tag: CiString20 | None = None


class ReserveNowAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.38."""

    status: Literal["Accepted", "Faulted", "Occupied", "Rejected", "Unavailable"]


class CancelReservation(Payload, frozen=True):
    """OCPP 1.6 §6.5."""

    reservation_id: Number


class CancelReservationAnswer(PlainAnswer, frozen=True):
    """OCPP 1.6 §6.6."""


def write(ask: Reserve | Cancel) -> tuple[str, bytes]:
    """Write an ask about reservations as an action and its payload. Raises: Invalid."""
    match ask:
        case Reserve(connector, reservation, id_tag, expires_at, parent_tag):
            return request(
                ReserveNow,
                {
                    "connectorId": connector,
                    "expiryDate": seconds(expires_at),
                    "idTag": id_tag,
                    "reservationId": reservation,
                    "parentIdTag": parent_tag,
                },
            )
        case Cancel(reservation):
            return request(CancelReservation, {"reservationId": reservation})
    assert_never(ask)

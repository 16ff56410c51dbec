"""What an operator may ask of a charger, by its role, as one table.

Nothing here knows what is asked in detail or how it is carried out: an action is passed on to the charger, is
answered from what we keep for that operator, or is refused with an answer that OCPP has for it. The two rules
behind the table: only the one who bills may start and stop, and nobody may lock others out.

Invariants (property tests of the same names):
each action has a row for each role · a refusal fits the schema · only billing may start and stop ·
nothing that ends a transaction passes while one runs, but from who bills ·
an observer changes nothing at a charger
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from voltyard.ocpp.v16 import actions, asked, local_list
from voltyard.speech import Role


class Way(StrEnum):
    """What becomes of what an operator asks: the charger hears it, we answer for the charger, or neither."""

    FORWARD = "forward"
    VIRTUAL = "virtual"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one ask.

    A refusal has either an ``answer``, the payload that refuses it, or where OCPP has none an ``error``, the
    code of a CALLERROR; ``why`` is a word of ``REASONS``.
    """

    way: Way
    answer: bytes = b""
    error: str = ""
    why: str = ""


REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "observer_only_watches": "An Observer only watches this charger.",
        "role_may_not_start": "Only the Billing operator may start a charge.",
        "role_may_not_stop": "Only the Billing operator may end a charge.",
        "stops_a_transaction": "This would end a running charge; it can be asked again once that has ended.",
        "reservation_is_authorisation": "To keep a connector for a card is for the Billing operator only.",
        "cards_belong_to_billing": "Only the Billing operator keeps cards in the charger.",
        "role_may_not_maintain": "Only the Billing operator may update the charger or fetch its logs.",
        "no_consent": "The owner of the charger has not allowed this operator to do that.",
        "certificates_are_ours": "Which certificates the charger trusts is not for operators to change.",
        "not_for_chargers": "This is something that chargers say, not something they can be asked.",
        "unknown_action": "OCPP 1.6 has no such action.",
    }
)
"""Why something was refused, as one sentence for people for each word."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """What becomes of an action; refused for ``why`` if it always is, or while ``needs`` is not given."""

    way: Way
    why: str = ""
    needs: str = ""


_ROLES: Final = (Role.BILLING, Role.DATA_CONTROL, Role.OBSERVER)
_IDLE: Final = "idle"
"""Given while no transaction runs; all else that a cell may need is a consent of the owner."""

_FORWARD: Final = _Cell(Way.FORWARD)
_VIRTUAL: Final = _Cell(Way.VIRTUAL)
_FORWARD_IDLE: Final = _Cell(Way.FORWARD, "stops_a_transaction", _IDLE)
_IF_FIRMWARE: Final = _Cell(Way.FORWARD, "no_consent", "firmware")
_IF_DIAGNOSTICS: Final = _Cell(Way.FORWARD, "no_consent", "diagnostics")
_IF_VENDOR: Final = _Cell(Way.FORWARD, "no_consent", "vendor")
_WATCHES: Final = _Cell(Way.REFUSE, "observer_only_watches")
_NO_START: Final = _Cell(Way.REFUSE, "role_may_not_start")
_NO_STOP: Final = _Cell(Way.REFUSE, "role_may_not_stop")
_NO_RESERVATION: Final = _Cell(Way.REFUSE, "reservation_is_authorisation")
_NO_CARDS: Final = _Cell(Way.REFUSE, "cards_belong_to_billing")
_NO_MAINTENANCE: Final = _Cell(Way.REFUSE, "role_may_not_maintain")
_OURS: Final = _Cell(Way.REFUSE, "certificates_are_ours")
_NO_LIST: Final = asked.answer("GetLocalListVersion", list_version=local_list.NO_LIST)


@dataclass(frozen=True, slots=True)
class _Row:
    """The cells of an action in the order of ``_ROLES``, and how a refusal of it is answered."""

    cells: tuple[_Cell, _Cell, _Cell]
    answer: bytes = b""
    error: str = ""


def _row(
    action: str, billing: _Cell, data_control: _Cell, observer: _Cell, refusal: str = ""
) -> tuple[str, _Row]:
    """Return a row; ``refusal`` is the status that refuses the action, empty where its answer has none."""
    answer = asked.answer(action, status=refusal) if refusal else asked.answer(action)
    return action, _Row((billing, data_control, observer), answer)


# fmt: off
_TABLE: Final[Mapping[str, _Row]] = MappingProxyType(dict((
    #                              Billing             Data & Control   Observer   refused with
    _row("RemoteStartTransaction", _FORWARD,           _NO_START,       _WATCHES,  "Rejected"),
    _row("RemoteStopTransaction",  _FORWARD,           _NO_STOP,        _WATCHES,  "Rejected"),
    # OCPP 1.6 §5.18: a running transaction is ended first, so from anybody else this is a stop in disguise.
    _row("UnlockConnector",        _FORWARD,           _FORWARD_IDLE,   _WATCHES,  "NotSupported"),
    # OCPP 1.6 §5.14: either kind ends transactions, and disturbs every other operator.
    _row("Reset",                  _FORWARD_IDLE,      _FORWARD_IDLE,   _WATCHES,  "Rejected"),
    _row("ChangeAvailability",     _VIRTUAL,           _VIRTUAL,        _WATCHES,  "Rejected"),
    _row("ReserveNow",             _FORWARD,           _NO_RESERVATION, _WATCHES,  "Rejected"),
    _row("CancelReservation",      _FORWARD,           _NO_RESERVATION, _WATCHES,  "Rejected"),
    _row("SendLocalList",          _VIRTUAL,           _NO_CARDS,       _WATCHES,  "NotSupported"),
    # OCPP 1.6 §5.10: this version says that there is no list, and back offices cease to try.
    ("GetLocalListVersion", _Row( (_VIRTUAL,           _NO_CARDS,       _WATCHES), _NO_LIST)),
    _row("ClearCache",             _FORWARD,           _NO_CARDS,       _WATCHES,  "Rejected"),
    _row("GetConfiguration",       _VIRTUAL,           _VIRTUAL,        _VIRTUAL),
    _row("ChangeConfiguration",    _VIRTUAL,           _VIRTUAL,        _WATCHES,  "Rejected"),
    _row("SetChargingProfile",     _VIRTUAL,           _VIRTUAL,        _WATCHES,  "NotSupported"),
    _row("ClearChargingProfile",   _VIRTUAL,           _VIRTUAL,        _WATCHES,  "Unknown"),
    _row("GetCompositeSchedule",   _VIRTUAL,           _VIRTUAL,        _WATCHES,  "Rejected"),
    _row("TriggerMessage",         _VIRTUAL,           _VIRTUAL,        _VIRTUAL,  "Rejected"),
    _row("DataTransfer",           _IF_VENDOR,         _IF_VENDOR,      _WATCHES,  "UnknownVendorId"),
    # Its answer has no status, so an empty one would look like a yes.
    ("UpdateFirmware", _Row(      (_IF_FIRMWARE,       _NO_MAINTENANCE, _WATCHES), error="NotSupported")),
    _row("SignedUpdateFirmware",   _IF_FIRMWARE,       _NO_MAINTENANCE, _WATCHES,  "Rejected"),
    # OCPP 1.6 §6.26: without a name there is nothing to upload.
    _row("GetDiagnostics",         _IF_DIAGNOSTICS,    _NO_MAINTENANCE, _WATCHES),
    _row("GetLog",                 _IF_DIAGNOSTICS,    _NO_MAINTENANCE, _WATCHES,  "Rejected"),
    _row("InstallCertificate",     _OURS,              _OURS,           _OURS,     "Rejected"),
    _row("DeleteCertificate",      _OURS,              _OURS,           _OURS,     "Failed"),
    _row("CertificateSigned",      _OURS,              _OURS,           _OURS,     "Rejected"),
    _row("GetInstalledCertificateIds", _OURS,          _OURS,           _OURS,     "NotFound"),
    # All that it can do besides having a certificate signed, TriggerMessage can, too.
    _row("ExtendedTriggerMessage", _OURS,              _OURS,           _OURS,     "NotImplemented"),
)))
# fmt: on


def decide(role: Role, action: str, *, is_running: bool, consents: Collection[str] = ()) -> Decision:
    """Decide what becomes of an action that an operator asks for.

    ``is_running`` says whether any transaction runs at the charger, for UnlockConnector at that connector;
    ``consents`` holds what the owner allowed on this link: ``firmware``, ``diagnostics``, ``vendor``.
    """
    row = _TABLE.get(action)
    if row is None:
        if action in actions.FROM_CHARGER:
            return Decision(Way.REFUSE, error="NotSupported", why="not_for_chargers")
        return Decision(Way.REFUSE, error="NotImplemented", why="unknown_action")
    cell = row.cells[_ROLES.index(role)]
    is_given = not is_running if cell.needs == _IDLE else not cell.needs or cell.needs in consents
    if cell.way is Way.REFUSE or not is_given:
        return Decision(Way.REFUSE, row.answer, row.error, cell.why)
    return Decision(cell.way)

"""What became of a command, in a sentence that a person understands.

A pure function of a command: its kind, the charger's word for it, and whether its effect was heard. The
texts are message ids: doors translate them and fill in the facts.

Invariants (property tests of the same names):
every command has a sentence · the facts fill the sentence · what a charger cannot do is said in one way
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from voltyard.chargers.effects import Effect
from voltyard.kernel.errors import Invalid
from voltyard.kernel.limits import (
    CONNECT_EFFECT_S,
    MESSAGE_EFFECT_S,
    RESTART_EFFECT_S,
    STOP_EFFECT_S,
)
from voltyard.kernel.wire import decode

if TYPE_CHECKING:
    from voltyard.chargers.commands import Command


def _(text: str) -> str:
    """Mark a text for the catalogue."""
    return text


class Told(NamedTuple):
    """A sentence, the tone in which it is told (good, info, warn, bad), and the facts to fill in."""

    text: str
    tone: str
    facts: Mapping[str, str | int] = MappingProxyType({})

    @property
    def message(self) -> str:
        """The sentence, filled in and untranslated."""
        return self.text % self.facts


START: Final = "start"
STOP: Final = "stop"
RESTART: Final = "restart"
UNLOCK: Final = "unlock"
TRIGGER: Final = "trigger"
_PURPOSE: Final = MappingProxyType(
    {
        "StartCharging": START,
        "RemoteStartTransaction": START,
        "RequestStartTransaction": START,
        "StopCharging": STOP,
        "RemoteStopTransaction": STOP,
        "RequestStopTransaction": STOP,
        "Restart": RESTART,
        "Reset": RESTART,
        "Unlock": UNLOCK,
        "UnlockConnector": UNLOCK,
        "Trigger": TRIGGER,
        "TriggerMessage": TRIGGER,
        "TriggerExtended": TRIGGER,
        "ExtendedTriggerMessage": TRIGGER,
        "SetAvailability": "ChangeAvailability",
        "SetKey": "ChangeConfiguration",
        "GetKeys": "GetConfiguration",
        "ForgetCards": "ClearCache",
        "TellVendor": "DataTransfer",
        "SetLimit": "SetChargingProfile",
        "ClearLimit": "ClearChargingProfile",
        "TellComposite": "GetCompositeSchedule",
        "ReplaceCards": "SendLocalList",
        "UpdateCards": "SendLocalList",
        "TellCardsVersion": "GetLocalListVersion",
        "Reserve": "ReserveNow",
        "SendDiagnostics": "GetDiagnostics",
        "TellCertificates": "GetInstalledCertificateIds",
        "UseCertificate": "CertificateSigned",
        "SendLog": "GetLog",
        "UpdateSignedFirmware": "SignedUpdateFirmware",
    }
)
UNABLE: Final = frozenset(("NotSupported", "NotImplemented"))

ACCEPTED: Final = Told(_("Accepted by the charger."), "good")
REJECTED: Final = Told(_("Rejected by the charger."), "bad")
CANNOT: Final = Told(_("This charger cannot do that."), "bad")

# What the charger's own word means for what it was asked; what stands here for no word is said of any other.
_WORDS: Final[Mapping[tuple[str, str], Told]] = MappingProxyType(
    {
        (START, "Rejected"): Told(
            _("The charger refuses to start: its connector may be in use, out of service or faulty."), "bad"
        ),
        (STOP, "Rejected"): Told(_("The charger knows of no such running charge."), "bad"),
        (RESTART, "Rejected"): Told(_("The charger refuses to restart just now."), "bad"),
        (UNLOCK, "Unlocked"): Told(_("The connector is unlocked."), "good"),
        (UNLOCK, "UnlockFailed"): Told(_("The charger could not unlock the connector."), "bad"),
        (UNLOCK, "NotSupported"): Told(
            _("This charger has no such connector, or none that can be unlocked."), "bad"
        ),
        (TRIGGER, "Rejected"): Told(_("The charger will not send that message just now."), "bad"),
        (TRIGGER, "NotImplemented"): Told(_("This charger cannot send that message when asked."), "bad"),
        ("ChangeAvailability", "Accepted"): Told(_("Accepted: it applies from now on."), "good"),
        ("ChangeAvailability", "Scheduled"): Told(
            _("Accepted: it applies as soon as the running charge has ended."), "info"
        ),
        ("ChangeConfiguration", "Accepted"): Told(_("The charger has taken the value."), "good"),
        ("ChangeConfiguration", "RebootRequired"): Told(
            _("The charger has taken the value: it applies after a restart."), "warn"
        ),
        ("ChangeConfiguration", "Rejected"): Told(
            _("The charger refused the value: it may be read-only or out of range."), "bad"
        ),
        ("ChangeConfiguration", "NotSupported"): Told(_("This charger does not know that parameter."), "bad"),
        ("GetConfiguration", ""): Told(_("The charger told its parameters."), "good"),
        ("ClearCache", "Accepted"): Told(_("The charger has forgotten the cards it remembered."), "good"),
        ("ClearCache", "Rejected"): Told(
            _("The charger could not forget its cards; it may remember none."), "bad"
        ),
        ("DataTransfer", "UnknownVendorId"): Told(_("The charger does not know this vendor."), "bad"),
        ("DataTransfer", "UnknownMessageId"): Told(
            _("The charger knows the vendor, but not this message."), "bad"
        ),
        ("SetChargingProfile", "Accepted"): Told(_("The charger holds to the limit."), "good"),
        ("SetChargingProfile", "Rejected"): Told(_("The charger refuses this limit."), "bad"),
        ("ClearChargingProfile", "Accepted"): Told(_("The limits are cleared."), "good"),
        ("ClearChargingProfile", "Unknown"): Told(
            _("The charger holds no such limit, so nothing was cleared."), "warn"
        ),
        ("GetCompositeSchedule", "Accepted"): Told(_("The charger told its limits."), "good"),
        ("GetCompositeSchedule", "Rejected"): Told(
            _("The charger cannot tell its limits for that connector or time."), "bad"
        ),
        ("SendLocalList", "Accepted"): Told(_("The charger has stored the cards."), "good"),
        ("SendLocalList", "Failed"): Told(
            _("The charger could not store the cards: send the whole list instead."), "bad"
        ),
        ("SendLocalList", "VersionMismatch"): Told(
            _("The charger has another version of the list: send the whole list instead."), "bad"
        ),
        ("SendLocalList", "NotSupported"): Told(_("This charger keeps no list of cards."), "bad"),
        ("GetLocalListVersion", "NotSupported"): Told(_("This charger keeps no list of cards."), "bad"),
        ("GetLocalListVersion", ""): Told(_("The charger told the version of its list."), "good"),
        ("ReserveNow", "Accepted"): Told(_("The connector is reserved."), "good"),
        ("ReserveNow", "Faulted"): Told(_("Not reserved: the connector has a fault."), "bad"),
        ("ReserveNow", "Occupied"): Told(
            _("Not reserved: the connector is in use or reserved already."), "bad"
        ),
        ("ReserveNow", "Unavailable"): Told(_("Not reserved: the connector is out of service."), "bad"),
        ("ReserveNow", "Rejected"): Told(_("Not reserved: the charger takes no such reservations."), "bad"),
        ("CancelReservation", "Accepted"): Told(_("The reservation is cancelled."), "good"),
        ("CancelReservation", "Rejected"): Told(_("The charger knows of no such reservation."), "bad"),
        ("UpdateFirmware", ""): Told(
            _("The charger will fetch the firmware; how far it is shows under Firmware and files."), "good"
        ),
        ("SignedUpdateFirmware", "AcceptedCanceled"): Told(
            _("Accepted: an earlier update was broken off for it."), "good"
        ),
        ("SignedUpdateFirmware", "InvalidCertificate"): Told(
            _("The charger does not trust the certificate that signed the firmware."), "bad"
        ),
        ("SignedUpdateFirmware", "RevokedCertificate"): Told(
            _("The certificate that signed the firmware was revoked."), "bad"
        ),
        ("GetLog", "AcceptedCanceled"): Told(_("Accepted: an earlier upload was broken off for it."), "good"),
        ("InstallCertificate", "Accepted"): Told(_("The charger trusts the certificate now."), "good"),
        ("InstallCertificate", "Failed"): Told(_("The charger could not store the certificate."), "bad"),
        ("InstallCertificate", "Rejected"): Told(
            _("The charger refuses the certificate: it may be broken, or its store full."), "bad"
        ),
        ("DeleteCertificate", "Accepted"): Told(_("The charger trusts the certificate no longer."), "good"),
        ("DeleteCertificate", "Failed"): Told(_("The charger could not delete the certificate."), "bad"),
        ("DeleteCertificate", "NotFound"): Told(_("The charger has no such certificate."), "warn"),
        ("GetInstalledCertificateIds", "Accepted"): Told(_("The charger told its certificates."), "good"),
        ("GetInstalledCertificateIds", "NotFound"): Told(_("The charger has no such certificates."), "good"),
        ("CertificateSigned", "Accepted"): Told(_("The charger uses its new certificate."), "good"),
        ("CertificateSigned", "Rejected"): Told(_("The charger refuses the certificate."), "bad"),
    }
)
# Codes of errors in the protocol (OCPP-J 1.6 §4.2.3, in both of its spellings).
_NOT_UNDERSTOOD: Final = Told(
    _("The charger and Voltyard did not understand each other (%(code)s): see the request and the answer."),
    "bad",
)
_ERRORS: Final[Mapping[str, Told]] = MappingProxyType(
    dict.fromkeys(
        (
            "FormationViolation",
            "FormatViolation",
            "ProtocolError",
            "PropertyConstraintViolation",
            "OccurenceConstraintViolation",
            "OccurrenceConstraintViolation",
            "TypeConstraintViolation",
        ),
        _NOT_UNDERSTOOD,
    )
    | {
        "InternalError": Told(_("Something failed inside the charger while it tried."), "bad"),
        "SecurityError": Told(_("The charger refused it for reasons of security."), "bad"),
        "GenericError": Told(_("The charger answered with an error that it does not explain."), "bad"),
        "TooManyWaiting": Told(_("Too many requests wait for this charger: try again in a minute."), "bad"),
        "NotSendable": Told(_("It does not fit the charger's protocol, so it was not sent."), "bad"),
    }
)
# By what a command is for: before its effect, with the cable in already, after it, and without it.
_EFFECTS: Final[Mapping[tuple[str, Effect], Told]] = MappingProxyType(
    {
        (START, Effect.WAITING): Told(_("Accepted: waiting for the cable."), "good"),
        (START, Effect.HAPPENED): Told(_("Accepted, and the charge has begun."), "good"),
        (START, Effect.MISSED): Told(
            _("Accepted, but the cable was not plugged in within %(seconds)s s."),
            "warn",
            MappingProxyType({"seconds": int(CONNECT_EFFECT_S)}),
        ),
        (STOP, Effect.WAITING): Told(_("Accepted: the charger is stopping."), "good"),
        (STOP, Effect.HAPPENED): Told(_("Accepted, and the charge has ended."), "good"),
        (STOP, Effect.MISSED): Told(
            _("Accepted, but the charge had not ended after %(seconds)s s."),
            "warn",
            MappingProxyType({"seconds": int(STOP_EFFECT_S)}),
        ),
        (RESTART, Effect.WAITING): Told(
            _("Accepted: the charger restarts and is back in a minute or two."), "good"
        ),
        (RESTART, Effect.HAPPENED): Told(_("Accepted, and the charger has restarted."), "good"),
        (RESTART, Effect.MISSED): Told(
            _("Accepted, but the charger had not started anew after %(minutes)s min."),
            "warn",
            MappingProxyType({"minutes": int(RESTART_EFFECT_S // 60)}),
        ),
        (TRIGGER, Effect.WAITING): Told(_("Accepted: waiting for the message."), "good"),
        (TRIGGER, Effect.HAPPENED): Told(_("Accepted, and the message came."), "good"),
        (TRIGGER, Effect.MISSED): Told(
            _("Accepted, but nothing came within %(seconds)s s."),
            "warn",
            MappingProxyType({"seconds": int(MESSAGE_EFFECT_S)}),
        ),
    }
)
_STARTING: Final = Told(_("Accepted: the charger is starting."), "good")
_NOT_STARTED: Final = Told(
    _("Accepted, but no charge began within %(seconds)s s, although the cable is in."),
    "warn",
    MappingProxyType({"seconds": int(CONNECT_EFFECT_S)}),
)
# A charger that never answers may do as asked all the same.
_SILENT_BUT_DONE: Final[Mapping[str, Told]] = MappingProxyType(
    {
        START: Told(_("The charger gave no answer, but the charge has begun."), "good"),
        STOP: Told(_("The charger gave no answer, but the charge has ended."), "good"),
        RESTART: Told(_("The charger gave no answer, but it has restarted."), "good"),
        TRIGGER: Told(_("The charger gave no answer, but the message came."), "good"),
    }
)
ASKING: Final = Told(_("Asking the charger …"), "info")
BEHIND_ONE: Final = Told(_("Waiting behind another command."), "info")
OFFLINE: Final = Told(_("The charger is offline: check its power and network."), "warn")
NEVER_SENT: Final = Told(
    _("It was not sent: other commands kept the charger busy for too long. Try again."), "warn"
)
SILENT: Final = Told(
    _(
        "The charger gave no answer in time: it may not know this command, or have obeyed all the same. "
        "Look whether something happened before you try again."
    ),
    "warn",
)
INTERRUPTED: Final = Told(
    _(
        "Voltyard was interrupted before it heard the answer. Look whether something happened before you try "
        "again."
    ),
    "warn",
)


def purpose(kind: str) -> str:
    """Return what a command is for, by one name for each whatever the protocol calls it."""
    return _PURPOSE.get(kind, kind)


def explain(command: Command, *, is_plugged: bool = False) -> Told:
    """Return what became of a command; ``is_plugged`` says that the cable is in already."""
    status = command.status.value
    if status in {"prepared", "sent"}:
        return _waiting(command.ahead if status == "prepared" else 0)
    if status == "offline":
        return OFFLINE
    if status == "expired":
        return _expired(command)
    return _answered(command, command.word, is_accepted=status == "executed", is_plugged=is_plugged)


def _waiting(ahead: int) -> Told:
    if ahead == 0:
        return ASKING
    if ahead == 1:
        return BEHIND_ONE
    return Told(_("Waiting behind %(count)s other commands."), "info", {"count": ahead})


def _expired(command: Command) -> Told:
    if command.late_at is not None:
        after_s = (command.late_at - (command.sent_at or command.created_at)).total_seconds()
        facts: dict[str, str | int] = {"seconds": round(after_s), "word": command.late_word}
        if not command.late_word:
            return Told(_("The charger answered only after %(seconds)s s."), "warn", facts)
        return Told(_("The charger answered only after %(seconds)s s: %(word)s."), "warn", facts)
    if command.effect is Effect.HAPPENED:
        return _SILENT_BUT_DONE.get(purpose(command.kind), SILENT)
    if command.word == "Interrupted":
        return INTERRUPTED
    return NEVER_SENT if command.sent_at is None else SILENT


def _answered(command: Command, word: str, *, is_accepted: bool, is_plugged: bool) -> Told:
    what = purpose(command.kind)
    if (what, word) in _WORDS:
        return _WORDS[what, word]
    if word in UNABLE:
        # The same is said by a status and by an error (quirk Q54).
        return _WORDS.get((what, "NotSupported")) or _WORDS.get((what, "NotImplemented")) or CANNOT
    if what == UNLOCK and not is_accepted and word == "Rejected":
        return _WORDS[UNLOCK, "UnlockFailed"]
    if not is_accepted:
        found = _ERRORS.get(word, REJECTED)
        return found._replace(facts={"code": word}) if found is _NOT_UNDERSTOOD else found
    if what == START and command.effect is Effect.MISSED:
        missed = _NOT_STARTED if is_plugged else _EFFECTS[START, Effect.MISSED]
        seconds = CONNECT_EFFECT_S if command.connect_s is None else command.connect_s
        return missed._replace(facts={"seconds": round(seconds)})
    if what == START and is_plugged and command.effect is not Effect.HAPPENED:
        return _STARTING
    if what == "GetDiagnostics":
        return _diagnostics(command.answer)
    return _EFFECTS.get((what, command.effect)) or _EFFECTS.get((what, Effect.WAITING), ACCEPTED)


def _diagnostics(answer: str | None) -> Told:
    """Say what a charger uploads; without a file name there is nothing (OCPP 1.6 §5.9)."""
    if answer is None:
        return ACCEPTED
    try:
        said = decode(answer, dict[str, object])
    except Invalid:
        return ACCEPTED
    name = said.get("fileName")
    if not isinstance(name, str) or not name:
        return Told(_("The charger has nothing to upload."), "warn")
    return Told(_("The charger uploads %(name)s."), "good", {"name": name})

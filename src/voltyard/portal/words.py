"""Human words for what chargers, transactions and commands tell: tables from their code to our sentence.

Every text is a message id; templates and doors send it through gettext, so that it can be translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


def _(text: str) -> str:
    """Mark a text for the catalogue."""
    return text


class Look(NamedTuple):
    """A word and the tone in which it is shown."""

    word: str
    tone: str
    hint: str = ""


STATUS: Final[Mapping[str, Look]] = {
    "Available": Look(_("Available"), "good", _("Ready for a car.")),
    "Preparing": Look(_("Waiting to start"), "info", _("A cable or a card is there, the other is missing.")),
    "Charging": Look(_("Charging"), "live", _("A car is charging here.")),
    "SuspendedEVSE": Look(_("Paused by the charger"), "warn", _("The charger offers no current just now.")),
    "SuspendedEV": Look(_("Paused by the car"), "warn", _("The car takes no current: it may be full.")),
    "Finishing": Look(_("Finished, cable still in"), "info", _("Unplug the car to free the connector.")),
    "Reserved": Look(_("Reserved"), "info", _("Kept free for one card.")),
    "Unavailable": Look(_("Out of service"), "mute", _("Switched off on purpose, or busy with an update.")),
    "Faulted": Look(_("Fault"), "bad", _("The charger cannot charge until the fault is gone.")),
}
UNKNOWN = Look(_("Not told yet"), "mute")

# First what who charges looks for, then what who installs needs, then what who helps from afar looks at.
CHARGER_TABS: Final = (
    ("overview", _("Overview")),
    ("transactions", _("Transactions")),
    ("reservations", _("Reservations")),
    ("configuration", _("Configuration")),
    ("parameters", _("Parameters")),
    ("updates", _("Firmware and files")),
    ("operators", _("Operators")),
    ("diagnostics", _("Diagnostics")),
    ("commands", _("Commands")),
    ("logs", _("Logs")),
    ("findings", _("Findings")),
)
CHARGER_TABS_APART: Final = frozenset(("configuration", "diagnostics"))

SEVERITY: Final[Mapping[str, Look]] = {
    "harmless": Look(_("Harmless"), "mute"),
    "worth_knowing": Look(_("Worth knowing"), "info"),
    "harmful": Look(_("Harmful"), "warn"),
}

CONNECTION: Final[Mapping[str, Look]] = {
    "online": Look(_("Online"), "good"),
    "offline": Look(_("Offline"), "mute"),
    "never_seen": Look(_("Never seen"), "mute"),
}

ERROR: Final[Mapping[str, str]] = {
    "ConnectorLockFailure": _("The cable could not be locked or unlocked."),
    "EVCommunicationError": _("The charger and the car do not understand each other."),
    "GroundFailure": _("Earth leakage was found: have an electrician look before anybody charges."),
    "HighTemperature": _("The charger is too hot."),
    "InternalError": _("The charger reports a fault inside."),
    "LocalListConflict": _("The charger's own list of cards is wrong."),
    "OtherError": _("The charger reports a fault that it does not name."),
    "OverCurrentFailure": _("The current was too high: check the fuse."),
    "OverVoltage": _("The voltage is too high."),
    "PowerMeterFailure": _("The meter inside the charger cannot be read."),
    "PowerSwitchFailure": _("The power switch inside the charger is stuck."),
    "ReaderFailure": _("The card reader does not work."),
    "ResetFailure": _("The charger could not restart."),
    "UnderVoltage": _("The voltage is too low."),
    "WeakSignal": _("The charger's network signal is weak."),
}

REASON: Final[Mapping[str, str]] = {
    "DeAuthorized": _("The card was refused"),
    "EmergencyStop": _("The emergency stop was pressed"),
    "EVDisconnected": _("The cable was unplugged at the car"),
    "HardReset": _("The charger was restarted at once"),
    "Local": _("Stopped at the charger"),
    "Other": _("The charger gave no reason"),
    "PowerLoss": _("The power failed"),
    "Reboot": _("The charger restarted by itself"),
    "Remote": _("Stopped from here or by an operator"),
    "SoftReset": _("The charger was restarted"),
    "UnlockCommand": _("The connector was unlocked"),
    "StopLost": _("The charger never told the end"),
    "StatusOnly": _("The charger told neither start nor end, only that it charged"),
}

VERDICT: Final[Mapping[str, Look]] = {
    "Accepted": Look(_("Card accepted"), "good"),
    "Blocked": Look(_("Card blocked"), "bad", _("This card is blocked at the location.")),
    "Expired": Look(_("Card expired"), "bad", _("This card was no longer valid.")),
    "Invalid": Look(_("Card unknown"), "bad", _("No card with this tag is allowed at the location.")),
    "ConcurrentTx": Look(
        _("Card not accepted just then"),
        "bad",
        _("This card was charging elsewhere, or the connector was kept for another card."),
    ),
}

COMMAND: Final[Mapping[str, str]] = {
    "StartCharging": _("Start charging"),
    "RemoteStartTransaction": _("Start charging"),
    "RequestStartTransaction": _("Start charging"),
    "StopCharging": _("Stop charging"),
    "RemoteStopTransaction": _("Stop charging"),
    "RequestStopTransaction": _("Stop charging"),
    "Restart": _("Restart"),
    "Reset": _("Restart"),
    "Unlock": _("Unlock the connector"),
    "UnlockConnector": _("Unlock the connector"),
    "SetKey": _("Change a parameter"),
    "ChangeConfiguration": _("Change a parameter"),
    "GetKeys": _("Read the parameters"),
    "SetAvailability": _("Change availability"),
    "Trigger": _("Ask for a message"),
    "TriggerExtended": _("Ask for a message"),
    "SetLimit": _("Set a limit"),
    "ClearLimit": _("Clear limits"),
    "TellComposite": _("Read the limits"),
    "ReplaceCards": _("Send cards"),
    "UpdateCards": _("Send cards"),
    "TellCardsVersion": _("Read the version of the cards"),
    "Reserve": _("Reserve"),
    "SendDiagnostics": _("Fetch diagnostics"),
    "SendLog": _("Fetch the charger's log"),
    "UpdateSignedFirmware": _("Update firmware"),
    "TellCertificates": _("List the certificates"),
    "UseCertificate": _("Hand over a signed certificate"),
    "ForgetCards": _("Forget cached cards"),
    "TellVendor": _("Vendor message"),
    "GetConfiguration": _("Read the parameters"),
    "ChangeAvailability": _("Change availability"),
    "TriggerMessage": _("Ask for a message"),
    "SetChargingProfile": _("Set a limit"),
    "ClearChargingProfile": _("Clear limits"),
    "GetCompositeSchedule": _("Read the limits"),
    "SendLocalList": _("Send cards"),
    "GetLocalListVersion": _("Read the version of the cards"),
    "ReserveNow": _("Reserve"),
    "CancelReservation": _("Cancel a reservation"),
    "UpdateFirmware": _("Update firmware"),
    "SignedUpdateFirmware": _("Update firmware"),
    "GetDiagnostics": _("Fetch diagnostics"),
    "GetLog": _("Fetch the charger's log"),
    "ExtendedTriggerMessage": _("Ask for a message"),
    "InstallCertificate": _("Install a certificate"),
    "DeleteCertificate": _("Delete a certificate"),
    "GetInstalledCertificateIds": _("List the certificates"),
    "CertificateSigned": _("Hand over a signed certificate"),
    "ClearCache": _("Forget cached cards"),
    "DataTransfer": _("Vendor message"),
}

OUTCOME: Final[Mapping[str, Look]] = {
    "prepared": Look(_("Asking the charger"), "info"),
    "sent": Look(_("Asking the charger"), "info"),
    "executed": Look(_("Accepted"), "good"),
    "rejected": Look(_("Rejected"), "bad"),
    "expired": Look(_("No answer"), "warn"),
    "offline": Look(_("Charger offline"), "warn"),
}

RESERVATION: Final[Mapping[str, Look]] = {
    "asking": Look(_("Asking the charger"), "info"),
    "active": Look(_("Reserved"), "live"),
    "refused": Look(_("Refused"), "bad"),
    "used": Look(_("Used"), "good"),
    "cancelled": Look(_("Cancelled"), "mute"),
    "expired": Look(_("Time over"), "mute"),
    "dropped": Look(_("Dropped"), "warn"),
}
RESERVATION_WHY: Final[Mapping[str, str]] = {
    "Occupied": _("Somebody was using the connector."),
    "Faulted": _("The connector had a fault."),
    "Unavailable": _("The connector was out of service."),
    "Rejected": _("The charger cannot reserve connectors."),
    "NotSupported": _("The charger cannot reserve connectors."),
    "NotImplemented": _("The charger cannot reserve connectors."),
    "NoAnswer": _("The charger gave no answer in time."),
    "ChargerOffline": _("The charger was offline."),
    "TooManyWaiting": _("Too many requests were waiting for the charger."),
    "ConnectorLost": _("The connector went out of service, or had a fault."),
    "Moved": _("The charger went to another location."),
}

LOCAL_LIST: Final[Mapping[str, Look]] = {
    "unknown": Look(
        _("Not asked yet"),
        "mute",
        _("The charger gets the cards of its location by itself once it has connected."),
    ),
    "waiting": Look(
        _("On its way"),
        "info",
        _("The cards have changed; the charger gets them as soon as it is online and has a moment."),
    ),
    "in_step": Look(
        _("Up to date"),
        "good",
        _("The charger knows the cards of this location, also while it is offline."),
    ),
    "unsupported": Look(
        _("Not supported"),
        "mute",
        _(
            "This charger keeps no list of cards. What it does offline is up to its own settings. It is "
            "asked again when it has new firmware."
        ),
    ),
    "switched_off": Look(
        _("Switched off"),
        "warn",
        _(
            "The charger's own setting LocalAuthListEnabled is off and could not be switched on from here: "
            "its manufacturer's app can, or it takes a restart."
        ),
    ),
    "failed": Look(
        _("Failed"),
        "bad",
        _(
            "The charger did not take the list. It gets it again when it next starts or the cards change; "
            "you can also send it again now."
        ),
    ),
}

PROFILE: Final = (
    _("No proof: neither password nor encryption."),
    _("A password, over a connection that is not encrypted."),
    _("A password, over an encrypted connection (TLS)."),
    _("A certificate of its own, over an encrypted connection (TLS)."),
)

ENTRY: Final[Mapping[str, str]] = {
    "wrong_password": _("The password was missing or wrong."),
    "not_tls": _("It came without TLS, and the security profile asks for it: type the wss address into it."),
    "no_certificate": _("It came without a certificate, and the security profile asks for one."),
    "wrong_certificate": _("Its certificate was not good: expired, revoked, or of another charger."),
}

PAPER: Final[Mapping[str, Look]] = {
    "asked": Look(_("Being signed"), "info"),
    "signed": Look(_("On its way"), "info"),
    "accepted": Look(_("In force"), "good"),
    "rejected": Look(_("Rejected by the charger"), "bad"),
    "replaced": Look(_("Replaced"), "mute"),
    "revoked": Look(_("Revoked"), "mute"),
    "refused": Look(_("Not signed"), "bad"),
    "failed": Look(_("Not signed"), "bad"),
}

SECURITY: Final[Mapping[str, str]] = {
    "FirmwareUpdated": _("The firmware was updated"),
    "FailedToAuthenticateAtCentralSystem": _("It could not log in here"),
    "CentralSystemFailedToAuthenticate": _("The server could not prove who it is"),
    "SettingSystemTime": _("Its clock was set"),
    "StartupOfTheDevice": _("It started"),
    "ResetOrReboot": _("It restarted"),
    "SecurityLogWasCleared": _("Its security log was cleared"),
    "ReconfigurationOfSecurityParameters": _("A security setting was changed"),
    "MemoryExhaustion": _("It ran out of memory"),
    "InvalidMessages": _("It received messages that make no sense"),
    "AttemptedReplayAttacks": _("Somebody repeated old messages to it"),
    "TamperDetectionActivated": _("Somebody opened or tampered with it"),
    "InvalidFirmwareSignature": _("New firmware was not signed rightly"),
    "InvalidFirmwareSigningCertificate": _("New firmware was signed by somebody it does not trust"),
    "InvalidCentralSystemCertificate": _("The server's certificate was not good"),
    "InvalidChargePointCertificate": _("A new certificate of its own was not good"),
    "InvalidTLSVersion": _("The server spoke a version of TLS that it refuses"),
    "InvalidTLSCipherSuite": _("The server offered no encryption that it takes"),
}

LANGUAGE: Final[Mapping[str, str]] = {"en": "English", "nl": "Nederlands", "da": "Dansk"}
THEME: Final[Mapping[str, str]] = {"auto": _("As my device"), "light": _("Light"), "dark": _("Dark")}

# What to type into a field that was left empty, where the error could only say what is allowed.
EMPTY: Final[Mapping[str, str]] = {"identity": _("Type the serial number from the sticker")}

# Who can help, for the errors that people meet; the sentence itself comes from the error.
HELP: Final[Mapping[str, str]] = {
    "forbidden": _("An owner of the location, or a member with full access, can do this or let you."),
    "not_found": _("It may have been removed, or the team it belongs to has not given you access."),
    "wrong_pin": _("Look at the sticker on the charger; whoever delivered it can give you a new PIN."),
    "charger_offline": _("Check the charger's power and network."),
    "too_many": _("Wait a while, then try again."),
    "nothing_to_stop": _("The charge may have ended by itself a moment ago."),
    "already_ended": _("The charge ended by itself a moment ago."),
    "connector_kept": _("Whoever may control this charger can cancel it under Reservations."),
    "already_reserved": _("Whoever may control this charger can cancel it below."),
    "reservation_ended": _("Its card came, somebody cancelled it, or its time was over."),
    "unserved": _("Whoever runs this installation can see why a part of it is not running."),
    "timed_out": _("Try again; if it stays like this, check the charger's network."),
    "database_unavailable": _("Try again in a moment; whoever runs this installation can see why."),
}


def status(code: str | None) -> Look:
    """Return word, tone and hint for a status of a connector."""
    return STATUS.get(code or "", UNKNOWN)


def connection(code: str) -> Look:
    """Return word and tone for a connection."""
    return CONNECTION[code]


def error(code: str) -> str:
    """Return the sentence for an error code, empty when there is none."""
    if code in {"", "NoError"}:
        return ""
    return ERROR.get(code, code)


def reason(code: str | None) -> str:
    """Return the words for the reason of a stop."""
    return REASON.get(code or "Other", code or "")


def reservation_why(state: str, word: str) -> str:
    """Return why a reservation came to its end; empty where its state says it all."""
    return RESERVATION_WHY.get(word, "") if state in {"refused", "dropped"} else ""


def verdict(code: str) -> Look:
    """Return word, tone and hint for a verdict on a card."""
    return VERDICT.get(code, Look(code, "mute"))


def command(kind: str) -> str:
    """Return what a command does; an unknown one keeps its own name."""
    return COMMAND.get(kind, kind)


def help_for(code: str) -> str:
    """Return who can fix an error, empty when the error's own sentence is enough."""
    return HELP.get(code, "")

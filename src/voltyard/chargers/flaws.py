"""What each kind of deviation from OCPP means, in words for the owner of a charger and for its vendor.

The kinds are told by the gateway, which met them on the wire, and by rooms, which met them in what the
charger did. A kind without words here is shown by its own name: it must not get lost.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Severity(StrEnum):
    """How much a deviation matters, the least first."""

    HARMLESS = "harmless"
    WORTH_KNOWING = "worth_knowing"
    HARMFUL = "harmful"


class Flaw(NamedTuple):
    """A kind of deviation; ``text`` says what the charger does and what we do, ``advice`` who can mend it.

    ``quirk`` is its number in docs/quirks.md, empty where it has none.
    """

    kind: str
    text: str
    severity: Severity
    quirk: str
    advice: str


def _(text: str) -> str:
    """Mark a text for the catalogue of translations."""
    return text


_FIRMWARE: Final = _("Report it to the vendor: only new firmware can fix it.")
_NOTHING: Final = _("Nothing needs to be done; new firmware may fix it.")
_ADDRESS: Final = _("Enter the address and the name in the charger exactly as the details page shows them.")

_MINOR, _ODD, _BAD = Severity.HARMLESS, Severity.WORTH_KNOWING, Severity.HARMFUL

_ALL: Final = (
    # --- coming in ---
    Flaw(
        "no_subprotocol",
        _("Does not say which OCPP version it speaks when it connects; we take it for OCPP 1.6."),
        _MINOR,
        "Q1",
        _NOTHING,
    ),
    Flaw(
        "odd_address",
        _(
            "Connects to an address with doubled slashes, extra parts or its "
            "name twice; we take the last part for its name."
        ),
        _MINOR,
        "Q4",
        _ADDRESS,
    ),
    Flaw(
        "identity_spelling",
        _("Writes its own name in other capitals than registered; we compare names without regard to them."),
        _MINOR,
        "Q6",
        _ADDRESS,
    ),
    Flaw(
        "user_name_differs",
        _("Sends a user name that is not its own name, or none; we go by the password."),
        _MINOR,
        "Q7",
        _("Enter the charger’s name as its user name, where it asks for one."),
    ),
    Flaw(
        "password_as_hex",
        _(
            "Sends its password in hexadecimal, or as the bytes that its "
            "hexadecimal text means; we accept both."
        ),
        _MINOR,
        "Q7",
        _NOTHING,
    ),
    # --- framing ---
    Flaw(
        "binary_frame",
        _("Sends its messages as binary data instead of text; we read them as text."),
        _MINOR,
        "Q14",
        _NOTHING,
    ),
    Flaw("empty_frame", _("Sends empty messages; we take them for a sign of life."), _MINOR, "Q15", _NOTHING),
    Flaw(
        "no_payload",
        _("Leaves out the content of messages that have none, or writes null; we read it as empty."),
        _MINOR,
        "Q16",
        _NOTHING,
    ),
    Flaw(
        "repaired_json",
        _("Sends broken JSON; we repair it where its meaning is clear."),
        _ODD,
        "Q17",
        _FIRMWARE,
    ),
    Flaw(
        "unreadable_frame",
        _("Sends messages that cannot be read at all; we refuse them and keep the connection."),
        _BAD,
        "Q17",
        _("What these messages told is lost. Report the sample to the vendor."),
    ),
    Flaw(
        "odd_message_id",
        _("Numbers its messages in a form that OCPP does not allow; we answer with the very same form."),
        _MINOR,
        "Q19",
        _NOTHING,
    ),
    Flaw(
        "repeated_call",
        _("Repeats a message before it could be answered; we handle it once."),
        _MINOR,
        "Q19",
        _("A weak connection can be the reason: look at its network."),
    ),
    Flaw(
        "wrong_answer_id",
        _("Answers under another number than it was asked; the only open request is meant."),
        _ODD,
        "Q20",
        _FIRMWARE,
    ),
    Flaw(
        "unknown_answer",
        _("Answers something that was not asked; we ignore it."),
        _ODD,
        "Q23",
        _FIRMWARE,
    ),
    Flaw(
        "late_answer",
        _("Answers after the time limit; the command keeps its late answer."),
        _ODD,
        "Q20",
        _("The charger or its network is slow: look at its signal."),
    ),
    # --- payloads ---
    Flaw("number_as_text", _("Sends numbers as text; we convert them."), _MINOR, "Q24", _NOTHING),
    Flaw("number_for_text", _("Sends texts as numbers; we convert them."), _MINOR, "Q24", _NOTHING),
    Flaw(
        "wrong_type",
        _("Sends values of another type than OCPP asks for; we use what can be understood."),
        _ODD,
        "Q24",
        _FIRMWARE,
    ),
    Flaw(
        "object_for_text",
        _("Sends structured data where a text belongs; we keep it as text."),
        _MINOR,
        "Q24",
        _NOTHING,
    ),
    Flaw(
        "fraction_dropped",
        _("Sends fractions where whole numbers belong; we cut them off."),
        _MINOR,
        "Q24",
        _NOTHING,
    ),
    Flaw(
        "unreadable_number",
        _("Sends numbers that cannot be read; we treat them as not told."),
        _ODD,
        "Q24",
        _FIRMWARE,
    ),
    Flaw(
        "object_for_array",
        _("Sends one item where a list belongs; we read it as a list of one."),
        _MINOR,
        "Q25",
        _NOTHING,
    ),
    Flaw(
        "no_sampled_value",
        _("Sends meter readings without any value; we ignore them."),
        _MINOR,
        "Q25",
        _NOTHING,
    ),
    Flaw(
        "alias_word",
        _("Uses other words than OCPP’s, such as “Hz” or “Celcius”; we know what they mean."),
        _MINOR,
        "Q26",
        _NOTHING,
    ),
    Flaw(
        "unknown_measurand",
        _("Tells of quantities that OCPP does not know; we keep them as they are."),
        _MINOR,
        "Q26",
        _NOTHING,
    ),
    Flaw(
        "unknown_unit",
        _("Uses units that OCPP does not know; we keep these values as they are."),
        _ODD,
        "Q26",
        _FIRMWARE,
    ),
    Flaw(
        "unknown_context",
        _("Gives reasons for a reading that OCPP does not know; we keep them as they are."),
        _MINOR,
        "Q26",
        _NOTHING,
    ),
    Flaw(
        "unknown_reason",
        _("Gives reasons for the end of a charge that OCPP does not know; we keep them as they are."),
        _MINOR,
        "Q26",
        _NOTHING,
    ),
    Flaw(
        "unknown_status",
        _("Tells of a status that OCPP does not know; we cannot show it."),
        _BAD,
        "Q26",
        _FIRMWARE,
    ),
    Flaw(
        "unit_of_another_measurand",
        _(
            "Sends values in a unit that does not belong to them, such "
            "as energy in watts; we do not use them."
        ),
        _BAD,
        "Q27",
        _("Energy or power may be missing from its charges. Report the sample to the vendor."),
    ),
    Flaw(
        "wrong_scale",
        _("Calls kilowatts watts, or the reverse; we go by its current and voltage."),
        _BAD,
        "Q27",
        _("Compare its power with another meter. Report the sample to the vendor."),
    ),
    Flaw(
        "implausible_register",
        _(
            "Shows a meter register that cannot belong to the charge, such "
            "as one in another unit; we do not use it."
        ),
        _BAD,
        "Q27",
        _("Compare the energy with the meter on the charger. Report the sample to the vendor."),
    ),
    Flaw(
        "unreadable_value",
        _("Sends readings that are no numbers, such as “NaN”; we leave them empty."),
        _ODD,
        "Q28",
        _FIRMWARE,
    ),
    Flaw(
        "empty_value",
        _("Sends empty values where numbers belong; we leave them empty."),
        _MINOR,
        "Q28",
        _NOTHING,
    ),
    Flaw("decimal_comma", _("Writes decimals with a comma; we convert them."), _MINOR, "Q28", _NOTHING),
    Flaw(
        "total_is_average",
        _("Tells the average of the phases as their total; we add the phases up."),
        _ODD,
        "Q29",
        _FIRMWARE,
    ),
    Flaw(
        "total_is_wrong",
        _("Tells a total that differs from its phases by more than a tenth; we add the phases up."),
        _BAD,
        "Q29",
        _("Compare its power with another meter. Report the sample to the vendor."),
    ),
    Flaw(
        "missing_connectorId",
        _("Leaves out which connector is meant; the charge tells us."),
        _MINOR,
        "Q31",
        _NOTHING,
    ),
    Flaw("missing_timestamp", _("Leaves out the time; we take the time of arrival."), _ODD, "Q31", _FIRMWARE),
    Flaw(
        "missing_meterStart",
        _("Starts charges without a meter register; we take the first reading."),
        _BAD,
        "Q31",
        _("The energy of its charges is estimated. Report it to the vendor."),
    ),
    Flaw(
        "missing_meterStop",
        _("Ends charges without a meter register; we take the last reading."),
        _BAD,
        "Q31",
        _("The energy of its charges is estimated. Report it to the vendor."),
    ),
    Flaw(
        "missing_meterValue",
        _("Sends meter messages without readings; we ignore them."),
        _MINOR,
        "Q31",
        _NOTHING,
    ),
    Flaw(
        "missing_transactionId",
        _("Ends charges without saying which; we find the one it can mean."),
        _ODD,
        "Q38",
        _FIRMWARE,
    ),
    Flaw(
        "missing_errorCode",
        _("Leaves out whether there is an error; we take it that there is none."),
        _MINOR,
        "Q31",
        _NOTHING,
    ),
    Flaw(
        "missing_chargePointVendor",
        _("Does not say who made it; we leave it empty."),
        _MINOR,
        "Q31",
        _NOTHING,
    ),
    Flaw(
        "missing_chargePointModel",
        _("Does not say which model it is; we leave it empty."),
        _MINOR,
        "Q31",
        _NOTHING,
    ),
    Flaw(
        "missing_type",
        _("Tells of a security event without saying which; we keep it without a name."),
        _ODD,
        "Q31",
        _FIRMWARE,
    ),
    Flaw(
        "null_text",
        _("Writes “null”, a dash or a zero where it has nothing to say; we leave it empty."),
        _MINOR,
        "Q32",
        _NOTHING,
    ),
    Flaw(
        "empty_tag",
        _("Sends an empty card number; no card can be found for it."),
        _BAD,
        "Q34",
        _("Try another card, then have the card reader looked at."),
    ),
    Flaw(
        "long_tag",
        _("Sends card numbers that are longer than OCPP allows; we compare them whole."),
        _ODD,
        "Q34",
        _("Add the card by a scan, so that its number is the one the charger sends."),
    ),
    Flaw(
        "odd_tag",
        _("Sends card numbers with colons or blanks in them; we compare them without."),
        _MINOR,
        "Q34",
        _NOTHING,
    ),
    Flaw(
        "reversed_tag",
        _("Sends a card’s number with its bytes in reverse; we recognise the card all the same."),
        _ODD,
        "Q34",
        _("Add the card by a scan at this charger, so that both of its numbers are known."),
    ),
    # --- time ---
    Flaw(
        "time_without_offset",
        _("Tells times without a zone; we take them for those of its location."),
        _ODD,
        "Q35",
        _("Let it tell its times in UTC if it can be set so; otherwise report it to the vendor."),
    ),
    Flaw(
        "unreadable_time",
        _("Tells times that cannot be read; we take the time of arrival."),
        _ODD,
        "Q35",
        _FIRMWARE,
    ),
    Flaw(
        "wrong_clock",
        _("Its clock is wrong; we take the time of arrival and keep what it said."),
        _BAD,
        "Q35",
        _(
            "Let the charger restart with a connection, so that it takes our time; if "
            "it stays wrong, its clock’s battery may be empty."
        ),
    ),
    # --- transactions ---
    Flaw(
        "unknown_stop",
        _(
            "Ends a charge under a number that we never gave; we look for "
            "the one it can mean and keep the rest aside."
        ),
        _BAD,
        "Q38",
        _("Look at the stops without a charge, and report it to the vendor."),
    ),
    Flaw(
        "repeated_start",
        _("Tells the start of a charge again; we count it once."),
        _MINOR,
        "Q39",
        _("A weak connection can be the reason: look at its network."),
    ),
    Flaw(
        "missing_start",
        _("Charges without telling that it started; we make the charge up from its status and its meter."),
        _BAD,
        "Q40",
        _("The energy of such charges is estimated. Report it to the vendor."),
    ),
    Flaw(
        "missing_stop",
        _(
            "Starts a charge without telling the end of the one before; "
            "we end that one with its last reading."
        ),
        _ODD,
        "Q41",
        _("A power cut can be the reason. If it happens often, report it to the vendor."),
    ),
    Flaw(
        "late_meter_values",
        _("Sends readings after the end of a charge; we add them to it."),
        _MINOR,
        "Q42",
        _NOTHING,
    ),
    Flaw(
        "foreign_meter_values",
        _("Sends readings under the number of another charge; we go by the connector."),
        _ODD,
        "Q42",
        _FIRMWARE,
    ),
    Flaw(
        "implausible_stop_register",
        _("Ends charges with a meter register that cannot be right; we take the last reading."),
        _BAD,
        "Q43",
        _("The energy of such charges is estimated. Report it to the vendor."),
    ),
    Flaw(
        "told_history",
        _("Tells of charges that are days old; we store them with their own times."),
        _MINOR,
        "Q44",
        _NOTHING,
    ),
    # --- commands ---
    Flaw(
        "trigger_without_message",
        _("Promises a message that it was asked for and does not send it; we do not wait for it."),
        _ODD,
        "Q48",
        _FIRMWARE,
    ),
    Flaw(
        "keys_one_by_one",
        _("Cannot list its parameters; we ask for one after the other."),
        _ODD,
        "Q49",
        _FIRMWARE,
    ),
    Flaw(
        "accepted_not_applied",
        _("Accepts a parameter and does not apply it; we read each one back."),
        _BAD,
        "Q50",
        _("Try again after a restart. If it stays so, report it to the vendor."),
    ),
    Flaw(
        "no_connector_zero",
        _("Does not answer for the charger as a whole; we ask for each connector."),
        _MINOR,
        "Q55",
        _NOTHING,
    ),
    # --- refused ---
    Flaw(
        "malformed_NotImplemented",
        _("Sends messages that OCPP 1.6 does not have; we answer that we do not know them."),
        _MINOR,
        "Q30",
        _NOTHING,
    ),
    Flaw(
        "malformed_NotSupported",
        _("Sends messages that only a central system may send; we answer that it cannot be done."),
        _ODD,
        "Q30",
        _FIRMWARE,
    ),
    Flaw(
        "malformed_FormationViolation",
        _("Sends messages whose content is no object; we refuse them."),
        _BAD,
        "Q17",
        _("What these messages told is lost. Report the sample to the vendor."),
    ),
    Flaw(
        "malformed_OccurenceConstraintViolation",
        _("Leaves out something without which a message means nothing; we refuse it."),
        _BAD,
        "Q31",
        _("What these messages told is lost. Report the sample to the vendor."),
    ),
    Flaw(
        "malformed_PropertyConstraintViolation",
        _("Sends values that can mean nothing; we refuse the message."),
        _BAD,
        "Q26",
        _("What these messages told is lost. Report the sample to the vendor."),
    ),
)

FLAWS: Final = MappingProxyType({each.kind: each for each in _ALL})


def flaw(kind: str) -> Flaw:
    """Return what a kind of deviation means; an unknown kind keeps its own name."""
    return FLAWS.get(kind) or Flaw(kind, kind.replace("_", " "), Severity.WORTH_KNOWING, "", "")

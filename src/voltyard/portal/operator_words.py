"""Human words for operators: their roles, how a link stands, what became of each message and why.

The lines write words of a machine, which doors may not import: each of them has its sentence here. A reason
that is no such word is a sentence already, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from voltyard.chargers.calls import COUNTED_MAX
from voltyard.operators.deliveries import Delivery, DeliveryStatus
from voltyard.operators.service import Link
from voltyard.portal.call_words import Piece
from voltyard.portal.words import Look, _
from voltyard.speech import Fallback, Role

ROLE: Final[Mapping[str, Look]] = MappingProxyType(
    {
        Role.BILLING.value: Look(
            _("Billing"),
            "info",
            _(
                "Decides which cards may charge, and bills for what was charged. A charger has at most one. "
                "Its own cards count from then on: those that it does not know are refused."
            ),
        ),
        Role.DATA_CONTROL.value: Look(
            _("Data & Control"),
            "good",
            _(
                "Sees everything and may limit the current, restart the charger and change parameters. It "
                "cannot start or end a charge: for energy management and maintenance."
            ),
        ),
        Role.OBSERVER.value: Look(
            _("Observer"),
            "mute",
            _("Only hears what the charger says. Nothing that it asks for reaches the charger."),
        ),
    }
)

FALLBACK: Final[Mapping[str, str]] = MappingProxyType(
    {
        Fallback.REFUSE.value: _("Only cards that it accepted lately may charge"),
        Fallback.LOCATION_CARDS.value: _("Cards that it accepted lately, and those of this location"),
        Fallback.ALL.value: _("Every card may charge"),
    }
)
"""What counts while the Billing operator does not answer, as a choice …"""
FALLBACK_NOW: Final[Mapping[str, str]] = MappingProxyType(
    {
        Fallback.REFUSE.value: _("While it does not answer, only cards that it accepted lately may charge."),
        Fallback.LOCATION_CARDS.value: _(
            "While it does not answer, cards that it accepted lately and those of this location may charge."
        ),
        Fallback.ALL.value: _("While it does not answer, every card may charge."),
    }
)
"""… and as a sentence."""

STATE: Final[Mapping[str, Look]] = MappingProxyType(
    {
        "connecting": Look(_("Connecting"), "info", _("The connection is being made.")),
        "online": Look(_("Online"), "good"),
        "booting": Look(_("Introducing the charger"), "info", _("The operator has not answered yet.")),
        "pending": Look(
            _("Pending"), "warn", _("The operator has to accept the charger in its own portal first.")
        ),
        "rejected": Look(
            _("Rejected"),
            "bad",
            _("The operator does not accept this charger: see whether it was added there as this identity."),
        ),
        "refused": Look(_("Refused"), "bad", _("The operator does not let this charger in.")),
        "backing_off": Look(_("Trying again soon"), "warn", _("The connection was lost.")),
        "waiting": Look(
            _("Waiting for the charger"), "mute", _("The charger is offline, and so it is for the operator.")
        ),
        "leaving": Look(_("Leaving"), "mute", _("The operator is told that running charges end for it.")),
        "ended": Look(_("Disconnected"), "mute"),
    }
)

REASON: Final[Mapping[str, str]] = MappingProxyType(
    {
        "charger_offline": STATE["waiting"].hint,
        "boot_pending": STATE["pending"].hint,
        "boot_rejected": STATE["rejected"].hint,
        "boot_refused": _("The operator answered with an error when the charger was introduced."),
        "no_answer": _("The operator stopped answering."),
        "silent": _("Nothing was heard from the operator for too long."),
        "failed": _("Something went wrong here; it is tried again. If it lasts, look into the server's log."),
        "not_stored": _("What was told could not be stored here; it is told again."),
        "changed": _("The connection is made anew, since something was changed."),
    }
)

STATUS: Final[Mapping[str, Look]] = MappingProxyType(
    {
        DeliveryStatus.DONE.value: Look(_("Delivered"), "good"),
        DeliveryStatus.FAILED.value: Look(
            _("Failed"), "bad", _("It was answered with an error, or not at all. It is not told again.")
        ),
        DeliveryStatus.RETRYING.value: Look(
            _("Tried again"), "warn", _("The operator answered with an error. It is told again by itself.")
        ),
        DeliveryStatus.PARKED.value: Look(
            _("Needs a decision"),
            "bad",
            _("The operator refused it so often that it is no longer told by itself."),
        ),
        DeliveryStatus.HELD.value: Look(
            _("Waits its turn"), "info", _("An earlier message of the same charge has to be told first.")
        ),
        DeliveryStatus.WITHHELD.value: Look(
            _("Not told"), "mute", _("The operator could not have understood it.")
        ),
        DeliveryStatus.SKIPPED.value: Look(_("Skipped"), "mute", _("Somebody decided that it is not told.")),
        DeliveryStatus.REFUSED.value: Look(
            _("Turned down"), "warn", _("The operator asked for what it may not have.")
        ),
    }
)
ANSWERED = Look(_("Answered"), "good")
"""What is done of what an operator asks."""
WAITING: Final = (DeliveryStatus.RETRYING, DeliveryStatus.PARKED, DeliveryStatus.HELD)

NOTE: Final[Mapping[str, str]] = MappingProxyType(
    {
        # What was changed on the way to an operator, or why it was not told.
        "number": _("Our number of the charge and the operator's own were exchanged."),
        "number_added": _("The operator's number of the charge was added, which the charger had left out."),
        "number_left_out": _("The number of the charge was left out: the operator has none for it."),
        "tag_replaced": _("The card was replaced by the tag that this operator is shown."),
        "time_repaired": _("The charger's clock was wrong: the time is when it was heard here."),
        "not_chosen_left_out": _("Values were left out that this operator did not choose to be told."),
        "waits_for_its_transaction": _("It waits until the start of its charge was told."),
        "start_unknown": _("The operator never took the start of this charge, and so has no number for it."),
        "nonsense": _("The answer named no number for the charge."),
        # What an operator asked for and may not have.
        "observer_only_watches": _("An Observer only watches this charger."),
        "role_may_not_start": _("Only the Billing operator may start a charge."),
        "role_may_not_stop": _("Only the Billing operator may end a charge."),
        "stops_a_transaction": _(
            "This would end a running charge; it can be asked again once that has ended."
        ),
        "reservation_is_authorisation": _("To keep a connector for a card is for the Billing operator only."),
        "cards_belong_to_billing": _("Only the Billing operator keeps cards in the charger."),
        "role_may_not_maintain": _("Only the Billing operator may update the charger or fetch its logs."),
        "no_consent": _("Nobody has allowed this operator to do that: its settings here can."),
        "certificates_are_ours": _("Which certificates the charger trusts is not for operators to change."),
        "not_for_chargers": _("This is something that chargers say, not something they can be asked."),
        "unknown_action": _("OCPP 1.6 has no such action."),
        "malformed": _("It did not have the form that OCPP 1.6 asks for."),
        "not_accepted": _("The operator has not accepted the charger yet, so it starts and ends nothing."),
        "unknown_transaction": _("It named a charge that is not running, or that it was never told of."),
        "unknown_reservation": _("It named a reservation that it never made, or that is over."),
        "not_the_authority": _("It does not decide about cards any more, so its list does not count."),
        "too_many_cards": _("Its list has more cards than can be kept."),
        "unacceptable": _("A charger would not take such a limit."),
        "unfit_address": _(
            "It named an address that is not one of the public internet, or no address at all: a charger is "
            "sent nowhere in its owner's network."
        ),
        "too_soon": _("The charger did the same for this operator only a moment ago."),
        # Parameters that an operator sets.
        "read_only": _("This parameter can only be read."),
        "protected": _("Only the owner of the charger may set this parameter."),
        "authority_only": _("Only the Billing operator may set who is let in."),
        "not_a_number": _("The value is not a whole number."),
        "out_of_range": _("The value is smaller or larger than this parameter takes."),
        "too_often": _("A charger is not made to measure more often than every ten seconds."),
        "not_measured": _("The charger does not measure all of that."),
        "unfit_password": _("A password has 16 to 40 bytes."),
        "only_upwards": _("A security profile can only be raised."),
        "ask_owner": _("The owner of the charger raises the security profile of a link."),
        "kept_for_this_operator": _("It was kept for this operator alone; the charger was not changed."),
        "new_password": _("The operator gave a new password. It counts from the next connection on."),
        # What was done otherwise than asked.
        "from_cache": _("It was answered from what the charger had said; the charger was not asked."),
        "composed": _("It was kept, and the charger gets the lowest of all operators' limits."),
        "profile_left_out": _("The limit within it was left out: limits are set by themselves."),
        "others_want_it_out_of_use": _("Another operator, or somebody here, wants it out of use."),
        # What the charger made of it.
        "ChargerOffline": _("The charger was offline."),
        "NoAnswer": _("The charger gave no answer in time."),
        "TooManyWaiting": _("Too many requests were waiting for the charger."),
        "charger_offline": _("The charger was offline."),
        "timed_out": _("It took too long."),
        "forbidden": _("This operator may not do that here."),
        "not_found": _("There is no such thing at this charger."),
        "invalid": _("A value was missing or out of its range."),
    }
)

STEP: Final[Mapping[str, str]] = MappingProxyType(
    {
        "url": _("Address"),
        "dns": _("Name"),
        "address": _("Network"),
        "tcp": _("Connection"),
        "tls": _("Encryption"),
        "http": _("Login"),
        "subprotocol": _("OCPP"),
        "open": _("Open line"),
    }
)

CONSENT: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "firmware": (_("Firmware"), _("It may update the charger, and hears how that goes.")),
        "diagnostics": (_("Diagnostics"), _("It may fetch the charger's logs, and hears how that goes.")),
        "vendor": (_("Vendor messages"), _("It may exchange messages of the manufacturer's own.")),
    }
)

CHANGED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": _("name"),
        "url": _("address"),
        "is_identity_appended": _("whether the identity is appended"),
        "identity": _("identity"),
        "role": _("role"),
        "fallback": _("what counts while it is silent"),
        "username": _("user name"),
        "password_sealed": _("password"),
        "certificate_pem": _("client certificate"),
        "key_sealed": _("key"),
        "authority_pem": _("pinned authority"),
        "tag_alias": _("tag that it is shown"),
        "is_limiting": _("whether it may limit the current"),
        "is_boot_on_connect": _("introduction on each connect"),
        "consents": _("what it is allowed beyond its role"),
    }
)

KNOWN: Final[Mapping[str, Look]] = MappingProxyType(
    {
        "pending": Look(_("Not told yet"), "info"),
        "open": Look(_("Runs for it"), "live"),
        "stopped": Look(_("Ended for it"), "mute"),
        "refused": Look(_("Card refused"), "bad"),
        "unknown": Look(_("It knows no start"), "warn"),
    }
)
"""What an operator knows of a transaction."""


def known(code: str) -> Look:
    """Return what an operator knows of a transaction; an unknown word keeps its own spelling."""
    return KNOWN.get(code, Look(_literal(code), "mute"))


def why(link: Link) -> str:
    """Return why a link is in its state, empty where the state says it all."""
    if link.state == "online":
        return ""
    return REASON.get(link.reason, "") or told(link.reason) or state(link).hint


def told(text: str) -> str:
    """Return a sentence of the lines as a text to translate, with a capital in front and a stop behind."""
    whole = _literal(text[:1].upper() + text[1:])
    return whole if not whole or whole.endswith((".", "!", "?")) else f"{whole}."


def _literal(text: str) -> str:
    """Return a text that is nobody's message, so that nothing in it is taken for a place to fill."""
    return text.replace("%", "%%")


def state(link: Link) -> Look:
    """Return word, tone and hint for the state of a link; an unknown one keeps its own name."""
    return STATE.get(link.state, Look(_literal(link.state), "mute"))


def queue(link: Link) -> Piece:
    """Return how much an operator was not told yet, without what it refused."""
    untold = link.waiting - link.parked
    if untold <= 0:
        return Piece(_("Nothing waits"))
    if untold == 1:
        return Piece(_("1 message waits"))
    if untold >= COUNTED_MAX:
        return Piece(_("More than %(count)s messages wait"), {"count": str(COUNTED_MAX)})
    return Piece(_("%(count)s messages wait"), {"count": str(untold)})


def parked(link: Link) -> Piece | None:
    """Return how much an operator refused that somebody should look at."""
    if not link.parked:
        return None
    return Piece(_("%(count)s refused: look"), {"count": str(link.parked)})


def status(delivery: Delivery) -> Look:
    """Return word, tone and hint for what became of a message."""
    if delivery.is_inward and delivery.status is DeliveryStatus.DONE:
        return ANSWERED
    return STATUS[delivery.status.value]


def notes(delivery: Delivery) -> tuple[str, ...]:
    """Return what was changed and why, as sentences; an unknown word keeps its own spelling."""
    return tuple(NOTE.get(word, _literal(word)) for word in delivery.note)


def skipping(delivery: Delivery) -> str:
    """Return what skipping a message means for its operator."""
    if delivery.action == "StartTransaction":
        return _(
            "The operator never hears of this start. It has no number for the charge, so its end is not told "
            "either, and the operator does not bill it."
        )
    if delivery.action == "StopTransaction":
        return _(
            "The operator never hears that this charge ended. It may take it for running, until somebody "
            "ends it in the operator's own portal."
        )
    return _("The operator never hears of it. What follows is told.")


def disconnecting(link: Link) -> str:
    """Return what stops working without an operator."""
    if link.role is Role.BILLING:
        return _(
            "Voltyard decides about cards again, by the cards of this location. Running charges go on, but "
            "end for the operator: it is told so, and bills what was charged until then. Cards that only the "
            "operator knows can no longer charge."
        )
    if link.role is Role.DATA_CONTROL:
        return _(
            "It sees and controls this charger no longer, and the limits that it has set end. Who may charge "
            "stays as it is."
        )
    return _("It hears nothing of this charger any more. Charging stays as it is.")


def did(what: str, detail: Mapping[str, object]) -> Piece:
    """Return what somebody did to a link."""
    role = ROLE.get(str(detail.get("role", "")))
    if what == "connected":
        return Piece(_("Connected it as %(role)s"), {"role": role.word if role else "–"})
    if what == "swapped" and detail.get("role") == Role.BILLING.value:
        return Piece(_("Made it the Billing operator"))
    if what == "swapped":
        return Piece(
            _("Gave the Billing role to another operator; this one is %(role)s now"),
            {"role": role.word if role else "–"},
        )
    if what == "changed":
        names = [CHANGED.get(name, name) for name in detail]
        return Piece(_("Changed: %(names)s"), {"names": ", ".join(names)})
    return Piece(_("Disconnected it")) if what == "disconnected" else Piece(what)

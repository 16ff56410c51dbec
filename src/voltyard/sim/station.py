"""The charger behind its socket: connectors, cards, transactions and limits (OCPP 1.6 §3, §4).

It knows what to say and puts it into the outbox; when it may be said is ``charger.py``'s business.
Every method gets the time; ``pass_until`` must have brought the station to it before.

Invariants:
- the sum of offers is never above the feed's fuse, no offer above the connector's rating;
- every transaction that begins puts one StartTransaction and, once it ends, one StopTransaction
  into the outbox, whatever the network does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from voltyard.sim import quirks
from voltyard.sim.car import OFFER_MIN_A, Car
from voltyard.sim.configuration import Configuration, factory_keys
from voltyard.sim.connector import NO_ERROR, Authorisation, Connector, next_multiple
from voltyard.sim.envelope import Payload, written
from voltyard.sim.outbox import Outbox, Saying, Swipe, Transaction
from voltyard.sim.profiles import TX, Limit, ProfileShelf, share_out
from voltyard.sim.tags import KnownTags, TagInfo
from voltyard.sim.wallet import Wallet

PROFILE_MAX = 3
"""The highest security profile of the white paper."""

Timer = tuple[str, int]
"""What is due, and for which connector (0: the charger)."""


@dataclass(frozen=True)
class Nameplate:
    """What is printed on the charger, and how the electrician wired it."""

    identity: str
    model: str = "Generic AC"
    vendor: str = "Voltyard Sim"
    serial: str = ""
    firmware: str = "1.0.0"
    connectors: int = 1
    phases: int = 3
    voltage_v: float = 230.0
    rating_a: float = 32.0
    """The most that one connector can offer per phase."""
    fuse_a: float = 32.0
    """The feed's fuse per phase, shared by all connectors."""
    has_cable: bool = False
    """A fixed cable: there is nothing to unlock."""
    meter_wh: float = 0.0
    call_timeout_s: float = 30.0
    boot_s: float = 5.0
    """How long a reboot takes."""
    quirks: str = quirks.NONE
    """How badly its firmware speaks OCPP: one of ``quirks.KINDS``."""
    zone: tzinfo = UTC
    """Where its clock is; seen only with quirks, since others tell UTC."""

    def __post_init__(self) -> None:
        assert self.connectors >= 1
        assert self.phases in {1, 3}
        assert self.fuse_a >= OFFER_MIN_A
        assert self.rating_a >= OFFER_MIN_A
        assert self.quirks in quirks.KINDS


class Station:
    """All state of a virtual charger except that of its connection."""

    def __init__(self, plate: Nameplate, seed: int, now: datetime) -> None:
        self.plate = plate
        self.now = now
        self.firmware = plate.firmware
        keys = factory_keys(plate.connectors, min(plate.rating_a, plate.fuse_a))
        lacking = quirks.LACKING if plate.quirks == quirks.ODD else frozenset()
        self.keys = Configuration({name: key for name, key in keys.items() if name not in lacking})
        self.tags = KnownTags()
        self.profiles = ProfileShelf()
        self.wallet = Wallet()
        self.profile_before: int | None = None
        """The security profile to fall back to, as long as no connection has proved the present one."""
        self.outbox = Outbox(f"{seed & 0xFFFFFFFF:08x}")
        self.timers: dict[Timer, datetime] = {}
        self.log: list[str] = []
        self.is_accepted = False
        self.is_powered = True
        self.is_operative = True
        self.error = NO_ERROR
        self.reported: tuple[str, str] | None = None
        self.connectors = {
            number: Connector(number, plate.phases, plate.voltage_v, plate.meter_wh)
            for number in range(1, plate.connectors + 1)
        }
        self.align_samples()

    # Time

    def pass_until(self, at: datetime) -> None:
        """Let energy flow until then; nothing else happens in between."""
        duration_s = (at - self.now).total_seconds()
        for connector in self.connectors.values():
            connector.flow(duration_s)
        self.now = at

    def after(self, timer: str, connector: int, delay_s: float) -> None:
        """Wake for this once the delay has passed."""
        self.timers[timer, connector] = self.now + timedelta(seconds=delay_s)

    def settle(self) -> None:
        """Draw the conclusions of whatever happened: offers, states, and when to look again."""
        self._offer()
        for connector in self.connectors.values():
            self._tell_status(connector.number)
            key = ("full", connector.number)
            full_s = connector.seconds_until_full()
            if full_s is None:
                self.timers.pop(key, None)
            else:
                # Never at once: a rounding of the time must not make the loop stand still.
                self.timers[key] = self.now + timedelta(seconds=full_s, milliseconds=1)
        self._tell_status(0)
        running = [one for one in self.connectors.values() if one.transaction]
        boundary = self.profiles.next_boundary(
            self.now, {one.number: one.transaction.began_at for one in running if one.transaction}
        )
        self.timers.pop(("limit", 0), None)
        if boundary is not None and running:
            self.timers["limit", 0] = boundary

    # Limits

    def feed_limit(self, at: datetime) -> Limit:
        """Return what all connectors together may draw: fuse, installer's limit, ChargePointMaxProfile."""
        own = Limit(min(self.plate.fuse_a, self.keys.count("MaxCurrent")), self.plate.phases)
        ceiling = self.profiles.ceiling(at, self.plate.voltage_v, self.plate.phases)
        if ceiling is None:
            return own
        return Limit(min(own.current_a, ceiling.current_a), ceiling.phases)

    def connector_limit(self, number: int, at: datetime, began_at: datetime) -> Limit:
        """Return the composite limit of one connector, its neighbours left out (§3.13.5)."""
        feed = self.feed_limit(at)
        session = self.profiles.session_limit(
            number, at, began_at, self.plate.voltage_v, self.plate.phases
        ) or Limit(self.plate.rating_a, self.plate.phases)
        return Limit(
            min(feed.current_a, session.current_a, self.plate.rating_a), min(feed.phases, session.phases)
        )

    def _offer(self) -> None:
        serving = sorted(
            (one for one in self.connectors.values() if self._delivers(one)),
            key=lambda one: (one.transaction.began_at if one.transaction else self.now, one.number),
        )
        limits = [
            self.connector_limit(one.number, self.now, one.transaction.began_at)
            for one in serving
            if one.transaction
        ]
        wishes_a = [limit.current_a for limit in limits]
        shares_a = share_out(wishes_a, self.feed_limit(self.now).current_a, OFFER_MIN_A)
        offers = {
            one.number: Limit(a, limit.phases)
            for one, limit, a in zip(serving, limits, shares_a, strict=True)
        }
        for connector in self.connectors.values():
            connector.offer(offers.get(connector.number, Limit(0.0, connector.phases)))

    def _delivers(self, connector: Connector) -> bool:
        running = connector.transaction
        healthy = self.error == NO_ERROR and connector.error == NO_ERROR and self.is_powered
        return running is not None and not running.is_suspended and connector.battery is not None and healthy

    # States

    def status_of(self, number: int) -> tuple[str, str]:
        """Return ChargePointStatus and error code of a connector, or of the charger itself (0)."""
        if number == 0:
            usable = self.is_operative or any(one.is_operative for one in self.connectors.values())
            status = "Faulted" if self.error != NO_ERROR else "Available" if usable else "Unavailable"
            return status, self.error
        connector = self.connectors[number]
        if self.error != NO_ERROR:
            return "Faulted", self.error
        return connector.status(), connector.error

    def status_saying(self, number: int, is_triggered: bool = False) -> Saying:
        """Return a StatusNotification of this moment, and remember it as told (§4.9)."""
        told = self.status_of(number)
        if number == 0:
            self.reported = told
        else:
            self.connectors[number].reported = told
        payload = {
            "connectorId": number,
            "status": told[0],
            "errorCode": told[1],
            "timestamp": written(self.now),
        }
        return Saying("StatusNotification", payload, is_triggered=is_triggered)

    def _tell_status(self, number: int) -> None:
        reported = self.reported if number == 0 else self.connectors[number].reported
        if self.is_accepted and reported != self.status_of(number):
            self.outbox.add(self.status_saying(number))

    # People

    def plug(self, number: int, car: Car) -> None:
        """A car comes to a connector."""
        connector = self.connectors[number]
        if connector.battery is not None:
            self.log.append(f"connector {number} already has a car")
            return
        connector.plug(car)
        if connector.transaction is not None:
            return
        if connector.authorisation is None:
            self._claim_loose_authorisation(connector)
        if connector.authorisation is not None:
            self.begin(connector)
        elif self.keys.flag("FreeVendEnabled") and self.keys.text("FreeVendIdTag"):
            self.present(Swipe(self.keys.text("FreeVendIdTag"), number, is_pinned=True))

    def _claim_loose_authorisation(self, connector: Connector) -> None:
        """Take over what a card without a chosen connector left at a neighbour."""
        if self.refusal(connector):
            return
        for other in self.connectors.values():
            waiting = other.authorisation
            if waiting is not None and not waiting.is_pinned and other.battery is None:
                if connector.reservation and not connector.reservation.is_for(waiting.id_tag, waiting.parent):
                    continue
                connector.authorisation, other.authorisation = waiting, None
                self.timers.pop(("arrival", other.number), None)
                return

    def unplug(self, number: int) -> None:
        """A car leaves (StopTransactionOnEVSideDisconnect decides about its transaction)."""
        connector = self.connectors[number]
        if connector.battery is None:
            return
        if connector.transaction is not None and self.keys.flag("StopTransactionOnEVSideDisconnect"):
            self.end(connector, "EVDisconnected")
        connector.unplug()

    def swipe(self, id_tag: str, number: int | None) -> None:
        """A card is held before the reader: it ends its own transaction, or begins one."""
        running = [
            one for one in self.connectors.values() if one.transaction and number in {None, one.number}
        ]
        for connector in running:
            if connector.transaction and connector.transaction.id_tag.lower() == id_tag.lower():
                self.end(connector, "Local", id_tag)
                return
        target = self._target(number)
        if target is not None:
            self._swipe_at(id_tag, target, number is not None)
        elif any(one.transaction and one.transaction.parent for one in running):
            self.present(Swipe(id_tag, running[0].number, is_pinned=True, stops=True))
        else:
            self.log.append(f"card {id_tag}: no connector is free")

    def _swipe_at(self, id_tag: str, target: Connector, is_pinned: bool) -> None:
        waiting = target.authorisation
        if waiting is not None and waiting.id_tag.lower() == id_tag.lower():
            self.withdraw(target)
            self.log.append(f"card {id_tag}: taken back")
            return
        refusal = self.refusal(target)
        kept = target.reservation
        # A stranger's card is still asked about when the reservation names a group (§5.13).
        if kept and not kept.is_for(id_tag, None) and kept.parent is None:
            refusal = "the connector is reserved"
        if refusal:
            self.log.append(f"card {id_tag}: {refusal}")
            return
        self.present(Swipe(id_tag, target.number, is_pinned))

    def _target(self, number: int | None) -> Connector | None:
        """Return the connector that a card without words means."""
        if number is not None:
            chosen = self.connectors[number]
            return None if chosen.transaction else chosen
        idle = [one for one in self.connectors.values() if one.transaction is None and not self.refusal(one)]
        plugged = [one for one in idle if one.battery is not None and one.authorisation is None]
        return next(iter(plugged or [one for one in idle if one.authorisation is None] or idle), None)

    def refusal(self, connector: Connector) -> str | None:
        """Return why nothing can begin here, or None."""
        if not self.is_powered:
            return "the charger is off"
        if self.status_of(connector.number)[0] == "Faulted":
            return "the connector is faulted"
        return None if connector.is_operative else "the connector is locked"

    def press_button(self) -> None:
        """The touch button is pressed; the backend hears of it when SmartButtonEnabled."""
        if not self.keys.flag("SmartButtonEnabled"):
            self.log.append("button: disabled")
        else:
            self.tell("DataTransfer", {"vendorId": self.plate.vendor, "messageId": "ButtonPressed"})

    def fault(self, number: int, code: str) -> None:
        """Something breaks; what charges there ends."""
        for connector in self._place(number):
            if connector.transaction is not None:
                self.end(connector, "Other")
            self.withdraw(connector)
        if number == 0:
            self.error = code
        else:
            self.connectors[number].error = code

    def clear_fault(self, number: int) -> None:
        """It is repaired."""
        if number == 0:
            self.error = NO_ERROR
        else:
            self.connectors[number].error = NO_ERROR

    def _place(self, number: int) -> list[Connector]:
        return list(self.connectors.values()) if number == 0 else [self.connectors[number]]

    # Authorisation

    def present(self, swipe: Swipe) -> None:
        """Decide about a tag: known beforehand, asked, or by the rules for being offline (§3.5)."""
        known = self._known(swipe.id_tag)
        if self.is_accepted:
            if self.keys.flag("LocalPreAuthorize") and known is not None and known.lets_in(self.now):
                self.admit(swipe, known)
            else:
                self.outbox.add(Saying("Authorize", {"idTag": swipe.id_tag}, swipe=swipe))
        else:
            self.decide_alone(swipe)

    def decide_alone(self, swipe: Swipe) -> None:
        """Decide about a tag that nobody can be asked about (§3.5.2)."""
        known = self._known(swipe.id_tag) if self.keys.flag("LocalAuthorizeOffline") else None
        if known is not None:
            self.decided(swipe, known)
        elif self.keys.flag("AllowOfflineTxForUnknownId"):
            self.admit(swipe, TagInfo("Accepted"))
        else:
            self.log.append(f"card {swipe.id_tag}: unknown and nobody to ask")

    def decided(self, swipe: Swipe, info: TagInfo) -> None:
        """Act on a verdict about a tag."""
        if info.lets_in(self.now):
            self.admit(swipe, info)
        else:
            self.log.append(f"card {swipe.id_tag}: {info.status}")

    def _known(self, id_tag: str) -> TagInfo | None:
        return self.tags.look_up(
            id_tag, self.keys.flag("LocalAuthListEnabled"), self.keys.flag("AuthorizationCacheEnabled")
        )

    def learn(self, id_tag: str, info: TagInfo) -> None:
        """Cache what the central system said about a tag."""
        if self.keys.flag("AuthorizationCacheEnabled"):
            self.tags.remember(id_tag, info)

    def admit(self, swipe: Swipe, info: TagInfo) -> None:
        """Let a tag do what it asked for, if the world still allows it."""
        connector = self.connectors[swipe.connector]
        running = connector.transaction
        if swipe.stops:
            if running is not None and running.parent is not None and running.parent == info.parent:
                self.end(connector, "Local", swipe.id_tag)
            return
        kept = connector.reservation
        if (
            running is not None
            or self.refusal(connector)
            or (kept and not kept.is_for(swipe.id_tag, info.parent))
        ):
            self.log.append(f"card {swipe.id_tag}: too late or not for this connector")
            return
        wait_s = self.keys.count("ConnectionTimeOut")
        until = self.now + timedelta(seconds=wait_s)
        connector.authorisation = Authorisation(
            swipe.id_tag, info.parent, until, swipe.is_pinned, swipe.profile
        )
        if connector.battery is not None:
            self.begin(connector)
        elif wait_s > 0:
            self.timers["arrival", connector.number] = until

    def withdraw(self, connector: Connector) -> None:
        """Forget that a tag may begin here (§4.8, ConnectionTimeOut)."""
        connector.authorisation = None
        self.timers.pop(("arrival", connector.number), None)

    # Transactions

    def begin(self, connector: Connector) -> None:
        """Begin the transaction that is authorised and plugged (§4.8)."""
        allowed = connector.authorisation
        assert allowed is not None
        transaction = Transaction(
            connector.number, allowed.id_tag, allowed.parent, self.now, connector.meter_reading_wh
        )
        connector.transaction = transaction
        connector.is_finishing = False
        self.withdraw(connector)
        payload: Payload = {
            "connectorId": connector.number,
            "idTag": allowed.id_tag,
            "meterStart": transaction.meter_start_wh,
            "timestamp": written(self.now),
        }
        if connector.reservation is not None:
            payload["reservationId"] = connector.reservation.id
            self.end_reservation(connector)
        if allowed.profile is not None:
            self.profiles.install(connector.number, allowed.profile)
        self.outbox.add(Saying("StartTransaction", payload, transaction))
        first = connector.meter_value(self.now, self.keys.names("StopTxnSampledData"), "Transaction.Begin")
        transaction.first_values = [first] if first else []
        self.schedule_sample(connector)

    def end(self, connector: Connector, reason: str, id_tag: str | None = None) -> None:
        """End the running transaction (§4.10); the reason is one of §7.36."""
        transaction = connector.transaction
        assert transaction is not None
        payload: Payload = {
            "meterStop": connector.meter_reading_wh,
            "timestamp": written(self.now),
            "reason": reason,
        }
        if id_tag is not None:
            payload["idTag"] = id_tag
        last = connector.meter_value(self.now, self.keys.names("StopTxnSampledData"), "Transaction.End")
        if last is not None:
            payload["transactionData"] = [*transaction.first_values, last]
        self.outbox.add(Saying("StopTransaction", payload, transaction))
        connector.transaction = None
        connector.is_finishing = connector.battery is not None
        self.timers.pop(("sample", connector.number), None)
        # A TxProfile does not outlive its transaction (§3.13.1).
        self.profiles.clear(connector=connector.number, purpose=TX)
        if connector.becomes_operative is not None:
            self.set_operative(connector, connector.becomes_operative)

    def transaction_numbered(self, number: int) -> Connector | None:
        """Return the connector where this transaction runs."""
        for connector in self.connectors.values():
            if connector.transaction is not None and connector.transaction.number == number:
                return connector
        return None

    def started(self, transaction: Transaction, number: int, info: TagInfo) -> None:
        """The central system gave a transaction its number and its verdict on the tag (§4.8)."""
        transaction.number = number
        transaction.parent = info.parent or transaction.parent
        self.learn(transaction.id_tag, info)
        connector = self.connectors[transaction.connector]
        if info.status == "Accepted" or connector.transaction is not transaction:
            return
        self.log.append(f"card {transaction.id_tag}: {info.status}, after the start")
        if self.keys.flag("StopTransactionOnInvalidId"):
            self.end(connector, "DeAuthorized")
        else:
            transaction.is_suspended = True

    def end_all(self, reason: str) -> None:
        """End whatever runs."""
        for connector in self.connectors.values():
            if connector.transaction is not None:
                self.end(connector, reason)

    # Availability and reservations

    def set_operative(self, connector: Connector, operative: bool) -> None:
        """Open or lock a connector (§5.2)."""
        connector.is_operative = operative
        connector.becomes_operative = None
        if not operative:
            self.withdraw(connector)

    def end_reservation(self, connector: Connector) -> None:
        """Forget the reservation: used, cancelled or too old."""
        connector.reservation = None
        self.timers.pop(("reservation", connector.number), None)

    # Security

    def raise_profile(self, value: str) -> str:
        """Take a higher security profile and return the ConfigurationStatus (white paper, A05).

        Each needs what it stands on: a password, a root that is trusted, a certificate of one's own.
        """
        now = self.keys.count("SecurityProfile")
        if value not in {"1", "2", "3"} or int(value) < now:
            return "Rejected"
        wanted = int(value)
        lacks_root = wanted >= 2 and not self.wallet.roots()
        if lacks_root or (wanted == PROFILE_MAX and not self.wallet.chain):
            return "Rejected"
        status = self.keys.change("SecurityProfile", value)
        if wanted > now:
            self.profile_before = now
        return status

    def tell_security(self, kind: str, info: str = "") -> None:
        """Tell the central system of something that concerns the charger's safety (white paper, A04)."""
        payload: Payload = {"type": kind, "timestamp": written(self.now)}
        self.tell("SecurityEventNotification", payload | ({"techInfo": info} if info else {}))

    # Meter values and messages

    def tell(self, action: str, payload: Payload, is_triggered: bool = False) -> None:
        """Say something that is only worth saying now; unless triggered, not before the boot is accepted."""
        if self.is_accepted or is_triggered:
            self.outbox.add(Saying(action, payload, is_triggered=is_triggered))

    def schedule_heartbeat(self) -> None:
        """Plan the next heartbeat by HeartbeatInterval; 0 means none (§4.6)."""
        interval_s = self.keys.count("HeartbeatInterval")
        self.timers.pop(("heartbeat", 0), None)
        if interval_s and self.is_accepted:
            self.after("heartbeat", 0, interval_s)

    def schedule_sample(self, connector: Connector) -> None:
        """Plan the next sample by MeterValueSampleInterval; 0 means none."""
        interval_s = self.keys.count("MeterValueSampleInterval")
        self.timers.pop(("sample", connector.number), None)
        if interval_s and connector.transaction is not None:
            self.after("sample", connector.number, interval_s)

    def align_samples(self) -> None:
        """Plan the next clock-aligned sample by ClockAlignedDataInterval; 0 means none."""
        interval_s = self.keys.count("ClockAlignedDataInterval")
        self.timers.pop(("aligned", 0), None)
        if interval_s:
            self.timers["aligned", 0] = next_multiple(self.now, interval_s)

    def sample(self, connector: Connector, key: str, context: str) -> None:
        """Measure by this list of measurands; outside a transaction it is only told while online."""
        value = connector.meter_value(self.now, self.keys.names(key), context)
        if value is not None and (connector.transaction is not None or self.is_accepted):
            payload: Payload = {"connectorId": connector.number, "meterValue": [value]}
            self.outbox.add(Saying("MeterValues", payload, connector.transaction))

    def sample_triggered(self, connector: Connector) -> None:
        """Measure because TriggerMessage asked for it (§5.17)."""
        value = connector.meter_value(self.now, self.keys.names("MeterValuesSampledData"), "Trigger")
        if value is None:
            return
        payload: Payload = {"connectorId": connector.number, "meterValue": [value]}
        if connector.transaction is not None and connector.transaction.number is not None:
            payload["transactionId"] = connector.transaction.number
        self.tell("MeterValues", payload, is_triggered=True)

    def came_due(self, timer: str, number: int) -> None:
        """Act on a timer of the station; the others belong to the connection."""
        match timer:
            case "heartbeat":
                if not self.outbox.has_waiting("Heartbeat"):
                    self.tell("Heartbeat", {})
                self.schedule_heartbeat()
            case "sample":
                connector = self.connectors[number]
                self.sample(connector, "MeterValuesSampledData", "Sample.Periodic")
                self.schedule_sample(connector)
            case "aligned":
                for connector in self.connectors.values():
                    self.sample(connector, "MeterValuesAlignedData", "Sample.Clock")
                self.align_samples()
            case "arrival":
                self.log.append(f"connector {number}: no car came")
                self.withdraw(self.connectors[number])
            case "reservation":
                self.end_reservation(self.connectors[number])
            case _:
                # "full" and "limit" only ask to settle again.
                assert timer in {"full", "limit"}, timer

"""What a charger does when its central system asks: one function per command of OCPP 1.6 §5.

Each reads its payload whole before it changes anything, so that a malformed command has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from voltyard.sim.car import OFFER_MIN_A
from voltyard.sim.configuration import Configuration
from voltyard.sim.connector import Connector, Reservation
from voltyard.sim.envelope import BadPayload, Fields, Payload, written
from voltyard.sim.outbox import Swipe
from voltyard.sim.profiles import MAX, TX, TX_DEFAULT, Limit, Profile, read_profile, rounded_down
from voltyard.sim.station import PROFILE_MAX, Station
from voltyard.sim.tags import TagInfo, read_tag_info
from voltyard.sim.upkeep import GRACE_S, RETRY_S, Order, Upkeep
from voltyard.sim.wallet import KINDS

Answer = Callable[[Station, Upkeep, Fields], Payload]

COMPOSITE_PERIODS_MAX = 500


def answer(station: Station, upkeep: Upkeep, action: str, payload: Payload) -> Payload:
    """Do what is asked and return the payload of the answer. Raises ``BadPayload``."""
    known = ANSWERS.get(action)
    if known is None:
        raise BadPayload("NotImplemented", f"{action} is not known here")
    return known(station, upkeep, Fields(payload))


def _status(accepted: bool) -> Payload:
    return {"status": "Accepted" if accepted else "Rejected"}


def _cancel_reservation(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    reservation_id = fields.whole("reservationId")
    for connector in station.connectors.values():
        if connector.reservation is not None and connector.reservation.id == reservation_id:
            station.end_reservation(connector)
            return _status(accepted=True)
    return _status(accepted=False)


def _change_availability(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    number = fields.whole("connectorId")
    operative = fields.choice("type", "Operative", "Inoperative") == "Operative"
    if number != 0 and number not in station.connectors:
        return _status(accepted=False)
    if number == 0:
        station.is_operative = operative
    waits = False
    for connector in station.connectors.values():
        if number in {0, connector.number}:
            if connector.transaction is not None and not operative:
                connector.becomes_operative = operative
                waits = True
            else:
                station.set_operative(connector, operative)
    return {"status": "Scheduled"} if waits else _status(accepted=True)


def _change_configuration(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    name, value = fields.text("key"), fields.text("value")
    if name.lower() == "securityprofile":
        status = station.raise_profile(value)
    else:
        status = station.keys.change(name, value)
    if status == "Accepted":
        match name.lower():
            case "heartbeatinterval":
                station.schedule_heartbeat()
            case "metervaluesampleinterval":
                for connector in station.connectors.values():
                    station.schedule_sample(connector)
            case "clockaligneddatainterval":
                station.align_samples()
            case "authorizationkey":
                # The new password is used for a new connection (security whitepaper, A01).
                station.after("reconnect", 0, GRACE_S)
            case "securityprofile":
                # So is the new profile (A05); should it fail, the charger falls back.
                station.after("reconnect", 0, GRACE_S)
            case _:
                pass
    return {"status": status}


def _certificate_signed(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    is_taken = station.wallet.take(fields.text("certificateChain"), station.plate.identity)
    if not is_taken:
        station.tell_security("InvalidChargePointCertificate")
    elif station.keys.count("SecurityProfile") == PROFILE_MAX:
        station.after("reconnect", 0, GRACE_S)
    return _status(accepted=is_taken)


def _clear_cache(station: Station, _upkeep: Upkeep, _fields: Fields) -> Payload:
    if not station.keys.flag("AuthorizationCacheEnabled"):
        return _status(accepted=False)
    station.tags.forget()
    return _status(accepted=True)


def _clear_charging_profile(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    removed = station.profiles.clear(
        profile_id=fields.whole_or_none("id"),
        connector=fields.whole_or_none("connectorId"),
        purpose=fields.text_or_none("chargingProfilePurpose"),
        stack_level=fields.whole_or_none("stackLevel"),
    )
    return {"status": "Accepted" if removed else "Unknown"}


def _data_transfer(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    vendor, message, data = (
        fields.text("vendorId"),
        fields.text_or_none("messageId"),
        fields.text_or_none("data"),
    )
    if vendor != station.plate.vendor:
        return {"status": "UnknownVendorId"}
    if message != "Echo":
        return {"status": "UnknownMessageId"}
    return {"status": "Accepted", "data": data or ""}


def _delete_certificate(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    wanted = fields.inner("certificateHashData")
    names = ("hashAlgorithm", "issuerNameHash", "issuerKeyHash", "serialNumber")
    return {"status": station.wallet.delete({name: wanted.text(name) for name in names})}


def _extended_trigger_message(station: Station, upkeep: Upkeep, fields: Fields) -> Payload:
    if fields.text("requestedMessage") != "SignChargePointCertificate":
        return _trigger_message(station, upkeep, fields)
    request = station.wallet.request(station.plate.identity, station.keys.text("CpoName"))
    station.tell("SignCertificate", {"csr": request}, is_triggered=True)
    return _status(accepted=True)


def _get_installed_certificate_ids(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    found = station.wallet.ids(fields.choice("certificateType", *sorted(KINDS)))
    return {"status": "Accepted", "certificateHashData": found} if found else {"status": "NotFound"}


def _install_certificate(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    kind = fields.choice("certificateType", *sorted(KINDS))
    return {"status": station.wallet.install(kind, fields.text("certificate"))}


def _get_composite_schedule(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    number, duration_s = fields.whole("connectorId"), fields.whole("duration")
    unit = "A" if fields.text_or_none("chargingRateUnit") in {None, "A"} else "W"
    if number != 0 and number not in station.connectors:
        return _status(accepted=False)
    running = station.connectors[number].transaction if number else None
    began_at = running.began_at if running else station.now
    periods: list[Payload] = []
    at = station.now
    while at < station.now + timedelta(seconds=duration_s) and len(periods) < COMPOSITE_PERIODS_MAX:
        limit = station.connector_limit(number, at, began_at) if number else station.feed_limit(at)
        rate = rounded_down(_rate(limit, unit, station.plate.voltage_v))
        if not periods or (periods[-1]["limit"], periods[-1]["numberPhases"]) != (rate, limit.phases):
            start_s = int((at - station.now).total_seconds())
            periods.append({"startPeriod": start_s, "limit": rate, "numberPhases": limit.phases})
        boundary = station.profiles.next_boundary(at, {number: began_at})
        if boundary is None:
            break
        at = boundary
    return {
        "status": "Accepted",
        "connectorId": number,
        "scheduleStart": written(station.now),
        "chargingSchedule": {
            "duration": duration_s,
            "startSchedule": written(station.now),
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": periods,
            "minChargingRate": rounded_down(_rate(Limit(OFFER_MIN_A, 1), unit, station.plate.voltage_v)),
        },
    }


def _rate(limit: Limit, unit: str, voltage_v: float) -> float:
    return limit.current_a if unit == "A" else limit.current_a * voltage_v * limit.phases


def _get_configuration(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    names = fields.texts("key")
    if len(names) > station.keys.count("GetConfigurationMaxKeys"):
        raise BadPayload("OccurenceConstraintViolation", "more keys than GetConfigurationMaxKeys (§5.8)")
    known, unknown = station.keys.read(names)
    answered: Payload = {"configurationKey": known}
    if unknown:
        answered["unknownKey"] = [name[:50] for name in unknown]
    return answered


def _get_diagnostics(_station: Station, upkeep: Upkeep, fields: Fields) -> Payload:
    name = upkeep.send_diagnostics(fields.text("location"))
    return {} if name is None else {"fileName": name}


def _get_log(_station: Station, upkeep: Upkeep, fields: Fields) -> Payload:
    fields.choice("logType", "DiagnosticsLog", "SecurityLog")
    location, number = fields.inner("log").text("remoteLocation"), fields.whole("requestId")
    was_sending = upkeep.is_sending
    name = upkeep.send_diagnostics(location, number)
    if name is None:
        return _status(accepted=False)
    return {"status": "AcceptedCanceled" if was_sending else "Accepted", "filename": name}


def _get_local_list_version(station: Station, _upkeep: Upkeep, _fields: Fields) -> Payload:
    enabled = station.keys.flag("LocalAuthListEnabled")
    return {"listVersion": station.tags.version if enabled else -1}


def _remote_start(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    id_tag, number = fields.text("idTag"), fields.whole_or_none("connectorId")
    wished = fields.inner_or_none("chargingProfile")
    profile = read_profile(wished, station.now) if wished else None
    if not station.is_accepted or (profile is not None and not _fits(station.keys, profile, TX)):
        return _status(accepted=False)
    chosen = _free_connector(station, id_tag, number)
    if chosen is None:
        return _status(accepted=False)
    swipe = Swipe(id_tag, chosen.number, is_pinned=number is not None, profile=profile)
    if station.keys.flag("AuthorizeRemoteTxRequests"):
        station.present(swipe)
    else:
        station.admit(swipe, TagInfo("Accepted"))
    return _status(accepted=True)


def _free_connector(station: Station, id_tag: str, number: int | None) -> Connector | None:
    """Return the connector where a remote start may begin: the wished one, or the likeliest."""
    free = [
        one
        for one in station.connectors.values()
        if number in {None, one.number}
        and one.transaction is None
        and station.refusal(one) is None
        and (one.reservation is None or one.reservation.is_for(id_tag, None))
    ]
    plugged = [one for one in free if one.battery is not None]
    return next(iter(plugged or free), None)


def _remote_stop(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    connector = station.transaction_numbered(fields.whole("transactionId"))
    if connector is None:
        return _status(accepted=False)
    station.end(connector, "Remote")
    return _status(accepted=True)


def _reserve_now(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    number = fields.whole("connectorId")
    reservation = Reservation(
        fields.whole("reservationId"),
        fields.text("idTag"),
        fields.text_or_none("parentIdTag"),
        fields.instant("expiryDate"),
    )
    connector = station.connectors.get(number)
    if connector is None or reservation.expires_at <= station.now:
        return _status(accepted=False)
    same = connector.reservation is not None and connector.reservation.id == reservation.id
    state = station.status_of(number)[0]
    if state in {"Faulted", "Unavailable"}:
        return {"status": state}
    if state != "Available" and not same:
        return {"status": "Occupied"}
    for other in station.connectors.values():
        # The same number moves its reservation (§5.13).
        if other.reservation is not None and other.reservation.id == reservation.id:
            station.end_reservation(other)
    connector.reservation = reservation
    station.timers["reservation", number] = reservation.expires_at
    return _status(accepted=True)


def _reset(_station: Station, upkeep: Upkeep, fields: Fields) -> Payload:
    upkeep.reset(fields.choice("type", "Hard", "Soft"))
    return _status(accepted=True)


def _send_local_list(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    version = fields.whole("listVersion")
    kind = fields.choice("updateType", "Full", "Differential")
    given = fields.items("localAuthorizationList") if "localAuthorizationList" in fields.payload else []
    entries = [(entry.text("idTag"), _entry_info(entry)) for entry in given]
    keys = station.keys
    if not keys.flag("LocalAuthListEnabled"):
        return {"status": "NotSupported"}
    if kind == "Differential" and version <= station.tags.version:
        return {"status": "VersionMismatch"}
    held = 0 if kind == "Full" else len(station.tags)
    if len(entries) > keys.count("SendLocalListMaxLength") or held + len(entries) > keys.count(
        "LocalAuthListMaxLength"
    ):
        return {"status": "Failed"}
    if kind == "Full":
        station.tags.replace(version, entries)
    else:
        station.tags.merge(version, entries)
    return _status(accepted=True)


def _entry_info(entry: Fields) -> TagInfo | None:
    info = entry.inner_or_none("idTagInfo")
    return None if info is None else read_tag_info(info)


def _set_charging_profile(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    number = fields.whole("connectorId")
    profile = read_profile(fields.inner("csChargingProfiles"), station.now)
    if not _may_install(station, number, profile):
        return _status(accepted=False)
    station.profiles.install(number, profile)
    return _status(accepted=True)


def _may_install(station: Station, number: int, profile: Profile) -> bool:
    if number != 0 and number not in station.connectors:
        return False
    full = len(station.profiles.held) >= station.keys.count("MaxChargingProfilesInstalled")
    if full or not _fits(station.keys, profile, profile.purpose):
        return False
    match profile.purpose:
        case "ChargePointMaxProfile":
            return number == 0
        case "TxProfile":
            running = station.connectors[number].transaction if number else None
            wished = profile.transaction_number
            return running is not None and wished in {None, running.number}
        case _:
            assert profile.purpose in {MAX, TX, TX_DEFAULT}
            return True


def _fits(keys: Configuration, profile: Profile, purpose: str) -> bool:
    return (
        profile.purpose == purpose
        and 0 <= profile.stack_level <= keys.count("ChargeProfileMaxStackLevel")
        and len(profile.periods) <= keys.count("ChargingScheduleMaxPeriods")
    )


def _trigger_message(station: Station, upkeep: Upkeep, fields: Fields) -> Payload:
    wanted, number = fields.text("requestedMessage"), fields.whole_or_none("connectorId")
    if number is not None and number != 0 and number not in station.connectors:
        return _status(accepted=False)
    meant = [one for one in station.connectors.values() if number in {None, 0, one.number}]
    match wanted:
        case "BootNotification":
            station.tell(wanted, upkeep.boot_payload(), is_triggered=True)
        case "Heartbeat":
            station.tell(wanted, {}, is_triggered=True)
        case "StatusNotification":
            for place in [0, *station.connectors] if number is None else [number]:
                station.outbox.add(station.status_saying(place, is_triggered=True))
        case "MeterValues":
            for connector in meant:
                station.sample_triggered(connector)
        case "DiagnosticsStatusNotification":
            upkeep.tell_diagnostics(is_triggered=True)
        case "FirmwareStatusNotification":
            upkeep.tell_firmware()
        case _:
            return {"status": "NotImplemented"}
    return _status(accepted=True)


def _unlock_connector(station: Station, _upkeep: Upkeep, fields: Fields) -> Payload:
    connector = station.connectors.get(fields.whole("connectorId"))
    if connector is None or station.plate.has_cable:
        return {"status": "NotSupported"}
    if connector.transaction is not None:
        station.end(connector, "UnlockCommand")
    return {"status": "UnlockFailed" if connector.error == "ConnectorLockFailure" else "Unlocked"}


def _update_firmware(_station: Station, upkeep: Upkeep, fields: Fields) -> Payload:
    order = Order(
        fields.text("location"),
        fields.whole_or_none("retries") or 0,
        fields.whole_or_none("retryInterval") or RETRY_S,
    )
    upkeep.update_firmware(order, fields.instant("retrieveDate"))
    return {}


def _signed_update_firmware(_station: Station, upkeep: Upkeep, fields: Fields) -> Payload:
    firmware = fields.inner("firmware")
    certificate = firmware.text("signingCertificate")
    order = Order(
        firmware.text("location"),
        fields.whole_or_none("retries") or 0,
        fields.whole_or_none("retryInterval") or RETRY_S,
        fields.whole("requestId"),
        firmware.text("signature"),
        certificate,
        firmware.instant_or_none("installDateTime"),
    )
    if "BEGIN CERTIFICATE" not in certificate:
        return {"status": "InvalidCertificate"}
    upkeep.update_firmware(order, firmware.instant("retrieveDateTime"))
    return _status(accepted=True)


ANSWERS: Mapping[str, Answer] = {
    "CancelReservation": _cancel_reservation,
    "CertificateSigned": _certificate_signed,
    "ChangeAvailability": _change_availability,
    "ChangeConfiguration": _change_configuration,
    "ClearCache": _clear_cache,
    "ClearChargingProfile": _clear_charging_profile,
    "DataTransfer": _data_transfer,
    "DeleteCertificate": _delete_certificate,
    "ExtendedTriggerMessage": _extended_trigger_message,
    "GetCompositeSchedule": _get_composite_schedule,
    "GetConfiguration": _get_configuration,
    "GetDiagnostics": _get_diagnostics,
    "GetInstalledCertificateIds": _get_installed_certificate_ids,
    "GetLocalListVersion": _get_local_list_version,
    "InstallCertificate": _install_certificate,
    "GetLog": _get_log,
    "RemoteStartTransaction": _remote_start,
    "RemoteStopTransaction": _remote_stop,
    "ReserveNow": _reserve_now,
    "Reset": _reset,
    "SendLocalList": _send_local_list,
    "SetChargingProfile": _set_charging_profile,
    "SignedUpdateFirmware": _signed_update_firmware,
    "TriggerMessage": _trigger_message,
    "UnlockConnector": _unlock_connector,
    "UpdateFirmware": _update_firmware,
}

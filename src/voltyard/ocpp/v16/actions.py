"""Every action of OCPP 1.6 and its security white paper, with the structs of its request and its answer."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from voltyard.ocpp.v16 import firmware, local_list, messages, reservation, security, smart_charging
from voltyard.ocpp.v16.messages import Payload

Pair = tuple[type[Payload], type[Payload]]


def _table(*pairs: Pair) -> MappingProxyType[str, Pair]:
    return MappingProxyType({pair[0].__name__: pair for pair in pairs})


FROM_CHARGER: Final = _table(
    (messages.Authorize, messages.AuthorizeAnswer),
    (messages.BootNotification, messages.BootNotificationAnswer),
    (messages.DataTransfer, messages.DataTransferAnswer),
    (messages.DiagnosticsStatusNotification, messages.DiagnosticsStatusNotificationAnswer),
    (messages.FirmwareStatusNotification, messages.FirmwareStatusNotificationAnswer),
    (messages.Heartbeat, messages.HeartbeatAnswer),
    (messages.MeterValues, messages.MeterValuesAnswer),
    (messages.StartTransaction, messages.StartTransactionAnswer),
    (messages.StatusNotification, messages.StatusNotificationAnswer),
    (messages.StopTransaction, messages.StopTransactionAnswer),
    (security.LogStatusNotification, security.LogStatusNotificationAnswer),
    (security.SecurityEventNotification, security.SecurityEventNotificationAnswer),
    (security.SignCertificate, security.SignCertificateAnswer),
    (security.SignedFirmwareStatusNotification, security.SignedFirmwareStatusNotificationAnswer),
)
"""What a charger sends."""

TO_CHARGER: Final = _table(
    (messages.ChangeAvailability, messages.ChangeAvailabilityAnswer),
    (messages.ChangeConfiguration, messages.ChangeConfigurationAnswer),
    (messages.ClearCache, messages.ClearCacheAnswer),
    (messages.DataTransfer, messages.DataTransferAnswer),
    (messages.GetConfiguration, messages.GetConfigurationAnswer),
    (messages.RemoteStartTransaction, messages.RemoteStartTransactionAnswer),
    (messages.RemoteStopTransaction, messages.RemoteStopTransactionAnswer),
    (messages.Reset, messages.ResetAnswer),
    (messages.TriggerMessage, messages.TriggerMessageAnswer),
    (messages.UnlockConnector, messages.UnlockConnectorAnswer),
    (smart_charging.ClearChargingProfile, smart_charging.ClearChargingProfileAnswer),
    (smart_charging.GetCompositeSchedule, smart_charging.GetCompositeScheduleAnswer),
    (smart_charging.SetChargingProfile, smart_charging.SetChargingProfileAnswer),
    (local_list.GetLocalListVersion, local_list.GetLocalListVersionAnswer),
    (local_list.SendLocalList, local_list.SendLocalListAnswer),
    (reservation.CancelReservation, reservation.CancelReservationAnswer),
    (reservation.ReserveNow, reservation.ReserveNowAnswer),
    (firmware.GetDiagnostics, firmware.GetDiagnosticsAnswer),
    (firmware.UpdateFirmware, firmware.UpdateFirmwareAnswer),
    (security.CertificateSigned, security.CertificateSignedAnswer),
    (security.DeleteCertificate, security.DeleteCertificateAnswer),
    (security.ExtendedTriggerMessage, security.ExtendedTriggerMessageAnswer),
    (security.GetInstalledCertificateIds, security.GetInstalledCertificateIdsAnswer),
    (security.GetLog, security.GetLogAnswer),
    (security.InstallCertificate, security.InstallCertificateAnswer),
    (security.SignedUpdateFirmware, security.SignedUpdateFirmwareAnswer),
)
"""What a central system sends."""

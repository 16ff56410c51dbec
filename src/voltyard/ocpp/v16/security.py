"""Certificates, signed firmware, logs and security events.

From the white paper "Improved security for OCPP 1.6-J", edition 3, whose sections the docstrings name.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Final, Literal, assert_never

from msgspec import Meta

from voltyard.ocpp.v16 import told
from voltyard.ocpp.v16.messages import (
    CiString50,
    CiString255,
    Count,
    Instant,
    Number,
    OwnConnectorId,
    Payload,
    PlainAnswer,
    Seconds,
    Url512,
)
from voltyard.ocpp.v16.writing import request, seconds
from voltyard.speech import (
    CertificateHash,
    CertificateKind,
    InstalledCertificates,
    LogKind,
    SendLog,
    TellCertificates,
    TriggerExtended,
    UpdateSignedFirmware,
    UseCertificate,
)
from voltyard.speech import DeleteCertificate as Delete
from voltyard.speech import InstallCertificate as Install

SecurityAsk = (
    TriggerExtended | Install | Delete | TellCertificates | UseCertificate | SendLog | UpdateSignedFirmware
)

Certificate = Annotated[str, Meta(min_length=1, max_length=5500)]
CertificateUse = Literal["CentralSystemRootCertificate", "ManufacturerRootCertificate"]

# --- what the charger sends -----------------------------------------------------------------------


class SecurityEventNotification(Payload, frozen=True):
    """White paper §5.15."""

    type: CiString50
    timestamp: Instant
    tech_info: CiString255 | None = None


class SecurityEventNotificationAnswer(Payload, frozen=True):
    """White paper §5.16."""


class SignCertificate(Payload, frozen=True):
    """White paper §5.17."""

    csr: Certificate


class SignCertificateAnswer(PlainAnswer, frozen=True):
    """White paper §5.18."""


class LogStatusNotification(Payload, frozen=True):
    """White paper §5.13."""

    status: Literal[
        "BadMessage",
        "Idle",
        "NotSupportedOperation",
        "PermissionDenied",
        "UploadFailure",
        "Uploaded",
        "Uploading",
    ]
    request_id: Number | None = None


class LogStatusNotificationAnswer(Payload, frozen=True):
    """White paper §5.14."""


class SignedFirmwareStatusNotification(Payload, frozen=True):
    """White paper §5.19."""

    status: Literal[
        "DownloadFailed",
        "DownloadPaused",
        "DownloadScheduled",
        "Downloaded",
        "Downloading",
        "Idle",
        "InstallRebooting",
        "InstallScheduled",
        "InstallVerificationFailed",
        "InstallationFailed",
        "Installed",
        "Installing",
        "InvalidSignature",
        "SignatureVerified",
    ]
    request_id: Number | None = None


class SignedFirmwareStatusNotificationAnswer(Payload, frozen=True):
    """White paper §5.20."""


# --- what we send ---------------------------------------------------------------------------------


class ExtendedTriggerMessage(Payload, frozen=True):
    """White paper §5.5."""

    requested_message: Literal[
        "BootNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "SignChargePointCertificate",
        "StatusNotification",
    ]
    connector_id: OwnConnectorId | None = None


class ExtendedTriggerMessageAnswer(Payload, frozen=True):
    """White paper §5.6."""

    status: Literal["Accepted", "NotImplemented", "Rejected"]


class InstallCertificate(Payload, frozen=True):
    """White paper §5.11."""

    certificate_type: CertificateUse
    certificate: Certificate


class InstallCertificateAnswer(Payload, frozen=True):
    """White paper §5.12."""

    status: Literal["Accepted", "Failed", "Rejected"]


class CertificateHashData(Payload, frozen=True):
    """What a certificate is known by."""

    hash_algorithm: Literal["SHA256", "SHA384", "SHA512"]
    issuer_name_hash: Annotated[str, Meta(max_length=128)]
    issuer_key_hash: Annotated[str, Meta(max_length=128)]
    serial_number: Annotated[str, Meta(max_length=40)]


class DeleteCertificate(Payload, frozen=True):
    """White paper §5.3."""

    certificate_hash_data: CertificateHashData


class DeleteCertificateAnswer(Payload, frozen=True):
    """White paper §5.4."""

    status: Literal["Accepted", "Failed", "NotFound"]


class GetInstalledCertificateIds(Payload, frozen=True):
    """White paper §5.7."""

    certificate_type: CertificateUse


class GetInstalledCertificateIdsAnswer(Payload, frozen=True):
    """White paper §5.8."""

    status: Literal["Accepted", "NotFound"]
    certificate_hash_data: Annotated[list[CertificateHashData], Meta(min_length=1)] | None = None


class CertificateSigned(Payload, frozen=True):
    """White paper §5.1."""

    certificate_chain: Annotated[str, Meta(min_length=1, max_length=10_000)]


class CertificateSignedAnswer(PlainAnswer, frozen=True):
    """White paper §5.2."""


class LogParameters(Payload, frozen=True):
    """Where a log goes and of what time it is."""

    remote_location: Url512
    oldest_timestamp: Instant | None = None
    latest_timestamp: Instant | None = None


class GetLog(Payload, frozen=True):
    """White paper §5.9."""

    log: LogParameters
    log_type: Literal["DiagnosticsLog", "SecurityLog"]
    request_id: Number
    retries: Count | None = None
    retry_interval: Seconds | None = None


class GetLogAnswer(Payload, frozen=True):
    """White paper §5.10."""

    status: Literal["Accepted", "AcceptedCanceled", "Rejected"]
    filename: CiString255 | None = None


class Firmware(Payload, frozen=True):
    """Where firmware lies, and how it is known to be genuine."""

    location: Url512
    retrieve_date_time: Instant
    signing_certificate: Certificate
    signature: Annotated[str, Meta(min_length=1, max_length=800)]
    install_date_time: Instant | None = None


class SignedUpdateFirmware(Payload, frozen=True):
    """White paper §5.21."""

    request_id: Number
    firmware: Firmware
    retries: Count | None = None
    retry_interval: Seconds | None = None


class SignedUpdateFirmwareAnswer(Payload, frozen=True):
    """White paper §5.22."""

    status: Literal["Accepted", "AcceptedCanceled", "InvalidCertificate", "Rejected", "RevokedCertificate"]


_USES: Final = MappingProxyType(
    {
        CertificateKind.CENTRAL: "CentralSystemRootCertificate",
        CertificateKind.MANUFACTURER: "ManufacturerRootCertificate",
    }
)
_LOGS: Final = MappingProxyType({LogKind.DIAGNOSTICS: "DiagnosticsLog", LogKind.SECURITY: "SecurityLog"})


def write(ask: SecurityAsk) -> tuple[str, bytes]:
    """Write an ask of the white paper as an action and its payload. Raises: Invalid."""
    match ask:
        case TriggerExtended(what, connector):
            return request(ExtendedTriggerMessage, {"requestedMessage": what, "connectorId": connector})
        case Install(kind, certificate_pem):
            return request(
                InstallCertificate, {"certificateType": _USES[kind], "certificate": certificate_pem}
            )
        case Delete(certificate):
            return request(
                DeleteCertificate,
                {
                    "certificateHashData": {
                        "hashAlgorithm": certificate.algorithm,
                        "issuerNameHash": certificate.issuer_name_hash,
                        "issuerKeyHash": certificate.issuer_key_hash,
                        "serialNumber": certificate.serial,
                    }
                },
            )
        case TellCertificates(kind):
            return request(GetInstalledCertificateIds, {"certificateType": _USES[kind]})
        case UseCertificate(chain_pem):
            return request(CertificateSigned, {"certificateChain": chain_pem})
        case SendLog():
            return request(
                GetLog,
                {
                    "logType": _LOGS[ask.kind],
                    "requestId": ask.request_number,
                    "retries": ask.retries,
                    "retryInterval": ask.retry_interval_s,
                    "log": {
                        "remoteLocation": ask.location_url,
                        "oldestTimestamp": seconds(ask.from_at),
                        "latestTimestamp": seconds(ask.until_at),
                    },
                },
            )
        case UpdateSignedFirmware():
            return request(
                SignedUpdateFirmware,
                {
                    "requestId": ask.request_number,
                    "retries": ask.retries,
                    "retryInterval": ask.retry_interval_s,
                    "firmware": {
                        "location": ask.location_url,
                        "retrieveDateTime": seconds(ask.retrieve_at),
                        "installDateTime": seconds(ask.install_at),
                        "signingCertificate": ask.certificate_pem,
                        "signature": ask.signature,
                    },
                },
            )
    assert_never(ask)


def read_certificates(payload: bytes) -> InstalledCertificates | None:
    """Understand the answer to GetInstalledCertificateIds. Never raises.

    A certificate of which a part is missing could not be deleted, so it makes the answer None.
    """
    answer = told.read(told.CERTIFICATES, payload, [])
    if answer is None:
        return None
    found: list[CertificateHash] = []
    for one in answer.certificate_hash_data or ():
        parts = (one.hash_algorithm, one.issuer_name_hash, one.issuer_key_hash, one.serial_number)
        whole = tuple(part.strip() for part in parts if part is not None)
        if len(whole) < len(parts):
            return None
        found.append(CertificateHash(*whole))
    return InstalledCertificates(tuple(found))

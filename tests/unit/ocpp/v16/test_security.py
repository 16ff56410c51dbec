"""Certificates, signed firmware and logs, against an independent set of JSON schemas."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import AT, NOON, TIMES, built, fits
from voltyard.kernel.errors import Invalid
from voltyard.ocpp.v16 import security
from voltyard.speech import (
    CertificateHash,
    CertificateKind,
    DeleteCertificate,
    InstallCertificate,
    InstalledCertificates,
    LogKind,
    SendLog,
    TellCertificates,
    TriggerExtended,
    UpdateSignedFirmware,
    UseCertificate,
)

URL = "https://example.com/x"
PEM = "-----BEGIN CERTIFICATE-----"
HASH = CertificateHash("SHA256", "n", "k", "01")
HASH_WRITTEN = {"hashAlgorithm": "SHA256", "issuerNameHash": "n", "issuerKeyHash": "k", "serialNumber": "01"}

words = st.text("aZ0 é", min_size=1, max_size=20)
counts = st.none() | st.integers(0, 2**31 - 1)
ids = st.integers(-(2**31), 2**31 - 1)
times = st.none() | TIMES
asks = st.one_of(
    st.builds(
        TriggerExtended,
        st.sampled_from(["SignChargePointCertificate", "LogStatusNotification"]),
        st.none() | st.integers(1, 9),
    ),
    st.builds(InstallCertificate, st.sampled_from(CertificateKind), words),
    st.builds(
        DeleteCertificate,
        st.builds(CertificateHash, st.sampled_from(["SHA256", "SHA384", "SHA512"]), words, words, words),
    ),
    st.builds(TellCertificates, st.sampled_from(CertificateKind)),
    st.builds(UseCertificate, words),
    st.builds(SendLog, st.sampled_from(LogKind), ids, st.just(URL), times, times, counts, counts),
    st.builds(UpdateSignedFirmware, ids, st.just(URL), TIMES, words, words, times, counts, counts),
)


@given(asks)
def test_what_is_written_fits_the_schema(ask: Any) -> None:
    fits(*security.write(ask))


@pytest.mark.parametrize(
    ("ask", "action", "payload"),
    [
        (
            TriggerExtended("StatusNotification", 1),
            "ExtendedTriggerMessage",
            {"requestedMessage": "StatusNotification", "connectorId": 1},
        ),
        (
            InstallCertificate(CertificateKind.CENTRAL, PEM),
            "InstallCertificate",
            {"certificateType": "CentralSystemRootCertificate", "certificate": PEM},
        ),
        (DeleteCertificate(HASH), "DeleteCertificate", {"certificateHashData": HASH_WRITTEN}),
        (
            TellCertificates(CertificateKind.MANUFACTURER),
            "GetInstalledCertificateIds",
            {"certificateType": "ManufacturerRootCertificate"},
        ),
        (UseCertificate(PEM), "CertificateSigned", {"certificateChain": PEM}),
        (
            SendLog(LogKind.SECURITY, 5, URL),
            "GetLog",
            {"logType": "SecurityLog", "requestId": 5, "log": {"remoteLocation": URL}},
        ),
        (
            SendLog(LogKind.DIAGNOSTICS, 5, URL, NOON, NOON, 1, 2),
            "GetLog",
            {
                "logType": "DiagnosticsLog",
                "requestId": 5,
                "retries": 1,
                "retryInterval": 2,
                "log": {"remoteLocation": URL, "oldestTimestamp": AT, "latestTimestamp": AT},
            },
        ),
        (
            UpdateSignedFirmware(5, URL, NOON, PEM, "c2ln", NOON, 1, 2),
            "SignedUpdateFirmware",
            {
                "requestId": 5,
                "retries": 1,
                "retryInterval": 2,
                "firmware": {
                    "location": URL,
                    "retrieveDateTime": AT,
                    "installDateTime": AT,
                    "signingCertificate": PEM,
                    "signature": "c2ln",
                },
            },
        ),
    ],
)
def test_an_ask_is_written_to_the_letter(ask: Any, action: str, payload: dict[str, Any]) -> None:
    written, raw = security.write(ask)
    assert (written, json.loads(raw)) == (action, payload)


@pytest.mark.parametrize(
    ("ask", "pointer"),
    [
        (TriggerExtended("DiagnosticsStatusNotification"), "/requestedMessage"),
        (TriggerExtended("Heartbeat", 0), "/connectorId"),
        (InstallCertificate(CertificateKind.CENTRAL, "x" * 5501), "/certificate"),
        (InstallCertificate(CertificateKind.CENTRAL, ""), "/certificate"),
        (
            DeleteCertificate(CertificateHash("MD5", "n", "k", "01")),
            "/certificateHashData/hashAlgorithm",
        ),
        (
            DeleteCertificate(CertificateHash("SHA256", "n", "k", "0" * 41)),
            "/certificateHashData/serialNumber",
        ),
        (UseCertificate("x" * 10_001), "/certificateChain"),
        (SendLog(LogKind.SECURITY, 2**31, URL), "/requestId"),
        (SendLog(LogKind.SECURITY, 5, URL + "x" * 500), "/log/remoteLocation"),
        (UpdateSignedFirmware(5, "x", NOON, PEM, "s"), "/firmware/location"),
        (UpdateSignedFirmware(5, URL, NOON, PEM, "s" * 801), "/firmware/signature"),
        (UpdateSignedFirmware(5, URL, NOON, PEM, ""), "/firmware/signature"),
    ],
)
def test_what_has_no_room_is_refused(ask: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        security.write(ask)
    assert refused.value.errors[0][0] == pointer


@pytest.mark.parametrize(
    ("payload", "hashes"),
    [
        ({"status": "Accepted", "certificateHashData": [HASH_WRITTEN, HASH_WRITTEN]}, (HASH, HASH)),
        ({"status": "Accepted", "certificateHashData": HASH_WRITTEN}, (HASH,)),  # Q25
        (
            {"status": "Accepted", "certificateHashData": [HASH_WRITTEN | {"serialNumber": 1}]},  # Q24
            (CertificateHash("SHA256", "n", "k", "1"),),
        ),
        ({"status": "Accepted", "certificateHashData": [{"hashAlgorithm": "SHA256"}]}, None),
        ({"status": "Accepted", "certificateHashData": []}, ()),
        ({"status": "Accepted"}, ()),
        ([], None),
    ],
)
def test_certificates_are_read(payload: Any, hashes: tuple[CertificateHash, ...] | None) -> None:
    found = security.read_certificates(json.dumps(payload).encode())
    assert found == (None if hashes is None else InstalledCertificates(hashes))


@settings(deadline=None)
@given(built(security.GetInstalledCertificateIdsAnswer))
def test_each_answer_of_the_white_paper_is_understood(answer: Any) -> None:
    found = security.read_certificates(msgspec.json.encode(answer))
    assert found is not None
    assert len(found.certificates) == len(answer.certificate_hash_data or ())


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_read_certificates_never_raises(payload: bytes) -> None:
    # An object without any is an answer: none is installed.
    assert security.read_certificates(payload) in {None, InstalledCertificates(())}

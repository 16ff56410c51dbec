"""What a simulated charger keeps for TLS, and the messages that change it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.sim.backoffice import BackOffice
from voltyard.kernel import certificates
from voltyard.sim.wallet import CENTRAL, MANUFACTURER, ROOTS_MAX, Wallet

NOW = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def root():
    return certificates.new_root("Test root", "Voltyard", NOW, NOW + 9 * YEAR)


@pytest.fixture(scope="module")
def issuer(root):
    return certificates.new_issuer(root, "Test issuer", "Voltyard", NOW, NOW + 9 * YEAR)


def signed(issuer, request: str, identity="CP-1") -> str:
    pem = certificates.sign_request(issuer, request, identity=identity, now=NOW, until_at=NOW + YEAR)
    return pem + issuer.certificate_pem


def test_a_root_is_kept_listed_and_deleted(root):
    wallet = Wallet()
    assert wallet.install(CENTRAL, root.certificate_pem) == "Accepted"
    assert wallet.install(CENTRAL, root.certificate_pem) == "Accepted"
    assert wallet.roots() == (root.certificate_pem,)
    (listed,) = wallet.ids(CENTRAL)
    ours = certificates.hashes_of(root.certificate_pem)
    assert listed == {
        "hashAlgorithm": ours.algorithm,
        "issuerNameHash": ours.issuer_name_hash,
        "issuerKeyHash": ours.issuer_key_hash,
        "serialNumber": ours.serial,
    }, "two implementations come to the same hashes"
    assert wallet.ids(MANUFACTURER) == []
    assert wallet.delete(listed | {"serialNumber": "1"}) == "NotFound"
    assert wallet.delete(listed) == "Accepted"
    assert wallet.delete(listed) == "NotFound"


def test_what_is_no_root_is_rejected_and_there_is_an_end_to_them(root, issuer):
    wallet = Wallet()
    leaf = signed(issuer, certificates.new_request("CP-1", "")[0]).split("-----END")[0] + "-----END CERTIFICATE-----"
    assert wallet.install(CENTRAL, "nonsense") == "Rejected"
    assert wallet.install(CENTRAL, leaf) == "Rejected"
    for number in range(ROOTS_MAX):
        # Blanks around it make another text of the same certificate.
        assert wallet.install(MANUFACTURER, root.certificate_pem + "\n" * number) == "Accepted"
    assert wallet.install(CENTRAL, root.certificate_pem) == "Failed"


def test_a_certificate_is_taken_if_it_fits_what_was_asked(issuer):
    wallet = Wallet()
    assert not wallet.take("anything", "CP-1"), "nothing was asked for"
    request = wallet.request("CP-1", "Power Ltd")
    certificates.check_request(request, identity="CP-1", organisation="Power Ltd")
    assert not wallet.take("nonsense", "CP-1")
    assert not wallet.take(signed(issuer, certificates.new_request("CP-1", "")[0]), "CP-1"), "another key"
    assert not wallet.take(signed(issuer, request, "CP-2"), "CP-1"), "another name"
    chain = signed(issuer, request)
    assert wallet.take(chain, "CP-1")
    assert wallet.chain == chain
    assert "PRIVATE KEY" in wallet.key


def test_the_messages_of_the_white_paper_are_understood(root, issuer):
    office = BackOffice()
    office.boot()
    installed = office.ask("InstallCertificate", {"certificateType": CENTRAL, "certificate": root.certificate_pem})
    assert installed == {"status": "Accepted"}
    listed = office.ask("GetInstalledCertificateIds", {"certificateType": CENTRAL})
    assert listed["status"] == "Accepted"
    assert office.ask("GetInstalledCertificateIds", {"certificateType": MANUFACTURER}) == {"status": "NotFound"}
    assert office.ask("ChangeConfiguration", {"key": "SecurityProfile", "value": "3"}) == {"status": "Rejected"}
    assert office.ask("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}) == {
        "status": "Accepted"
    }
    call = office.next_call("SignCertificate")
    chain = signed(issuer, call["csr"], office.identity)
    assert office.ask("CertificateSigned", {"certificateChain": "nonsense"}) == {"status": "Rejected"}
    assert office.ask("CertificateSigned", {"certificateChain": chain}) == {"status": "Accepted"}
    assert office.ask("ChangeConfiguration", {"key": "SecurityProfile", "value": "3"}) == {"status": "Accepted"}
    assert office.ask("ChangeConfiguration", {"key": "SecurityProfile", "value": "2"}) == {"status": "Rejected"}
    (known,) = listed["certificateHashData"]
    assert office.ask("DeleteCertificate", {"certificateHashData": known}) == {"status": "Accepted"}

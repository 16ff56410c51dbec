"""What a simulated charger keeps for TLS, and the messages that change it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.sim.driving import Bench
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
    leaf, _ = certificates.split(signed(issuer, certificates.new_request("CP-1", "")[0]))
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
    bench = Bench()
    bench.answers["SignCertificate"] = lambda _said: {"status": "Accepted"}
    bench.connect()
    assert bench.ask("GetInstalledCertificateIds", certificateType=CENTRAL) == {"status": "NotFound"}
    assert bench.set_key("SecurityProfile", "2") == "Rejected", "no root"
    wanted = {"certificateType": CENTRAL, "certificate": root.certificate_pem}
    assert bench.ask("InstallCertificate", **wanted) == {"status": "Accepted"}
    listed = bench.ask("GetInstalledCertificateIds", certificateType=CENTRAL)
    assert bench.set_key("SecurityProfile", "3") == "Rejected", "no certificate of its own"
    trigger = {"requestedMessage": "SignChargePointCertificate"}
    assert bench.ask("ExtendedTriggerMessage", **trigger) == {"status": "Accepted"}
    (said,) = bench.all("SignCertificate")
    assert bench.ask("CertificateSigned", certificateChain="nonsense") == {"status": "Rejected"}
    assert bench.all("SecurityEventNotification")[0]["type"] == "InvalidChargePointCertificate"
    chain = signed(issuer, said["csr"], "CP1")
    assert bench.ask("CertificateSigned", certificateChain=chain) == {"status": "Accepted"}
    assert bench.machine.wallet.chain == chain
    (known,) = listed["certificateHashData"]
    assert bench.ask("DeleteCertificate", certificateHashData=known) == {"status": "Accepted"}
    assert bench.ask("DeleteCertificate", certificateHashData=known) == {"status": "NotFound"}


def test_a_profile_is_raised_tried_and_kept_or_given_up(root):
    bench = Bench()
    bench.connect()
    bench.ask("InstallCertificate", certificateType=CENTRAL, certificate=root.certificate_pem)
    assert bench.set_key("SecurityProfile", "2") == "Accepted"
    bench.wait(1)
    assert bench.disconnects == ["new credentials"]
    assert (bench.machine.security_profile, bench.machine.is_trying_profile) == (2, True)
    bench.do(bench.machine.fall_back(bench.now))
    assert (bench.machine.security_profile, bench.machine.is_trying_profile) == (1, False)
    bench.connect()
    assert bench.set_key("SecurityProfile", "2") == "Accepted"
    bench.wait(1)
    bench.connect()
    assert (bench.machine.security_profile, bench.machine.is_trying_profile) == (2, False)
    bench.do(bench.machine.fall_back(bench.now))
    assert bench.machine.security_profile == 2, "there is nothing to fall back to"
    for lower in ("1", "0", "x"):
        assert bench.set_key("SecurityProfile", lower) == "Rejected"

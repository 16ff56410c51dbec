"""X.509: authorities, requests that are signed or refused, and what certificates are known by."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel import certificates
from voltyard.kernel.certificates import BadCertificate, KeyKind, Pair

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def root() -> Pair:
    return certificates.new_root("Test root", "Voltyard", NOW, NOW + 20 * YEAR)


@pytest.fixture(scope="module")
def issuer(root: Pair) -> Pair:
    return certificates.new_issuer(root, "Test issuer", "Voltyard", NOW, NOW + 30 * YEAR)


def request_of(key, name="CP-1", digest=None) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = builder.sign(key, digest)
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def test_openssl_believes_the_chain(root, issuer, tmp_path: Path):
    request, _ = certificates.new_request("CP-1", "Voltyard", KeyKind.RSA)
    leaf = certificates.sign_request(issuer, request, identity="CP-1", now=NOW, until_at=NOW + YEAR)
    for name, pem in (("root", root.certificate_pem), ("issuer", issuer.certificate_pem), ("leaf", leaf)):
        (tmp_path / name).write_text(pem)
    done = subprocess.run(
        ["openssl", "verify", "-purpose", "sslclient", "-attime", str(int(NOW.timestamp())), "-x509_strict",
         "-CAfile", "root", "-untrusted", "issuer", "leaf"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_certificate_says_whose_it_is_and_until_when(issuer):
    request, _ = certificates.new_request("CP-1", "Power Ltd")
    leaf = certificates.sign_request(issuer, request, identity="CP-1", now=NOW, until_at=NOW + YEAR)
    said = certificates.describe(leaf)
    assert (said.common_name, said.organisation, said.issuer) == ("CP-1", "Power Ltd", "Test issuer")
    assert said.valid_from_at <= NOW < said.valid_until_at == NOW + YEAR
    assert not said.is_authority
    assert certificates.is_issued_by(leaf, issuer.certificate_pem)


def test_nothing_is_valid_longer_than_its_issuer(root, issuer):
    assert certificates.describe(issuer.certificate_pem).valid_until_at == NOW + 20 * YEAR
    request, _ = certificates.new_request("CP-1", "")
    leaf = certificates.sign_request(issuer, request, identity="CP-1", now=NOW, until_at=NOW + 40 * YEAR)
    assert certificates.describe(leaf).valid_until_at == NOW + 20 * YEAR
    assert certificates.describe(root.certificate_pem).is_authority


def test_the_identity_in_a_certificate_is_ours_and_not_the_spelling_of_the_request(issuer):
    request, _ = certificates.new_request("cp-1", "")
    certificates.check_request(request, identity="CP-1")
    leaf = certificates.sign_request(issuer, request, identity="CP-1", now=NOW, until_at=NOW + YEAR)
    assert certificates.describe(leaf).common_name == "CP-1"


def test_another_authority_has_not_issued_it(issuer):
    other = certificates.new_root("Test issuer", "Voltyard", NOW, NOW + YEAR)
    request, _ = certificates.new_request("CP-1", "")
    leaf = certificates.sign_request(other, request, identity="CP-1", now=NOW, until_at=NOW + YEAR)
    assert not certificates.is_issued_by(leaf, issuer.certificate_pem)


def test_a_charger_cannot_issue_certificates(issuer):
    request, key = certificates.new_request("CP-1", "")
    leaf = certificates.sign_request(issuer, request, identity="CP-1", now=NOW, until_at=NOW + YEAR)
    theirs, _ = certificates.new_request("CP-2", "")
    forged = certificates.sign_request(Pair(leaf, key), theirs, identity="CP-2", now=NOW, until_at=NOW + YEAR)
    assert not certificates.is_issued_by(forged, leaf)
    assert not certificates.is_issued_by(forged, issuer.certificate_pem)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
    ],
    ids=["rsa-2048", "p-256", "p-384"],
)
def test_strong_keys_are_signed(key):
    certificates.check_request(request_of(key, digest=hashes.SHA256()), identity="CP-1")


@pytest.mark.parametrize(
    ("key", "digest", "why"),
    [
        (rsa.generate_private_key(65537, 1024), hashes.SHA256(), "1024 bits"),
        (ec.generate_private_key(ec.SECP224R1()), hashes.SHA256(), "secp224r1"),
        (ed25519.Ed25519PrivateKey.generate(), None, "weak hash|unknown kind"),
    ],
    ids=["rsa-1024", "p-224", "ed25519"],
)
def test_weak_and_unknown_keys_are_refused(key, digest, why):
    with pytest.raises(BadCertificate, match=why):
        certificates.check_request(request_of(key, digest=digest), identity="CP-1")


def test_a_request_of_another_name_is_refused():
    request, _ = certificates.new_request("CP-2", "")
    with pytest.raises(BadCertificate, match="CP-2"):
        certificates.check_request(request, identity="CP-1")


def test_a_request_with_two_names_is_refused():
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("CP-1", "CP-2")]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    with pytest.raises(BadCertificate):
        certificates.check_request(signed.public_bytes(serialization.Encoding.PEM).decode(), identity="CP-1")


def test_the_organisation_counts_where_one_is_set():
    request, _ = certificates.new_request("CP-1", "Power Ltd")
    certificates.check_request(request, identity="CP-1", organisation="Power Ltd")
    with pytest.raises(BadCertificate, match="Current Ltd"):
        certificates.check_request(request, identity="CP-1", organisation="Current Ltd")


def test_a_request_whose_signature_was_tampered_with_is_refused():
    request, _ = certificates.new_request("CP-1", "")
    der = bytearray(x509.load_pem_x509_csr(request.encode()).public_bytes(serialization.Encoding.DER))
    der[der.find(b"CP-1") + 3 : der.find(b"CP-1") + 4] = b"2"
    body = base64.encodebytes(bytes(der)).decode()
    tampered = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(BadCertificate, match="signature"):
        certificates.check_request(tampered, identity="CP-2")


def test_a_request_without_its_frame_is_understood():
    request, _ = certificates.new_request("CP-1", "")
    body = "".join(request.strip().splitlines()[1:-1])
    certificates.check_request(body, identity="CP-1")


@given(st.text(max_size=200))
def test_anything_else_is_no_request_and_no_certificate(text):
    with pytest.raises(BadCertificate):
        certificates.check_request(text, identity="CP-1")
    for read in (certificates.describe, certificates.split, certificates.from_der):
        with pytest.raises(BadCertificate):
            read(text)


def test_a_server_is_known_by_all_its_names(issuer):
    pair = certificates.new_server(issuer, ["cs.example.com", "192.0.2.7"], KeyKind.EC, NOW, NOW + YEAR)
    made = x509.load_pem_x509_certificate(pair.certificate_pem.encode())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cs.example.com"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]


def test_a_chain_comes_apart_and_a_der_becomes_pem(root, issuer):
    assert certificates.split(issuer.certificate_pem + root.certificate_pem) == (
        issuer.certificate_pem,
        root.certificate_pem,
    )
    body = "".join(root.certificate_pem.strip().splitlines()[1:-1])
    assert certificates.from_der(body) == root.certificate_pem


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_the_hashes_are_those_of_ocsp(kind, root, tmp_path: Path):
    """Compared with what openssl writes into an OCSP request for the same certificate."""
    pair = root
    if kind == "ec":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Elliptic root")])
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(0x0A1B).not_valid_before(NOW).not_valid_after(NOW + YEAR)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        pair = Pair(made.public_bytes(serialization.Encoding.PEM).decode(), "")
    found = certificates.hashes_of(pair.certificate_pem)
    path = tmp_path / "root.pem"
    path.write_text(pair.certificate_pem)
    shown = subprocess.run(
        ["openssl", "ocsp", "-sha256", "-issuer", path, "-cert", path, "-no_nonce", "-req_text"],
        capture_output=True, text=True, check=True,
    ).stdout.lower()  # fmt: skip
    assert found.algorithm == "SHA256"
    assert f"issuer name hash: {found.issuer_name_hash}" in shown
    assert f"issuer key hash: {found.issuer_key_hash}" in shown
    assert found.serial in shown
    assert not found.serial.startswith("0")


def test_the_fingerprint_is_the_hash_of_the_der_form(root):
    der = base64.b64decode("".join(root.certificate_pem.strip().splitlines()[1:-1]))
    assert certificates.describe(root.certificate_pem).fingerprint == hashlib.sha256(der).hexdigest()

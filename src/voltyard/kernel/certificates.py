"""X.509: our certificate authority, requests to be signed, certificates and what they are known by.

Together with ``seal.py`` the only place that knows the library ``cryptography``. Certificates and keys
travel as PEM text; instants come in as arguments.

Invariants: nothing of a request but its public key and a checked organisation gets into a certificate;
a certificate is never valid longer than its issuer.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voltyard.kernel.errors import Invalid

RSA_BITS_MIN = 2048
RSA_BITS_MAX = 8192
EC_BITS_MIN = 256
AUTHORITY_RSA_BITS = 3072
NAME_LENGTH_MAX = 64
"""RFC 5280, ub-common-name and ub-organization-name."""
CLOCK_SLACK = timedelta(hours=1)
"""How far in the past a certificate begins, for chargers whose clock is behind."""
_WEAK: Final = frozenset({"md5", "sha1"})

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class KeyKind(StrEnum):
    """What kind of key is made."""

    RSA = "rsa"
    EC = "ec"


class BadCertificate(Invalid):
    """What was given as a certificate, or as a request for one, cannot be used as one."""

    title = "That is not a certificate that can be used"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both as PEM."""

    certificate_pem: str
    key_pem: str


@dataclass(frozen=True, slots=True)
class Described:
    """What people and our rules want to know of a certificate.

    ``serial`` is in lower hexadecimal without leading zeros, ``fingerprint`` the SHA-256 of its DER form.
    """

    common_name: str
    organisation: str
    issuer: str
    serial: str
    fingerprint: str
    valid_from_at: datetime
    valid_until_at: datetime
    is_authority: bool


@dataclass(frozen=True, slots=True)
class Hashes:
    """What OCPP knows a certificate by: hashes in lower hexadecimal, of the issuer's name and key."""

    algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial: str


def _new_key(kind: KeyKind, bits: int = RSA_BITS_MIN) -> PrivateKey:
    if kind is KeyKind.EC:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, bits)


def _key_pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _load_key(pem: str) -> PrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return key


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _load(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as wrong:
        raise BadCertificate("that is not a certificate in PEM form") from wrong


def _name(common_name: str, organisation: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _text_of(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    values = [attribute.value for attribute in name.get_attributes_for_oid(oid)]
    return str(values[0]) if len(values) == 1 else ""


# --- authorities ----------------------------------------------------------------------------------


def new_root(common_name: str, organisation: str, now: datetime, until_at: datetime) -> Pair:
    """Make a root: a certificate that signs itself and others. Takes a good part of a second."""
    key = _new_key(KeyKind.RSA, AUTHORITY_RSA_BITS)
    name = _name(common_name, organisation)
    builder = _authority(name, name, key, now, until_at, path_length=1)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def new_issuer(root: Pair, common_name: str, organisation: str, now: datetime, until_at: datetime) -> Pair:
    """Make an authority under a root, which signs chargers and servers. Takes a good part of a second."""
    above, signer = _load(root.certificate_pem), _load_key(root.key_pem)
    key = _new_key(KeyKind.RSA, AUTHORITY_RSA_BITS)
    until_at = min(until_at, above.not_valid_after_utc)
    builder = _authority(_name(common_name, organisation), above.subject, key, now, until_at, path_length=0)
    builder = builder.add_extension(_issued_by(above), critical=False)
    return Pair(_pem(builder.sign(signer, hashes.SHA256())), _key_pem(key))


def _issued_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _authority(
    name: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    now: datetime,
    until_at: datetime,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(until_at)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, is_authority: bool, is_rsa: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        # TLS_RSA_…, which the white paper asks for, has the key itself enciphered.
        key_encipherment=is_rsa,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _leaf(
    issuer: x509.Certificate,
    name: x509.Name,
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    now: datetime,
    until_at: datetime,
    purpose: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(min(until_at, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False, is_rsa=isinstance(public, rsa.RSAPublicKey)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_issued_by(issuer), critical=False)
    )


def new_server(issuer: Pair, names: Sequence[str], kind: KeyKind, now: datetime, until_at: datetime) -> Pair:
    """Make a certificate for a server of these names and addresses; its own name is the first of them."""
    above, signer, key = _load(issuer.certificate_pem), _load_key(issuer.key_pem), _new_key(kind)
    builder = _leaf(
        above,
        _name(names[0][:NAME_LENGTH_MAX], ""),
        key.public_key(),
        now,
        until_at,
        ExtendedKeyUsageOID.SERVER_AUTH,
    ).add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
    return Pair(_pem(builder.sign(signer, hashes.SHA256())), _key_pem(key))


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


# --- requests -------------------------------------------------------------------------------------


def new_request(common_name: str, organisation: str, kind: KeyKind = KeyKind.EC) -> tuple[str, str]:
    """Return a request for a certificate and its new private key, as a charger makes them; both PEM."""
    key = _new_key(kind)
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(common_name, organisation))
    signed = request.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key)


def check_request(request_pem: str, *, identity: str, organisation: str = "") -> None:
    """Check that a charger's request may be signed: its signature, its name and its key.

    The common name must be the charger's identity, letter for letter but for case (quirk Q6), and the
    organisation the given one where one is given (white paper, use cases A02 and A03).
    Raises: BadCertificate, in words for people.
    """
    request = _load_request(request_pem)
    name = _text_of(request.subject, NameOID.COMMON_NAME)
    if name.strip().lower() != identity.strip().lower():
        raise BadCertificate(f"the request is for {name!r}, and this charger is {identity!r}")
    told = _text_of(request.subject, NameOID.ORGANIZATION_NAME)
    if organisation and told != organisation:
        raise BadCertificate(f"the request names the organisation {told!r}, and must name {organisation!r}")
    _check_key(request)


def _load_request(request_pem: str) -> x509.CertificateSigningRequest:
    # Some chargers leave out the lines that frame PEM.
    framed = request_pem.strip()
    if "-----BEGIN" not in framed:
        framed = f"-----BEGIN CERTIFICATE REQUEST-----\n{framed}\n-----END CERTIFICATE REQUEST-----"
    try:
        request = x509.load_pem_x509_csr(framed.encode())
        is_signed = request.is_signature_valid
        _ = request.subject
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as wrong:
        raise BadCertificate("that is not a request for a certificate in PEM form") from wrong
    if not is_signed:
        raise BadCertificate("the request's signature does not fit its key")
    return request


def _check_key(request: x509.CertificateSigningRequest) -> None:
    try:
        key = request.public_key()
        algorithm = request.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm) as wrong:
        raise BadCertificate("the request's key is of an unknown kind: use RSA or elliptic curves") from wrong
    if algorithm is None or algorithm.name in _WEAK:
        raise BadCertificate("the request is signed with a weak hash: use SHA-256")
    if isinstance(key, rsa.RSAPublicKey):
        if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            raise BadCertificate(
                f"an RSA key of {key.key_size} bits is too weak: it must have {RSA_BITS_MIN} at least"
                if key.key_size < RSA_BITS_MIN
                else f"an RSA key may have {RSA_BITS_MAX} bits at most"
            )
    elif not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadCertificate("the request's key is of an unknown kind: use RSA or elliptic curves")
    elif key.curve.key_size < EC_BITS_MIN:
        raise BadCertificate(f"the curve {key.curve.name} is too weak: use P-256 or a stronger one")


def sign_request(issuer: Pair, request_pem: str, *, identity: str, now: datetime, until_at: datetime) -> str:
    """Sign a request that was checked; return the charger's certificate as PEM. Raises: BadCertificate."""
    request = _load_request(request_pem)
    _check_key(request)
    key = request.public_key()
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    told = _text_of(request.subject, NameOID.ORGANIZATION_NAME)
    organisation = told[:NAME_LENGTH_MAX] if told.isprintable() else ""
    above, signer = _load(issuer.certificate_pem), _load_key(issuer.key_pem)
    name = _name(identity, organisation)
    builder = _leaf(above, name, key, now, until_at, ExtendedKeyUsageOID.CLIENT_AUTH)
    return _pem(builder.sign(signer, hashes.SHA256()))


# --- reading certificates -------------------------------------------------------------------------


def describe(certificate_pem: str) -> Described:
    """Return what a certificate says of itself. Raises: BadCertificate."""
    return _described(_load(certificate_pem))


def from_der(der_base64: str) -> str:
    """Return a certificate in PEM form that came as base64 of its DER form. Raises: BadCertificate."""
    try:
        return _pem(x509.load_der_x509_certificate(base64.b64decode(der_base64, validate=True)))
    except (ValueError, binascii.Error) as wrong:
        raise BadCertificate("that is not a certificate") from wrong


def _described(certificate: x509.Certificate) -> Described:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        is_authority = constraints.ca
    except x509.ExtensionNotFound:
        is_authority = False
    except ValueError as wrong:
        raise BadCertificate("the certificate's extensions cannot be read") from wrong
    try:
        return Described(
            common_name=_text_of(certificate.subject, NameOID.COMMON_NAME),
            organisation=_text_of(certificate.subject, NameOID.ORGANIZATION_NAME),
            issuer=_text_of(certificate.issuer, NameOID.COMMON_NAME)
            or certificate.issuer.rfc4514_string()[:255],
            serial=f"{certificate.serial_number:x}",
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            valid_from_at=certificate.not_valid_before_utc.astimezone(UTC),
            valid_until_at=certificate.not_valid_after_utc.astimezone(UTC),
            is_authority=is_authority,
        )
    except ValueError as wrong:
        raise BadCertificate("the certificate cannot be read") from wrong


def is_issued_by(certificate_pem: str, issuer_pem: str) -> bool:
    """Say whether a certificate bears the signature of an authority; times are not looked at."""
    certificate, issuer = _load(certificate_pem), _load(issuer_pem)
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return _described(issuer).is_authority


def split(chain_pem: str) -> tuple[str, ...]:
    """Return the certificates of a file that holds several, each as PEM. Raises: BadCertificate."""
    try:
        return tuple(_pem(each) for each in x509.load_pem_x509_certificates(chain_pem.encode()))
    except ValueError as wrong:
        raise BadCertificate("there is no certificate in PEM form") from wrong


def hashes_of(certificate_pem: str, issuer_pem: str | None = None) -> Hashes:
    """Return what OCPP knows a certificate by, as SHA-256; without an issuer it is its own.

    White paper §5.3 takes the three values from OCSP (RFC 6960 §4.1.1): the issuer's name as DER, its public
    key without tag and length, and the serial number in hexadecimal.
    """
    certificate = _load(certificate_pem)
    issuer = certificate if issuer_pem is None else _load(issuer_pem)
    name = hashes.Hash(hashes.SHA256())
    name.update(certificate.issuer.public_bytes())
    key = hashes.Hash(hashes.SHA256())
    key.update(_bits(issuer))
    return Hashes("SHA256", name.finalize().hex(), key.finalize().hex(), f"{certificate.serial_number:x}")


def _bits(issuer: x509.Certificate) -> bytes:
    """Return the bits of a public key as they stand in a certificate, without tag and length."""
    key = issuer.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    raise BadCertificate("the certificate's key is of an unknown kind: use RSA or elliptic curves")

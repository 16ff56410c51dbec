"""What a simulated charger keeps for TLS: the roots it trusts, its own key and its certificate.

White paper "Improved security for OCPP 1.6-J", edition 3, use cases A02 and M03 to M05. It reads certificates
by itself and not with the server's code: two independent ends.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from voltyard.sim.envelope import Payload

CENTRAL = "CentralSystemRootCertificate"
MANUFACTURER = "ManufacturerRootCertificate"
KINDS = frozenset({CENTRAL, MANUFACTURER})
ROOTS_MAX = 10
CHAIN_LENGTH_MAX = 10_000


class Wallet:
    """The certificates of one charger."""

    def __init__(self) -> None:
        self._roots: dict[str, list[str]] = {kind: [] for kind in sorted(KINDS)}
        self._pending: ec.EllipticCurvePrivateKey | None = None
        self.chain: str = ""
        self.key: str = ""

    def roots(self, kind: str = CENTRAL) -> tuple[str, ...]:
        """Return the root certificates that are trusted, as PEM."""
        return tuple(self._roots[kind])

    def install(self, kind: str, pem: str) -> str:
        """Trust a root certificate; return the status word."""
        try:
            root = x509.load_pem_x509_certificate(pem.encode())
            is_authority = root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (ValueError, x509.ExtensionNotFound):
            return "Rejected"
        if not is_authority:
            return "Rejected"
        held = self._roots[kind]
        if pem in held:
            return "Accepted"
        if sum(map(len, self._roots.values())) >= ROOTS_MAX:
            return "Failed"
        held.append(pem)
        return "Accepted"

    def delete(self, wanted: Payload) -> str:
        """Trust a root certificate no longer; return the status word."""
        for held in self._roots.values():
            for pem in held:
                if _hash(pem) == wanted:
                    held.remove(pem)
                    return "Accepted"
        return "NotFound"

    def ids(self, kind: str) -> list[Payload]:
        """Return what the roots of a kind are known by."""
        return [_hash(pem) for pem in self._roots[kind]]

    def request(self, identity: str, organisation: str) -> str:
        """Make a new key and return a request to have it certified, as PEM."""
        self._pending = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, identity)]
        if organisation:
            names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
        signed = request.sign(self._pending, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def take(self, chain: str, identity: str) -> bool:
        """Use a certificate that was signed as asked; False when it does not fit what was asked for."""
        if self._pending is None or len(chain) > CHAIN_LENGTH_MAX:
            return False
        try:
            own, *_ = x509.load_pem_x509_certificates(chain.encode())
        except ValueError:
            return False
        named = [name.value for name in own.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if named != [identity] or own.public_key() != self._pending.public_key():
            return False
        self.chain = chain
        self.key = self._pending.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self._pending = None
        return True


def _hash(pem: str) -> Payload:
    """Return what a root is known by: hashes of its issuer's name and key, which are its own."""
    root = x509.load_pem_x509_certificate(pem.encode())
    return {
        "hashAlgorithm": "SHA256",
        "issuerNameHash": _sha256(root.issuer.public_bytes()),
        "issuerKeyHash": _sha256(_key_bits(root)),
        "serialNumber": f"{root.serial_number:x}",
    }


def _key_bits(root: x509.Certificate) -> bytes:
    """Return the bits of the key without what says of which kind it is."""
    key = root.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return b""


def _sha256(data: bytes) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize().hex()

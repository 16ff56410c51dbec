"""What a simulated charger does over HTTP: leaves files, fetches firmware, compares it with a signature."""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

TIMEOUT_S = 30.0
PIECE_BYTES = 64 * 1024


def _client(tls: ssl.SSLContext | None) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=TIMEOUT_S, verify=tls if tls is not None else True, trust_env=False)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


async def put(url: str, name: str, data: bytes, tls: ssl.SSLContext | None = None) -> str:
    """Send a file, under its name to an address that ends in a slash; return what went wrong, or nothing."""
    address = f"{url}{quote(name)}" if url.endswith("/") else url
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(data))}
    try:
        async with _client(tls) as http:
            answer = await http.put(address, content=_pieces(data), headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as wrong:
        return str(wrong) or type(wrong).__name__
    return "" if answer.is_success else f"{answer.status_code} {answer.text.strip()}"


async def get(url: str, tls: ssl.SSLContext | None = None) -> tuple[bytes | None, str]:
    """Fetch a file; return its bytes, or None and what went wrong."""
    try:
        async with _client(tls) as http:
            answer = await http.get(url)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as wrong:
        return None, str(wrong) or type(wrong).__name__
    if not answer.is_success:
        return None, f"{answer.status_code} {answer.text.strip()}"
    return answer.content, ""


def is_genuine(data: bytes, signature: str, certificate: str) -> bool:
    """Say whether a signature in base64, over SHA-256, is that of the holder of a certificate (PEM)."""
    try:
        signed = base64.b64decode(signature, validate=True)
        key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signed, data, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signed, data, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True

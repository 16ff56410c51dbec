"""Sealing: secrets that must be read again are kept under a key made from the installation's secret.

One of the two files that know the library ``cryptography`` (the other is ``certificates.py``).

Invariants: what is sealed for one subject does not open for another; sealing the same twice gives two
texts; without the installation's secret nothing opens.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from voltyard.kernel.errors import Unavailable

VERSION = "v1"
_NONCE_BYTES = 12
_PURPOSE = b"voltyard: sealed values, version 1"


class SealBroken(Unavailable):
    """A sealed value does not open: the installation's secret is another one than when it was sealed."""

    title = "A stored secret cannot be opened"


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(secret))


def seal(data: bytes, secret: bytes, about: str) -> str:
    """Seal a secret value; ``about`` says whose it is, and has to be said again to open it."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + _cipher(secret).encrypt(nonce, data, about.encode())
    return f"{VERSION}.{base64.urlsafe_b64encode(sealed).decode()}"


def unseal(text: str, secret: bytes, about: str) -> bytes:
    """Open a sealed value. Raises: SealBroken."""
    # Another version is no base64: it keeps its stop.
    body = text.removeprefix(f"{VERSION}.")
    try:
        sealed = base64.b64decode(body.encode() if body != text else b".", altchars=b"-_", validate=True)
        return _cipher(secret).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about.encode())
    except (InvalidTag, ValueError, binascii.Error, UnicodeEncodeError) as wrong:
        raise SealBroken(
            "a stored secret does not open: put back the installation's secret with which it was sealed "
            "(VOLTYARD_SECRET, or the file secret.key)"
        ) from wrong

"""Secrets: slow hashes for what people choose, keyed fast hashes for what machines hold.

A session or token is 160 random bits, so that a fast hash cannot be guessed; a reconnect storm of
ten thousand argon2 checks would take minutes (decision record 0018).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SECRET_BYTES = 20
_people = PasswordHasher()
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$MQW6QyBqkSVTfCRlB0T2PCVxNbKUvEbmHNBsNRXNDYM"


def new_secret(prefix: str) -> str:
    """Make a secret of 160 random bits with a prefix that tells people and scanners what it is."""
    return f"{prefix}_{secrets.token_hex(SECRET_BYTES)}"


def machine_hash(secret: str | bytes, key: bytes) -> str:
    """Hash a machine's secret with the installation's key."""
    data = secret.encode() if isinstance(secret, str) else secret
    return hashlib.blake2b(data, key=hashlib.sha256(key).digest(), digest_size=32).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Compare two hashes in constant time."""
    return hmac.compare_digest(one, other)


def _bytes_of(password: str) -> bytes:
    # JSON may hold halves of characters, which plain UTF-8 refuses: they are a wrong password like any other.
    return password.encode(errors="surrogatepass")


def hash_password(password: str) -> str:
    """Hash a person's password; takes tens of milliseconds, so never call it inside a Work."""
    return _people.hash(_bytes_of(password))


def is_password(password: str, password_hash: str | None) -> bool:
    """Check a person's password, in the same time whether that person exists or not."""
    try:
        _people.verify(password_hash or _NOBODY, _bytes_of(password))
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None

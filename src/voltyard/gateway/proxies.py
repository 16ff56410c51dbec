"""What a reverse proxy tells about a socket that it passes on: whose it is, and whether it came over TLS.

Its word counts only if the socket comes from an address that the installation trusts. Such a proxy must
take these headers out of what strangers send.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

CERTIFICATE_LENGTH_MAX = 8_000
PEM_BEGIN, PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end: ``certificate`` is base64 of the DER form of its client certificate."""

    address: str
    is_tls: bool
    certificate: str | None


class Proxies:
    """The addresses and networks whose word is believed, with commas; ``*`` stands for all."""

    def __init__(self, trusted: str) -> None:
        names = [name.strip() for name in trusted.split(",") if name.strip()]
        self._all = "*" in names
        self._networks = tuple(
            ipaddress.ip_network(name, strict=False) for name in names if _is_network(name)
        )

    def trusts(self, address: str) -> bool:
        """Say whether the word of this address is believed."""
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return self._all or any(peer in network for network in self._networks)

    def client(
        self, address: str, headers: Mapping[str, str], *, is_tls: bool, certificate: bytes | None
    ) -> Client:
        """Return who is at the other end of a socket, which may be a proxy's.

        A socket that is TLS itself tells all that counts. Else ``X-Forwarded-Proto: https`` (or ``wss``) says
        that the proxy has ended TLS, and ``Client-Cert`` (RFC 9440) or ``X-SSL-Client-Cert`` (URL-encoded
        PEM) passes the client certificate on.
        """
        if is_tls:
            own = base64.b64encode(certificate).decode() if certificate else None
            return Client(address, is_tls=True, certificate=own)
        if not self.trusts(address):
            return Client(address, is_tls=False, certificate=None)
        is_secure = _last(headers.get("x-forwarded-proto", "")).lower() in {"https", "wss"}
        return Client(
            self._origin(headers.get("x-forwarded-for", "")) or address,
            is_secure,
            _certificate(headers) if is_secure else None,
        )

    def _origin(self, forwarded: str) -> str:
        """Return the nearest address of the chain that is not a proxy of ours; empty if it says nothing."""
        for part in reversed(forwarded.split(",")):
            try:
                named = str(ipaddress.ip_address(part.strip().strip("[]")))
            except ValueError:
                return ""
            if self._all or not self.trusts(named):
                return named
        return ""


def _is_network(name: str) -> bool:
    try:
        ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
    return True


def _last(value: str) -> str:
    """Return the word of the proxy next to us, where several have spoken."""
    return value.rpartition(",")[2].strip()


def _certificate(headers: Mapping[str, str]) -> str | None:
    """Return the client certificate that a proxy passes on; None for none, and for what is no base64."""
    standard = headers.get("client-cert", "").strip()
    escaped = headers.get("x-ssl-client-cert", "").strip()
    if len(standard) + len(escaped) > CERTIFICATE_LENGTH_MAX:
        return None
    if standard.startswith(":") and standard.endswith(":"):
        body = standard[1:-1]
    else:
        body = "".join(unquote(escaped).replace(PEM_BEGIN, "").replace(PEM_END, "").split())
    try:
        return base64.b64encode(base64.b64decode(body, validate=True)).decode() or None
    except (binascii.Error, ValueError):
        return None

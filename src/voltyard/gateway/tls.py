"""TLS for chargers: what is offered, and the handshake of TLS before the one of websockets.

Sockets are counted among the unfinished handshakes from their first byte on, so that half a TLS handshake
holds no more and no longer than half a request head does. Client certificates are asked for and not
required: the desk decides what each charger must show.

White paper, profiles 2 and 3: TLS 1.2 or newer, and these ciphers. Old versions are not offered, not even on
a door of their own (quirk Q8): a charger that speaks nothing newer comes without TLS, in a network that is
trusted. Chargers that send no server name get the one certificate there is.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from voltyard.gateway.handshake import Handshake, Waiting, has_unread
from voltyard.kernel.limits import HANDSHAKE_S
from voltyard.kernel.log import logger

CIPHERS: Final = (
    # The four that the white paper asks a central system for, with elliptic keys and with RSA …
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    # … and what lies between: an RSA certificate, and a fresh key for each connection.
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
)
NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for."""
ACCEPT_PAUSE_S = 0.2
SHUTDOWN_S = 2.0


class Offer:
    """What the listener offers at present: certificates are renewed while it runs."""

    __slots__ = ("context",)

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context


class Pem(Protocol):
    """A certificate with its chain, and its key, as PEM."""

    @property
    def chain_pem(self) -> str:
        """The certificate and those above it."""

    @property
    def key_pem(self) -> str:
        """Its key."""


def server_context(pairs: Sequence[Pem], trusted_pem: str) -> ssl.SSLContext:
    """Return what the listener offers: one certificate for each kind of key, and whom it trusts.

    Raises: OSError; ssl.SSLError when a key does not fit its certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    # A peer that renegotiates again and again costs us much and itself little.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    with tempfile.TemporaryDirectory(prefix="voltyard-tls-") as folder:
        # The library reads files only. The folder is ours alone, and gone at once.
        for number, pair in enumerate(pairs):
            chain, key = Path(folder, f"{number}.pem"), Path(folder, f"{number}.key")
            chain.write_text(pair.chain_pem)
            key.touch(mode=0o600)
            key.write_text(pair.key_pem)
            context.load_cert_chain(chain, key)
    if trusted_pem:
        context.load_verify_locations(cadata=trusted_pem)
        context.verify_mode = ssl.CERT_OPTIONAL
        # The desk looks at times (chargers/credentials.py). Refused here, a charger whose certificate has
        # ended would not even come in with its password, and nobody would see why.
        context.verify_flags |= NO_CHECK_TIME
    return context


class TlsSocket:
    """A fresh socket of the TLS listener, as long as its TLS handshake lasts."""

    __slots__ = ("_socket", "address", "is_gone")

    def __init__(self, fresh: socket.socket, address: str) -> None:
        self._socket = fresh
        self.address = address
        self.is_gone = False

    @property
    def has_unread(self) -> bool:
        """Say whether the peer has sent something that nobody has read yet."""
        return has_unread(self._socket)

    def evict(self) -> None:
        """Go at once: others wait at the door. Whoever does the handshake notices, and closes."""
        self.is_gone = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class TlsListener:
    """The port for chargers that come over TLS; after its TLS handshake a socket is a ``Handshake``."""

    def __init__(
        self, listening: socket.socket, waiting: Waiting, admit: Callable[[Handshake], None], offer: Offer
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._waiting = waiting
        self._admit = admit
        self._offer = offer
        self._log = logger("gateway")

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening.getsockname()[1]
        return port

    async def run(self) -> None:
        """Take sockets in until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        fresh, peer = await loop.sock_accept(self._listening)
                    except OSError as wrong:  # no file descriptors left, or a peer that went at once
                        self._log.warning("a socket was not accepted", why=str(wrong))
                        await asyncio.sleep(ACCEPT_PAUSE_S)
                        continue
                    fresh.setblocking(False)
                    group.create_task(self._shake_hands(fresh, str(peer[0])))
        finally:
            self._listening.close()

    async def _shake_hands(self, fresh: socket.socket, address: str) -> None:
        """Do one TLS handshake; it counts as an unfinished one from its first byte on."""
        counted = TlsSocket(fresh, address)
        self._waiting.add(counted)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Handshake(self._waiting, self._admit),
                fresh,
                ssl=self._offer.context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except OSError as wrong:
            fresh.close()
            if isinstance(wrong, ssl.SSLError) and not counted.is_gone:
                # An unknown issuer or an expired certificate shows here and nowhere else.
                self._log.warning("no TLS with this peer", address=address, why=wrong.reason or str(wrong))
        except Exception:  # the library, surprised by a peer that went: the others stay
            fresh.close()
            self._log.exception("a TLS handshake failed", address=address)
        finally:
            self._waiting.remove(counted)

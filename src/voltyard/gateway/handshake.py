"""Letting sockets in: the request head is read under tight bounds, the desk is asked, then picows takes over.

Whoever has not finished a head in time is closed; when one address, or all together, hold too many
unfinished ones, the oldest goes, so that a newcomer always gets in. An unfinished handshake costs
well under a kilobyte of ours.
"""

from __future__ import annotations

import asyncio
import base64
import select
import socket
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from itertools import islice
from typing import Protocol, cast

import httptools

from voltyard.kernel.limits import HANDSHAKE_S, HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX

HEAD_BYTES_MAX = 8 * 1024
HEAD_END = b"\r\n\r\n"
VERSIONS = frozenset({"13", "8", "7"})
KEY_BYTES = 16
RECEIVE_BUFFER_BYTES = 128 * 1024
LOOKS_MAX = 8
"""So many of the oldest are looked at when one has to go."""


class Head:
    """A request head: method, target and headers with names in lower case."""

    def __init__(self, data: bytes) -> None:
        """Parse a whole head. Raises: ValueError when it is not one."""
        self.target = ""
        self.headers: dict[str, str] = {}
        self._is_whole = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as wrong:
            raise ValueError("that is not an HTTP request") from wrong
        if not self._is_whole:
            raise ValueError("that is not an HTTP request")
        self.method = parser.get_method().decode("ascii", "replace")

    def on_url(self, url: bytes) -> None:
        """Take the request target, which may come in pieces."""
        self.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        # RFC 9110 §5.2: a header that comes twice is a list.
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Note that it was a head indeed: blank lines alone are none."""
        self._is_whole = True

    @property
    def is_upgrade(self) -> bool:
        """Say whether a websocket is asked for."""
        return self.method == "GET" and "websocket" in self._words("upgrade")

    @property
    def flaw(self) -> str:
        """Say what is wrong with the request for a websocket; empty when it is good (RFC 6455 §4.2.1)."""
        if "upgrade" not in self._words("connection"):
            return "the header Connection must say Upgrade"
        if self.headers.get("sec-websocket-version", "").strip() not in VERSIONS:
            return "the header Sec-WebSocket-Version must say 13"
        if not self._key:
            return "the header Sec-WebSocket-Key must hold 16 bytes in base64"
        return ""

    def canonical(self) -> bytes:
        """Write the request for a websocket in its plainest form, for a parser that is stricter than ours."""
        assert not self.flaw
        lines = (
            "GET / HTTP/1.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {self._key}",
        )
        return "\r\n".join(lines).encode() + HEAD_END

    def _words(self, name: str) -> list[str]:
        return [word.strip().lower() for word in self.headers.get(name, "").split(",")]

    @property
    def _key(self) -> str:
        key = self.headers.get("sec-websocket-key", "").strip()
        try:
            return key if len(base64.b64decode(key, validate=True)) == KEY_BYTES else ""
        except ValueError:
            return ""


class Unfinished(Protocol):
    """A socket that has not been let in yet."""

    @property
    def address(self) -> str:
        """Who knocks."""

    @property
    def has_unread(self) -> bool:
        """Whether it has sent something that nobody has read yet."""

    def evict(self) -> None:
        """Go at once."""


class Waiting:
    """The handshakes that are not finished, oldest first, in all and by address."""

    def __init__(self) -> None:
        self._all: OrderedDict[Unfinished, None] = OrderedDict()
        self._by_address: dict[str, OrderedDict[Unfinished, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, handshake: Unfinished) -> None:
        """Add one; the oldest goes when there are too many."""
        of_address = self._by_address.setdefault(handshake.address, OrderedDict())
        self._all[handshake] = None
        of_address[handshake] = None
        if len(of_address) > HANDSHAKES_PER_ADDRESS_MAX:
            _evict_one(of_address)
        elif len(self._all) > HANDSHAKES_MAX:
            _evict_one(self._all)

    def remove(self, handshake: Unfinished) -> None:
        """Remove one that has finished or gone."""
        self._all.pop(handshake, None)
        of_address = self._by_address.get(handshake.address)
        if of_address is not None:
            of_address.pop(handshake, None)
            if not of_address:
                del self._by_address[handshake.address]


def has_unread(bare: socket.socket | None) -> bool:
    """Say whether something lies in a socket that nobody has read yet."""
    if bare is None or bare.fileno() < 0:
        return False
    looking = select.poll()
    looking.register(bare.fileno(), select.POLLIN)
    return bool(looking.poll(0))


def _evict_one(waiting: OrderedDict[Unfinished, None]) -> None:
    """Evict the oldest, but none whose head lies unread: it is let in, or refused, in the next turn.

    In a storm thousands are accepted before the first is read; from one address, too, where a proxy stands
    in front.
    """
    for handshake in tuple(islice(waiting, LOOKS_MAX)):
        if not handshake.has_unread:
            handshake.evict()
            return
        waiting.move_to_end(handshake)


class Handshake(asyncio.Protocol):
    """One socket before its upgrade; ``admit`` is called with it once its head is whole."""

    __slots__ = (
        "_admit",
        "_data",
        "_timer",
        "_waiting",
        "address",
        "certificate",
        "head",
        "is_gone",
        "is_tls",
        "rest",
        "transport",
    )

    def __init__(self, waiting: Waiting, admit: Callable[[Handshake], None]) -> None:
        self._waiting = waiting
        self._admit = admit
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.address = ""
        self.head: Head | None = None
        self.rest = b""
        self.is_gone = False
        self.is_tls = False
        self.certificate: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock of this handshake."""
        # uvloop's transports have the methods of asyncio.Transport without inheriting from it.
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        inside = transport.get_extra_info("ssl_object")
        self.is_tls = inside is not None
        # It was checked against the authorities that we trust; the desk decides what it is worth.
        self.certificate = inside.getpeercert(binary_form=True) if inside is not None else None
        bare = transport.get_extra_info("socket")
        if bare is not None:
            # picows' read buffer grows with what one read may bring: megabytes, where the system decides.
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._too_slow)
        self._waiting.add(self)

    def data_received(self, data: bytes) -> None:
        """Gather the head; what follows it is kept for picows."""
        if self.head is not None or self.is_gone:
            return
        self._data += data
        end = self._data.find(HEAD_END)
        if (len(self._data) if end < 0 else end) > HEAD_BYTES_MAX:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request head is too long")
            return
        if end < 0:
            return
        end += len(HEAD_END)
        try:
            self.head = Head(self._data[:end])
        except ValueError as wrong:
            self.refuse(HTTPStatus.BAD_REQUEST, str(wrong))
            return
        self.rest, self._data = self._data[end:], b""
        assert self.transport is not None
        self.transport.pause_reading()
        self._settle()
        self._admit(self)

    def eof_received(self) -> bool:
        """Close when the peer has nothing more to say."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget this handshake."""
        self.is_gone = True
        self._settle()

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.remove(self)

    @property
    def has_unread(self) -> bool:
        """Say whether the peer has sent something that nobody has read yet."""
        return has_unread(None if self.transport is None else self.transport.get_extra_info("socket"))

    def _too_slow(self) -> None:
        self.refuse(HTTPStatus.REQUEST_TIMEOUT, "the request head did not come in time")

    def evict(self) -> None:
        """Go at once: others wait at the door."""
        self.is_gone = True
        self._settle()
        if self.transport is not None:
            self.transport.abort()

    def refuse(self, status: HTTPStatus, detail: str, *headers: tuple[str, str]) -> None:
        """Answer with an HTTP error in plain words and close."""
        if self.is_gone or self.transport is None:
            return
        self.is_gone = True
        self._settle()
        body = f"{detail}\n".encode()
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in headers),
        ]
        self.transport.write("\r\n".join(lines).encode() + HEAD_END + body)
        self.transport.close()

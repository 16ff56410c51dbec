"""Connecting to an operator safely: each step by itself, and what went wrong in our own words.

One name is resolved once; each address that it leads to is judged; the socket goes to one of those, while
TLS and the operator still hear the name. So nobody can show us a good address first and a bad one after it.
What the other side says in its refusals, certificates or banners reaches nobody: whoever may type URLs
could otherwise read what stands where.

Must stay ignorant of OCPP: messages are bytes here.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import re
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import urlsplit

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_connect,
)

from voltyard.kernel.errors import Unavailable
from voltyard.kernel.hops import HEADER
from voltyard.kernel.limits import FRAME_BYTES_MAX, PIECES_MAX, SEND_BUFFER_BYTES_MAX
from voltyard.kernel.log import logger
from voltyard.operators.addresses import (
    DEFAULT_PORTS,
    Address,
    UrlRefused,
    address_for,
    authority,
    check_host,
    check_url,
    may_reach,
    read_address,
)

DIAL_S = 10.0
"""How long an operator may take from the first question for its address to the open websocket."""
LOOK_S = 1.0
"""How long a connection that is only tried out is watched: some operators open it and close it at once."""
CLOSE_S = 5.0
"""How long a socket that is being closed may take to deliver what was sent."""
TRIED_MAX = 4
"""Addresses of one name that are tried; all of them are judged."""
RESOLVING_MAX = 8
"""Names that are asked for at a time."""
READ_BUFFER_BYTES = 4 * 1024
VIA_HEADER = HEADER
"""Names the installations that a charger came through, so that two that point at each other notice."""

_picows_log = logging.getLogger("voltyard.picows")
_picows_log.setLevel(logging.ERROR)
_STATUS: Final = re.compile(rb"HTTP/\d\.\d (\d{3})(?!\d)")

Listener = TypeVar("Listener", bound=WSListener)
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Step(StrEnum):
    """How far a connection has come, in the order of time."""

    URL = "url"
    DNS = "dns"
    ADDRESS = "address"
    TCP = "tcp"
    TLS = "tls"
    HTTP = "http"
    SUBPROTOCOL = "subprotocol"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one step; ``status`` is the HTTP status, where there was one."""

    step: Step
    is_ok: bool
    why: str
    status: int | None = None


class DialFailed(Unavailable):
    """The operator cannot be reached, or does not let this charger in.

    ``step`` says how far it came. ``is_lasting`` says that trying again soon is no use, since somebody has to
    change something first.
    """

    title = "The operator cannot be reached"

    def __init__(
        self,
        detail: str = "",
        *,
        step: str = Step.TCP.value,
        http_status: int | None = None,
        is_lasting: bool = False,
    ) -> None:
        super().__init__(detail, step=step, http_status=http_status, is_lasting=is_lasting)
        self.step = Step(step)
        self.http_status = http_status
        self.is_lasting = is_lasting

    @property
    def why(self) -> str:
        """Say in one sentence what went wrong."""
        return self.detail


@dataclass(frozen=True, slots=True)
class Target:
    """Where to, as whom, and whom to believe.

    ``password``: None sends no Authorization at all; the user name is the identity unless another is given.
    ``authority_pem``: only what it has signed is trusted then. ``host_name`` takes the place of the URL's
    host in TLS and in the Host header. ``own_doors`` are host:port of this installation as others see it,
    ``own_ports`` those that it listens at on this machine.
    """

    url: str
    identity: str
    is_identity_appended: bool = True
    subprotocols: tuple[str, ...] = ("ocpp1.6",)
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    client_certificate_pem: str | None = None
    client_key_pem: str | None = field(default=None, repr=False)
    authority_pem: str | None = None
    host_name: str | None = None
    via: tuple[str, ...] = ()
    is_private_allowed: bool = False
    own_doors: frozenset[str] = frozenset()
    own_ports: frozenset[int] = frozenset()


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the machine's resolver for the addresses of a name. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """Asks the machine's resolver in threads of its own.

    A name whose servers do not answer keeps a thread for long; nothing else is to wait for that.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING_MAX, thread_name_prefix="names")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name. Raises: OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _resolved, host, port)
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _resolved(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def connect(
    target: Target,
    listener_factory: Callable[[], Listener],
    *,
    timeout_s: float = DIAL_S,
    resolve: Resolve = resolve,
) -> tuple[WSTransport, Listener]:
    """Open a websocket to an operator.

    The listener is made once the operator has agreed to everything. It may hear messages, and even the end,
    before this returns.

    Raises: DialFailed.
    """
    return await _Dialling(target, listener_factory, resolve).run(timeout_s)


async def try_out(
    target: Target, *, timeout_s: float = DIAL_S, look_s: float = LOOK_S, resolve: Resolve = resolve
) -> tuple[Attempt, ...]:
    """Try out a connection, say what came of each step, and close it without a word of OCPP.

    Many operators drop a charger's older connection for a newer one: a link whose line is open should be
    judged by that one.
    """
    closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    dialling = _Dialling(target, lambda: Ears(lambda _: None, closed.set_result), resolve)
    try:
        _, ears = await dialling.run(timeout_s)
    except DialFailed:
        return tuple(dialling.attempts)
    try:
        await asyncio.wait([closed], timeout=look_s)
        if closed.done():
            opened = Attempt(Step.OPEN, False, f"the connection was opened, but {closed.result()}")
        else:
            opened = Attempt(Step.OPEN, True, "the connection is open and stays open")
            ears.close(WSCloseCode.OK.value, "")
            await asyncio.wait([closed], timeout=CLOSE_S)
    finally:
        ears.abort()
    return (*dialling.attempts, opened)


class _Dialling(Generic[Listener]):
    """One connection on its way: the step it is at, and what came of those before."""

    def __init__(self, target: Target, listener_factory: Callable[[], Listener], resolve: Resolve) -> None:
        self.attempts: list[Attempt] = []
        self._target = target
        self._listener_factory = listener_factory
        self._resolve = resolve
        self._step = Step.URL
        self._host = self._name = ""
        self._port = 0
        self._is_handed_over = False
        self._is_over = False

    async def run(self, timeout_s: float) -> tuple[WSTransport, Listener]:
        """Go through all steps. Raises: DialFailed."""
        try:
            return await self._within(timeout_s)
        except DialFailed as wrong:
            self.attempts.append(Attempt(wrong.step, False, wrong.why, wrong.http_status))
            raise
        finally:
            self._is_over = True

    async def _within(self, timeout_s: float) -> tuple[WSTransport, Listener]:
        until_s = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(until_s):
                return await self._go(until_s)
        except TimeoutError as wrong:
            raise self._failed(self._too_slow()) from wrong

    async def _go(self, until_s: float) -> tuple[WSTransport, Listener]:
        url, headers = self._read()
        self._passed("the address can be used", Step.DNS)
        addresses = await self._look_up()
        self._passed(f"{self._host} is known", Step.ADDRESS)
        self._judge(addresses)
        self._passed(f"{self._host} may be connected to", Step.TCP)
        reached = await self._reach(addresses, until_s)
        is_kept = False
        try:
            context = None
            self._refuse_ourselves(reached)
            self._passed(f"port {self._port} of {self._host} answers", Step.HTTP)
            if url.startswith("wss:"):
                self._step = Step.TLS
                context = await self._context()
            transport, listener = await self._upgrade(reached, url, headers, context)
            is_kept = True
        finally:
            if not is_kept:
                self._is_over = True
                self._drop(reached)
        return transport, listener

    def _passed(self, why: str, following: Step, status: int | None = None) -> None:
        self.attempts.append(Attempt(self._step, True, why, status))
        self._step = following

    def _failed(self, why: str, *, status: int | None = None, is_lasting: bool = False) -> DialFailed:
        return DialFailed(why, step=self._step.value, http_status=status, is_lasting=is_lasting)

    def _too_slow(self) -> str:
        if self._step is Step.DNS:
            return f"nobody says in time which address {self._host} has"
        if self._step is Step.TLS:
            return f"{self._host} does not finish its TLS handshake in time"
        if self._step is Step.HTTP:
            return f"{self._host} takes the connection, but does not answer in time"
        return f"nobody answers at port {self._port} of {self._host}"

    # --- url, dns, address ---

    def _read(self) -> tuple[str, _Headers]:
        """Return where to go and what to say there, before anybody is asked anything."""
        target = self._target
        try:
            url = check_url(target.url, is_private_allowed=target.is_private_allowed)
            url = address_for(url, target.identity, is_identity_appended=target.is_identity_appended)
            parts = urlsplit(url)
            self._host = parts.hostname or ""
            self._name = check_host(target.host_name, "/host_name") if target.host_name else self._host
        except UrlRefused as wrong:
            raise self._failed(wrong.detail, is_lasting=True) from wrong
        self._port = parts.port or dict(DEFAULT_PORTS)[parts.scheme]
        if authority(self._host, self._port) in target.own_doors:
            raise self._failed("this is the address of this installation itself", is_lasting=True)
        headers = _Headers(
            [
                ("Host", authority(self._name, parts.port)),
                ("Sec-WebSocket-Protocol", ", ".join(target.subprotocols)),
            ],
            self._secured if parts.scheme == "wss" else None,
        )
        if target.via:
            headers.pairs.append((VIA_HEADER, ", ".join(target.via)))
        if target.password is not None:
            user = target.identity if target.username is None else target.username
            pair = base64.b64encode(user.encode() + b":" + target.password).decode()
            headers.pairs.append(("Authorization", f"Basic {pair}"))
        if not all(value.isascii() and value.isprintable() for _, value in headers.pairs):
            # picows writes them down as they are: a line break would begin a header of its own.
            raise self._failed("a subprotocol or a name in the list of hops cannot be sent", is_lasting=True)
        return url, headers

    async def _look_up(self) -> tuple[Address, ...]:
        literal = read_address(self._host)
        if literal is not None:
            return (literal,)
        try:
            found = await self._resolve(self._host, self._port)
        except (OSError, UnicodeError) as wrong:
            why = f"there is no address for the name {self._host}: check how it is spelled"
            raise self._failed(why) from wrong
        addresses = tuple(read_address(text) for text in found)
        known = tuple(address for address in addresses if address is not None)
        if not found or len(known) < len(found):  # an address with a zone is one of this machine's links
            raise self._failed(f"there is no address for the name {self._host} that could be used")
        return known

    def _judge(self, addresses: Sequence[Address]) -> None:
        allowed = self._target.is_private_allowed
        if not all(may_reach(address, is_private_allowed=allowed) for address in addresses):
            raise self._failed(
                f"{self._host} leads to an address that operators may not have here: enter a public one, or"
                " ask whoever runs this installation whether private networks are to be allowed",
                is_lasting=True,
            )

    # --- tcp ---

    async def _reach(self, addresses: Sequence[Address], until_s: float) -> socket.socket:
        """Connect to the first address that answers; each gets its share of the time that is left."""
        loop = asyncio.get_running_loop()
        tried = _by_turns(addresses)[:TRIED_MAX]
        wrong: OSError | None = None
        for number, address in enumerate(tried):
            share_s = (until_s - loop.time()) / (len(tried) - number)
            fresh = socket.socket(
                socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM
            )
            try:
                fresh.setblocking(False)
                async with asyncio.timeout(share_s):
                    await loop.sock_connect(fresh, (str(address), self._port))
            except OSError as failure:  # and TimeoutError, which is one
                fresh.close()
                wrong = failure
            except BaseException:
                fresh.close()
                raise
            else:
                return fresh
        if isinstance(wrong, ConnectionRefusedError):
            raise self._failed(f"nobody listens at port {self._port} of {self._host}") from wrong
        raise self._failed(f"nobody answers at port {self._port} of {self._host}") from wrong

    def _refuse_ourselves(self, reached: socket.socket) -> None:
        """Leave a socket that ended up at this machine, before a byte is sent, unless that is allowed."""
        try:
            peer, own = (
                ipaddress.ip_address(name[0]) for name in (reached.getpeername(), reached.getsockname())
            )
        except OSError as wrong:
            raise self._failed(f"port {self._port} of {self._host} closed at once") from wrong
        if (peer == own or peer.is_loopback) and (
            not self._target.is_private_allowed or self._port in self._target.own_ports
        ):
            self._step = Step.ADDRESS
            del self.attempts[-1]
            raise self._failed(f"{self._host} leads to this installation itself", is_lasting=True)

    def _hand_over(self, reached: socket.socket) -> socket.socket:
        self._is_handed_over = True
        return reached

    def _drop(self, reached: socket.socket) -> None:
        """End a socket; what the loop has taken over, it closes by itself once it sees the end."""
        if not self._is_handed_over:
            reached.close()
            return
        with suppress(OSError):  # it may have done so already
            reached.shutdown(socket.SHUT_RDWR)

    # --- tls ---

    async def _context(self) -> ssl.SSLContext:
        try:
            return await asyncio.to_thread(client_context, self._target)
        except (OSError, ValueError) as wrong:
            raise self._failed(
                "the certificates kept for this operator cannot be used: enter the authority, the client"
                " certificate and its key again, as PEM and without a passphrase",
                is_lasting=True,
            ) from wrong

    def _secured(self) -> None:
        self._passed("the connection is encrypted, and the operator's certificate is trusted", Step.HTTP)

    def _insecure(self, wrong: ssl.SSLError) -> DialFailed:
        if isinstance(wrong, ssl.SSLCertVerificationError):
            return self._failed(_DISTRUST.get(wrong.verify_code, _DISTRUSTED))
        if wrong.reason in _NO_TLS:
            return self._failed(f"port {self._port} of {self._host} does not speak TLS")
        if wrong.reason in _OLD_TLS:
            return self._failed("the operator speaks only versions of TLS that are no longer safe")
        return self._failed(f"the operator broke off the TLS handshake: it may {self._guess()}")

    def _guess(self) -> str:
        has_certificate = self._target.client_certificate_pem is not None
        return "not accept the client certificate" if has_certificate else "ask for a client certificate"

    # --- http, subprotocol ---

    async def _upgrade(
        self, reached: socket.socket, url: str, headers: _Headers, context: ssl.SSLContext | None
    ) -> tuple[WSTransport, Listener]:
        over_tls: dict[str, Any] = {} if context is None else {"server_hostname": self._name}
        try:
            transport, listener = await ws_connect(
                self._agree,
                url,
                ssl_context=context,
                websocket_handshake_timeout=None,  # the whole has one limit
                logger_name=_picows_log,
                enable_auto_pong=False,  # picows' own pongs would hide the pings, which are signs of life
                max_frame_size=FRAME_BYTES_MAX,
                extra_headers=headers,
                max_redirects=0,
                read_buffer_init_size=READ_BUFFER_BYTES,
                socket_factory=lambda _: self._hand_over(reached),
                use_aiofastnet=False,  # the standard library's TLS, which is watched more closely
                **over_tls,
            )
        except ssl.SSLError as wrong:
            raise self._insecure(wrong) from wrong
        except WSHandshakeError as wrong:
            raise self._not_let_in(wrong) from wrong
        except (OSError, WSError) as wrong:
            raise self._broken_off() from wrong
        # picows tells a socket that closed before the answer by a listener that is missing.
        if cast("WSListener | None", listener) is None:
            raise self._broken_off()
        return transport, cast("Listener", listener)

    def _broken_off(self) -> DialFailed:
        if self._step is Step.TLS:
            return self._failed(
                f"port {self._port} of {self._host} broke off the TLS handshake: it may not speak TLS, or it"
                f" may {self._guess()}"
            )
        why = "the operator closed the connection without an answer"
        if any(attempt.step is Step.TLS for attempt in self.attempts):
            why += f": it may {self._guess()}"  # TLS 1.3 tells only then
        return self._failed(why)

    def _agree(self, request: WSUpgradeRequest, response: WSUpgradeResponse) -> Listener:
        """Check what the operator agreed to. Raises: DialFailed."""
        if self._is_over:
            raise self._failed(self._too_slow())
        if "Sec-WebSocket-Extensions" in response.headers:  # RFC 6455 §4.1: none was offered
            raise self._failed("the operator's answer does not keep to the rules of websockets")
        self._passed("the operator lets this charger in", Step.SUBPROTOCOL, 101)
        chosen = response.headers.getall("Sec-WebSocket-Protocol", [])
        offered = self._target.subprotocols
        if len(chosen) != 1 or chosen[0] not in offered:
            # 1.6-J §3.1.2: an operator that speaks none of them opens the socket without any, and closes it.
            spoken = " or ".join(offered)
            raise self._failed(f"the operator does not speak {spoken} at this address", is_lasting=True)
        self._passed(f"the operator speaks {chosen[0]}", Step.OPEN)
        return self._listener_factory()

    def _not_let_in(self, wrong: WSHandshakeError) -> DialFailed:
        # From the bytes, since picows knows the registered statuses only, and proxies have more.
        found = _STATUS.match(wrong.raw_header or b"")
        if found is None:
            return self._failed(
                f"what answers at port {self._port} of {self._host} is not a websocket server"
            )
        status = int(found[1])
        if status == 101:
            return self._failed("the operator's answer does not keep to the rules of websockets")
        why = _REFUSALS.get(status) or _REFUSALS_OF_KIND.get(status // 100) or _NO_WEBSOCKET
        is_passing = (status >= 500 and status != _CIRCLE) or status in _PASSING
        return self._failed(f"HTTP {status}: {why}", status=status, is_lasting=not is_passing)


_DISTRUSTED: Final = (
    "the operator's certificate is signed by nobody who is trusted: enter its authority if it has its own"
)
_WRONG_NAME: Final = "the operator's certificate is made out to another name: check the host in the address"
# By the numbers of OpenSSL (X509_V_ERR_…).
_DISTRUST: Final[Mapping[int, str]] = {
    9: "the operator's certificate is not valid yet",
    10: "the operator's certificate has expired",
    23: "the operator's certificate was revoked",
    62: _WRONG_NAME,
    64: _WRONG_NAME,
}
_NO_TLS: Final = frozenset(
    ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")
)
_OLD_TLS: Final = frozenset(("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW"))
_NO_WEBSOCKET: Final = "the operator opens no websocket at this address"
_REFUSALS: Final[Mapping[int, str]] = {
    400: "the operator cannot read the request: check the address and the identity",
    401: "the operator refused the user name or password",
    403: "the operator does not allow this charger in",
    404: "the operator knows no charger with this identity at this address",
    410: "the operator no longer knows this address",
    426: _NO_WEBSOCKET,
    429: "the operator wants fewer attempts, and will be asked more slowly",
    508: "this address leads in a circle, back to this installation itself",
}
_REFUSALS_OF_KIND: Final[Mapping[int, str]] = {
    3: "the operator points to another address, which is not followed: enter that one",
    5: "the operator is out of order just now",
}
_PASSING: Final = frozenset((408, 425, 429))
_CIRCLE: Final = 508


class _Headers:
    """Headers for picows, which asks for them when TCP and TLS stand: so we know that they do."""

    def __init__(self, pairs: list[tuple[str, str]], secured: Callable[[], None] | None) -> None:
        self.pairs = pairs
        self._secured = secured

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Give each header once."""
        if self._secured is not None:
            self._secured()
        return iter(self.pairs)


def client_context(target: Target) -> ssl.SSLContext:
    """Return whom we believe and what we show. Reads files. Raises: OSError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if target.authority_pem is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=target.authority_pem)
        # Whoever pins an issuer does not have to know the root above it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if target.client_certificate_pem is not None:
        with tempfile.TemporaryDirectory(prefix="voltyard-tls-") as folder:
            # The library reads files only. The folder is ours alone, and gone at once.
            chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
            chain.write_text(target.client_certificate_pem)
            key.touch(mode=0o600)
            key.write_text(target.client_key_pem or "")
            # Without an answer here, a key with a passphrase would ask for it at the terminal.
            context.load_cert_chain(chain, key, password=lambda: "")
    return context


def _by_turns(addresses: Sequence[Address]) -> list[Address]:
    """Return addresses of both kinds by turns, so that one kind that leads nowhere does not use up all."""
    first = [address for address in addresses if address.version == addresses[0].version]
    others = [address for address in addresses if address.version != addresses[0].version]
    return [address for pair in zip_longest(first, others) for address in pair if address is not None]


class Ears(WSListener):
    """The websocket of a line: whole text messages in, ``on_closed`` once with the reason in words.

    Strict, as operators are servers that should know better: no binary frames, no extensions. ``heard_at``
    is the time of the last sign of life, by ``monotonic``, the loop's time unless another is given.
    """

    def __init__(
        self,
        on_message: Callable[[bytes], None],
        on_closed: Callable[[str], None],
        *,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._monotonic = monotonic or asyncio.get_running_loop().time
        self._transport: WSTransport | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._reason = ""
        self._is_told = False
        self._closing: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None
        self.heard_at = self._monotonic()
        self.is_blocked = False
        """The peer does not take what is sent."""

    @property
    def is_open(self) -> bool:
        """Tell whether something can still be said."""
        return self._transport is not None and not self._reason and not self._transport.is_disconnected

    @property
    def silent_s(self) -> float:
        """Return how long the peer has given no sign of life."""
        return self._monotonic() - self.heard_at

    @property
    def unsent_bytes(self) -> int:
        """Return how much waits for the peer to take it."""
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return 0
        return transport.underlying_transport.get_write_buffer_size()

    # --- picows calls these ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        self.heard_at = self._monotonic()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame."""
        self.heard_at = self._monotonic()
        if self._reason:
            return
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._break(WSCloseCode.PROTOCOL_ERROR, "the operator uses an extension that was not agreed on")
        elif kind is WSMsgType.TEXT or kind is WSMsgType.CONTINUATION:
            self._piece(frame, is_first=kind is WSMsgType.TEXT)
        elif kind is WSMsgType.BINARY:
            self._break(WSCloseCode.UNSUPPORTED_DATA, "the operator sent a message that is not text")
        elif kind is WSMsgType.PING:
            # Who pings and takes no answers would fill the memory with them.
            if not self.is_blocked:
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            # Its number only: the text beside it is the peer's.
            self._break(
                WSCloseCode.OK, f"the operator closed the connection (code {frame.get_close_code().value})"
            )

    def _piece(self, frame: WSFrame, *, is_first: bool) -> None:
        if is_first == bool(self._pieces):
            self._break(WSCloseCode.PROTOCOL_ERROR, "the operator sent the pieces of a message out of order")
            return
        self._pieces.append(frame.get_payload_as_bytes())
        self._size += len(self._pieces[-1])
        # Empty pieces weigh nothing and would pile up for ever, so they are counted too.
        if self._size > FRAME_BYTES_MAX or len(self._pieces) > PIECES_MAX:
            self._break(WSCloseCode.MESSAGE_TOO_BIG, "the operator sent a message that is too long")
        elif frame.fin:
            whole = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._heard(whole)

    def _heard(self, whole: bytes) -> None:
        try:
            self._on_message(whole)
        except Exception:
            logger("lines").exception("a message was not taken")
            self._break(WSCloseCode.INTERNAL_ERROR, "a message could not be taken")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        if self._closing is not None:
            self._closing.cancel()
        self._pieces.clear()
        fault = _fault(transport)
        if not self._reason and fault is not None:
            self._reason = f"the operator broke the rules of websockets (code {fault})"
            self._ending = asyncio.ensure_future(_forget_fault(transport))
        self._tell(self._reason or "the connection broke off")

    def pause_writing(self) -> None:
        """The peer does not take what we send."""
        self.is_blocked = True

    def resume_writing(self) -> None:
        """The peer takes again."""
        self.is_blocked = False

    # --- the line calls these ---

    def send(self, data: bytes) -> None:
        """Write one text message; nothing happens once the end has begun."""
        if not self.is_open or self._transport is None:
            return
        self._transport.send(WSMsgType.TEXT, data)
        if self.unsent_bytes > SEND_BUFFER_BYTES_MAX:
            self._reason = "the operator does not take what it is sent"
            self.abort()

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        if self.is_open and self._transport is not None:
            self._transport.send_ping()

    def pause(self) -> None:
        """Take nothing more from the peer for now."""
        if self.is_open and self._transport is not None:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Take from the peer again."""
        if self.is_open and self._transport is not None:
            self._transport.underlying_transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """Say good-bye and close; ``on_closed`` hears the reason once the socket is gone."""
        self._break(WSCloseCode(code), reason or "the connection was closed", said=reason)

    def abort(self) -> None:
        """Drop the socket at once."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._reason = self._reason or "the connection was given up"
            self._transport.underlying_transport.abort()

    def _break(self, code: WSCloseCode, reason: str, *, said: str = "") -> None:
        """End the connection for a reason; the first one counts."""
        self._pieces.clear()
        if self._reason or self._transport is None:
            return
        self._reason = reason
        if self._transport.is_disconnected:
            return
        self._transport.send_close(code, said.encode()[:120])
        self._transport.disconnect()
        # A peer that takes nothing would keep the socket, and what it was to get, for ever.
        self._closing = asyncio.get_running_loop().call_later(CLOSE_S, self.abort)

    def _tell(self, reason: str) -> None:
        if not self._is_told:
            self._is_told = True
            self._on_closed(reason)


def _fault(transport: WSTransport) -> int | None:
    """Return the code with which picows ended the connection by itself."""
    ended: Any = transport.close_handshake  # and None, whatever its stub says
    return None if ended is None or ended.sent is None else ended.sent.code.value


async def _forget_fault(transport: WSTransport) -> None:
    """Look at the fault that picows keeps in a future, which the loop would complain about otherwise."""
    with suppress(Exception):
        await transport.wait_disconnected()

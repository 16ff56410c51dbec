"""The gateway's server: listens for chargers, asks the desk, holds an exchange for each socket."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from http import HTTPStatus
from zoneinfo import ZoneInfo

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from voltyard.gateway import identity
from voltyard.gateway.exchange import Exchange
from voltyard.gateway.handshake import Handshake, Waiting
from voltyard.gateway.proxies import Proxies
from voltyard.gateway.recorder import Recorder
from voltyard.gateway.takeover import take_over
from voltyard.gateway.tls import Offer, TlsListener
from voltyard.kernel import hops
from voltyard.kernel.bus import Bus, read_event
from voltyard.kernel.clock import Clock
from voltyard.kernel.errors import Unavailable, VoltyardError
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import (
    ANSWER_BUDGET_S,
    FRAME_BYTES_MAX,
    LISTENER_QUEUE_MAX,
    PIECES_MAX,
    PING_S,
    SILENCE_S,
    SILENCE_UNPINGED_S,
    TLS_REFRESH_S,
)
from voltyard.kernel.log import logger
from voltyard.kernel.memory import give_back
from voltyard.quirks import find
from voltyard.speech import Entry, GatewayStarted, Hello, Superseded, Thanked, Welcome

TICK_S = 1.0
MANY_GONE = 500
GIVE_BACK_PAUSE_S = 60.0
CLOSE_S = 5.0
"""How long a socket that is being closed may take to deliver what was sent."""
BACKLOG = 4_096
SERVICE_RESTART = 1012
TEXTS = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})


class ChargerSocket(WSListener):
    """A picows socket, as its exchange sees it; puts the pieces of fragmented messages together."""

    def __init__(self, exchange: Exchange, gone: Callable[[Exchange], None], recorder: Recorder) -> None:
        self._exchange = exchange
        self._gone = gone
        self._recorder = recorder
        self._transport: WSTransport | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    # --- picows calls these ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        self._exchange.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame."""
        kind = frame.msg_type
        if kind is WSMsgType.BINARY:
            self._recorder.flaw(self._exchange.charger_id, "binary_frame", "", b"")
        if kind in TEXTS and frame.fin and not self._pieces:
            # Some chargers send their text in binary frames (quirk Q14).
            self._exchange.received(frame.get_payload_as_bytes())
        elif kind in TEXTS or kind is WSMsgType.CONTINUATION:
            self._piece(frame)
        elif kind is WSMsgType.CLOSE:
            self.close(WSCloseCode.OK.value, "")
        else:
            self._exchange.alive()

    def _piece(self, frame: WSFrame) -> None:
        self._pieces.append(frame.get_payload_as_bytes())
        self._size += len(self._pieces[-1])
        # Empty pieces weigh nothing and would pile up for ever, so they are counted too.
        if self._size > FRAME_BYTES_MAX or len(self._pieces) > PIECES_MAX:
            self._pieces.clear()
            self._exchange.leave(WSCloseCode.MESSAGE_TOO_BIG.value, "message too long")
        elif frame.fin:
            whole = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._exchange.received(whole)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._gone(self._exchange)
        self._exchange.lost("the connection closed")

    def pause_writing(self) -> None:
        """The peer does not take what we send."""
        self._exchange.blocked(is_blocked=True)

    def resume_writing(self) -> None:
        """The peer takes again."""
        self._exchange.blocked(is_blocked=False)

    # --- the exchange calls these ---

    def send(self, data: bytes) -> None:
        """Write one text message."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, data)

    def close(self, code: int, reason: str) -> None:
        """Say good-bye and close."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode(code), reason.encode()[:120])
            self._transport.disconnect()
            # A peer that takes nothing would keep the socket, and what it was to get, for ever.
            asyncio.get_running_loop().call_later(CLOSE_S, self.abort)

    def pause(self) -> None:
        """Take nothing more from the peer for now."""
        if self._transport is not None:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Take from the peer again."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        if self._transport is not None:
            self._transport.send_ping()

    def abort(self) -> None:
        """Drop a peer that gives no sign of life."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.abort()


@dataclass(frozen=True, slots=True)
class TlsListening:
    """Where chargers come over TLS, and what makes what is offered there; ``ready`` is told the port."""

    port: int
    offer: Callable[[], Awaitable[ssl.SSLContext]]
    ready: Callable[[int], None]


class Gateway:
    """All chargers' sockets of one process."""

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        host: str,
        port: int,
        trusted_proxies: str = "",
        tls: TlsListening | None = None,
        installation: str = "",
    ) -> None:
        self._bus = bus
        self._installation = installation
        self._tls = tls
        self._proxies = Proxies(trusted_proxies)
        self._clock = clock
        self._host = host
        self._port = port
        self._name = f"{socket.gethostname()}:{port}"[:64]
        self._recorder = Recorder(bus=bus, clock=clock)
        self._waiting = Waiting()
        self._sockets: dict[str, tuple[Exchange, ChargerSocket]] = {}
        self._most = 0
        self._give_back_at = 0.0
        self._group: asyncio.TaskGroup | None = None
        self._log = logger("gateway")

    @property
    def open_sockets(self) -> int:
        """Count the sockets of chargers that are open."""
        return len(self._sockets)

    async def run(self, ready: Callable[[int], None]) -> None:
        """Serve chargers until cancelled; ``ready`` is called with the port once they may come."""
        await self._announce()
        superseded = await self._bus.listen("charger.*.superseded", queue_max=LISTENER_QUEUE_MAX)
        loop = asyncio.get_running_loop()
        server: asyncio.Server | None = None
        try:
            # Before the group, which would wrap a port that is taken in an error of its own.
            over_tls = await self._listen_for_tls(self._tls) if self._tls is not None else None
            try:
                server = await loop.create_server(
                    lambda: Handshake(self._waiting, self._admit), self._host, self._port, backlog=BACKLOG
                )
            except OSError as wrong:
                reason = os.strerror(wrong.errno or 0)
                why = f"the OCPP port {self._port} of {self._host} cannot be used: {reason}"
                raise OSError(f"{why}; choose another one with --ocpp-port or VOLTYARD_OCPP_PORT") from wrong
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    if self._tls is not None and over_tls is not None:
                        listener, offer = over_tls
                        group.create_task(listener.run())
                        group.create_task(self._renew(self._tls, offer))
                        self._tls.ready(listener.port)
                    ready(server.sockets[0].getsockname()[1])
                    group.create_task(self._tick())
                    group.create_task(self._recorder.run())
                    while True:
                        _, event = await superseded.next()
                        heard = read_event(event, Superseded)
                        if heard is not None:
                            self._supersede(heard)
                finally:
                    self._group = None  # it takes no task any more
        finally:
            if server is not None:
                server.close()
            await superseded.stop()
            await self._say_good_bye()

    async def _listen_for_tls(self, tls: TlsListening) -> tuple[TlsListener, Offer]:
        """Open the port for chargers over TLS. Raises: OSError where it, or a certificate, cannot be used."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        offer = Offer(await tls.offer())
        try:
            listening = socket.create_server((self._host, tls.port), family=family, backlog=BACKLOG)
        except OSError as wrong:
            why = f"the TLS port {tls.port} of {self._host} cannot be used: {os.strerror(wrong.errno or 0)}"
            raise OSError(
                f"{why}; choose another one with --ocpp-tls-port or VOLTYARD_OCPP_TLS_PORT"
            ) from wrong
        return TlsListener(listening, self._waiting, self._admit, offer), offer

    async def _renew(self, tls: TlsListening, offer: Offer) -> None:
        """Offer the newest certificates to whoever comes from then on."""
        while True:
            await self._clock.sleep(TLS_REFRESH_S)
            try:
                offer.context = await tls.offer()
            except (OSError, VoltyardError) as wrong:  # the old one may still be good for a while
                self._log.error("the certificate for TLS was not renewed", why=str(wrong))
            except Exception:
                self._log.exception("the certificate for TLS was not renewed")

    async def _announce(self) -> None:
        """Tell the desk that this gateway holds no sockets yet; wait for a desk if there is none."""
        while True:
            try:
                await self._bus.request(
                    "central.gateway", GatewayStarted(self._name), Thanked, timeout_s=ANSWER_BUDGET_S
                )
            except Unavailable as wrong:
                self._log.warning("waiting for the desk", why=str(wrong))
                await self._clock.sleep(TICK_S)
            else:
                return

    async def _say_good_bye(self) -> None:
        """Close all sockets, and tell the desk once for all of them."""
        for exchange, _ in tuple(self._sockets.values()):
            exchange.leave(SERVICE_RESTART, "restarting")
        await self._recorder.flush()
        with suppress(VoltyardError):
            await self._bus.request(
                "central.gateway", GatewayStarted(self._name), Thanked, timeout_s=ANSWER_BUDGET_S
            )

    # --- letting in ---

    def _admit(self, handshake: Handshake) -> None:
        if self._group is None:
            handshake.refuse(
                HTTPStatus.SERVICE_UNAVAILABLE, "not available just now, come again", ("Retry-After", "10")
            )
            return
        self._group.create_task(self._let_in(handshake))

    async def _let_in(self, handshake: Handshake) -> None:
        try:
            await self._try_let_in(handshake)
        except Unavailable as wrong:
            self._log.warning("not let in", address=handshake.address, why=str(wrong))
            handshake.refuse(
                HTTPStatus.SERVICE_UNAVAILABLE, "not available just now, come again", ("Retry-After", "10")
            )
        except Exception:
            self._log.exception("handshake failed", address=handshake.address)
            handshake.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")

    async def _try_let_in(self, handshake: Handshake) -> None:
        head = handshake.head
        assert head is not None
        if not head.is_upgrade:
            handshake.refuse(
                HTTPStatus.UPGRADE_REQUIRED,
                "this is the chargers' door: open a websocket here, with subprotocol ocpp1.6",
                ("Upgrade", "websocket"),
            )
            return
        if head.flaw:
            handshake.refuse(HTTPStatus.BAD_REQUEST, head.flaw, ("Sec-WebSocket-Version", "13"))
            return
        name = identity.identity(head.target)
        if not name:
            handshake.refuse(HTTPStatus.NOT_FOUND, "the address must end with the charger's identity")
            return
        protocol = identity.subprotocol(head.headers.get("sec-websocket-protocol"))
        if protocol == "":
            # 1.6-J §3.1.2: complete the handshake without a subprotocol, then close at once.
            self._upgrade(handshake, None, _Farewell())
            return
        via = hops.read(head.headers.get(hops.HEADER.lower()))
        if hops.is_loop(via, self._installation):
            why = "this charger came through this installation before: two operators point at each other"
            handshake.refuse(HTTPStatus.LOOP_DETECTED, why)
            return
        client = self._proxies.client(
            handshake.address, head.headers, is_tls=handshake.is_tls, certificate=handshake.certificate
        )
        welcome = await self._bus.request(
            "central.hello",
            Hello(
                name,
                session_id := new_id("soc"),
                self._name,
                identity.SUBPROTOCOL,
                client.address,
                identity.password(head.headers.get("authorization"), name),
                client.is_tls,
                client.certificate,
                flaws=identity.flaws(
                    head.target,
                    head.headers.get("sec-websocket-protocol"),
                    head.headers.get("authorization"),
                    name,
                ),
                via=via,
            ),
            Welcome,
            timeout_s=ANSWER_BUDGET_S,
        )
        match welcome.entry:
            case Entry.WELCOME:
                self._open(handshake, protocol, welcome, session_id)
            case Entry.UNKNOWN:
                handshake.refuse(HTTPStatus.NOT_FOUND, f"no charger {name!r} is registered here")
            case Entry.WRONG_PASSWORD:
                handshake.refuse(
                    HTTPStatus.UNAUTHORIZED,
                    "the password of this charger is missing or wrong",
                    ("WWW-Authenticate", 'Basic realm="ocpp"'),
                )
            case Entry.NOT_TLS:
                self._log.warning("came without TLS", identity=name, address=client.address)
                handshake.refuse(
                    HTTPStatus.FORBIDDEN, "this charger's security profile asks for TLS: come with wss"
                )
            case Entry.NO_CERTIFICATE | Entry.WRONG_CERTIFICATE:
                self._log.warning("came without a good certificate", identity=name, address=client.address)
                handshake.refuse(
                    HTTPStatus.FORBIDDEN,
                    "this charger's security profile asks for a valid client certificate in its own name",
                )
            case Entry.FULL:
                handshake.refuse(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "too many unknown chargers wait already: register this one first",
                    ("Retry-After", "600"),
                )

    def _open(self, handshake: Handshake, protocol: str | None, welcome: Welcome, session_id: str) -> None:
        assert self._group is not None
        charger_id = welcome.charger_id
        exchange = Exchange(
            charger_id,
            session_id,
            bus=self._bus,
            clock=self._clock,
            recorder=self._recorder,
            quirks=find(welcome.vendor, welcome.model, welcome.firmware),
            zone=_zone(welcome.timezone),
        )
        charger_socket = ChargerSocket(exchange, self._gone, self._recorder)
        before = self._sockets.get(charger_id)
        self._sockets[charger_id] = (exchange, charger_socket)
        if before is not None:
            before[0].supersede()
        if not self._upgrade(handshake, protocol, charger_socket):
            self._gone(exchange)
            exchange.lost("the connection closed during its handshake")
        self._group.create_task(exchange.run())

    def _upgrade(self, handshake: Handshake, protocol: str | None, listener: WSListener) -> bool:
        """Hand the socket over to picows; False when it is gone already."""
        transport = handshake.transport
        if handshake.is_gone or transport is None or transport.is_closing():
            return False
        assert handshake.head is not None
        take_over(transport, handshake.head.canonical() + handshake.rest, listener, protocol)
        handshake.rest = b""
        with suppress(RuntimeError):  # the peer may have gone, or the exchange may have paused it
            transport.resume_reading()
        return True

    def _gone(self, exchange: Exchange) -> None:
        held = self._sockets.get(exchange.charger_id)
        if held is not None and held[0] is exchange:
            del self._sockets[exchange.charger_id]

    def _supersede(self, heard: Superseded) -> None:
        held = self._sockets.get(heard.charger_id)
        # Events may come late: only an exchange that is older than the news leaves. Ids sort by time.
        if held is not None and held[0].session_id < heard.session_id:
            self._gone(held[0])
            held[0].supersede()

    # --- once a second ---

    async def _tick(self) -> None:
        """Let deadlines pass, ping the silent and drop the dead."""
        while True:
            await self._clock.sleep(TICK_S)
            now = self._clock.monotonic()
            self._give_back(now)
            for exchange, charger_socket in tuple(self._sockets.values()):
                try:
                    self._look_after(exchange, charger_socket, now)
                except Exception:
                    self._log.exception("exchange failed", charger_id=exchange.charger_id)
                    charger_socket.abort()

    def _give_back(self, now: float) -> None:
        """Return the memory of sockets once very many of them have gone, not more than once a minute."""
        self._most = max(self._most, len(self._sockets))
        if self._most - len(self._sockets) >= MANY_GONE and now >= self._give_back_at:
            self._most = len(self._sockets)
            self._give_back_at = now + GIVE_BACK_PAUSE_S
            give_back()

    def _look_after(self, exchange: Exchange, charger_socket: ChargerSocket, now: float) -> None:
        exchange.tick(now)
        silent_s = now - exchange.heard_at
        if not exchange.quirks.is_pinged:  # its heartbeats have to do (quirk Q13)
            if silent_s >= SILENCE_UNPINGED_S:
                charger_socket.abort()
        elif silent_s >= SILENCE_S:
            charger_socket.abort()
        elif silent_s >= PING_S and not exchange.is_pinged:
            exchange.is_pinged = True
            charger_socket.ping()


def _zone(name: str) -> tzinfo:
    """Return a time zone, UTC for one that this machine does not know."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):
        return UTC


class _Farewell(WSListener):
    """A socket that is closed as soon as it is open."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Close at once."""
        transport.send_close(WSCloseCode.PROTOCOL_ERROR, b"offer the subprotocol ocpp1.6")
        transport.disconnect()

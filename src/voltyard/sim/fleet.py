"""Virtual chargers on real sockets: one runner per charger, and many of them with a life of their own.

Stands on the ``websockets`` library, while the server stands on another one: two independent ends.
"""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from voltyard.kernel.clock import Clock, SystemClock
from voltyard.sim import files
from voltyard.sim.charger import Disconnect, Effect, Log, Reboot, Send, VirtualCharger, WakeAt
from voltyard.sim.plans import Arrive, Finish, Leave, Show, Step, life
from voltyard.sim.station import Nameplate
from voltyard.sim.upkeep import Download, Upload

SUBPROTOCOL = Subprotocol("ocpp1.6")
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0
HANDSHAKE_S = 15.0
TLS_PROFILE = 2
CERTIFICATE_PROFILE = 3
PROFILE_TRIES = 3
"""How often a charger tries a new security profile before it falls back to the old one."""
CONNECTS_PER_S = 25
"""How fast a fleet comes online, so that it does not test its own machine first."""

REFUSALS: Mapping[int, str] = {
    401: "the password is wrong or missing",
    403: "this charger is not let in so: it may have to come over TLS or with a certificate",
    404: "the server does not know this address or charger",
    429: "too many attempts",
    503: "the server is not ready",
}

Say = Callable[[str], None]


class SimulatedClock:
    """Simulated time: the real time at the start, from then on ``speed`` times as fast."""

    def __init__(self, clock: Clock, speed: float = 1.0) -> None:
        assert speed > 0
        self._clock = clock
        self._began_at = clock.now()
        self._began_s = clock.monotonic()
        self.speed = speed

    def now(self) -> datetime:
        """Return the simulated instant."""
        return self._began_at + timedelta(seconds=(self._clock.monotonic() - self._began_s) * self.speed)

    def real_s(self, simulated_s: float) -> float:
        """Return how long this takes for us."""
        return max(0.0, simulated_s / self.speed)

    async def sleep(self, simulated_s: float) -> None:
        """Wait for a span of simulated time."""
        await self._clock.sleep(self.real_s(simulated_s))


def charger_url(url: str, identity: str) -> str:
    """Return where a charger connects: the URL, a slash, its identity."""
    return f"{url.rstrip('/')}/{quote(identity, safe='')}"


def basic_header(identity: str, password: str) -> str:
    """Return the value of the Authorization header (1.6-J §6.2)."""
    return "Basic " + base64.b64encode(f"{identity}:{password}".encode()).decode()


def reconnect_pause_s(failures: int, chance: random.Random) -> float:
    """Return the pause before the next attempt: doubling up to a minute, jittered by half."""
    longest_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * (1 << min(failures, 10)))
    return longest_s * chance.uniform(0.5, 1.0)


def tls_of(machine: VirtualCharger) -> ssl.SSLContext:
    """Return what a charger brings for TLS: the roots it trusts, those of its machine if it has none."""
    roots = "".join(machine.wallet.roots())
    context = ssl.create_default_context(cadata=roots or None)
    if machine.wallet.chain:
        with tempfile.TemporaryDirectory(prefix="voltyard-sim-") as folder:
            # The library reads files only; they are gone at once.
            chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
            chain.write_text(machine.wallet.chain)
            key.touch(mode=0o600)
            key.write_text(machine.wallet.key)
            context.load_cert_chain(chain, key)
    return context


class Runner:
    """One virtual charger and its socket; the only place where its effects are done."""

    def __init__(
        self,
        machine: VirtualCharger,
        url: str,
        password: str | None,
        clock: SimulatedClock,
        say: Say,
        tls: ssl.SSLContext | None = None,
        tls_url: str = "",
    ) -> None:
        self.machine = machine
        self.identity = machine.plate.identity
        self._url = charger_url(url, self.identity)
        self._tls_url = charger_url(tls_url, self.identity) if tls_url else ""
        self._password = password
        self._clock = clock
        self._say = say
        self._tls = tls
        self._chance = random.Random(f"pauses of {self.identity}")
        self._wake_at: datetime | None = None
        self._changed = asyncio.Event()
        self._wake_connector = asyncio.Event()
        self._outgoing: asyncio.Queue[str | None] | None = None
        self._aborts = False
        self._failures = 0
        self._files: asyncio.Queue[Download | Upload] = asyncio.Queue()

    def act(self, action: Callable[[VirtualCharger, datetime], list[Effect]]) -> None:
        """Let something happen to the charger now, and do what follows."""
        for effect in action(self.machine, self._clock.now()):
            self._do(effect)
        self._changed.set()
        self._wake_connector.set()

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send(text):
                if self._outgoing is not None:
                    self._outgoing.put_nowait(text)
            case WakeAt(at):
                self._wake_at = at
            case Log(text):
                self._say(f"{self.identity}: {text}")
            case Disconnect(reason):
                self._say(f"{self.identity}: disconnects: {reason}")
                self._failures = 0
                # A cut network or power says no goodbye.
                self._aborts = reason == "network cut"
                if self._outgoing is not None:
                    self._outgoing.put_nowait(None)
            case Reboot(after_s):
                self._say(f"{self.identity}: reboots, back in {after_s:g} s")
            case Download() | Upload():
                self._files.put_nowait(effect)

    async def run(self) -> None:
        """Live until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick())
            tasks.create_task(self._stay_connected())
            tasks.create_task(self._move_files())

    async def _move_files(self) -> None:
        """Leave and fetch files, one after the other."""
        while True:
            wanted = await self._files.get()
            if isinstance(wanted, Upload):
                await self._upload(wanted)
            else:
                await self._download(wanted)

    async def _upload(self, wanted: Upload) -> None:
        wrong = await files.put(wanted.url, wanted.name, wanted.data, self._tls)
        self._say(f"{self.identity}: {wanted.name} {f'was not sent: {wrong}' if wrong else 'is sent'}")
        self.act(lambda machine, now: machine.uploaded(not wrong, now))

    async def _download(self, wanted: Download) -> None:
        data, wrong = await files.get(wanted.url, self._tls)
        self._say(f"{self.identity}: firmware {f'was not had: {wrong}' if wrong else 'is here'}")
        good = data is not None and files.is_genuine(data, wanted.signature, wanted.certificate)
        self.act(lambda machine, now: machine.downloaded(data, good, now))

    async def _tick(self) -> None:
        while True:
            self._changed.clear()
            if self._wake_at is None:
                await self._changed.wait()
                continue
            delay_s = self._clock.real_s((self._wake_at - self._clock.now()).total_seconds())
            try:
                async with asyncio.timeout(delay_s):
                    await self._changed.wait()
            except TimeoutError:
                self._wake_at = None
                self.act(lambda machine, now: machine.tick(now))

    async def _stay_connected(self) -> None:
        while True:
            while not self.machine.may_connect:
                self._wake_connector.clear()
                await self._wake_connector.wait()
            if not await self._live_once():
                pause_s = reconnect_pause_s(self._failures, self._chance)
                self._failures += 1
                if self._failures >= PROFILE_TRIES and self.machine.is_trying_profile:
                    self.act(lambda machine, now: machine.fall_back(now))
                self._say(f"{self.identity}: tries again in {pause_s:.1f} s")
                await asyncio.sleep(pause_s)

    async def _live_once(self) -> bool:
        """Connect and stay as long as the connection does; False when it did not end by our own wish."""
        socket = await self._open()
        if socket is None:
            return False
        self._outgoing = asyncio.Queue()
        self._aborts = False
        if socket.subprotocol != SUBPROTOCOL:
            self._say(f"{self.identity}: the server did not choose {SUBPROTOCOL}")
        self.act(lambda machine, now: machine.connected(now))
        ended_by_us = False
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write(socket, self._outgoing))
            await self._read(socket)
            self._outgoing.put_nowait(None)
            ended_by_us = await writing
        self._outgoing = None
        self.act(lambda machine, now: machine.disconnected(now))
        return ended_by_us

    async def _open(self) -> ClientConnection | None:
        password = self.machine.password or self._password
        has_password = password is not None and self.machine.security_profile < CERTIFICATE_PROFILE
        headers = {"Authorization": basic_header(self.identity, password or "")} if has_password else {}
        ping_s = self.machine.ping_interval_s
        url = self._tls_url if self._tls_url and self.machine.security_profile >= TLS_PROFILE else self._url
        # Left out rather than None: for wss the library reads None as a contradiction.
        options: dict[str, Any] = {}
        if url.startswith("wss:"):
            options = {"ssl": self._tls or tls_of(self.machine)}
        try:
            return await connect(
                url,
                subprotocols=[SUBPROTOCOL],
                additional_headers=headers,
                user_agent_header="Voltyard-Sim",
                compression=None,
                open_timeout=HANDSHAKE_S,
                ping_interval=ping_s or None,
                close_timeout=2,
                proxy=None,
                **options,
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            why = REFUSALS.get(status, "for a reason of its own")
            self._say(f"{self.identity}: refused with {status} at {url}: {why}")
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as failed:
            self._say(f"{self.identity}: cannot reach {url}: {str(failed) or type(failed).__name__}")
        return None

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
                self._failures = 0
                self.act(lambda machine, now, text=text: machine.received(text, now))  # type: ignore[misc]
        except ConnectionClosed:
            pass  # Told below, with the clean ends.
        if not self._aborts:
            self._say(
                f"{self.identity}: connection closed {socket.close_code} {socket.close_reason}".rstrip()
            )

    async def _write(self, socket: ClientConnection, outgoing: asyncio.Queue[str | None]) -> bool:
        """Send what is queued; True when the charger itself ended the connection."""
        while True:
            text = await outgoing.get()
            if text is None:
                break
            try:
                await socket.send(text)
            except ConnectionClosed:
                return False
        if socket.close_code is not None:
            return False
        if self._aborts:
            socket.transport.abort()
        else:
            await socket.close()
        return True


async def run_charger(
    machine: VirtualCharger,
    url: str,
    password: str | None = None,
    *,
    clock: SimulatedClock | None = None,
    say: Say,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Keep one charger connected to the central system until cancelled."""
    await Runner(machine, url, password, clock or SimulatedClock(SystemClock()), say, tls).run()


async def live(runner: Runner, connector: int, steps: Iterable[Step], clock: SimulatedClock) -> None:
    """Let people and cars come to one connector."""
    for step in steps:
        await clock.sleep(step.after_s)
        runner.act(lambda machine, now, step=step: take_step(machine, connector, step, now))  # type: ignore[misc]


def take_step(machine: VirtualCharger, connector: int, step: Step, now: datetime) -> list[Effect]:
    """Do one step of a life plan."""
    match step:
        case Arrive(car=car):
            return machine.plug(connector, car, now)
        case Show(card=card):
            return machine.swipe(card, connector, now)
        case Finish(card=card) if machine.is_charging_session(connector):
            return machine.swipe(card, connector, now)
        case Leave():
            return machine.unplug(connector, now)
        case _:
            return machine.tick(now)


async def run_fleet(
    url: str,
    identities: Iterable[str],
    passwords: Mapping[str, str],
    *,
    say: Say,
    seed: int = 1,
    speed: float = 1.0,
    cards: tuple[str, ...],
    connectors: int = 1,
    clock: Clock | None = None,
) -> None:
    """Run many chargers with cars and drivers, all from one seed, until cancelled."""
    simulated = SimulatedClock(clock or SystemClock(), speed)
    async with asyncio.TaskGroup() as tasks:
        for index, identity in enumerate(identities):
            plate = Nameplate(identity, connectors=connectors, call_timeout_s=30 * speed)
            # The start is part of the ids, so that a second run of the same seed repeats none.
            started = int(simulated.now().timestamp() * 1000)
            machine = VirtualCharger(plate, hash((seed, index, started)), simulated.now())
            runner = Runner(machine, url, passwords.get(identity), simulated, say)
            tasks.create_task(runner.run())
            for connector in machine.connectors:
                steps = life(f"{seed}/{identity}/{connector}", cards)
                tasks.create_task(live(runner, connector, steps, simulated))
            await asyncio.sleep(1 / CONNECTS_PER_S)

"""How much one person or address may ask for in a minute, counted in this process."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.requests import HTTPConnection

from voltyard.kernel.buckets import Buckets, Left
from voltyard.kernel.clock import Clock
from voltyard.kernel.errors import TooMany
from voltyard.kernel.limits import LOGINS_PER_MINUTE_MAX, REQUESTS_PER_MINUTE_MAX

STREAMS_PER_USER_MAX = 32
LETTERS_PER_MINUTE_MAX = 5
LOGINS_ADDRESSES_MAX = 10
"""A person's bucket lets this many addresses try as often as each may, so that one cannot empty it."""
NEIGHBOURS_V6 = 64
"""One household or office holds a whole /64 of IPv6 addresses."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Limits:
    """The limits of one door."""

    def __init__(
        self,
        clock: Clock,
        *,
        trusted_proxies: str = "",
        requests_per_minute: int = REQUESTS_PER_MINUTE_MAX,
        logins_per_minute: int = LOGINS_PER_MINUTE_MAX,
    ) -> None:
        self._clock = clock
        self._trusted = networks(trusted_proxies)
        self._requests_per_minute = requests_per_minute
        self._requests = Buckets.per_minute(requests_per_minute)
        self._logins = Buckets.per_minute(logins_per_minute)
        self._logins_of_person = Buckets.per_minute(logins_per_minute * LOGINS_ADDRESSES_MAX)
        self._letters = Buckets.per_minute(LETTERS_PER_MINUTE_MAX)
        self._streams: Counter[str] = Counter()

    def request(self, who: str) -> tuple[Left, dict[str, str]]:
        """Count a request; return what is left and the headers that tell it."""
        left = self._requests.take(who, self._clock.monotonic())
        return left, {
            "RateLimit-Policy": f'"requests";q={self._requests_per_minute};w=60',
            "RateLimit": f'"requests";r={left.remaining};t={left.full_after_s}',
        }

    def log_in(self, address: str, email: str) -> None:
        """Count an attempt to log in, for the address and then for the person. Raises: TooMany.

        What the address may not try counts against nobody: else one address could lock out many people.
        """
        now_s = self._clock.monotonic()
        left = self._logins.take(address, now_s)
        if left.is_allowed:
            left = self._logins_of_person.take(email.strip().lower()[:254], now_s)
        if not left.is_allowed:
            raise TooMany("too many attempts to log in: wait a moment", retry_after_s=left.retry_after_s)

    def prove(self, request: HTTPConnection, who: str) -> None:
        """Count an attempt to prove that one is somebody, by a password or a code. Raises: TooMany."""
        self.log_in(self.address(request), who)

    def letter(self, request: HTTPConnection) -> None:
        """Count a letter that somebody has written to an address that they name. Raises: TooMany."""
        left = self._letters.take(self.address(request), self._clock.monotonic())
        if not left.is_allowed:
            raise TooMany("too many letters were asked for: wait a moment", retry_after_s=left.retry_after_s)

    @contextmanager
    def stream(self, user_id: str) -> Iterator[None]:
        """Count an open stream of events for as long as it lasts. Raises: TooMany."""
        if self._streams[user_id] >= STREAMS_PER_USER_MAX:
            raise TooMany(
                f"at most {STREAMS_PER_USER_MAX} streams of events may be open: close one", retry_after_s=60
            )
        self._streams[user_id] += 1
        try:
            yield
        finally:
            self._streams[user_id] -= 1
            if self._streams[user_id] <= 0:
                del self._streams[user_id]

    def address(self, request: HTTPConnection) -> str:
        """Return where a request comes from; a proxy's word counts only if we trust that proxy."""
        peer = request.client.host if request.client is not None else ""
        forwarded = [
            part.strip()
            for header in request.headers.getlist("x-forwarded-for")
            for part in header.split(",")
            if part.strip()
        ]
        return neighbourhood(client_address(peer, forwarded, self._trusted))


def networks(text: str) -> tuple[Network, ...]:
    """Read addresses and networks with commas between them."""
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def read_address(text: str) -> Address | None:
    """Return the address that a text is, None for anything else; one of IPv4 however it is wrapped."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the nearest address that is not one of our own proxies."""
    for hop in (peer, *reversed(forwarded)):
        address = read_address(hop)
        if address is None:
            return peer
        if not any(address in network for network in trusted):
            return str(address)
        peer = str(address)
    return peer


def neighbourhood(address: str) -> str:
    """Return what counts as one address: an IPv6 address with all its near neighbours."""
    parsed = read_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, NEIGHBOURS_V6), strict=False))
    return address

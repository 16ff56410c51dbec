"""Where a line may go: what is read out of an operator's URL, and which addresses are somebody else's.

People type these URLs. Without the rules below, whoever may add an operator could knock at every machine
that this one reaches, and read from the answers what stands there.

Nothing is resolved or reached here: ``dial.py`` does that, and asks ``may_reach`` about each address that a
name leads to, each time anew.

Invariants:
- a URL that was accepted is accepted again, and stays as it is;
- the identity is appended once: what ends with it stays as it is;
- an address within an address is judged as itself: mapped, 6to4, Teredo and NAT64 hide nothing.
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from voltyard.chargers import transfers
from voltyard.kernel.errors import Invalid

URL_LENGTH_MAX = 500
HOST_LENGTH_MAX = 253
LOW_PORTS = frozenset((80, 443))
PORT_HIGH_MIN = 1024
INTERNAL_PORTS = frozenset(
    (1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4222, 5432, 5672, 5900, 5984, 5985, 5986,
     6222, 6379, 6443, 8086, 8222, 8500, 9042, 9092, 9100, 9200, 9300, 10250, 10255, 11211, 15672, 26379,
     27017, 27018, 27019)
)  # fmt: skip
"""Databases, queues and the controls of machines: no charger was ever sent there."""
DEFAULT_PORTS: Final = (("ws", 80), ("wss", 443))

Address = IPv4Address | IPv6Address

_NEVER_V4: Final = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("168.63.129.16/32"),  # Azure's inner services stand at a public address
    IPv4Network("169.254.0.0/16"),  # link-local, and with it the metadata of most clouds
    IPv4Network("192.0.0.0/24"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("240.0.0.0/4"),
)
_NEVER_V6: Final = (
    IPv6Network("::/128"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::254/128"),  # the metadata of Amazon's cloud
    IPv6Network("ff00::/8"),
)
_PRIVATE_V4: Final = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.0.2.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("198.18.0.0/15"),
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
)
# Of IPv6 it is the other way round: only this part was ever given out (RFC 4291 §2.4), but for …
_GLOBAL_V6: Final = IPv6Network("2000::/3")
# … protocols and documentation.
_SPECIAL_V6: Final = (
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
)
_NAT64: Final = IPv6Network("64:ff9b::/96")

_NETLOC: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:]*)(:[0-9]*)?")
_INSIDE: Final = (
    ".arpa", ".corp", ".home", ".internal", ".intranet", ".lan", ".local", ".localdomain", ".localhost",
    ".private",
)  # fmt: skip
"""How names end that mean something inside a network only."""
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_READ_DIFFERENTLY: Final = frozenset("ßẞς")
"""Two standards of international names disagree about these, and so about the host that is meant."""
_KEPT_IN_PATH: Final = "/:@!$&'()*+,;=%"
_KEPT_IN_QUERY: Final = _KEPT_IN_PATH + "?"


class UrlRefused(Invalid):
    """An operator's URL, or the host name given beside it, is none that Voltyard connects to."""

    title = "Voltyard does not connect to this address"


def _refused(problem: str, pointer: str = "/url") -> UrlRefused:
    return UrlRefused(problem, ((pointer, problem),))


def check_url(url: str, *, is_private_allowed: bool) -> str:
    """Return an operator's URL in its normal form.

    Raises: UrlRefused, with what to write instead.
    """
    url = url.strip()
    if not url:
        raise _refused("enter the operator's address, such as wss://ocpp.example.com/chargers")
    if len(url) > URL_LENGTH_MAX:
        raise _refused(f"the address is longer than {URL_LENGTH_MAX} characters: enter a shorter one")
    if any(letter.isspace() or not letter.isprintable() or letter == "\\" for letter in url):
        raise _refused("the address holds blanks, backslashes or characters that cannot be seen: remove them")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as wrong:
        raise _refused("host and port of the address cannot be read: check them") from wrong
    scheme = _scheme(parts.scheme, is_private_allowed=is_private_allowed)
    if "@" in parts.netloc:
        raise _refused("enter user name and password in the fields for them, not within the address")
    if "#" in url:
        raise _refused("remove the # and what follows it: a websocket address has no such part")
    if not parts.hostname or _NETLOC.fullmatch(parts.netloc) is None:
        raise _refused("the address names no host: write it as wss://ocpp.example.com/chargers")
    host = check_host(parts.hostname)
    literal = read_address(host)
    if literal is not None and not may_reach(literal, is_private_allowed=is_private_allowed):
        raise _refused("this address is not one of the public internet: enter the operator's public one")
    default = dict(DEFAULT_PORTS)[scheme]
    port = default if port is None else port
    if not _may_use(port, is_private_allowed=is_private_allowed):
        raise _refused(f"port {port} is not used for chargers: ask the operator for the port, 443 as a rule")
    normal = scheme + "://" + authority(host, None if port == default else port)
    normal += _encoded(parts.path, _KEPT_IN_PATH)
    if parts.query:
        normal += "?" + _encoded(parts.query, _KEPT_IN_QUERY)
    if len(normal) > URL_LENGTH_MAX:
        raise _refused(f"the address is longer than {URL_LENGTH_MAX} characters: enter a shorter one")
    return normal


def check_file_url(url: str, *, is_private_allowed: bool) -> None:
    """Check where an operator would have a charger fetch a file, or leave one.

    The charger goes there, in a network that is its owner's and not ours: so names are judged by what they
    are called, since they may lead elsewhere there than here. A user name and a password may stand in the
    address, as they do in OCPP 1.6 §6.25. Raises: UrlRefused.
    """
    parts = transfers.check_address(url)
    host = check_host(urlsplit(parts).hostname or "")
    literal = read_address(host)
    is_inside = (
        host.endswith(_INSIDE) or "." not in host
        if literal is None
        else not may_reach(literal, is_private_allowed=is_private_allowed)
    )
    if is_inside and not (literal is None and is_private_allowed):
        raise _refused("this address is not one of the public internet")


def _scheme(scheme: str, *, is_private_allowed: bool) -> str:
    if scheme == "wss" or (scheme == "ws" and is_private_allowed):
        return scheme
    if scheme == "ws":
        raise _refused("write wss:// in place of ws://: an operator is reached over TLS only")
    if scheme in {"http", "https"}:
        raise _refused(f"write wss:// in place of {scheme}://")
    raise _refused("the address must begin with wss://")


def check_host(host: str, pointer: str = "/url") -> str:
    """Return a host name, or an address, in its normal form: small letters, international names in ASCII.

    Raises: UrlRefused, at ``pointer``.
    """
    if not _READ_DIFFERENTLY.isdisjoint(host):
        raise _refused("write the host name in its ASCII form, which begins with xn--", pointer)
    try:
        name = host.encode("idna").decode().lower() if not host.isascii() else host.lower()
    except UnicodeError as wrong:
        raise _refused("the host name is not a valid one: check it", pointer) from wrong
    if read_address(name) is not None:
        return str(ipaddress.ip_address(name))
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > HOST_LENGTH_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise _refused("the host name is not a valid one: check it", pointer)
    if _NUMBER.fullmatch(labels[-1]):
        # inet_aton reads 127.1, 0x7f000001 and 2130706433 as addresses; people read them as something else.
        raise _refused("write the address as four numbers between 0 and 255", pointer)
    return name


def read_address(text: str) -> Address | None:
    """Return the address that a text is, None for a name; one with a zone is neither."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def authority(host: str, port: int | None) -> str:
    """Return host and port as they stand in a URL."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def _may_use(port: int, *, is_private_allowed: bool) -> bool:
    if is_private_allowed:
        return port > 0
    return port in LOW_PORTS or (port >= PORT_HIGH_MIN and port not in INTERNAL_PORTS)


def _encoded(text: str, kept: str) -> str:
    return quote(_LONE_PERCENT.sub("%25", text), safe=kept)


def address_for(url: str, identity: str, *, is_identity_appended: bool) -> str:
    """Return where the charger of this identity connects: a query stays, the identity is encoded.

    A URL that ends with the identity already, in its path or its query, stays as it is.
    """
    if not is_identity_appended:
        return url
    front, mark, query = url.partition("?")
    path = urlsplit(front).path
    if mark and unquote(query.rpartition("&")[2].rpartition("=")[2]) == identity:
        return url
    if unquote(path.rstrip("/").rpartition("/")[2]) == identity:
        return url
    return f"{front.removesuffix('/')}/{quote(identity, safe='')}{mark}{query}"


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the public internet, by all the wrappings it may come in."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in (*_NEVER_V4, *_PRIVATE_V4))
    if inner := _inner(address):
        return all(is_public(each) for each in inner)
    return (
        address.scope_id is None
        and address in _GLOBAL_V6
        and not any(address in network for network in _SPECIAL_V6)
    )


def may_reach(address: Address, *, is_private_allowed: bool) -> bool:
    """Tell whether a line may connect to an address.

    Where private networks are allowed, those are meant that somebody runs; what belongs to a cloud or to
    the wire itself (metadata, link-local, multicast, reserved) is refused there as well.
    """
    if not is_private_allowed:
        return is_public(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NEVER_V4)
    if inner := _inner(address):
        return all(may_reach(each, is_private_allowed=True) for each in inner)
    return address.scope_id is None and not any(address in network for network in _NEVER_V6)


def _inner(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the older addresses that traffic to this one may end up at."""
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return ()

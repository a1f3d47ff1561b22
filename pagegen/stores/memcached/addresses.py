"""Where a memcached server is, and the one way to write it.

The text of an address is the server's name in the ring, so the same server must have the same text
in every process: hosts are in lower case, IPv6 addresses in their shortest form, and the port is
always there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6
from typing import Any, Final

from ...errors import ConfigError, StoreError

#: One entry of what ``getaddrinfo`` returns: family, type, protocol, name, address.
Resolved = tuple[int, int, int, str, tuple[Any, ...]]

#: memcached's own port.
DEFAULT_PORT: Final = 11211
REMEDY: Final = 'Write "HOST", "HOST:PORT", "[IPV6]:PORT" or the path of a unix socket'


@dataclass(frozen=True, slots=True)
class Address:
    """One server: ``host`` and ``port``, or the ``path`` of a unix socket; the others are empty.

    ``text`` is how it is called in the ring, in logs and in statistics.
    """

    text: str
    host: str = ""
    port: int = 0
    path: str = ""


def parse_address(given: str) -> Address:
    """``h``, ``h:11211``, ``[::1]:11211``, ``::1``, ``/run/mc.sock``; raises ``ConfigError``."""
    text = given.strip()
    path = text.removeprefix("unix:")
    if path.startswith("/"):
        return Address(path, path=path)
    if "@" in text:  # what stands before it is not told
        raise ConfigError(
            f"'…@{text.rpartition('@')[2]}' names a user or a password, which memcached knows none "
            "of over this protocol",
            REMEDY,
            field="store",
        )
    try:
        host, port = _host_and_port(text)
    except ValueError as error:
        raise ConfigError(f"{given!r} is no server: {error}", REMEDY, field="store") from None
    shown = f"[{host}]" if ":" in host else host
    return Address(f"{shown}:{port}", host=host, port=port)


def parse_addresses(given: Sequence[str]) -> tuple[Address, ...]:
    """All of them, in the order given; raises ``ConfigError`` for none at all or one twice."""
    addresses = tuple(map(parse_address, given))
    if not addresses:
        raise ConfigError("no memcached server is named", REMEDY, field="store")
    names = [address.text for address in addresses]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the server {name} is named twice", "Name it once", field="store")
    return addresses


def _host_and_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError("the brackets do not fit")
        return _ipv6(host), _port(rest.removeprefix(":")) if rest else DEFAULT_PORT
    if text.count(":") > 1:
        return _ipv6(text), DEFAULT_PORT
    host, colon, port = text.partition(":")
    if not host or not host.isascii() or not host.isprintable() or set(host) & set(" /\\@?#[]"):
        raise ValueError("there is no host's name in it")
    return host.lower(), _port(port) if colon else DEFAULT_PORT


def _ipv6(text: str) -> str:
    return IPv6Address(text).compressed


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65_535):
        raise ValueError(f"{text!r} is no port")
    return int(text)


def choose(found: Sequence[Resolved]) -> Resolved:
    """The one place that a host's name stands for, out of what ``getaddrinfo`` found.

    IPv4 first, as ``localhost`` is often ``::1`` too and memcached seldom listens there. Raises
    ``StoreError`` for a name of several machines: each process would keep tokens on another one.
    """
    for family in (AF_INET, AF_INET6):
        places = {entry[4]: entry for entry in found if entry[0] == family}
        if len(places) > 1:
            hosts = ", ".join(sorted(str(place[0]) for place in places))
            raise StoreError(f"one name stands for several servers ({hosts}): name each of them")
        if places:
            return places.popitem()[1]
    raise StoreError("the name of the server has no address")

"""Which addresses a delivery may connect to, decided on the address itself at the moment of connecting.

A name can resolve to anything, and to something else a second later; and a URL may hold an address that no
resolver is asked about. So the check sits where the socket is made (`socket_factory`), which sees every
address: names, literals, and spellings such as `http://2130706433`.
"""

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

AddrInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
"""One result of `socket.getaddrinfo`."""

_TUNNELS = tuple(
    ipaddress.ip_network(net)
    for net in (
        "64:ff9b::/96",  # NAT64: carries any IPv4 address; `is_global` calls it global
        "64:ff9b:1::/48",  # NAT64, local use
        "2002::/16",  # 6to4, likewise
        "2001::/32",  # Teredo
        "::/96",  # IPv4-compatible
        "fec0::/10",  # site-local, deprecated
    )
)


class AddressRefused(OSError):
    """The receiver's address is one that deliveries do not connect to."""

    def __init__(self) -> None:
        # One text for all addresses: aiohttp shows a single error when all are alike.
        super().__init__(errno.EACCES, "address refused")


def is_public(address: str) -> bool:
    """Whether *address* (as getaddrinfo gives it) belongs to the public internet.

    Private, loopback, link-local (cloud metadata), carrier NAT, multicast, reserved and tunnelled ranges do not.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in net for net in _TUNNELS):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def guard(allow_private: bool) -> Callable[[AddrInfo], socket.socket]:
    """A socket factory for `aiohttp.TCPConnector` that raises AddressRefused for what is not public."""

    def make(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allow_private and not is_public(str(address[0])):
            raise AddressRefused
        return socket.socket(family=family, type=kind, proto=protocol)

    return make

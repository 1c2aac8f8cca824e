"""Which addresses a host on the web has, and which of them may be spoken to. Opens no connection.

Whoever lets others name URLs must not become their way into the own network: the address that was
looked at is the one that is connected to, since a name may stand for another address a moment later
(DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from roi_cls.base.background import run_in_background

_IPv4 = ipaddress.IPv4Address
_IPv6 = ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address


class AddressError(Exception):
    """Carries reason and remedy to the one place that knows the URL."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Address:
    """Where a host can be connected to."""

    family: int
    """``AF_INET`` or ``AF_INET6``."""
    place: tuple[object, ...]
    """As ``socket.connect`` takes it: the numeric address, the port, and for IPv6 two more."""


def find_addresses(
    host: str, port: int, timeout_s: float, *, allow_private: bool
) -> tuple[Address, ...]:
    """Return the addresses of a host that may be connected to, at least one.

    Args:
        host: Name or numeric address.
        port: On it.
        timeout_s: Seconds that looking the name up may take.
        allow_private: Whether also addresses within the own network may be spoken to.

    Raises:
        AddressError: The host is not known, or none of its addresses may be spoken to.
        TimeoutError: The name servers do not answer in time.
    """
    # The system's resolver takes no time limit and can take half a minute.
    looking = run_in_background(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        found = looking.result(timeout_s)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name can be so
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise AddressError(
            f"its host {host!r} is not found ({why})", "Check the address and the network."
        ) from error
    places = [(Address(family, place), str(place[0])) for family, _, _, _, place in found]
    allowed = tuple(a for a, text in places if allow_private or is_public(text))
    if not allowed:
        numbers = ", ".join(dict.fromkeys(text for _, text in places))
        raise AddressError(
            f"its host {host!r} has the address {numbers}, which is not public",
            "Give --allow-private if it may be fetched from your own network.",
        )
    return allowed


def is_public(text: str) -> bool:
    """Whether a numeric address is one of the internet, not of this machine or its network.

    Where an IPv6 address carries an IPv4 address that is spoken to in the end, both are.
    """
    address = ipaddress.ip_address(text.partition("%")[0])  # %eth0: the network it is local to
    if isinstance(address, _IPv6):
        inner = _carried(address)
        if inner is not None:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _carried(address: _IPv6) -> _IPv4 | None:
    if address in _NAT64:
        return _IPv4(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)

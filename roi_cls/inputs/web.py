"""A picture from the web: its bytes, within limits of size and time, from public addresses.

Which addresses a host has, and which of them may be spoken to, is found out before connecting.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit

from roi_cls.base.background import run_in_background
from roi_cls.base.errors import ImageReadError
from roi_cls.base.version import __version__
from roi_cls.console.words import format_bytes
from roi_cls.roi.archives.opening import has_archive_name

_IPv4 = ipaddress.IPv4Address
_IPv6 = ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address
MOST_REDIRECTS = 5
_PIECE_BYTES = 2**16
_MOST_WORDS = 200  # characters of a server's that a message repeats
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PORTS = {"http": 80, "https": 443}
_HEADERS = {
    "User-Agent": f"roi-cls/{__version__}",
    "Accept": "image/*, video/*;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",  # a few bytes must not become gigabytes
    "Connection": "close",
}
_TRY_ANOTHER = "Check the address, or download it and give the file."


@dataclass(frozen=True, slots=True)
class WebLimits:
    """What fetching one URL may take."""

    timeout_s: float = 30.0
    """Seconds for all of it: looking the host up, redirects, every byte."""
    max_bytes: int = 100 * 10**6
    """Of the answer; a longer one is not read to its end."""
    allow_private: bool = False
    """Whether addresses of the own machine and network may be spoken to."""


class WebError(Exception):
    """Carries reason and remedy to the one place that knows the URL."""

    def __init__(self, reason: str, remedy: str = _TRY_ANOTHER) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def fetch(url: str, limits: WebLimits) -> bytes:
    """Return what a URL leads to.

    Redirects are followed, to ``MOST_REDIRECTS``; each is checked as the URL itself is.

    Raises:
        ImageReadError: It cannot be had within the limits; the message names URL, cause, remedy.
    """
    if has_archive_name(url.partition("?")[0].partition("#")[0]):
        raise ImageReadError(
            url, "an archive is not fetched from the web", "Download it and give the file."
        )
    deadline = time.monotonic() + limits.timeout_s
    here = url
    try:
        for _ in range(MOST_REDIRECTS + 1):
            answer = _get(here, limits, deadline)
            if isinstance(answer, bytes):
                return answer
            here = urljoin(here, answer)
        raise WebError(f"it redirects more than {MOST_REDIRECTS} times")
    except WebError as error:
        place = here if len(here) <= _MOST_WORDS else f"{here[:_MOST_WORDS]}…"
        reason = error.reason if here == url else f"it redirects to {place!r}: {error.reason}"
        raise ImageReadError(url, reason, error.remedy) from error
    except TimeoutError as error:
        reason = f"it took longer than {limits.timeout_s:g} s"
        raise ImageReadError(url, reason, "Try again, or raise --timeout.") from error
    except ssl.SSLCertVerificationError as error:
        reason = f"its server's certificate is not trusted ({error.verify_message})"
        raise ImageReadError(url, reason, "Check the address and this machine's clock.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        # Of an answer that is no HTTP these are the server's own words: see _read.
        words = " ".join(why.split())[:_MOST_WORDS]
        reason = f"the connection failed ({words if words.isprintable() else ascii(words)})"
        raise ImageReadError(url, reason, "Check the address and the network.") from error


def _get(url: str, limits: WebLimits, deadline: float) -> bytes | str:
    """Return the body, or where it redirects to."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise WebError(f"it is no proper URL ({error})") from error
    if parts.scheme not in _PORTS:
        raise WebError(f"{parts.scheme}:// is neither http:// nor https://")
    if not parts.hostname or parts.username is not None:
        raise WebError("it has a user name in it" if parts.hostname else "it has no host")
    host = parts.hostname
    addresses = find_addresses(host, port, _left(deadline), allow_private=limits.allow_private)
    with _connect(addresses, deadline) as plain:
        plain.settimeout(_left(deadline))
        is_safe = parts.scheme == "https"
        with _tls().wrap_socket(plain, server_hostname=host) if is_safe else plain as line:
            connection = http.client.HTTPConnection(host, port)
            # Given, so that the connection opens none by itself: it would look the name up anew.
            connection.sock = _TimedSocket(line, deadline)
            netloc = parts.netloc.encode("idna").decode()
            connection.request(
                "GET", _target(parts.path, parts.query), None, _HEADERS | {"Host": netloc}
            )
            with connection.getresponse() as response:
                return _read(response, limits, deadline)


def _target(path: str, query: str) -> str:
    whole = f"{path or '/'}?{query}" if query else path or "/"
    return quote(whole, safe="/%:=&?~#+!$,;'@()*[]")  # what is quoted already stays


def _read(response: http.client.HTTPResponse, limits: WebLimits, deadline: float) -> bytes | str:
    place = response.getheader("Location")
    if response.status in _REDIRECTS and place:
        # http.client took it for Latin-1
        return place.encode("latin-1", "replace").decode("utf-8", "replace")
    if response.status != http.client.OK:
        # Not the server's own words: they may be anything, also what moves a terminal's cursor.
        words = http.client.responses.get(response.status, "")
        raise WebError(f"the server answered {response.status} {words}".rstrip())
    size = response.length  # as promised; None: it is sent in chunks, or until the end
    pieces = bytearray()
    while len(pieces) <= limits.max_bytes and (size is None or size <= limits.max_bytes):
        _left(deadline)  # also where each piece comes at once
        piece = response.read(_PIECE_BYTES)
        if not piece:
            if size is not None and len(pieces) < size:
                raise WebError(f"it ended after {len(pieces)} of {size} bytes", "Try again.")
            return bytes(pieces)
        pieces += piece
    most = format_bytes(limits.max_bytes)
    raise WebError(f"it has more than {most}", "Raise --max-bytes, or download it first.")


def _connect(addresses: Sequence[Address], deadline: float) -> socket.socket:
    """Return a connection to the first address that answers."""
    for i, address in enumerate(addresses):
        line = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            line.settimeout(_left(deadline) / (len(addresses) - i))  # one may be silent
            line.connect(address.place)
        except OSError:
            line.close()
            if i + 1 == len(addresses):
                raise
        else:
            return line
    raise ValueError("addresses must not be empty")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _TimedSocket:
    """What HTTPConnection asks of a socket; all that is read and sent must be done in time.

    A time limit of a socket counts for each call anew: a server that sends a byte a second, also
    of its headers, would never reach it.
    """

    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line, self._deadline = line, deadline

    def sendall(self, data: bytes) -> None:
        self._line.settimeout(_left(self._deadline))
        self._line.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._line, self._deadline))

    def close(self) -> None:
        """Leave it to the ``with`` statement that owns it."""


class _TimedReader(io.RawIOBase):
    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line, self._deadline = line, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._line.settimeout(_left(self._deadline))
        return self._line.recv_into(buffer)  # type: ignore[arg-type]  # typeshed's Buffer is 3.12's


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
        WebError: The host is not known, or none of its addresses may be spoken to.
        TimeoutError: The name servers do not answer in time.
    """
    # The system's resolver takes no time limit and can take half a minute.
    looking = run_in_background(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        found = looking.result(timeout_s)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name can be so
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise WebError(
            f"its host {host!r} is not found ({why})", "Check the address and the network."
        ) from error
    places = [(Address(family, place), str(place[0])) for family, _, _, _, place in found]
    allowed = tuple(a for a, text in places if allow_private or is_public(text))
    if not allowed:
        numbers = ", ".join(dict.fromkeys(text for _, text in places))
        raise WebError(
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

"""Fetches the file behind a request's URL, from hosts that the service allows and from no private address.

A name is resolved once and every address is checked. The connection goes to a checked address, so no second look-up can give
another one. Each redirect is checked again in full. Proxies, cookies, .netrc and other settings of the environment are ignored.
The one module that imports requests and urllib3.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from queue import Empty, SimpleQueue
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError

from serving.base.errors import BadInput, DeadlinePassed, FetchFailed, TooLarge

# Written out, since Python's releases differ in the addresses that `ipaddress` calls global.
# Source: IANA's registries of special-purpose addresses.
NOT_PUBLIC_4 = [
    ip_network(each)
    for each in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' NAT, and clouds' metadata
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
GLOBAL_6 = ip_network("2000::/3")
NOT_PUBLIC_6 = [
    ip_network(each)
    for each in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
]
MAPPED = ip_network("::ffff:0:0/96")
NAT64 = ip_network("64:ff9b::/96")

MAX_URL_LENGTH = 8192  # characters
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_REDIRECTS = 3
MAX_ADDRESSES = 4  # of a host: tried one after the other, each for its share of the time
PIECE_BYTES = 65536  # bytes read at once
REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429)  # statuses by which a server says that a later request may do better
HEADERS = {"User-Agent": "monopod", "Accept": "image/*, video/*, */*;q=0.5", "Accept-Encoding": "identity"}
FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


def is_public(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address of the public internet.

    An IPv4 address inside an IPv6 address, mapped or for NAT64, counts as the IPv4 address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if "%" in text:
            return False
        if address not in MAPPED and address not in NAT64:
            return address in GLOBAL_6 and not any(address in network for network in NOT_PUBLIC_6)
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return not any(address in network for network in NOT_PUBLIC_4)


@dataclass(frozen=True)
class AllowedUrl:
    """A URL of an allowed host, taken apart. Its addresses are not known yet. path: with the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """The host, with its port where that is not the scheme's own."""
        host = _bracketed(self.host)
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: str) -> str:
        """Return the URL with an address in place of the host."""
        return f"{self.scheme}://{_bracketed(address)}:{self.port}{self.path}"


def allowed_url(url: str, hosts: Sequence[str], ports: Container[int]) -> AllowedUrl:
    """Return a client's URL, taken apart. hosts: in small letters, "*.example.com" for every name under it.

    Raises BadInput for a URL that cannot be read, and for a scheme, host or port that is not allowed.
    """
    if len(url) > MAX_URL_LENGTH or re.search(r"[\x00-\x20\x7f\\]", url):
        raise BadInput(f"a URL has at most {MAX_URL_LENGTH} characters, and no spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:
        raise BadInput("this is not a URL that can be read; send http://host/path or https://host/path") from error
    if scheme not in DEFAULT_PORTS or not host:
        raise BadInput("a URL to fetch starts with http:// or https:// and names a host")
    if "@" in parts.netloc:
        raise BadInput("a URL to fetch must not hold a user name or a password")
    if not any(host == known or (known.startswith("*.") and host.endswith(known[1:])) for known in hosts):
        raise BadInput(f"nothing is fetched from {host}: the service's setting fetch_hosts allows {', '.join(hosts)}")
    port = DEFAULT_PORTS[scheme] if port is None else port
    if port not in ports:
        raise BadInput(f"nothing is fetched from port {port}; leave the port out of the URL")
    return AllowedUrl(scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def system_addresses(host: str, port: int) -> list[str]:
    """Return a host's addresses as the system's resolver gives them. Raises OSError where it gives none."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Fetcher:
    """Fetches URLs. Safe on any thread.

    hosts: "img.example.com", or "*.example.com" for every name under it. max_bytes: the limit of a body.
    timeout_second: from a fetch's start to its last byte, redirects and name look-ups included.

    Tests and private networks set the rest. The function resolve looks up a host's addresses, and allowed says whether an
    address may be connected to. Connections go to these ports alone. The certificates of ca_file replace the system's.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        max_bytes: int,
        timeout_second: float,
        *,
        resolve: Callable[[str, int], Sequence[str]] = system_addresses,
        allowed: Callable[[str], bool] = is_public,
        ports: Container[int] = (80, 443),
        ca_file: str | None = None,
    ):
        self._hosts = tuple(host.lower() for host in hosts)
        self._max_bytes, self._timeout = max_bytes, timeout_second
        self._resolve, self._allowed, self._ports, self._ca_file = resolve, allowed, ports, ca_file

    def fetch(self, url: str, deadline: float) -> bytes:
        """Return the bytes behind a URL. deadline: the request's, in seconds of time.monotonic().

        Raises BadInput for a URL that is not allowed or fails, TooLarge over max_bytes, DeadlinePassed at the deadline.
        """
        ends = time.monotonic() + self._timeout
        try:
            with _Cutoff(min(ends, deadline)) as cutoff:
                return self._follow(url, cutoff)
        except _TimeOver as error:
            if deadline <= ends:
                raise DeadlinePassed("the request's time was over while its URL was fetched") from error
            raise FetchFailed(f"the URL could not be fetched: it took longer than {self._timeout:g} s") from error

    def _follow(self, url: str, cutoff: "_Cutoff") -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            target = allowed_url(url, self._hosts, self._ports)
            try:
                with self._ask(target, cutoff) as response:
                    if response.status_code not in REDIRECTS:
                        return self._body(response, target, cutoff)
                    url = urljoin(target.at(target.host), _location(response))
            except FAILURES as error:
                cutoff.left()
                raise _failed(target, _cause(error), FetchFailed) from error
        raise BadInput(f"the URL could not be fetched: it redirects more than {MAX_REDIRECTS} times")

    def _ask(self, target: AllowedUrl, cutoff: "_Cutoff") -> requests.Response:
        """Return the response of a checked address, with its headers read. Each address is tried in turn."""
        addresses = self._addresses(target, cutoff)
        for left in range(len(addresses), 0, -1):
            address, seconds = addresses[-left], cutoff.left()
            request = requests.Request("GET", target.at(address), HEADERS | {"Host": target.host_header}).prepare()
            adapter = _Adapter(target.host, cutoff)
            try:
                return adapter.send(request, stream=True, timeout=(seconds / left, seconds), verify=self._ca_file or True)
            except requests.ConnectionError as error:
                if left == 1 or isinstance(error, requests.exceptions.SSLError):
                    raise
            finally:
                adapter.close()
        raise _failed(target, "its name has no address", FetchFailed)

    def _addresses(self, target: AllowedUrl, cutoff: "_Cutoff") -> list[str]:
        """Return the addresses of a URL's host. Raises BadInput where one is not allowed: the others would be no safer."""
        found: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

        def look_up() -> None:
            try:
                found.put(self._resolve(target.host, target.port))
            except Exception as error:
                found.put(error)

        threading.Thread(target=look_up, name="look-up", daemon=True).start()  # the system's resolver has no time limit
        try:
            addresses = found.get(timeout=cutoff.left())
        except Empty:
            raise _TimeOver from None
        if isinstance(addresses, Exception):
            raise _failed(target, "its name could not be resolved", FetchFailed) from addresses
        if not all(map(self._allowed, addresses)):
            raise _failed(target, "its name resolves to an address that is private, local or reserved")
        return list(addresses[:MAX_ADDRESSES])

    def _body(self, response: requests.Response, target: AllowedUrl, cutoff: "_Cutoff") -> bytes:
        if response.status_code != 200:
            kind = FetchFailed if response.status_code >= 500 or response.status_code in PASSING else BadInput
            raise _failed(target, f"it answered with status {response.status_code}", kind)
        if response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
            raise _failed(target, "it sent a compressed body, though asked not to")
        stated, pieces, size = int(response.headers.get("Content-Length", "0")), [], 0
        if stated < 0:
            raise ValueError("a negative Content-Length")
        if stated > self._max_bytes:
            raise self._too_large(target)
        for piece in response.raw.stream(PIECE_BYTES, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > self._max_bytes:
                raise self._too_large(target)
        cutoff.left()  # a body without Content-Length looks whole when it is cut off
        if not size:
            raise _failed(target, "it answered with no bytes")
        return b"".join(pieces)

    def _too_large(self, target: AllowedUrl) -> TooLarge:
        return TooLarge(f"the file from {target.host} is over the limit of {self._max_bytes} bytes")


class _TimeOver(Exception):
    """The time for a fetch is over."""


class _Cutoff:
    """Cuts a fetch's connections when its time is over. No socket timeout stops a server that sends a byte a second."""

    def __init__(self, ends: float):
        self._ends = ends
        self._connections: list[_Connection] = []
        self._timer = threading.Timer(max(0.0, ends - time.monotonic()), self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Cutoff":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def left(self) -> float:
        """Return the seconds left. Raises _TimeOver where none are left."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise _TimeOver
        return left

    def follow(self, connection: "_Connection") -> None:
        """Cut this connection too when the time is over, at once where it is over already."""
        self._connections.append(connection)
        if time.monotonic() >= self._ends:
            connection.cut()

    def _cut(self) -> None:
        for connection in list(self._connections):
            connection.cut()


class _Connection(HTTPConnection):
    """A connection that another thread can cut."""

    def __init__(self, *args: Any, cutoff: _Cutoff, **options: Any):
        super().__init__(*args, **options)
        self._cutoff = cutoff
        self._open_socket: socket.socket | None = None

    def connect(self) -> None:
        self._cutoff.follow(self)
        super().connect()
        self._open_socket = self.sock  # http.client forgets a socket that the server will close, while its body is still read
        self._cutoff.follow(self)

    def cut(self) -> None:
        """End all reading and writing. Safe on any thread, at any time."""
        for sock in (self._open_socket, self.sock):
            if sock is not None:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # SSLSocket's own would drop the TLS state


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """Connects to the address in a URL, and demands a certificate of the name that was resolved."""

    def __init__(self, host: str, cutoff: _Cutoff):
        self._host, self._cutoff = host, cutoff
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, server_hostname=self._host, **options)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        kind = _SecureConnection if pool.scheme == "https" else _Connection
        pool.ConnectionCls = partial(kind, cutoff=self._cutoff)
        return cast(HTTPConnectionPool, pool)


def _location(response: requests.Response) -> str:
    location = response.headers.get("Location", "")
    if not location:
        raise ValueError("a redirect without a Location")
    return location.encode("latin-1").decode()  # headers are read as latin-1, but hold UTF-8


def _failed(target: AllowedUrl, why: str, kind: type[BadInput] = BadInput) -> BadInput:
    return kind(f"the URL could not be fetched from {target.host}: {why}")


def _cause(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "it did not show a valid certificate over TLS"
    if isinstance(error, requests.ConnectionError) and "establish a new connection" in str(error):
        return "no connection could be made"
    return "its answer broke off, or was not HTTP"

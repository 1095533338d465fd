"""Fetches what a request's URL names, from hosts that the service allows and from nowhere inside.

A name is resolved once, every address is checked, and the connection goes to a checked address: there is no second look-up
that could answer otherwise. Each redirect is checked again in full. Proxies, cookies, .netrc and other settings of the
environment play no part. The one module that imports requests and urllib3. Does not know what it fetches, or for whom.
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
from queue import Empty, SimpleQueue
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError

from serving.base.addresses import is_public
from serving.base.errors import BadInput, DeadlinePassed, TooLarge

MOST_REDIRECTS = 3
MOST_ADDRESSES = 4  # tried one after the other, each for its share of the time
LONGEST_URL = 8192  # characters
PIECE = 65536  # bytes read at once
PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = {"User-Agent": "monopod", "Accept": "image/*, video/*, */*;q=0.5", "Accept-Encoding": "identity"}
FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


def system_addresses(host: str, port: int) -> list[str]:
    """Return a host's addresses as the system's resolver gives them. Raises OSError where there are none."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Target:
    """A URL taken apart and allowed, its addresses not yet known. path: with the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def named(self) -> str:
        """The host as a Host header names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: str) -> str:
        """Return the URL with an address in the host's place."""
        return f"{self.scheme}://{f'[{address}]' if ':' in address else address}:{self.port}{self.path}"


class Fetcher:
    """Fetches URLs. Safe on any thread.

    hosts: "img.example.com", or "*.example.com" for every name under it. max_bytes: the most that a body may hold.
    timeout_second: from a fetch's start to its last byte, redirects and name look-ups included.
    resolve, allowed, ports, ca_file: how names are resolved, which addresses may be connected to, on which ports, and a file
    of certificates to trust instead of the usual ones; for tests and for networks of their own.
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
        """Return what a URL holds. deadline: of the request that asks, as time.monotonic() counts.

        Raises BadInput for a URL that is not allowed or fails, TooLarge for over max_bytes, DeadlinePassed.
        """
        ends = time.monotonic() + self._timeout
        try:
            with _Watch(min(ends, deadline)) as watch:
                return self._follow(url, watch)
        except _Late as error:
            if deadline <= ends:
                raise DeadlinePassed("the request's time was over while its URL was fetched") from error
            raise BadInput(f"the URL could not be fetched: it took longer than {self._timeout:g} s") from error

    def _follow(self, url: str, watch: "_Watch") -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            target = self._target(url)
            try:
                with self._ask(target, watch) as response:
                    if response.status_code not in REDIRECTS:
                        return self._body(response, target, watch)
                    url = urljoin(target.at(target.host), _location(response))
            except FAILURES as error:
                watch.left()
                raise _failed(target, _words(error)) from error
        raise BadInput(f"the URL could not be fetched: it redirects more than {MOST_REDIRECTS} times")

    def _target(self, url: str) -> Target:
        """Take a URL apart. Raises BadInput unless scheme, host and port are allowed."""
        if not self._hosts:
            raise BadInput("this service fetches no URLs: its setting fetch_hosts is empty; send the bytes, or base64")
        if len(url) > LONGEST_URL or re.search(r"[\x00-\x20\x7f\\]", url):
            raise BadInput(f"a URL has at most {LONGEST_URL} characters, and no spaces, control characters or backslashes")
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
            host = host if host.isascii() else host.encode("idna").decode()
        except ValueError as error:
            raise BadInput("this is not a URL that can be read; send http://host/path or https://host/path") from error
        if scheme not in PORTS or not host:
            raise BadInput("a URL to fetch starts with http:// or https:// and names a host")
        if "@" in parts.netloc:
            raise BadInput("a URL to fetch may hold no user name and no password")
        if not any(host == known or (known.startswith("*.") and host.endswith(known[1:])) for known in self._hosts):
            raise BadInput(f"nothing is fetched from {host}: the service's setting fetch_hosts allows {', '.join(self._hosts)}")
        port = PORTS[scheme] if port is None else port
        if port not in self._ports:
            raise BadInput(f"nothing is fetched from port {port}; leave the port out of the URL")
        return Target(scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))

    def _ask(self, target: Target, watch: "_Watch") -> requests.Response:
        """Send the request to a checked address, the next one where a connection fails; return with the headers read."""
        addresses = self._addresses(target, watch)
        for left in range(len(addresses), 0, -1):
            address, seconds = addresses[-left], watch.left()
            request = requests.Request("GET", target.at(address), HEADERS | {"Host": target.named}).prepare()
            adapter = _Adapter(target.host, watch)
            try:
                return adapter.send(request, stream=True, timeout=(seconds / left, seconds), verify=self._ca_file or True)
            except requests.ConnectionError as error:
                if left == 1 or isinstance(error, requests.exceptions.SSLError):
                    raise
            finally:
                adapter.close()
        raise _failed(target, "its name has no address")

    def _addresses(self, target: Target, watch: "_Watch") -> list[str]:
        """Return a target's addresses. Raises BadInput where one is not allowed: the others would be no safer."""
        found: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

        def look_up() -> None:
            try:
                found.put(self._resolve(target.host, target.port))
            except Exception as error:
                found.put(error)

        threading.Thread(target=look_up, name="look-up", daemon=True).start()  # the system's resolver knows no time limit
        try:
            addresses = found.get(timeout=watch.left())
        except Empty:
            raise _Late from None
        if isinstance(addresses, Exception):
            raise _failed(target, "its name could not be resolved") from addresses
        if not all(map(self._allowed, addresses)):
            raise _failed(target, "its name leads to an address that is private, local or reserved")
        return list(addresses[:MOST_ADDRESSES])

    def _body(self, response: requests.Response, target: Target, watch: "_Watch") -> bytes:
        if response.status_code != 200:
            raise _failed(target, f"it answered with status {response.status_code}")
        if response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
            raise _failed(target, "it sent a compressed body, though asked not to")
        stated, pieces, size = int(response.headers.get("Content-Length", "0")), [], 0
        if stated < 0:
            raise ValueError("a negative Content-Length")
        if stated > self._max_bytes:
            raise self._too_large(target)
        for piece in response.raw.stream(PIECE, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > self._max_bytes:
                raise self._too_large(target)
        watch.left()  # a body with no stated length looks whole when it is cut off
        if not size:
            raise _failed(target, "it answered with no bytes")
        return b"".join(pieces)

    def _too_large(self, target: Target) -> TooLarge:
        return TooLarge(f"what {target.host} sends is over the limit of {self._max_bytes} bytes")


class _Late(Exception):
    """The time for a fetch is over."""


class _Watch:
    """Cuts a fetch's connections when its time is over: who sends a byte a second never exceeds a socket's own timeout."""

    def __init__(self, ends: float):
        self._ends = ends
        self._connections: list[_Connection] = []
        self._timer = threading.Timer(max(0.0, ends - time.monotonic()), self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Watch":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def left(self) -> float:
        """Return the seconds left. Raises _Late where there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise _Late
        return left

    def follow(self, connection: "_Connection") -> None:
        """Cut this connection too; now, if the time is over."""
        self._connections.append(connection)
        if time.monotonic() >= self._ends:
            connection.cut()

    def _cut(self) -> None:
        for connection in list(self._connections):
            connection.cut()


class _Connection(HTTPConnection):
    """A connection that another thread can cut."""

    def __init__(self, *args: Any, watch: _Watch, **options: Any):
        super().__init__(*args, **options)
        self._watch = watch
        self._kept: socket.socket | None = None

    def connect(self) -> None:
        self._watch.follow(self)
        super().connect()
        self._kept = self.sock  # http.client forgets a socket that the server will close, while its body is still read
        self._watch.follow(self)

    def cut(self) -> None:
        """End all reading and writing. Safe on any thread, at any time."""
        for sock in (self._kept, self.sock):
            if sock is not None:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's, which takes the TLS state away


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """Connects to the address in a URL, and asks for a certificate of the name that was resolved."""

    def __init__(self, host: str, watch: _Watch):
        self._host, self._watch = host, watch
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, server_hostname=self._host, **options)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        kind = _SecureConnection if pool.scheme == "https" else _Connection
        pool.ConnectionCls = partial(kind, watch=self._watch)
        return cast(HTTPConnectionPool, pool)


def _location(response: requests.Response) -> str:
    location = response.headers.get("Location", "")
    if not location:
        raise ValueError("a redirect without a Location")
    return location.encode("latin-1").decode()  # headers are read as latin-1; what is in them is UTF-8


def _failed(target: Target, why: str) -> BadInput:
    return BadInput(f"the URL could not be fetched from {target.host}: {why}")


def _words(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "there is no TLS connection with a valid certificate"
    if isinstance(error, requests.ConnectionError) and "establish a new connection" in str(error):
        return "no connection could be made"
    return "its answer broke off, or was not HTTP"

"""The URLs that may be fetched for a request, judged by scheme, host and port before anything is sent.

Knows how a URL is written. Does not know addresses or connections.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from serving.base.errors import BadInput

LONGEST_URL = 8192  # characters
NOTHING_FETCHED = "this service fetches no URLs: its setting fetch_hosts is empty; send the bytes, or base64"
DEFAULT_PORTS = {"http": 80, "https": 443}


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
    if not hosts:
        raise BadInput(NOTHING_FETCHED)
    if len(url) > LONGEST_URL or re.search(r"[\x00-\x20\x7f\\]", url):
        raise BadInput(f"a URL has at most {LONGEST_URL} characters, and no spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:
        raise BadInput("this is not a URL that can be read; send http://host/path or https://host/path") from error
    if scheme not in DEFAULT_PORTS or not host:
        raise BadInput("a URL to fetch starts with http:// or https:// and names a host")
    if "@" in parts.netloc:
        raise BadInput("a URL to fetch may hold no user name and no password")
    if not any(host == known or (known.startswith("*.") and host.endswith(known[1:])) for known in hosts):
        raise BadInput(f"nothing is fetched from {host}: the service's setting fetch_hosts allows {', '.join(hosts)}")
    port = DEFAULT_PORTS[scheme] if port is None else port
    if port not in ports:
        raise BadInput(f"nothing is fetched from port {port}; leave the port out of the URL")
    return AllowedUrl(scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


class NoFetcher:
    """Stands for the fetcher of a service whose fetch_hosts is empty."""

    def fetch(self, url: str, deadline: float) -> bytes:
        """Raise BadInput for any URL."""
        raise BadInput(NOTHING_FETCHED)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

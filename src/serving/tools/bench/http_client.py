"""The HTTP client of `monopod bench`. Only this module imports aiohttp.

Knows connections, and why no answer came. Does not know when a request is due.
"""

import contextlib
import io
import json
import os
import re
import socket
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from serving.tools.bench.load_generator import Answer, Send
from serving.tools.bench.request_bodies import BenchError, Body

REACH_SECONDS = 5.0
OWN_ROUTE = "answer"  # the operationId of a service's own route in /openapi.json
CURE = "add --file FILE, --data '{...}' or --form NAME=@FILE; GET needs a --url of a route"
LONGEST_TEXT = 300  # characters of a server's words
MOST_KEPT = 2**16  # bytes of an answer
LARGE = 2**20  # bytes; aiohttp warns of larger bodies that are no file
REASONS: list[tuple[type[BaseException], str]] = [
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorCertificateError, "certificate not trusted"),
    (aiohttp.ClientSSLError, "no TLS there"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (BrokenPipeError, "connection reset"),
    (aiohttp.ServerDisconnectedError, "closed without an answer"),
    (aiohttp.ClientPayloadError, "answer cut off"),
    (aiohttp.ClientResponseError, "malformed answer"),
]


def reach(url: str) -> None:
    """Open one connection to a URL's host, and close it. Raises BenchError where that is not possible."""
    host, port = _host_and_port(url)
    try:
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError as error:
        words = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        cure = "start the service with `make serve`, or name where it runs with --url"
        shown = f"[{host}]" if ":" in host else host
        raise BenchError(f"{urlsplit(url).scheme}://{shown}:{port} cannot be reached ({words}); {cure}") from None


def own_route(url: str, headers: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the URL of the service's own route, and the bodies that it takes, as /openapi.json tells them.

    url: of that route, or of a folder above it, such as http://localhost:8080. Raises BenchError where none is told.
    """
    parts = urlsplit(url)
    page = parts._replace(path=f"{parts.path.rstrip('/')}/openapi.json", query="", fragment="").geturl()
    try:
        request = urllib.request.Request(without_password(page), headers=dict(headers))
        with urllib.request.urlopen(request, timeout=REACH_SECONDS) as answer:
            told = json.load(answer)
        ((path, post),) = [
            (path, post)
            for path, item in told["paths"].items()
            if (post := item.get("post", {})).get("operationId") == OWN_ROUTE
        ]
        server = told["servers"][0]["url"]
        base = urljoin(page, "." if server == "/" else server)
        return urlsplit(urljoin(base, path[1:]))._replace(query=parts.query).geturl(), post["requestBody"]["content"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BenchError(f"nothing to send, and {without_password(page)} tells no example ({error}); {CURE}") from None


def example(content: Mapping[str, Any]) -> Body:
    """Return the JSON body that a service gives as its example. content: as `own_route` tells it. Raises BenchError."""
    if "example" not in content["application/json"]:
        raise BenchError(f"nothing to send: the service gives no example of JSON; {CURE}")
    return Body((json.dumps(content["application/json"]["example"]).encode(),), "application/json")


def without_password(url: str) -> str:
    """Return a URL without the username and password that it may hold."""
    return re.sub(r"^(\w+://)[^/?#]*@", r"\1", url)


def _host_and_port(url: str) -> tuple[str, int]:
    """Return a URL's host and port. Raises BenchError."""
    with contextlib.suppress(ValueError):  # a port that is no number, half an IPv6 address
        parts = urlsplit(url)
        port = {"http": 80, "https": 443}.get(parts.scheme, 0) if parts.port is None else parts.port
        if parts.scheme in ("http", "https") and parts.hostname and port:
            return parts.hostname, port
    raise BenchError(f"--url {without_password(url)!r} is no URL of a service; write it as http://localhost:8080/api/like/demo")


@contextlib.asynccontextmanager
async def client(
    url: str, bodies: Sequence[Body], headers: Mapping[str, str], timeout: float, vary: bool = False
) -> AsyncIterator[Send]:
    """Yield a function that sends one request: POST of the bodies in turn, or GET where there is none.

    timeout: seconds for one answer. vary: send each picture as a file that no cache knows. Connections are kept, and opened as
    needed: the load generator decides how many there are.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "monopod-bench", "Accept-Encoding": "identity", **headers},
        timeout=aiohttp.ClientTimeout(total=timeout),
    )
    session._retry_connection = False  # else a GET that failed is sent again, and the failure is not seen
    async with session:
        yield _Sender(session, url, bodies, os.urandom(8).hex() if vary else "").send


@dataclass(frozen=True)
class _Sender:
    """Sends requests in a session. mark: of this run, put behind each picture with the request's number; "" for none."""

    session: aiohttp.ClientSession
    url: str
    bodies: Sequence[Body]
    mark: str

    async def send(self, number: int) -> Answer:
        try:
            async with self._request(number) as response:
                content = await _beginning(response)
                good = 200 <= response.status < 300
                return Answer(str(response.status), "" if good else text_of(content))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(_reason(error))

    def _request(self, number: int) -> Any:
        if not self.bodies:
            return self.session.get(self.url, allow_redirects=False)
        body = self.bodies[number % len(self.bodies)]
        content = body.varied(f"{self.mark}{number:08x}".encode()) if self.mark else body.content
        data = content if len(content) < LARGE else io.BytesIO(content)
        headers = {} if "content-type" in self.session.headers else {"Content-Type": body.content_type}
        return self.session.post(self.url, data=data, headers=headers, allow_redirects=False)


def text_of(content: bytes) -> str:
    """Return the words of an answer: the `error` of our JSON, or else the body as text."""
    text = content.decode(errors="replace")
    with contextlib.suppress(ValueError):
        told = json.loads(text)
        if isinstance(told, dict):
            text = str(told.get("error") or told.get("msg") or text)
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer to its end, and return its first MOST_KEPT bytes: an answer may be large."""
    kept = b""
    async for piece in response.content.iter_any():
        kept += piece[: MOST_KEPT - len(kept)]
    return kept


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno:
        cause = OSError(cause.errno, cause.strerror)  # aiohttp's own classes hide which error it is
    for kind, words in REASONS:
        if isinstance(cause, kind) or isinstance(error, kind):
            return words
    return str(getattr(cause, "strerror", "") or type(error).__name__).lower()
